//! Reading a listing's query parameters.

use crate::{Initial, Pair};

/// The hashes of the pair of parameters that a type has for them: one hash in `single`, or several between commas in
/// `list`, which only counts without the former. Lower-case.
pub fn hashes(parameters: &[Pair], single: &str, list: &str) -> Vec<String> {
    let value = |name: &str| {
        parameters
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .find(|value| !value.is_empty())
    };
    if let Some(hash) = value(single) {
        return vec![hash.to_lowercase()];
    }
    let parts = value(list).into_iter().flat_map(|list| list.split(','));
    parts
        .map(str::trim)
        .filter(|hash| !hash.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The class that a filter for first characters means: `#` a digit, `@` neither letter nor digit, `漢` Chinese, Japanese
/// or Korean, anything else that very character. None for an empty text.
pub fn initial(text: &str) -> Option<Initial> {
    text.chars().next().map(|first| match first {
        '#' => Initial::Digit,
        '@' => Initial::Symbol,
        '漢' => Initial::Cjk,
        letter => Initial::Letter(letter),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Pair> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn one_hash_counts_before_a_list() {
        let both = pairs(&[("hashes", "A, ,b"), ("hash", "CC")]);
        assert_eq!(hashes(&both, "hash", "hashes"), ["cc"]);
        assert_eq!(hashes(&both[..1], "hash", "hashes"), ["a", "b"]);
        assert_eq!(hashes(&pairs(&[("hash", "")]), "hash", "hashes"), [""; 0]);
    }

    #[test]
    fn initials_have_three_classes_and_single_characters() {
        assert_eq!(initial("#"), Some(Initial::Digit));
        assert_eq!(initial("@"), Some(Initial::Symbol));
        assert_eq!(initial("漢"), Some(Initial::Cjk));
        assert_eq!(initial("ab"), Some(Initial::Letter('a')));
        assert_eq!(initial(""), None);
    }
}
