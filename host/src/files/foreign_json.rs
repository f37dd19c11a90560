//! JSON as Python writes it: `NaN`, `Infinity`, numbers beyond 64 bits, lone surrogates.
//!
//! `json.dumps` of Python writes tokens that are no JSON or that no number type of Rust holds. [`read`] gives each of them
//! the nearest JSON value: `null` for `NaN`, an infinity and a number that is too large, a double for an integer beyond
//! 64 bits, U+FFFD for a lone surrogate. So everything that looks at the value, plugins and clients included, sees plain
//! JSON. [`write`] compares the value with the text it was read from, and writes the original token wherever the value is
//! still the one that was read. Nothing marks such a token inside a value, so no content of a file can forge one.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read, the limit of `serde_json`.
const MAX_DEPTH: usize = 127;

/// Most elements that were taken out of a list in one place and behind which tokens are still recognised. Bounds the time
/// for a list that has nothing to do with the original.
const MAX_REMOVED: usize = 1_000;

/// Why a text is not even JSON as Python writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub struct ForeignJsonError {
    reason: &'static str,
    line: usize,
    column: usize,
}

/// Reads a text; a byte order mark at its start is skipped.
///
/// # Errors
/// When the text is not JSON, even with what Python adds.
pub fn read(text: &[u8]) -> Result<Value, ForeignJsonError> {
    let text = without_mark(text);
    // Nearly every text is plain JSON, which serde_json reads several times as fast.
    serde_json::from_slice(text).or_else(|_| parse(text).map(|(value, _)| value))
}

/// Writes an object two spaces deep. `original` is the text from which the object was read before it was changed: its
/// tokens that are no JSON, and numbers written in another way, are kept wherever their value did not change.
pub fn write(object: &Map<String, Value>, original: Option<&[u8]>) -> Vec<u8> {
    let mut writer = Writer {
        original: original.map(without_mark).unwrap_or_default(),
        out: Vec::with_capacity(original.map_or(1024, <[u8]>::len)),
    };
    let parsed = original.and_then(|_| parse(writer.original).ok());
    let (was, odd) = match &parsed {
        Some((Value::Object(was), odd)) => (Some(was), odd.as_ref()),
        _ => (None, None),
    };
    writer.object(object, was, odd, 0);
    writer.out
}

/// The text with each token that is no JSON replaced, as [`read`] does, in one pass and without building values. For
/// texts that are read by types of their own; plain JSON comes back as it was.
pub fn cleaned(text: &[u8]) -> Vec<u8> {
    let text = without_mark(text);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        if byte == b'"' {
            at += copy_string(rest, &mut out);
        } else if byte == b'-' || byte.is_ascii_alphanumeric() {
            let length = token_length(rest);
            let token = &rest[..length];
            let is_replaced = is_unknown_number(token) || (is_number(token) && parsed_number(token).is_none());
            out.extend_from_slice(if is_replaced { b"null" } else { token });
            at += length;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

fn without_mark(text: &[u8]) -> &[u8] {
    // Editors on Windows put a byte order mark first, which JSON does not know.
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Where a text has tokens that the value does not show.
#[derive(Debug)]
enum Odd {
    /// The value itself.
    Token(Range<usize>),
    /// Members of an object.
    Object {
        /// Keys, by what the value has in their place.
        keys: HashMap<String, Range<usize>>,
        members: HashMap<String, Odd>,
    },
    /// Elements of a list, by index.
    List(BTreeMap<usize, Odd>),
}

fn parse(text: &[u8]) -> Result<(Value, Option<Odd>), ForeignJsonError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let parsed = parser.value().and_then(|parsed| {
        parser.skip_space();
        match parser.at < text.len() {
            true => Err("unexpected text behind the value"),
            false => Ok(parsed),
        }
    });
    parsed.map_err(|reason| {
        let before = &text[..parser.at.min(text.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        ForeignJsonError {
            reason,
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: 1 + before.len() - line_start,
        }
    })
}

const EOF: &str = "EOF: the text ends too early";

struct Parser<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, &'static str>;

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Parsed<()> {
        self.skip_space();
        match self.peek() {
            Some(own) if own == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(reason),
            None => Err(EOF),
        }
    }

    fn value(&mut self) -> Parsed<(Value, Option<Odd>)> {
        self.skip_space();
        match self.peek() {
            None => Err(EOF),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => {
                let (text, odd) = self.string()?;
                Ok((Value::String(text), odd.map(Odd::Token)))
            }
            Some(byte) if byte == b'-' || byte.is_ascii_alphanumeric() => self.scalar(),
            Some(_) => Err("expected a value"),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == MAX_DEPTH {
            return Err("nested too deep");
        }
        self.depth += 1;
        self.at += 1;
        let nested = read(self);
        self.depth -= 1;
        nested
    }

    fn object(&mut self) -> Parsed<(Value, Option<Odd>)> {
        let mut names = OddKeys::default();
        let mut object = Map::new();
        let mut members: HashMap<String, Odd> = HashMap::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok((object.into(), None));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(if self.peek().is_none() {
                    EOF
                } else {
                    "expected a key in quotes"
                });
            }
            let (key, odd_key) = self.string()?;
            let key = match odd_key {
                Some(place) => names.name(key, place, self.text, &object),
                None => {
                    names.make_room(&key, &mut object, &mut members);
                    key
                }
            };
            self.expect(b':', "expected `:`")?;
            let (value, odd) = self.value()?;
            match odd {
                Some(odd) => members.insert(key.clone(), odd),
                // Of two members of one name the last counts, as in Python.
                None if members.is_empty() => None,
                None => members.remove(&key),
            };
            object.insert(key, value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                Some(_) => return Err("expected `,` or `}`"),
                None => return Err(EOF),
            }
        }
        let keys = names.places;
        let odd = (!keys.is_empty() || !members.is_empty()).then_some(Odd::Object { keys, members });
        Ok((object.into(), odd))
    }

    fn list(&mut self) -> Parsed<(Value, Option<Odd>)> {
        let (mut list, mut odds) = (Vec::new(), BTreeMap::new());
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok((list.into(), None));
        }
        loop {
            let (value, odd) = self.value()?;
            odds.extend(odd.map(|odd| (list.len(), odd)));
            list.push(value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    break;
                }
                Some(_) => return Err("expected `,` or `]`"),
                None => return Err(EOF),
            }
        }
        let odd = (!odds.is_empty()).then_some(Odd::List(odds));
        Ok((list.into(), odd))
    }

    /// A string, and its place where the text that it became can't be written as the original.
    fn string(&mut self) -> Parsed<(String, Option<Range<usize>>)> {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        let mut clean = Vec::new();
        let length = copy_string(rest, &mut clean);
        let place = start..start + length;
        let raw = self.text.get(place.clone()).unwrap_or_default();
        if length < 2 || raw.last() != Some(&b'"') {
            self.at = self.text.len();
            return Err(EOF);
        }
        let text =
            serde_json::from_slice(&clean).map_err(|_| "a string has a character or escape that is not allowed")?;
        self.at = place.end;
        let is_odd = clean != raw;
        Ok((text, is_odd.then_some(place)))
    }

    fn scalar(&mut self) -> Parsed<(Value, Option<Odd>)> {
        let start = self.at;
        let length = token_length(&self.text[start..]);
        let place = start..start + length;
        let token = &self.text[place.clone()];
        let value = match token {
            b"true" => (Value::Bool(true), None),
            b"false" => (Value::Bool(false), None),
            b"null" => (Value::Null, None),
            token if is_unknown_number(token) => (Value::Null, Some(Odd::Token(place.clone()))),
            token if is_number(token) => match parsed_number(token) {
                Some(number) => {
                    let is_same = number.to_string().as_bytes() == token;
                    let odd = (!is_same).then(|| Odd::Token(place.clone()));
                    (Value::Number(number), odd)
                }
                None => (Value::Null, Some(Odd::Token(place.clone()))),
            },
            _ => return Err("expected a value"),
        };
        self.at = place.end;
        Ok(value)
    }
}

/// Keys of one object that can't be written as the value has them.
#[derive(Default)]
struct OddKeys {
    // By the name in the value.
    places: HashMap<String, Range<usize>>,
    // By the original token.
    names: HashMap<Vec<u8>, String>,
    count: usize,
}

impl OddKeys {
    /// The name under which a key is in the value: its text, unless that is another key already.
    fn name(&mut self, text: String, place: Range<usize>, source: &[u8], object: &Map<String, Value>) -> String {
        let token = source[place.clone()].to_vec();
        if let Some(name) = self.names.get(&token) {
            return name.clone();
        }
        let name = self.free(text, object);
        self.names.insert(token, name.clone());
        self.places.insert(name.clone(), place);
        name
    }

    fn free(&mut self, text: String, object: &Map<String, Value>) -> String {
        let mut name = text.clone();
        while object.contains_key(&name) || self.places.contains_key(&name) {
            self.count += 1;
            name = format!("{text}\u{fffd}{}", self.count);
        }
        name
    }

    /// Renames the odd key that has the text of one that is none.
    fn make_room(&mut self, key: &str, object: &mut Map<String, Value>, members: &mut HashMap<String, Odd>) {
        let Some(place) = self.places.remove(key) else { return };
        let name = self.free(format!("{key}\u{fffd}"), object);
        for own in self.names.values_mut().filter(|own| *own == key) {
            own.clone_from(&name);
        }
        self.places.insert(name.clone(), place);
        members
            .remove(key)
            .into_iter()
            .for_each(|odd| drop(members.insert(name.clone(), odd)));
        let renamed = std::mem::take(object).into_iter();
        *object = renamed
            .map(|(own, value)| (if own == key { name.clone() } else { own }, value))
            .collect();
    }
}

/// How many bytes belong to a number or word at the start of a text.
fn token_length(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
    text.iter().position(|byte| !is_part(byte)).unwrap_or(text.len())
}

fn is_unknown_number(token: &[u8]) -> bool {
    matches!(token, b"NaN" | b"Infinity" | b"-Infinity")
}

/// Whether a token follows the grammar of a JSON number, however large it is.
fn is_number(token: &[u8]) -> bool {
    let digits = |text: &mut &[u8]| {
        let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        *text = &text[count..];
        count
    };
    let mut rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = rest;
    let count = digits(&mut rest);
    if count == 0 || (count > 1 && whole.first() == Some(&b'0')) {
        return false;
    }
    if let Some(mut fraction) = rest.strip_prefix(b".") {
        if digits(&mut fraction) == 0 {
            return false;
        }
        rest = fraction;
    }
    if let Some(mut exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        exponent = exponent
            .strip_prefix(b"+")
            .or_else(|| exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        if digits(&mut exponent) == 0 {
            return false;
        }
        rest = exponent;
    }
    rest.is_empty()
}

fn parsed_number(token: &[u8]) -> Option<Number> {
    serde_json::from_slice(token).ok()
}

/// Copies the string at the start of a text, quotes included, with lone surrogates and bytes that are no UTF-8 replaced by
/// U+FFFD; how long it is in the text. A string without an end is copied as far as it goes.
fn copy_string(text: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 1;
    let mut copied = 0;
    let copy = |range: Range<usize>, out: &mut Vec<u8>| {
        let part = text.get(range).unwrap_or_default();
        match std::str::from_utf8(part) {
            Ok(_) => out.extend_from_slice(part),
            Err(_) => out.extend_from_slice(String::from_utf8_lossy(part).as_bytes()),
        }
    };
    while let Some(step) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += step;
        if text.get(at) == Some(&b'"') {
            copy(copied..at + 1, out);
            return at + 1;
        }
        let lone = match escaped_unit(text, at) {
            Some(0xDC00..=0xDFFF) => true,
            Some(0xD800..=0xDBFF) => match escaped_unit(text, at + 6) {
                Some(0xDC00..=0xDFFF) => {
                    at += 6;
                    false
                }
                _ => true,
            },
            Some(_) => false,
            // The escaped character, which may be a quote.
            None => {
                at += 2;
                continue;
            }
        };
        if lone {
            copy(copied..at, out);
            out.extend_from_slice(b"\\ufffd");
            copied = at + 6;
        }
        at += 6;
    }
    copy(copied.min(text.len())..text.len(), out);
    text.len()
}

/// The code unit of `\uXXXX` at this place of a text.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

struct Writer<'t> {
    original: &'t [u8],
    out: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, was: Option<&Value>, odd: Option<&Odd>, depth: usize) {
        match (value, odd) {
            (_, Some(Odd::Token(place))) if was == Some(value) => self.token(place),
            (Value::Object(object), odd) => self.object(object, was.and_then(Value::as_object), odd, depth),
            (Value::Array(list), odd) => self.list(list, was.and_then(Value::as_array), odd, depth),
            (other, _) => self.json(other),
        }
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        was: Option<&Map<String, Value>>,
        odd: Option<&Odd>,
        depth: usize,
    ) {
        let (keys, members) = match odd {
            Some(Odd::Object { keys, members }) => (Some(keys), Some(members)),
            _ => (None, None),
        };
        if object.is_empty() {
            self.out.extend_from_slice(b"{}");
            return;
        }
        self.out.push(b'{');
        for (index, (key, value)) in object.iter().enumerate() {
            self.line(index > 0, depth + 1);
            match keys.and_then(|keys| keys.get(key)) {
                Some(place) => self.token(place),
                None => self.json(key),
            }
            self.out.extend_from_slice(b": ");
            let odd = members.and_then(|members| members.get(key));
            self.value(value, was.and_then(|was| was.get(key)), odd, depth + 1);
        }
        self.line(false, depth);
        self.out.push(b'}');
    }

    fn list(&mut self, list: &[Value], was: Option<&Vec<Value>>, odd: Option<&Odd>, depth: usize) {
        let odds = match odd {
            Some(Odd::List(odds)) => Some(odds),
            _ => None,
        };
        if list.is_empty() {
            self.out.extend_from_slice(b"[]");
            return;
        }
        let was = was.map(Vec::as_slice).unwrap_or_default();
        // Elements may have been added or taken out in between: each one belongs to the next that is equal, and else to
        // the one in its own place, where both lists are equally long.
        let (is_as_long, mut next) = (was.len() == list.len(), 0);
        self.out.push(b'[');
        for (index, value) in list.iter().enumerate() {
            self.line(index > 0, depth + 1);
            let place = match odds {
                None => None,
                Some(_) if is_as_long => Some(index),
                Some(_) => {
                    let mut rest = was.iter().skip(next).take(MAX_REMOVED);
                    rest.position(|own| own == value).map(|step| next + step)
                }
            };
            next = place.map_or(next, |place| place + 1);
            let own = place.and_then(|place| was.get(place));
            let odd = place.and_then(|place| odds?.get(&place));
            self.value(value, own, odd, depth + 1);
        }
        self.line(false, depth);
        self.out.push(b']');
    }

    fn line(&mut self, comma: bool, depth: usize) {
        if comma {
            self.out.push(b',');
        }
        self.out.push(b'\n');
        self.out.resize(self.out.len() + depth * 2, b' ');
    }

    fn token(&mut self, place: &Range<usize>) {
        let token = self.original.get(place.clone()).unwrap_or_default();
        self.out.extend_from_slice(token);
    }

    fn json(&mut self, value: &impl serde::Serialize) {
        // Texts, numbers and words can always be written to memory.
        let _ = serde_json::to_writer(&mut self.out, value);
    }
}

#[cfg(test)]
mod tests;
