//! Names that are hidden or that belong to an operating system or a program: their files are no models.

use crate::compat::compat;

/// Whether a file or folder of this name is left out: a name that starts with a dot, such as that of an AppleDouble file
/// or of a trash, and a folder that a system keeps for itself.
pub fn is_hidden(name: &str) -> bool {
    let is_own = |own: &String| own.eq_ignore_ascii_case(name);
    name.starts_with('.') || compat().system_folders.iter().any(is_own)
}

/// Whether a path below a root, `/` between names, leads through a hidden name or to one.
pub fn is_hidden_path(relative: &str) -> bool {
    relative.split('/').any(is_hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_and_folders_of_systems_are_hidden_and_nothing_else() {
        for path in [
            "._a.safetensors",
            "x/.Trash-1000/files/a.safetensors",
            "$RECYCLE.BIN/a.safetensors",
            "System Volume Information/a.safetensors",
            "a/__MACOSX/a.safetensors",
            ".ipynb_checkpoints/a.safetensors",
            ".cache/huggingface/a.safetensors",
            "@eaDir/a.safetensors",
            "#recycle/a.safetensors",
            ".x",
        ] {
            assert!(is_hidden_path(path), "{path}");
        }
        for path in [
            "a.safetensors",
            "a.b/c..safetensors",
            "_x/@a/#b/$c.safetensors",
            "x/a__MACOSX/b",
        ] {
            assert!(!is_hidden_path(path), "{path}");
        }
    }
}
