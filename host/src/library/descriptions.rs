//! Descriptions of models, searchable word by word. They are long and seldom searched, so they
//! stay on disk: a full-text index in the store (SQLite FTS5), not in memory.

use rusqlite::{Connection, OptionalExtension, params};
use unicode_normalization::UnicodeNormalization;

use super::item::media_key;

/// Longest text of a description that is searched, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// The tables. The index keeps words and in which descriptions they are, and neither texts nor
/// places in them; `described` says which text of a model is in the index, so that the same is not
/// written twice.
pub const TABLES: &str = "
    CREATE VIRTUAL TABLE description USING fts5(
        body, content = '', contentless_delete = 1, detail = none, prefix = '2 3',
        tokenize = 'unicode61 remove_diacritics 2');
    CREATE TABLE described (key INTEGER PRIMARY KEY, digest INTEGER NOT NULL);";

/// The index with one list of beginnings instead of two: writing it was most of what a first scan left to be stored, and
/// three letters are found as quickly among whole words. What was indexed is gone.
pub const ONE_PREFIX: &str = "
    DROP TABLE description;
    DELETE FROM described;
    CREATE VIRTUAL TABLE description USING fts5(
        body, content = '', contentless_delete = 1, detail = none, prefix = '2',
        tokenize = 'unicode61 remove_diacritics 2');";

/// Replaces the description of the model at a path; an empty one removes it. `text` may be HTML.
///
/// # Errors
/// SQLite's.
pub fn put(connection: &Connection, path: &str, text: &str) -> rusqlite::Result<()> {
    let key = key(path);
    let known: Option<i64> = connection
        .prepare_cached("SELECT digest FROM described WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let text = plain(text);
    let digest = media_key(&text) as i64;
    if known == Some(digest) || (known.is_none() && text.is_empty()) {
        return Ok(());
    }
    if known.is_some() {
        remove(connection, path)?;
    }
    if !text.is_empty() {
        connection
            .prepare_cached("INSERT INTO description (rowid, body) VALUES (?1, ?2)")?
            .execute(params![key, text])?;
        connection
            .prepare_cached("INSERT INTO described (key, digest) VALUES (?1, ?2)")?
            .execute(params![key, digest])?;
    }
    Ok(())
}

/// Forgets the description of the model at a path.
///
/// # Errors
/// SQLite's.
pub fn remove(connection: &Connection, path: &str) -> rusqlite::Result<()> {
    let key = key(path);
    let known = connection
        .prepare_cached("DELETE FROM described WHERE key = ?1")?
        .execute([key])?;
    if known > 0 {
        connection
            .prepare_cached("DELETE FROM description WHERE rowid = ?1")?
            .execute([key])?;
    }
    Ok(())
}

/// [`media_key`]s of the models whose description has a word that starts with each word of `text`.
///
/// # Errors
/// SQLite's.
pub fn find(connection: &Connection, text: &str) -> rusqlite::Result<Vec<u64>> {
    // Quoted, so that nothing in the text is taken as an operator of the query language.
    // A mark apart from its letter would end the word.
    let words: Vec<String> = text
        .nfc()
        .collect::<String>()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| format!("\"{word}\"*"))
        .collect();
    if words.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached("SELECT rowid FROM description WHERE description MATCH ?1")?;
    let rows = statement.query_map([words.join(" AND ")], |row| row.get::<_, i64>(0))?;
    rows.map(|row| row.map(|key| key as u64)).collect()
}

fn key(path: &str) -> i64 {
    media_key(path) as i64
}

/// The words of an HTML text, good enough to be searched and never shown: tags become spaces,
/// and the entities that stand for punctuation too.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len().min(MAX_TEXT));
    let mut rest = html;
    // Looked for once, or many `<` without a `>` behind them would each search the whole text.
    let last_end = html.rfind('>').map_or(0, |end| end + 1);
    while let Some(place) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(place);
        text.push_str(before);
        text.push(' ');
        let end = match from.as_bytes().first() {
            Some(b'<') if html.len() - from.len() < last_end => from.find('>'),
            Some(b'<') => None,
            // An entity is short; a lone ampersand is only itself.
            _ => from
                .char_indices()
                .take(10)
                .find(|(_, c)| *c == ';')
                .map(|(end, _)| end),
        };
        rest = &from[end.map_or(1, |end| end + 1)..];
        if text.len() >= MAX_TEXT {
            break;
        }
    }
    text.push_str(rest);
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    match text.trim() {
        plain if plain.is_ascii() => plain.to_owned(),
        other => other.nfc().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(connection: &Connection, text: &str) -> bool {
        find(connection, text).unwrap() == [media_key("/m/a")]
    }

    #[test]
    fn a_description_is_found_by_the_starts_of_its_words_and_forgotten_when_it_changes() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        put(&connection, "/m/a", "<p>Trained on <b>Watercolour</b> &amp; ink</p>").unwrap();
        put(&connection, "/m/b", "").unwrap();
        assert!(found(&connection, "waterc") && found(&connection, "INK trained"));
        assert!(!found(&connection, "colour") && !found(&connection, "amp") && !found(&connection, "b"));
        put(&connection, "/m/a", "oil").unwrap();
        assert!(found(&connection, "oil") && !found(&connection, "ink"));
        remove(&connection, "/m/a").unwrap();
        assert!(!found(&connection, "oil"));
    }

    #[test]
    fn nothing_in_a_search_text_is_an_operator() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        put(&connection, "/m/a", "near or not").unwrap();
        for text in ["\"", "near OR", "NOT", "*", "body:near", "near(", "-near", "^near"] {
            find(&connection, text).unwrap();
        }
        assert!(found(&connection, "\"near\" OR"));
    }

    #[test]
    fn a_text_that_is_cut_off_anywhere_is_no_trouble() {
        assert_eq!(plain("a <b"), "a  b");
        assert_eq!(plain("a & b &"), "a   b");
        assert_eq!(plain(&"<".repeat(1 << 20)), "");
        assert_eq!(plain(&"é".repeat(MAX_TEXT)).len(), MAX_TEXT);
    }
}
