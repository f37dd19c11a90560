//! Lengths of names: what file systems take, and how a longer name is cut.

use sha2::{Digest, Sha256};

/// Longest name of a file or folder that common file systems take, in bytes.
pub const MAX_NAME: usize = 255;
/// Room for the longest ending that a file beside a model may have, in bytes: that of its preview, of its sidecar's copy
/// or of an unfinished download.
pub const ENDINGS: usize = ".safetensors.part.state".len();
/// Room for what is put behind a name that is taken, in bytes: the start of a hash and a number.
const NUMBER: usize = "-abcd-10000".len();
/// Longest ending that a name keeps when it is cut, in bytes, dot included.
const MAX_EXTENSION: usize = 20;

/// A name as long as file systems take it. A longer one is cut at a character and closed with a digest of all of it, so
/// that two long names that start alike stay two, and one name is cut the same way each time.
pub fn shortened(name: &str) -> String {
    cut(name, MAX_NAME)
}

/// A stem to which `suffix` and the longest ending of a companion file can be added.
pub fn with_suffix(stem: &str, suffix: &str) -> String {
    let cut = cut(stem, MAX_NAME.saturating_sub(ENDINGS + suffix.len()));
    format!("{cut}{suffix}")
}

/// A model's file name that leaves room for the names of its companion files, with its extension.
pub fn shortened_file(name: &str) -> String {
    let extension = name.rfind('.').filter(|at| *at > 0 && name.len() - at <= MAX_EXTENSION);
    let (stem, extension) = name.split_at(extension.unwrap_or(name.len()));
    let longest = MAX_NAME - ENDINGS.max(extension.len() + ".part.state".len()) - NUMBER;
    format!("{}{extension}", cut(stem, longest))
}

fn cut(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let digest = Sha256::digest(name.as_bytes());
    let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let kept = &name[..name.floor_char_boundary(longest.saturating_sub(mark.len() + 1))];
    format!("{}~{mark}", kept.trim_end_matches([' ', '.']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_fits_stays_and_a_longer_one_keeps_its_extension() {
        assert_eq!(shortened_file("a b.v1.safetensors"), "a b.v1.safetensors");
        let long = format!("{}.safetensors", "x".repeat(300));
        let cut = shortened_file(&long);
        assert!(
            cut.ends_with(".safetensors") && cut.starts_with("xxx") && cut.len() < MAX_NAME,
            "{cut}"
        );
        assert_eq!(shortened(&"x".repeat(255)), "x".repeat(255));
        assert_eq!(shortened(&"x".repeat(256)).len(), 255);
    }

    #[test]
    fn long_names_that_start_alike_stay_apart() {
        let name = |end: &str| format!("{}{end}.pt", "名".repeat(100));
        assert_ne!(shortened_file(&name("a")), shortened_file(&name("b")));
        assert_ne!(shortened(&name("a")), shortened(&name("b")));
    }

    proptest! {
        #[test]
        fn there_is_room_for_every_companion(stem in "\\PC{0,300}", extension in "\\.[a-z]{1,12}") {
            let name = shortened_file(&format!("{stem}{extension}"));
            let is_cut = stem.len() > MAX_NAME - ENDINGS - NUMBER;
            prop_assert!(!is_cut || name.ends_with(&extension));
            let stem = name.strip_suffix(&*extension).unwrap_or(&name);
            for ending in [".metadata.json", ".preview.webp", ".safetensors.part.state", &format!("{extension}.part.state")] {
                prop_assert!(stem.len() + "-12ab-9999".len() + ending.len() <= MAX_NAME);
            }
            prop_assert!(with_suffix(stem, "-12ab-9999").len() + ENDINGS <= MAX_NAME);
            prop_assert_eq!(shortened_file(&name), name);
        }
    }
}
