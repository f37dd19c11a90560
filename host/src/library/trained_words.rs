//! Words with which a model was trained, as its trainer wrote them into the header. Source: contract section 4.8.

use std::path::Path;

use serde_json::{Map, Value};

use super::safetensors::{self, Interest};

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
    let sets: Map<String, Value> = serde_json::from_str(text).ok()?;
    let first = sets.values().next()?.as_object()?;
    let counted = first.iter().map(|(word, count)| Some((word.clone(), count.as_i64()?)));
    let mut words: Vec<_> = counted.collect::<Option<_>>()?;
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Some(words)
}

fn class_tokens(text: &str) -> Option<String> {
    let sets: Value = serde_json::from_str(text).ok()?;
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
