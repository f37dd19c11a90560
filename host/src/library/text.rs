//! Texts as the library compares them: natural order, first characters, cases.

use std::cmp::Ordering;

use unicode_normalization::UnicodeNormalization;

/// A key whose byte order is the natural order of a text: case ignored, runs of digits
/// compared as numbers, letters with marks beside their letter.
///
/// Each stretch of text ends with a zero byte, and each number starts with its count of
/// digits, so that comparing keys as bytes compares part by part.
pub fn natural_key(text: &str) -> Box<[u8]> {
    let mut key = Vec::with_capacity(text.len() + 8);
    push_natural_key(text, &mut key);
    key.into_boxed_slice()
}

/// Writes a [`natural_key`] behind what is in `key`.
pub fn push_natural_key(text: &str, key: &mut Vec<u8>) {
    // Plain ASCII, nearly every name, is its own canonical decomposition.
    let lower = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.to_lowercase().nfd().map(|c| digit(c).unwrap_or(c)).collect()
    };
    let mut chars = lower.char_indices().peekable();
    while let Some((start, first)) = chars.next() {
        if !first.is_ascii_digit() {
            key.extend_from_slice(&lower.as_bytes()[start..start + first.len_utf8()]);
            continue;
        }
        let mut end = start + 1;
        while let Some((index, next)) = chars.peek().copied()
            && next.is_ascii_digit()
        {
            end = index + 1;
            chars.next();
        }
        let digits = lower[start..end].trim_start_matches('0');
        key.push(0);
        // A file name has at most some thousand bytes, so two bytes count its digits.
        key.extend_from_slice(&(digits.len().min(usize::from(u16::MAX)) as u16).to_be_bytes());
        key.extend_from_slice(digits.as_bytes());
    }
    key.push(0);
}

/// A text as searches compare it: in lower case, letters with marks composed (NFC), so that `é` is found in whichever of
/// its two forms a name or a query has it. Plain ASCII costs a copy.
pub fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    push_folded(text, &mut folded);
    folded
}

/// Writes a [`folded`] text behind what is in `out`.
pub fn push_folded(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        if let Some(new) = out.get_mut(start..) {
            new.make_ascii_lowercase();
        }
    } else {
        // Lower case of a composed letter may be decomposed, such as that of `İ`.
        out.extend(text.chars().flat_map(char::to_lowercase).nfc());
    }
}

/// Compares two texts as their [`natural_key`]s do; plain ASCII without making the keys.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        // Equal parts have equal keys, as long as the cut is not inside a number.
        let digits = |text: &&[u8]| text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let equal = equal_start(a.as_bytes(), b.as_bytes());
        let cut = equal - a.as_bytes().get(..equal).as_ref().map_or(0, digits);
        let (a, b) = (a.as_bytes().get(cut..), b.as_bytes().get(cut..));
        NaturalBytes::new(a.unwrap_or_default()).cmp(NaturalBytes::new(b.unwrap_or_default()))
    } else {
        natural_key(a).cmp(&natural_key(b))
    }
}

/// Compares two texts in lower case; plain ASCII without making copies.
pub fn lower_cmp(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        let equal = equal_start(a.as_bytes(), b.as_bytes());
        let (a, b) = (a.bytes().skip(equal), b.bytes().skip(equal));
        a.map(|byte| byte.to_ascii_lowercase())
            .cmp(b.map(|byte| byte.to_ascii_lowercase()))
    } else {
        a.to_lowercase().cmp(&b.to_lowercase())
    }
}

/// How many bytes two texts have in common at their start.
fn equal_start(a: &[u8], b: &[u8]) -> usize {
    let words = a
        .chunks_exact(8)
        .zip(b.chunks_exact(8))
        .take_while(|(a, b)| a == b)
        .count();
    let from = words * 8;
    let (a, b) = (a.get(from..).unwrap_or_default(), b.get(from..).unwrap_or_default());
    from + a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The bytes of an ASCII text's natural key, one after the other.
struct NaturalBytes<'t> {
    rest: &'t [u8],
    // Of the number that is being written: how much of its start is out, and its digits.
    number: Option<(u8, &'t [u8])>,
    ended: bool,
}

impl<'t> NaturalBytes<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            rest: text,
            number: None,
            ended: false,
        }
    }
}

impl Iterator for NaturalBytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let Some((written, digits)) = &mut self.number {
            let count = digits.len().min(usize::from(u16::MAX)) as u16;
            *written = written.saturating_add(1);
            match *written {
                1 => return Some((count >> 8) as u8),
                2 => return Some(count as u8),
                _ => {}
            }
            if let Some((first, rest)) = digits.split_first() {
                *digits = rest;
                return Some(*first);
            }
            self.number = None;
        }
        let Some((first, rest)) = self.rest.split_first() else {
            return (!std::mem::replace(&mut self.ended, true)).then_some(0);
        };
        if !first.is_ascii_digit() {
            self.rest = rest;
            return Some(first.to_ascii_lowercase());
        }
        let end = self.rest.iter().position(|byte| !byte.is_ascii_digit());
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        self.number = Some((0, digits.get(zeros..).unwrap_or_default()));
        self.rest = rest;
        Some(0)
    }
}

/// The ASCII digit that a digit of another form, such as a full-width or circled one, stands for.
fn digit(c: char) -> Option<char> {
    if c.is_ascii() || !c.is_numeric() {
        return None;
    }
    let mut plain = std::iter::once(c).nfkd();
    let first = plain.next().filter(char::is_ascii_digit)?;
    plain.next().is_none().then_some(first)
}

/// The class of a name's first character, for the letter filter and its counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Initial {
    /// A decimal digit, `#`.
    Digit,
    /// `A` to `Z`, upper-case.
    Letter(u8),
    /// Neither letter nor digit, `@`.
    Symbol,
    /// Han, kana, hangul or bopomofo, `漢`.
    Cjk,
    /// A letter or number of another script; counted nowhere, found by itself.
    Other(char),
}

impl Initial {
    /// The class of this text's first character; an empty text is a symbol.
    pub fn of(text: &str) -> Self {
        // A letter and its mark may be apart.
        let Some(first) = text.chars().nfc().next() else {
            return Self::Symbol;
        };
        if first.is_ascii_digit() || digit(first).is_some() {
            return Self::Digit;
        }
        if first.is_ascii_alphabetic() {
            return Self::Letter(first.to_ascii_uppercase() as u8);
        }
        if is_cjk(first) {
            return Self::Cjk;
        }
        if first.is_alphanumeric() {
            Self::Other(first)
        } else {
            Self::Symbol
        }
    }
}

/// Scripts that the contract counts as `漢`: Unicode blocks of Han, kana, hangul and bopomofo.
fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x11FF        // hangul jamo
        | 0x3040..=0x30FF      // hiragana, katakana
        | 0x3100..=0x312F      // bopomofo
        | 0x3130..=0x318F      // hangul compatibility jamo
        | 0x31A0..=0x31BF      // bopomofo extended
        | 0x31F0..=0x31FF      // katakana extensions
        | 0x3400..=0x4DBF      // Han extension A
        | 0x4E00..=0x9FFF      // Han
        | 0xA960..=0xA97F      // hangul jamo extended A
        | 0xAC00..=0xD7FF      // hangul syllables and jamo extended B
        | 0xF900..=0xFAFF      // Han compatibility
        | 0x20000..=0x323AF) // Han extensions B and later
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(mut names: Vec<&str>) -> Vec<&str> {
        names.sort_by_key(|name| natural_key(name));
        names
    }

    #[test]
    fn numbers_in_names_sort_as_numbers_and_case_is_ignored() {
        assert_eq!(sorted(vec!["v10", "V2", "v1", "a"]), ["a", "v1", "V2", "v10"]);
        assert_eq!(sorted(vec!["a1b2", "a1b10", "a01b3"]), ["a1b2", "a01b3", "a1b10"]);
        assert_eq!(sorted(vec!["a", "９b", "②c"]), ["②c", "９b", "a"]);
        assert_eq!(sorted(vec!["Baroque", "Ärger", "Azure"]), ["Azure", "Ärger", "Baroque"]);
    }

    #[test]
    fn a_shorter_text_sorts_before_a_longer_one_that_starts_with_it() {
        assert_eq!(sorted(vec!["ab", "a", "a1"]), ["a", "a1", "ab"]);
    }

    #[test]
    fn first_characters_fall_into_the_contracts_classes() {
        assert_eq!(Initial::of("7up"), Initial::Digit);
        assert_eq!(Initial::of("zeta"), Initial::Letter(b'Z'));
        assert_eq!(Initial::of("９a"), Initial::Digit);
        assert_eq!(Initial::of("Ⅷ"), Initial::Other('Ⅷ'));
        assert_eq!(Initial::of("_x"), Initial::Symbol);
        assert_eq!(Initial::of(" x"), Initial::Symbol);
        assert_eq!(Initial::of("日本"), Initial::Cjk);
        assert_eq!(Initial::of("ひ"), Initial::Cjk);
        assert_eq!(Initial::of("под"), Initial::Other('п'));
        assert_eq!(Initial::of("A\u{308}rger"), Initial::of("Ärger"));
    }

    #[test]
    fn composed_and_decomposed_letters_are_the_same_when_folded() {
        for (one, other) in [
            ("CAFÉ", "cafe\u{301}"),
            ("한글", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"),
            ("が", "か\u{3099}"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
        assert_eq!(folded("Plain 1"), "plain 1");
    }

    proptest::proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{0,20}") {
            proptest::prop_assert_eq!(folded(&folded(&text)), folded(&text));
        }

        #[test]
        fn natural_keys_never_panic_and_equal_texts_have_equal_keys(text in ".{0,40}") {
            proptest::prop_assert_eq!(natural_key(&text), natural_key(&text.to_lowercase()));
        }

        #[test]
        fn comparing_without_keys_is_comparing_keys(a in "[aB0-3_é]{0,20}", b in "[aB0-3_é]{0,20}", start in "[aB01]{0,12}") {
            let (a, b) = (format!("{start}{a}"), format!("{start}{b}"));
            proptest::prop_assert_eq!(natural_cmp(&a, &b), natural_key(&a).cmp(&natural_key(&b)));
            proptest::prop_assert_eq!(lower_cmp(&a, &b), a.to_lowercase().cmp(&b.to_lowercase()));
        }
    }
}
