//! What a plugin said of its type, checked once and kept in the host's own words.

use std::collections::HashSet;

use super::bindings::{Descriptor, HashPolicy};
use super::error::LoadError;

/// A checked descriptor.
#[derive(Debug, Clone)]
pub struct TypeInfo {
    /// Everything that the plugin said.
    pub descriptor: Descriptor,
    /// `new-sidecar-fields`, parsed.
    pub new_sidecar_fields: serde_json::Map<String, serde_json::Value>,
    extensions: HashSet<String>,
}

impl TypeInfo {
    /// Checks what a plugin said.
    ///
    /// # Errors
    /// [`LoadError::Descriptor`] naming the field.
    pub fn new(name: &str, descriptor: Descriptor) -> Result<Self, LoadError> {
        let wrong = |reason: String| LoadError::Descriptor {
            name: name.to_owned(),
            reason,
        };
        for (field, value) in [("id", &descriptor.id), ("prefix", &descriptor.prefix)] {
            if !is_name(value) {
                return Err(wrong(format!(
                    "{field} is {value:?}; it must match [a-z][a-z0-9_-]* and have at most 40 characters"
                )));
            }
        }
        if descriptor.sub_types.is_empty() {
            return Err(wrong("it has no sub-types; the first one is the default".into()));
        }
        if descriptor.roots.is_empty() {
            return Err(wrong(
                "it has no kinds of roots, so nothing could be scanned for it".into(),
            ));
        }
        if let Some(root) = descriptor.roots.iter().find(|root| !is_name(&root.key)) {
            return Err(wrong(format!("root key {:?} must match [a-z][a-z0-9_-]*", root.key)));
        }
        let extensions: HashSet<String> = descriptor.extensions.iter().map(|text| text.to_lowercase()).collect();
        if extensions.is_empty() {
            return Err(wrong("it has no extensions, so no file would be its own".into()));
        }
        if let Some(odd) = descriptor.extensions.iter().find(|text| !is_extension(text)) {
            return Err(wrong(format!(
                "the extension {odd:?} must be a dot and behind it 1 to {MAX_EXTENSION} bytes without `/`, `\\`, a \
                 further dot and control characters"
            )));
        }
        let new_sidecar_fields = match serde_json::from_str(&descriptor.new_sidecar_fields) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => return Err(wrong("new-sidecar-fields is no JSON object".into())),
        };
        Ok(Self {
            descriptor,
            new_sidecar_fields,
            extensions,
        })
    }

    /// Singular id, such as the `model_type` of the contract.
    pub fn id(&self) -> &str {
        &self.descriptor.id
    }

    /// URL prefix.
    pub fn prefix(&self) -> &str {
        &self.descriptor.prefix
    }

    /// Extensions of its files, in lower case with their dots, in no order.
    pub fn extensions(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(String::as_str)
    }

    /// Whether a file name has one of the type's extensions, in any case; the extension with its dot.
    pub fn extension_of<'a>(&self, file_name: &'a str) -> Option<&'a str> {
        let dot = file_name.rfind('.')?;
        let extension = &file_name[dot..];
        self.extensions.contains(&extension.to_lowercase()).then_some(extension)
    }

    /// Whether hashes of new files are computed while scanning.
    pub fn hashes_at_scan(&self) -> bool {
        self.descriptor.hashing == HashPolicy::AtScan
    }
}

/// Longest extension behind its dot, in bytes.
const MAX_EXTENSION: usize = 40;

/// Whether a text can stand at the end of a file's name and nowhere else in a path.
fn is_extension(text: &str) -> bool {
    let Some(name) = text.strip_prefix('.') else {
        return false;
    };
    (1..=MAX_EXTENSION).contains(&name.len())
        && !name
            .chars()
            .any(|letter| matches!(letter, '/' | '\\' | '.') || letter.is_control())
}

fn is_name(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_the_end_of_a_name_and_no_path() {
        for good in [
            ".safetensors",
            ".pt2",
            ".Mini",
            ".漢字",
            &format!(".{}", "x".repeat(40)),
        ] {
            assert!(is_extension(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "pt",
            "..",
            "./../../x",
            ".a/b",
            ".a\\b",
            ".tar.gz",
            ".a\0",
            ".a\n",
            &format!(".{}", "x".repeat(41)),
        ] {
            assert!(!is_extension(bad), "{bad:?}");
        }
    }
}
