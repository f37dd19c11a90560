//! Bounds of what a metadata file adds to a record, its item and so to each page of a list. A longer field stays in the
//! file as it is; the record has its beginning with [`MARK`], and `problem` names it.
//!
//! All sizes are in bytes of JSON, so that 100 items stay below 16 MiB whatever has to be escaped in them.

use std::ops::ControlFlow;

use arcstr::ArcStr;
use serde_json::{Map, Value};

use super::record::Record;

/// Ends a text that was cut, and stands for the rest of a list. An edit that would write it into a metadata file is
/// refused: it comes from a page that shows a cut text.
pub const MARK: &str = "… [cut: the metadata file has the rest]";

/// Notes.
const NOTES: usize = 32 << 10;
/// Names and addresses.
const NAME: usize = 1 << 10;
/// A word that many records have, such as a base model or a tag.
const WORD: usize = 256;
/// All tags.
const TAGS: usize = 8 << 10;
/// All trigger words, which may be whole prompts.
const TRIGGER_WORDS: usize = 24 << 10;
/// What a plugin keeps of its own.
const FIELDS: usize = 64 << 10;
/// What a plugin adds to an item.
const EXTRA: usize = 16 << 10;
/// What is wrong with a file.
const PROBLEM: usize = 4 << 10;
/// Other paths of a file.
const ALIASES: usize = 8 << 10;
/// One field of a metadata file that a plugin is shown, and all of them.
const SHOWN: (usize, usize) = (64 << 10, 256 << 10);

/// Cuts the fields that come from a metadata file, and notes which.
pub fn bound(record: &mut Record) {
    let mut cut_fields = Vec::new();
    let mut note = |name: &'static str, is_cut: bool| {
        if is_cut && !cut_fields.contains(&name) {
            cut_fields.push(name);
        }
    };
    note("model_name", cut_box(&mut record.model_name, NAME));
    note("notes", cut_box(&mut record.notes, NOTES));
    note("base_model", cut_shared(&mut record.base_model, WORD));
    note("tags", cut_list(&mut record.tags, WORD, TAGS, |text| text.into()));
    note("hf_url", record.hf_url.as_mut().is_some_and(|url| cut_box(url, NAME)));
    let source = record.metadata_source.as_mut();
    note("metadata_source", source.is_some_and(|text| cut_shared(text, WORD)));
    let remote = &mut record.remote;
    note(
        "civitai.name",
        remote.name.as_mut().is_some_and(|name| cut_box(name, NAME)),
    );
    for (name, text) in [
        ("civitai.creator", &mut remote.creator),
        ("civitai.model.type", &mut remote.model_type),
    ] {
        note(name, text.as_mut().is_some_and(|text| cut_shared(text, WORD)));
    }
    let words = remote.trained_words.as_mut();
    note(
        "trained words",
        words.is_some_and(|words| cut_list(words, TRIGGER_WORDS, TRIGGER_WORDS, |text| text.into())),
    );
    bound_aliases(record);
    if !cut_fields.is_empty() {
        add_problem(
            record,
            format!(
                "Shown with less than its metadata file has, which keeps all of it: {}",
                cut_fields.join(", ")
            ),
        );
    }
}

/// Cuts what a plugin's `derive` gave.
pub fn bound_derived(record: &mut Record) {
    cut_shared(&mut record.sub_type, WORD);
    if let Some(hint) = &mut record.base_model_hint {
        cut_shared(hint, WORD);
    }
    if record.fields.len() > FIELDS {
        record.fields = "{}".into();
        add_problem(
            record,
            format!("Its plugin gave more than {FIELDS} bytes of fields, which are left out."),
        );
    }
    bound_problem(record);
}

/// What a plugin's `format` adds to an item; nothing when that is too much.
pub fn bound_extra(record: &mut Record, extra: String) -> String {
    if extra.len() <= EXTRA {
        return extra;
    }
    add_problem(
        record,
        format!("Its plugin adds more than {EXTRA} bytes to its item, which are left out."),
    );
    "{}".to_owned()
}

/// Cuts what is wrong with a file.
pub fn bound_problem(record: &mut Record) {
    if let Some(problem) = &mut record.problem {
        cut_box(problem, PROBLEM);
    }
}

/// The fields of a metadata file that fit into what a plugin is shown.
pub fn shown<'s>(fields: impl Iterator<Item = (&'s str, &'s Value)>) -> Map<String, Value> {
    let mut left = SHOWN.1;
    let mut shown = Map::new();
    for (key, value) in fields {
        let mut counter = Counter(SHOWN.0.min(left));
        if serde_json::to_writer(&mut counter, &(key, value)).is_ok() {
            left -= SHOWN.0.min(left) - counter.0;
            shown.insert(key.to_owned(), value.clone());
        }
    }
    shown
}

/// Whether a value of an edit was cut when it was shown.
pub fn is_cut(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MARK),
        Value::Array(list) => list.iter().any(is_cut),
        Value::Object(object) => object.values().any(is_cut),
        _ => false,
    }
}

fn add_problem(record: &mut Record, problem: String) {
    record.problem.get_or_insert(problem.into());
}

fn bound_aliases(record: &mut Record) {
    let mut length = 0;
    let count = record.aliases.iter().take_while(|alias| {
        length += escaped_length(alias) + 3;
        length <= ALIASES
    });
    let count = count.count();
    record.aliases.truncate(count);
}

/// The longest beginning of a text with at most so many bytes of JSON; none when the whole text fits.
fn beginning(text: &str, most: usize) -> Option<&str> {
    // Nothing takes more than six bytes for one of its own.
    if text.len() <= most / 6 {
        return None;
    }
    let mut length = 0;
    let end = text.char_indices().try_for_each(|(at, c)| {
        length += escaped(c);
        match length > most {
            true => ControlFlow::Break(at),
            false => ControlFlow::Continue(()),
        }
    });
    end.break_value().map(|end| &text[..end])
}

fn escaped(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        other => other.len_utf8(),
    }
}

fn escaped_length(text: &str) -> usize {
    text.chars().map(escaped).sum()
}

/// The cut form of a text; none when the whole text fits.
fn cut(text: &str, most: usize) -> Option<String> {
    beginning(text, most)?;
    let kept = beginning(text, most.saturating_sub(MARK.len())).unwrap_or_default();
    Some(format!("{kept}{MARK}"))
}

fn cut_box(text: &mut Box<str>, most: usize) -> bool {
    let cut = cut(text, most);
    cut.map(|cut| *text = cut.into()).is_some()
}

fn cut_shared(text: &mut ArcStr, most: usize) -> bool {
    let cut = cut(text, most);
    cut.map(|cut| *text = cut.into()).is_some()
}

fn cut_list<T: AsRef<str>>(list: &mut Vec<T>, each: usize, all: usize, make: impl Fn(&str) -> T) -> bool {
    let mut is_cut = false;
    let mut left = all;
    for index in 0..list.len() {
        let Some(text) = list.get_mut(index) else { break };
        if let Some(cut) = cut(text.as_ref(), each) {
            *text = make(&cut);
            is_cut = true;
        }
        // Quotes and a comma.
        let length = escaped_length(text.as_ref()) + 3;
        if length > left {
            list.truncate(index);
            list.push(make(MARK));
            return true;
        }
        left -= length;
    }
    is_cut
}

/// Counts down what is written, and fails below zero.
struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or_else(|| std::io::Error::other("more than it may be"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::library::item;
    use crate::library::snapshot_tests::named;

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut record = named("glass");
        record.notes = "é".repeat(NOTES / 2).into();
        record.tags = vec!["t".repeat(WORD).into()];
        let before = record.clone();
        bound(&mut record);
        assert_eq!(record, before);
    }

    #[test]
    fn an_item_is_bounded_whatever_its_metadata_file_has_and_says_what_was_cut() {
        let large = "\u{1}\"é".repeat(1 << 20);
        let mut record = named("glass");
        record.model_name = large.as_str().into();
        record.notes = large.as_str().into();
        record.base_model = large.as_str().into();
        record.tags = vec![large.as_str().into(); 100];
        record
            .tags
            .extend((0..100_000).map(|index| ArcStr::from(index.to_string())));
        record.hf_url = Some(large.as_str().into());
        record.remote.name = Some(large.as_str().into());
        record.remote.creator = Some(large.as_str().into());
        record.remote.trained_words = Some(vec![large.as_str().into(); 100]);
        record.aliases = vec!["/a/path".into(); 100_000];
        bound(&mut record);
        record.fields = large.as_str().into();
        record.sub_type = large.as_str().into();
        bound_derived(&mut record);
        let extra = bound_extra(&mut record, large);
        let item = item::open(&record, "x", &extra);
        assert!(item.len() < 100 << 10, "{}", item.len());
        let problem = record.problem.as_deref().unwrap_or_default();
        assert!(
            problem.contains("notes") && problem.contains("tags") && problem.contains("trained words"),
            "{problem}"
        );
        assert!(record.notes.ends_with(MARK) && record.tags.last().is_some_and(|tag| tag == MARK));
    }

    #[test]
    fn a_cut_value_is_recognised_wherever_it_stands() {
        assert!(is_cut(&json!({"civitai": {"trainedWords": ["a", MARK]}})));
        assert!(!is_cut(&json!({"notes": "[cut: something else]", "n": 1})));
    }

    #[test]
    fn a_plugin_is_shown_what_fits() {
        let fields = json!({"a": 1, "large": "x".repeat(SHOWN.0), "b": {"c": [2]}});
        let fields = fields.as_object().cloned().unwrap_or_default();
        let shown = shown(fields.iter().map(|(key, value)| (key.as_str(), value)));
        assert_eq!(Value::Object(shown), json!({"a": 1, "b": {"c": [2]}}));
    }
}
