//! `Content-Range`: which bytes of a file an answer has. Source: RFC 9110, section 14.4.

/// Bytes `first..=last` of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Place of the first byte.
    pub first: u64,
    /// Place of the last byte; never before `first`.
    pub last: u64,
    /// Size of the whole file; none where the server does not know it (`*`).
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads the header's text. Units are compared in any letter case, and spaces are passed over.
    ///
    /// None when it names no bytes, or bytes that no file has.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (unit, rest) = text.split_at_checked(5)?;
        let rest = rest.trim_start_matches([' ', '\t', '=']);
        let (range, total) = rest.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let range = Self {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
            total,
        };
        let sound = range.first <= range.last && total.is_none_or(|total| range.last < total);
        (unit.eq_ignore_ascii_case("bytes") && sound).then_some(range)
    }

    /// Whether a body of this length has just these bytes; an unknown length may.
    pub fn fits(&self, length: Option<u64>) -> bool {
        length.is_none_or(|length| self.last - self.first == length.wrapping_sub(1))
    }

    /// Whether it is the whole file.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.total == self.last.checked_add(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whatever_http_allows_is_read() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        for (text, expected) in [
            ("bytes 0-9/100", range(0, 9, Some(100))),
            ("Bytes  5-9 / 10", range(5, 9, Some(10))),
            ("BYTES 5-9/*", range(5, 9, None)),
            ("bytes=5-9/10", range(5, 9, Some(10))),
            ("bytes */10", None),
            ("bytes 9-5/10", None),
            ("bytes 0-10/10", None),
            ("items 0-9/10", None),
            ("bytes 0-9", None),
            ("bytes 0-9/x", None),
            ("byte\u{e9}s 0-9/10", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_body_of_another_length_does_not_fit() {
        let range = ContentRange::parse("bytes 5-9/10").unwrap();
        assert!(range.fits(Some(5)) && range.fits(None) && !range.fits(Some(6)) && !range.fits(Some(0)));
        assert!(!range.is_whole() && ContentRange::parse("bytes 0-9/10").unwrap().is_whole());
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,40}", first: u64, last: u64, total: u64) {
            let _ = ContentRange::parse(&text);
            if let Some(range) = ContentRange::parse(&format!("bytes {first}-{last}/{total}")) {
                prop_assert!(range.first <= range.last && range.last < total);
                let _ = (range.fits(Some(last)), range.is_whole());
            }
        }
    }
}
