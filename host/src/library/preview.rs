//! Which file beside a model is its preview. Source: contract section 4.3.

use std::path::{Path, PathBuf};

use super::sidecar::Sidecar;
use crate::files::foreign::{self, Links};

/// Endings in the order in which they are looked for.
pub const ENDINGS: [&str; 15] = [
    ".webp",
    ".preview.webp",
    ".preview.png",
    ".preview.jpeg",
    ".preview.jpg",
    ".preview.mp4",
    ".png",
    ".jpeg",
    ".jpg",
    ".mp4",
    ".gif",
    ".webm",
    ".avif",
    ".jxl",
    ".example.0.jpeg",
];

/// The names in a folder that may be those of previews.
#[derive(Debug, Default)]
pub struct Candidates {
    // Each in lower case and as it is; sorted. Names with one beginning lie together.
    names: Vec<(String, String)>,
}

impl Candidates {
    /// Those among the names of a folder.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let is_one = |name: &&str| ENDINGS.iter().any(|ending| ends_with(name, ending));
        let names = names.filter(is_one);
        let mut names: Vec<_> = names.map(|name| (name.to_ascii_lowercase(), name.to_owned())).collect();
        names.sort_unstable();
        Self { names }
    }

    /// The preview of the model `stem`: the exact case of every ending first, then any case of it. On file systems that
    /// ignore case the stem itself may be written differently; that comes last.
    pub fn find(&self, stem: &str) -> Option<&str> {
        if self.names.is_empty() {
            return None;
        }
        let folded = stem.to_ascii_lowercase();
        let start = self.names.partition_point(|(name, _)| *name < folded);
        let own = self.names.iter().skip(start);
        let own = own.map_while(|(lower, name)| Some((lower.strip_prefix(&*folded)?, &**name)));
        let ranked = own.filter_map(|(lower, name)| {
            let rank = |ending: &str| ENDINGS.iter().position(|known| *known == ending);
            Some(match name.strip_prefix(stem) {
                Some(ending) => (rank(ending).or_else(|| Some(ENDINGS.len() + rank(lower)?))?, name),
                None => (rank(lower).map(|_| 2 * ENDINGS.len())?, name),
            })
        });
        ranked.min().map(|(_, name)| name)
    }
}

/// Whether a name has this ending, in any case.
pub fn ends_with(name: &str, ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.is_some_and(|start| name.as_bytes()[start..].eq_ignore_ascii_case(ending.as_bytes()))
}

/// The preview that a sidecar names, when it lies beside the model `stem` and bears its name. Its ending may be one that is
/// not looked for, such as `.mov`.
pub fn declared(folder: &Path, stem: &str, sidecar: &Sidecar) -> Option<PathBuf> {
    let path = Path::new(sidecar.text("preview_url"));
    let ending = path.file_name()?.to_str()?.strip_prefix(stem)?;
    let is_own = ending.starts_with('.') && !ending.ends_with(".json") && path.parent() == Some(folder);
    // A link that leads nowhere belongs to the model all the same.
    let is_there = || match foreign::inspect(path, Links::Follow) {
        Ok(there) => there.is_some(),
        Err(error) => error.is_offline(),
    };
    (is_own && is_there()).then(|| path.to_owned())
}

/// Whether a preview is a video, by its ending.
pub fn is_video(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default();
    ["mp4", "m4v", "webm", "mov", "avi", "mkv"]
        .iter()
        .any(|video| video.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ending_of_the_list_wins_and_exact_case_before_any_case() {
        let find = |names: &[&str]| Candidates::of(names.iter().copied()).find("a").map(str::to_owned);
        let found = |name: &str| Some(name.to_owned());
        let names = ["a.PNG", "a.WEBP", "a.jpg", "a.preview.png", "a.safetensors", "ab.webp"];
        assert_eq!(find(&names), found("a.preview.png"));
        assert_eq!(find(&["a.PNG", "a.safetensors"]), found("a.PNG"));
        assert_eq!(find(&["A.webp", "a.PNG", "a.safetensors"]), found("a.PNG"));
        assert_eq!(find(&["a.safetensors", "ab.png", "a-1.png", "a.png.safetensors"]), None);
        assert_eq!(find(&["A.png", "A.webp", "a.safetensors"]), found("A.png"));
    }
}
