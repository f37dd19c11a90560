//! Bounds of JSON bodies. A parsed value takes up to a hundred times the bytes of its text: of 62 MiB of `[],[],…` a parser
//! makes gigabytes. So a body is counted before it is parsed, and the request reserves memory for its values.

use axum::http::{Extensions, StatusCode};

use super::error::ApiError;
use super::serving::BodyReservation;

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 64;
/// Most values of a body: 1,000,000 names in a list are within it.
const MAX_VALUES: usize = 1_200_000;
/// Values that an object counts as, since its table takes so much more memory.
const OBJECT: usize = 10;
/// Memory of one value in bytes, without its text.
const VALUE_BYTES: usize = 80;

/// Checks the body of a request, if it looks like JSON, and reserves memory for its values.
///
/// # Errors
/// 413 for too many values or levels; 503 when other requests hold the memory.
pub async fn check(body: &[u8], extensions: &Extensions) -> Result<(), ApiError> {
    let values = count(body)?;
    if let Some(reservation) = extensions.get::<BodyReservation>() {
        let held = reservation.hold(body.len() + values * VALUE_BYTES).await;
        // The connection answers with the reason, and with Retry-After.
        held.map_err(|busy| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, busy.to_string()))?;
    }
    Ok(())
}

/// Counts values outside of texts. What is no JSON is left to the parser, which ends at the first fault.
fn count(body: &[u8]) -> Result<usize, ApiError> {
    if !matches!(body.trim_ascii_start().first(), Some(b'[' | b'{')) {
        return Ok(0);
    }
    let (mut values, mut depth, mut in_text, mut escaped) = (1_usize, 0_usize, false, false);
    for byte in body {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b',' | b':' => values += 1,
            b'[' | b'{' => {
                values += if *byte == b'{' { OBJECT } else { 1 };
                depth += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(too_large(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if values > MAX_VALUES {
            return Err(too_large(format!(
                "made of more than {MAX_VALUES} values (an object counts as {OBJECT}); send fewer at once"
            )));
        }
    }
    Ok(values)
}

fn too_large(what: String) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The request's JSON is {what}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_levels_are_counted_outside_of_texts() {
        assert_eq!(count(br#"["a,b[{\"", 1]"#).unwrap(), 3);
        assert_eq!(count(b"no json [,,,").unwrap(), 0);
        assert!(count("[".repeat(MAX_DEPTH).as_bytes()).is_ok());
        assert!(count("[".repeat(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(count(format!("[{}1]", "[],".repeat(1_000_000)).as_bytes()).is_err());
        assert!(count(format!("[{}1]", "{\"\":0},".repeat(200_000)).as_bytes()).is_err());
        assert!(count(format!("[{}1]", "\"a name\",".repeat(1_000_000)).as_bytes()).is_ok());
    }
}
