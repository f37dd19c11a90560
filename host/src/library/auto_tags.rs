//! Tags computed from names, never stored in a sidecar: variants of video and speed-up models.
//!
//! Words are looked for in the file name, the base model and the provider's version name.
//! Source: contract section 5.5.

use serde::{Deserialize, Serialize};

/// The words, in the order in which they are listed.
pub const NAMES: [&str; 7] = ["HIGH", "I2V", "LOW", "Lightning", "T2V", "TI2V", "Turbo"];

/// A set of the words above: bit `i` is `NAMES[i]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AutoTags(pub u8);

impl AutoTags {
    /// Finds the words in these texts; a tag of the person's that equals one counts as well.
    pub fn find<'a>(texts: [&str; 3], base_model: &str, mut tags: impl Iterator<Item = &'a str>) -> Self {
        let noise_pair = base_model.to_lowercase().contains("wan");
        let mut bits = 0u8;
        for (index, name) in NAMES.iter().enumerate() {
            let found = match *name {
                "HIGH" | "LOW" if !noise_pair => false,
                "HIGH" | "LOW" => texts.iter().any(|text| has_noise_word(text, name)),
                _ => texts.iter().any(|text| has_word(text, name)),
            };
            if found {
                bits |= 1 << index;
            }
        }
        for tag in tags.by_ref() {
            if let Some(index) = NAMES.iter().position(|name| name.eq_ignore_ascii_case(tag)) {
                bits |= 1 << index;
            }
        }
        Self(bits)
    }

    /// The words of the set, in order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES
            .iter()
            .enumerate()
            .filter(move |(index, _)| self.0 & (1 << index) != 0)
            .map(|(_, name)| *name)
    }

    /// Whether the word with this exact case is in the set.
    pub fn contains(self, name: &str) -> bool {
        self.names().any(|own| own == name)
    }
}

/// Start offsets of `word` in `text`, ASCII case ignored.
fn occurrences<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    (0..(text.len() + 1).saturating_sub(word.len()))
        .filter(move |&start| text[start..start + word.len()].eq_ignore_ascii_case(word))
}

fn has_word(text: &str, word: &str) -> bool {
    let bytes = text.as_bytes();
    occurrences(text, word).any(|start| {
        let before = start.checked_sub(1).map(|index| bytes[index]);
        let after = bytes.get(start + word.len());
        !before.is_some_and(|byte| byte.is_ascii_alphanumeric()) && !after.is_some_and(u8::is_ascii_alphanumeric)
    })
}

/// `HighNoise` and `high_noise` count, `highlight` and `flow` don't.
fn has_noise_word(text: &str, word: &str) -> bool {
    let bytes = text.as_bytes();
    occurrences(text, word).any(|start| {
        let before = start.checked_sub(1).map(|index| bytes[index]);
        let after = bytes.get(start + word.len());
        let flow = word == "LOW" && before.is_some_and(|byte| byte.eq_ignore_ascii_case(&b'f'));
        !flow && !after.is_some_and(u8::is_ascii_lowercase)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(file_name: &str, base_model: &str) -> Vec<&'static str> {
        AutoTags::find([file_name, base_model, ""], base_model, std::iter::empty())
            .names()
            .collect()
    }

    #[test]
    fn words_are_found_at_bounds_and_underscore_is_a_bound() {
        assert_eq!(find("my_i2v_model", "SDXL 1.0"), ["I2V"]);
        assert_eq!(find("ti2v-Turbo", ""), ["TI2V", "Turbo"]);
        assert!(find("xi2v", "").is_empty());
    }

    #[test]
    fn high_and_low_count_only_for_wan_and_not_inside_words() {
        assert_eq!(find("HighNoise", "Wan Video 2.2 I2V-A14B"), ["HIGH", "I2V"]);
        assert!(find("HighNoise", "SDXL 1.0").is_empty());
        assert!(find("highlight_flow", "Wan Video").is_empty());
        assert_eq!(find("wan_low_noise", "Wan Video"), ["LOW"]);
    }

    #[test]
    fn a_persons_own_tag_with_such_a_name_counts() {
        let tags = AutoTags::find(["a", "b", "c"], "b", ["lightning"].into_iter());
        assert_eq!(tags.names().collect::<Vec<_>>(), ["Lightning"]);
    }
}
