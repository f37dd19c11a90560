use proptest::prelude::*;
use serde_json::json;

use super::*;

fn object(text: &str) -> Map<String, Value> {
    read(text.as_bytes()).unwrap().as_object().cloned().unwrap()
}

/// The text after `edit` was made on its object.
fn edited(text: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    let mut object = object(text);
    edit(&mut object);
    String::from_utf8(write(&object, Some(text.as_bytes()))).unwrap()
}

/// A text without white space outside strings.
fn squeezed(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    while let Some(&byte) = text.get(at) {
        if byte == b'"' {
            let mut end = at + 1;
            while text[end] != b'"' {
                end += 1 + usize::from(text[end] == b'\\');
            }
            out.extend_from_slice(&text[at..=end]);
            at = end + 1;
        } else {
            out.extend((!byte.is_ascii_whitespace()).then_some(byte));
            at += 1;
        }
    }
    out
}

const PYTHON: &str = r#"{"a": NaN, "b": [Infinity, -Infinity, 1e400, -1e999], "c": 123456789012345678901234567890,
    "d": "x\ud800y", "e": {"f": 1.0, "g": 1e-05, "h": 0.1, "i": 1e+16, "j": -0.0, "k": 2.50}, "l\udfff": 1, "m": "\ud83d\ude00"}"#;

#[test]
fn what_python_writes_is_read_as_the_nearest_json() {
    let value = read(PYTHON.as_bytes()).unwrap();
    assert_eq!(value["a"], Value::Null);
    assert_eq!(value["b"], json!([null, null, null, null]));
    assert_eq!(value["c"].as_f64(), Some(123_456_789_012_345_678_901_234_567_890.0));
    assert_eq!(value["d"], "x\u{fffd}y");
    assert_eq!(value["l\u{fffd}"], 1);
    assert_eq!(value["m"], "\u{1f600}");
    assert_eq!(value["e"]["g"].as_f64(), Some(0.00001));
}

#[test]
fn tokens_are_written_as_they_were_when_something_else_is_edited() {
    let text = edited(PYTHON, |object| drop(object.insert("new".into(), json!("word"))));
    for token in [
        "\"a\": NaN",
        "Infinity",
        "-Infinity",
        "1e400",
        "-1e999",
        "123456789012345678901234567890",
        r"x\ud800y",
        "1e-05",
        "1e+16",
        "-0.0",
        "2.50",
        "\"f\": 1.0",
        r#""l\udfff": 1"#,
        "\"new\": \"word\"",
    ] {
        assert!(text.contains(token), "{token} is missing in {text}");
    }
}

#[test]
fn a_value_that_was_edited_is_written_and_not_the_old_token() {
    let text = edited(r#"{"a": NaN, "b": "\ud800", "c": 1e400, "d": {"e": NaN}}"#, |object| {
        object["a"] = json!(1);
        object["b"] = json!("new");
        object["c"] = json!("\u{fffd}");
        object["d"] = json!(null);
    });
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({"a": 1, "b": "new", "c": "\u{fffd}", "d": null})
    );
}

#[test]
fn elements_of_a_list_keep_their_tokens_when_others_come_or_go() {
    let text = r#"{"a": [{"n": 1, "x": NaN}, {"n": 2, "x": Infinity}, {"n": 3, "x": -Infinity}]}"#;
    let shorter = edited(text, |object| drop(object["a"].as_array_mut().unwrap().remove(0)));
    let shorter = squeezed(shorter.as_bytes());
    assert_eq!(shorter, br#"{"a":[{"n":2,"x":Infinity},{"n":3,"x":-Infinity}]}"#);
    let longer = edited(text, |object| {
        object["a"].as_array_mut().unwrap().insert(1, json!(null))
    });
    let longer = squeezed(longer.as_bytes());
    assert_eq!(
        longer,
        br#"{"a":[{"n":1,"x":NaN},null,{"n":2,"x":Infinity},{"n":3,"x":-Infinity}]}"#
    );
    let changed = edited(text, |object| object["a"][1]["n"] = json!(7));
    assert!(squeezed(changed.as_bytes()).ends_with(br#"{"n":7,"x":Infinity},{"n":3,"x":-Infinity}]}"#));
}

#[test]
fn keys_that_become_the_same_text_stay_apart() {
    let text = r#"{"\ud800": 1, "\ud801": 2, "\ufffd": 3, "\ud801": 4, "\ufffd1": 5}"#;
    let value = object(text);
    assert_eq!(value.len(), 4);
    assert_eq!(value["\u{fffd}"], 3);
    let written = squeezed(&write(&value, Some(text.as_bytes())));
    assert_eq!(
        written,
        "{\"\\ud800\":1,\"\\ud801\":4,\"\u{fffd}\":3,\"\u{fffd}1\":5}".as_bytes()
    );
}

#[test]
fn bytes_that_are_no_utf8_are_kept() {
    let text = b"{\"a\": \"x\xed\xa0\x80\xff\", \"b\": 1}";
    let mut value = read(text).unwrap().as_object().cloned().unwrap();
    assert!(value["a"].as_str().unwrap().starts_with("x\u{fffd}"));
    value["b"] = json!(2);
    assert_eq!(
        squeezed(&write(&value, Some(text))),
        b"{\"a\":\"x\xed\xa0\x80\xff\",\"b\":2}"
    );
}

#[test]
fn what_is_no_json_in_python_either_is_an_error_with_its_place() {
    for (text, reason) in [
        ("{", "EOF"),
        ("{\"a\": nan}", "expected a value at line 1 column 7"),
        ("{\"a\": 01}", "expected a value"),
        ("{\"a\":\n 1,}", "expected a key in quotes at line 2 column 4"),
        ("[1 2]", "expected `,` or `]`"),
        ("{} x", "behind the value"),
        ("\"a", "EOF"),
        ("\"\\\"", "not allowed"),
        ("\"\\x\"", "not allowed"),
        ("", "EOF"),
    ] {
        let error = read(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    let deep = format!("{}NaN{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(read(deep.as_bytes()).unwrap_err().to_string().contains("deep"));
}

/// Texts of one value each, as `json.dumps` may write them.
fn python() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,40}",
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,20}",
        "-?[1-9](\\.[0-9]{1,5})?[eE][+-]?[0-9]{1,3}",
        Just("NaN".to_owned()),
        Just("Infinity".to_owned()),
        Just("-Infinity".to_owned()),
    ];
    let part = prop_oneof![
        "[a-z é😀]{0,4}",
        "\\\\ud[89a-f][0-9a-f]{2}",
        Just("\\ud83d\\ude00".to_owned()),
        Just("\\\"".to_owned()),
        Just("\\\\".to_owned()),
        Just("\\u00e9".to_owned()),
        Just("\u{fffd}".to_owned()),
    ];
    let string = prop::collection::vec(part, 0..4).prop_map(|parts| format!("\"{}\"", parts.concat()));
    let word = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned())
    ];
    let leaf = prop_oneof![number, string.clone(), word];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("[{}]", list.join(", "))),
            prop::collection::vec((string.clone(), inner), 0..5).prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| format!("{key}: {value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }),
        ]
    })
}

/// A text reduced to what Python sees in it: numbers and strings by their tokens, the last of equal keys.
#[derive(Debug, PartialEq)]
enum Seen {
    Token(String),
    List(Vec<Seen>),
    Object(BTreeMap<Vec<u16>, Seen>),
}

fn units(token: &str) -> Vec<u16> {
    let (mut units, mut rest) = (Vec::new(), &token[1..token.len() - 1]);
    while let Some(first) = rest.chars().next() {
        let length = match rest.get(..2) {
            Some("\\u") => {
                units.push(u16::from_str_radix(&rest[2..6], 16).unwrap());
                6
            }
            Some(escape) if first == '\\' => {
                units.push(u16::from(escape.as_bytes()[1]));
                2
            }
            _ => {
                units.extend_from_slice(first.encode_utf16(&mut [0; 2]));
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    units
}

fn seen(text: &str) -> Seen {
    fn value(text: &mut &str) -> Seen {
        *text = text.trim_start();
        let string = |text: &mut &str| {
            let bytes = text.as_bytes();
            let mut end = 1;
            while bytes[end] != b'"' {
                end += 1 + usize::from(bytes[end] == b'\\');
            }
            let token = text[..=end].to_owned();
            *text = text[end + 1..].trim_start();
            token
        };
        let eat = |text: &mut &str, c: char| {
            let eaten = text.trim_start().strip_prefix(c);
            *text = eaten.unwrap_or(text);
            eaten.is_some()
        };
        match text.chars().next().unwrap() {
            '[' => {
                eat(text, '[');
                let mut list = Vec::new();
                while !eat(text, ']') {
                    list.push(value(text));
                    eat(text, ',');
                }
                Seen::List(list)
            }
            '{' => {
                eat(text, '{');
                let mut object = BTreeMap::new();
                while !eat(text, '}') {
                    *text = text.trim_start();
                    let key = units(&string(text));
                    eat(text, ':');
                    object.insert(key, value(text));
                    eat(text, ',');
                }
                Seen::Object(object)
            }
            '"' => Seen::Token(format!("{:?}", units(&string(text)))),
            _ => {
                let end = text.find([',', ']', '}', ' ', '\n']).unwrap_or(text.len());
                let token = text[..end].to_owned();
                *text = &text[end..];
                Seen::Token(token)
            }
        }
    }
    value(&mut { text })
}

proptest! {
    #[test]
    fn whatever_python_writes_is_written_as_it_was(value in python(), other in "[a-z]{1,3}") {
        let text = format!("{{\"value\": {value}, \"{other}_\": 1}}");
        let edited = edited(&text, |object| object[&format!("{other}_")] = json!(2));
        let expected = text.rsplit_once(": 1").map(|(start, _)| format!("{start}: 2}}")).unwrap();
        prop_assert_eq!(seen(&edited), seen(&expected));
    }

    #[test]
    fn both_ways_of_reading_give_the_same(value in python()) {
        let parsed = parse(value.as_bytes()).unwrap().0;
        prop_assert_eq!(&read(value.as_bytes()).unwrap(), &parsed);
        let cleaned = cleaned(value.as_bytes());
        let by_serde: Value = serde_json::from_slice(&cleaned).unwrap();
        // Keys that become the same text are one only in the cleaned text.
        if !value.contains("\\ud") {
            prop_assert_eq!(by_serde, parsed);
        }
    }

    #[test]
    fn plain_json_is_written_as_serde_writes_it(value in python()) {
        let Ok(Value::Object(object)) = serde_json::from_str::<Value>(&format!("{{\"a\": {value}}}")) else {
            return Ok(());
        };
        prop_assert_eq!(write(&object, None), serde_json::to_vec_pretty(&object).unwrap());
        let text = serde_json::to_vec_pretty(&object).unwrap();
        prop_assert_eq!(write(&object, Some(&text)), text);
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'{'), Just(b':'), Just(b'u'), Just(b'N')], 0..60)) {
        let _ = parse(&bytes);
        let _ = cleaned(&bytes);
        if let Ok(Value::Object(object)) = read(&bytes) {
            let written = write(&object, Some(&bytes));
            prop_assert_eq!(read(&written).unwrap(), Value::Object(object));
        }
    }
}
