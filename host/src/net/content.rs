//! The kind of content that an HTTP answer says it has. Other servers write header values in any letter case, and send
//! pages, error messages or compressed bytes where a file was asked for.

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

/// The media type in lower case, without parameters; empty when there is none.
pub fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = text.and_then(|text| text.split(';').next()).unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Whether an answer is a web page.
pub fn is_page(headers: &HeaderMap) -> bool {
    matches!(media_type(headers).as_str(), "text/html" | "application/xhtml+xml")
}

/// Whether an answer is a message in JSON or XML. No model file is served as one of these.
pub fn is_message(headers: &HeaderMap) -> bool {
    let kind = media_type(headers);
    let (_, sub_type) = kind.split_once('/').unwrap_or_default();
    matches!(sub_type, "json" | "xml") || sub_type.ends_with("+json") || sub_type.ends_with("+xml")
}

/// The encoding of a body that is not as the file is stored, in lower case; none for `identity` or no header.
pub fn encoding(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(CONTENT_ENCODING).iter();
    let names: Vec<String> = values
        .flat_map(|value| value.to_str().unwrap_or("unreadable").split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty() && name != "identity")
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        [(name.parse().unwrap(), value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn pages_and_messages_are_known_in_any_letter_case() {
        for page in [
            "text/html",
            "Text/HTML; charset=utf-8",
            " TEXT/HTML",
            "application/xhtml+xml",
        ] {
            assert!(is_page(&headers("content-type", page)), "{page}");
        }
        for message in [
            "application/json",
            "Application/Problem+JSON",
            "text/xml",
            "application/xml;x=y",
        ] {
            assert!(is_message(&headers("content-type", message)), "{message}");
        }
        for file in [
            "application/octet-stream",
            "binary/octet-stream",
            "text/plain",
            "",
            "application/zip",
        ] {
            assert!(
                !is_page(&headers("content-type", file)) && !is_message(&headers("content-type", file)),
                "{file}"
            );
        }
        assert!(!is_page(&HeaderMap::new()));
    }

    #[test]
    fn an_encoding_is_anything_but_identity() {
        assert_eq!(encoding(&headers("content-encoding", "GZip")).as_deref(), Some("gzip"));
        assert_eq!(
            encoding(&headers("content-encoding", "identity, br")).as_deref(),
            Some("br")
        );
        assert_eq!(encoding(&headers("content-encoding", "Identity")), None);
        assert_eq!(encoding(&HeaderMap::new()), None);
    }
}
