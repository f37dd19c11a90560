//! The path below which a proxy serves the server.

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// Takes the base path off an address that has it.
pub fn strip(base_path: &str, uri: &mut Uri) {
    if base_path.is_empty() {
        return;
    }
    let Some(rest) = uri.path().strip_prefix(base_path) else {
        return;
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return;
    }
    let path = if rest.is_empty() { "/" } else { rest };
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = uri.clone().into_parts();
    let Ok(path) = PathAndQuery::try_from(text) else { return };
    parts.path_and_query = Some(path);
    if let Ok(stripped) = Uri::from_parts(parts) {
        *uri = stripped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_path_is_taken_off_once_and_only_as_a_whole_segment() {
        for (address, stripped) in [
            ("/models", "/"),
            ("/models?a=1", "/?a=1"),
            ("/models/loras?a=%2F", "/loras?a=%2F"),
            ("/models/models/x", "/models/x"),
            ("/modelsx", "/modelsx"),
            ("/loras", "/loras"),
            ("http://host/models/loras", "http://host/loras"),
        ] {
            let mut uri: Uri = address.parse().unwrap();
            strip("/models", &mut uri);
            assert_eq!(uri.to_string(), stripped);
        }
    }
}
