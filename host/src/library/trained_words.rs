//! Words with which a model was trained, as its trainer wrote them into the header. Source: contract section 4.8.

use std::path::Path;

use serde_json::Value;

use super::safetensors::{self, Interest};
use crate::files::foreign_json;

/// Words and class tokens of a header.
#[derive(Debug, Default, PartialEq)]
pub struct TrainedWords {
    /// Words of the first set of images, each with how often it was used, the most frequent first.
    pub words: Vec<(String, i64)>,
    /// Class tokens of the first subset of the first set.
    pub class_tokens: Option<String>,
}

/// Reads them from a safetensors file. What can't be read is left out.
pub fn read(path: &Path) -> TrainedWords {
    let interest = Interest::whole(&["ss_tag_frequency", "ss_datasets"]);
    let Ok(header) = safetensors::read(path, &interest) else {
        return TrainedWords::default();
    };
    let text = |key: &str| {
        let mut pairs = header.metadata.iter();
        pairs.find(|(own, _)| own == key).map(|(_, text)| text.as_str())
    };
    TrainedWords {
        words: text("ss_tag_frequency").and_then(words).unwrap_or_default(),
        class_tokens: text("ss_datasets").and_then(class_tokens),
    }
}

fn words(text: &str) -> Option<Vec<(String, i64)>> {
    let sets = foreign_json::read(text.as_bytes()).ok()?;
    let first = sets.as_object()?.values().next()?.as_object()?;
    let count = |count: &Value| match count {
        // Beyond 64 bits, or `NaN` and the like, which mean nothing as a count.
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|count| count as i64)),
        _ => None,
    };
    let counted = first.iter().map(|(word, own)| Some((word.clone(), count(own)?)));
    let mut words: Vec<_> = counted.collect::<Option<_>>()?;
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(words)
}

fn class_tokens(text: &str) -> Option<String> {
    let sets = foreign_json::read(text.as_bytes()).ok()?;
    let tokens = sets.get(0)?.get("subsets")?.get(0)?.get("class_tokens")?;
    tokens.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_first_set_come_by_count_and_what_is_odd_is_left_out() {
        let found = words(r#"{"img": {"b": 2, "a": 5, " c": 2}, "other": {"z": 9}}"#);
        assert_eq!(found, Some(vec![("a".into(), 5), ("b".into(), 2), (" c".into(), 2)]));
        let python = words(r#"{"img": {"a\ud800": 3, "b": NaN, "c": 123456789012345678901234567890}}"#);
        let expected = [("c", i64::MAX), ("a\u{fffd}", 3), ("b", 0)].map(|(word, count)| (word.to_owned(), count));
        assert_eq!(python, Some(expected.to_vec()));
        for odd in ["", "[]", "{}", r#"{"a": 5}"#, r#"{"a": {"b": "x"}}"#] {
            assert_eq!(words(odd), None, "{odd}");
        }
        assert_eq!(
            class_tokens(r#"[{"subsets": [{"class_tokens": "a b"}]}]"#).as_deref(),
            Some("a b")
        );
        assert_eq!(class_tokens(r#"[{"subsets": [{}]}]"#), None);
    }
}
