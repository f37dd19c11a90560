//! Which file beside a model is its preview. Source: contract section 4.3.

use std::path::{Path, PathBuf};

use super::sidecar::Sidecar;

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

/// The preview of `stem` among the names of a folder, which must be sorted: the exact case
/// of every ending first, then any case.
pub fn find<'n, S: AsRef<str>>(names: &'n [S], stem: &str) -> Option<&'n str> {
    // Names that start with the stem lie together in a sorted list.
    let start = names.partition_point(|name| name.as_ref() < stem);
    let own = names[start..]
        .iter()
        .map(AsRef::as_ref)
        .take_while(|name| name.starts_with(stem))
        .filter_map(|name| Some((name, name.strip_prefix(stem)?)));
    let mut best: Option<(usize, &str)> = None;
    for (name, ending) in own {
        let rank = ENDINGS
            .iter()
            .position(|known| *known == ending)
            .or_else(|| Some(ENDINGS.len() + ENDINGS.iter().position(|known| known.eq_ignore_ascii_case(ending))?));
        if let Some(rank) = rank
            && best.is_none_or(|(other, _)| rank < other)
        {
            best = Some((rank, name));
        }
    }
    if best.is_some() {
        return best.map(|(_, name)| name);
    }
    // On file systems that ignore case the stem itself may be written differently.
    names
        .iter()
        .map(AsRef::as_ref)
        .filter(|name| name.len() > stem.len())
        .find(|name| {
            name.is_char_boundary(stem.len())
                && name[..stem.len()].eq_ignore_ascii_case(stem)
                && ENDINGS
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(&name[stem.len()..]))
                && !name.starts_with(stem)
        })
}

/// The preview that a sidecar names, when it lies beside the model `stem` and bears its name. Its ending may be one that is
/// not looked for, such as `.mov`.
pub fn declared(folder: &Path, stem: &str, sidecar: &Sidecar) -> Option<PathBuf> {
    let path = Path::new(sidecar.text("preview_url"));
    let ending = path.file_name()?.to_str()?.strip_prefix(stem)?;
    let is_own = ending.starts_with('.') && !ending.ends_with(".json") && path.parent() == Some(folder);
    (is_own && path.is_file()).then(|| path.to_owned())
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
        let names = ["a.PNG", "a.WEBP", "a.jpg", "a.preview.png", "a.safetensors", "ab.webp"];
        assert_eq!(find(&names, "a"), Some("a.preview.png"));
        assert_eq!(find(&["a.PNG", "a.safetensors"], "a"), Some("a.PNG"));
        assert_eq!(find(&["a.safetensors", "ab.png"], "a"), None);
        assert_eq!(find(&["A.png", "a.safetensors"], "a"), Some("A.png"));
    }
}
