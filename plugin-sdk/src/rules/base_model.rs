//! Names of base models.

/// What a base model is called while nobody knows it.
pub const UNKNOWN: &str = "Unknown";

/// Parts of a provider's text and the name that the first contained one stands for.
const PROVIDER_PARTS: [(&str, &str); 10] = [
    ("sd_1.5", "SD 1.5"),
    ("sd-v1-5", "SD 1.5"),
    ("sd-v2-1", "SD 2.1"),
    ("sdxl", "SDXL 1.0"),
    ("sd-v2", "SD 2.0"),
    ("flux1", "Flux.1 D"),
    ("flux.1 d", "Flux.1 D"),
    ("illustrious", "Illustrious"),
    // As plain a part as the others, since other tools on the same sidecars read provider texts that way too.
    ("il", "Illustrious"),
    ("pony", "Pony"),
];

/// The base model that a provider's text names: the first known part in it, in any case; the text itself when it has
/// none; [`UNKNOWN`] when it is empty.
///
/// ```
/// use modelshelf_plugin_sdk::rules::base_model::from_provider;
///
/// assert_eq!(from_provider("SDXL Lightning"), "SDXL 1.0");
/// assert_eq!(from_provider("HiDream"), "HiDream");
/// ```
pub fn from_provider(text: &str) -> &str {
    if text.is_empty() {
        return UNKNOWN;
    }
    let lower = text.to_lowercase();
    PROVIDER_PARTS
        .iter()
        .find(|(part, _)| lower.contains(part))
        .map_or(text, |(_, name)| name)
}

/// Whether a base model says nothing.
pub fn is_unknown(text: &str) -> bool {
    text.trim().is_empty() || text.eq_ignore_ascii_case(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_part_in_order_wins() {
        let cases = [
            ("sd_1.5", "SD 1.5"),
            ("SD-v1-5", "SD 1.5"),
            ("sd-v2-1-768", "SD 2.1"),
            ("sd-v2", "SD 2.0"),
            ("SDXL 1.0", "SDXL 1.0"),
            ("SDXL Hyper", "SDXL 1.0"),
            ("Flux.1 D", "Flux.1 D"),
            ("flux1", "Flux.1 D"),
            ("Illustrious", "Illustrious"),
            ("Vanilla", "Illustrious"),
            ("Pony V7", "Pony"),
            ("SD 1.5", "SD 1.5"),
            ("Flux.1 S", "Flux.1 S"),
            ("", "Unknown"),
        ];
        for (text, name) in cases {
            assert_eq!(from_provider(text), name, "{text}");
        }
    }

    #[test]
    fn unknown_is_empty_or_said() {
        assert!(is_unknown("") && is_unknown(" ") && is_unknown("unknown"));
        assert!(!is_unknown("SD 1.5"));
    }
}
