//! HTML rewritten in linear time so that a parser's time is linear in it, too: tags are balanced, at most [`DEPTH`] deep
//! and have few attributes, tags that a description never shows are dropped, and a `<` that begins no tag is escaped.
//!
//! This makes nothing safe to show; it bounds what the cleaner behind it has to parse.

use memchr::memmem;

/// Bytes after which the rest is left out.
const LONGEST: usize = 512 << 10;
/// Deepest nesting that stays. Of deeper elements the text stays.
const DEPTH: usize = 64;
/// Attributes of a tag that stay.
const ATTRIBUTES: usize = 8;

/// Characters between `&` and `;` of the longest named reference.
const LONGEST_REFERENCE: usize = 32;

/// Elements that have no end tag.
const VOID: [&str; 5] = ["br", "hr", "img", "wbr", "col"];
/// Elements that are dropped with all that is in them.
const DROPPED: [&str; 2] = ["script", "style"];
/// Elements whose end tag may be left out: a start tag ends an open one of these, unless one of those is open inside it.
const IMPLIED: [(&str, &[&str], &[&str]); 8] = [
    ("p", &["p"], &["li", "td", "th", "dd", "dt", "blockquote", "div"]),
    ("li", &["li"], &["ul", "ol"]),
    ("dt", &["dt", "dd"], &["dl"]),
    ("dd", &["dt", "dd"], &["dl"]),
    ("td", &["td", "th"], &["table"]),
    ("th", &["td", "th"], &["table"]),
    ("tr", &["tr"], &["table"]),
    ("tbody", &["thead", "tbody"], &["table"]),
];
/// Elements that a description may have.
const KNOWN: [&str; 61] = [
    "a",
    "abbr",
    "acronym",
    "b",
    "bdi",
    "bdo",
    "blockquote",
    "br",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "rp",
    "rt",
    "ruby",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
];

/// See the module.
pub fn normalize(html: &str) -> String {
    let mut out = Rewriter::default();
    let mut rest = html;
    while out.html.len() < LONGEST
        && let Some(at) = memchr::memchr(b'<', rest.as_bytes())
    {
        let (text, from) = rest.split_at(at);
        out.text(text);
        rest = out.markup(from);
    }
    out.text(rest);
    while let Some(name) = out.open.pop() {
        out.end(name);
    }
    out.html
}

#[derive(Default)]
struct Rewriter {
    html: String,
    open: Vec<&'static str>,
    // Start tags that were dropped for their depth, and whose end tags are dropped too.
    too_deep: usize,
}

impl Rewriter {
    fn text(&mut self, text: &str) {
        push_escaped(&mut self.html, text);
    }

    /// Takes what starts with `<`; gives what is behind it.
    fn markup<'h>(&mut self, from: &'h str) -> &'h str {
        let after = |end: &str, from: &'h str| {
            let at = memmem::find(from.as_bytes(), end.as_bytes());
            at.map_or("", |at| &from[at + end.len()..])
        };
        if from.starts_with("<!--") {
            return after("-->", from);
        }
        let inner = &from[1..];
        match inner.as_bytes().first() {
            Some(b'!' | b'?') => after(">", inner),
            Some(b'/') if inner[1..].starts_with(|first: char| first.is_ascii_alphabetic()) => {
                let (name, rest) = name_of(&inner[1..]);
                self.end_tag(name);
                after(">", rest)
            }
            Some(first) if first.is_ascii_alphabetic() => self.start_tag(inner),
            _ => {
                self.html.push_str("&lt;");
                inner
            }
        }
    }

    fn start_tag<'h>(&mut self, from: &'h str) -> &'h str {
        let (name, rest) = name_of(from);
        let (attributes, rest) = attributes_of(rest);
        let lower = name.to_ascii_lowercase();
        if DROPPED.contains(&&*lower) {
            return after_end_tag(rest, &lower);
        }
        let Some(name) = KNOWN.iter().find(|known| **known == lower) else {
            return rest;
        };
        self.end_implied(name);
        let is_void = VOID.contains(name);
        if !is_void && self.open.len() >= DEPTH {
            self.too_deep += 1;
            return rest;
        }
        self.html.push('<');
        self.html.push_str(name);
        for (key, value) in attributes {
            self.html.push(' ');
            self.html.push_str(key);
            self.html.push_str("=\"");
            push_escaped(&mut self.html, value);
            self.html.push('"');
        }
        self.html.push('>');
        if !is_void {
            self.open.push(name);
        }
        rest
    }

    /// Ends the open element that this one's start tag ends.
    fn end_implied(&mut self, name: &str) {
        let Some((_, ends, barriers)) = IMPLIED.iter().find(|(own, ..)| *own == name) else {
            return;
        };
        let own = self.open.iter().rposition(|open| ends.contains(open));
        let barrier = self.open.iter().rposition(|open| barriers.contains(open));
        if let Some(own) = own.filter(|own| barrier.is_none_or(|barrier| barrier < *own)) {
            self.end_down_to(own);
            self.too_deep = 0;
        }
    }

    fn end_tag(&mut self, name: &str) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        let own = self.open.iter().rposition(|open| open.eq_ignore_ascii_case(name));
        if let Some(own) = own {
            self.end_down_to(own);
        }
    }

    fn end_down_to(&mut self, depth: usize) {
        while self.open.len() > depth {
            let Some(name) = self.open.pop() else { return };
            self.end(name);
        }
    }

    fn end(&mut self, name: &str) {
        self.html.push_str("</");
        self.html.push_str(name);
        self.html.push('>');
    }
}

/// Adds a text or the value of an attribute. An `&` that begins no reference is escaped: a parser's time for many of these
/// is quadratic.
fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '"', '<', '>']) {
        if out.len() >= LONGEST {
            return;
        }
        out.push_str(&rest[..at]);
        let from = &rest[at..];
        out.push_str(match from.as_bytes().first() {
            Some(b'&') if is_reference(from) => "&",
            Some(b'&') => "&amp;",
            Some(b'"') => "&quot;",
            Some(b'<') => "&lt;",
            _ => "&gt;",
        });
        rest = &from[1..];
    }
    out.push_str(rest);
}

/// Whether a text begins with a reference such as `&amp;` or `&#39;`.
fn is_reference(from: &str) -> bool {
    let name = from.as_bytes().iter().skip(1).take(LONGEST_REFERENCE);
    let length = name
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#')
        .count();
    length > 0 && from.as_bytes().get(1 + length) == Some(&b';')
}

/// The name at the start of a tag, and the rest.
fn name_of(from: &str) -> (&str, &str) {
    let end = from.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>');
    from.split_at(end.unwrap_or(from.len()))
}

/// The first attributes of a tag, and what is behind its `>`.
fn attributes_of(mut rest: &str) -> (Vec<(&str, &str)>, &str) {
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(behind) = rest.strip_prefix('>') {
            return (attributes, behind);
        }
        if rest.is_empty() {
            return (attributes, rest);
        }
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, c)| c.is_ascii_whitespace() || matches!(c, '=' | '/' | '>'));
        let (key, behind) = rest.split_at(end.map_or(rest.len(), |(end, _)| end));
        let spaced = behind.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let (value, behind) = match spaced.strip_prefix('=') {
            Some(value) => value_of(value.trim_start_matches(|c: char| c.is_ascii_whitespace())),
            None => ("", spaced),
        };
        let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_new = attributes.len() < ATTRIBUTES && attributes.iter().all(|(known, _)| *known != key);
        if is_plain && is_new {
            attributes.push((key, value));
        }
        rest = behind;
    }
}

/// An attribute's value, and the rest.
fn value_of(from: &str) -> (&str, &str) {
    if let Some(quote) = from.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let inner = &from[1..];
        let end = memchr::memchr(quote as u8, inner.as_bytes());
        return end.map_or((inner, ""), |end| (&inner[..end], &inner[end + 1..]));
    }
    let end = from.find(|c: char| c.is_ascii_whitespace() || c == '>');
    from.split_at(end.unwrap_or(from.len()))
}

/// What is behind the end tag of an element whose content is no markup.
fn after_end_tag<'h>(mut rest: &'h str, name: &str) -> &'h str {
    while let Some(at) = memmem::find(rest.as_bytes(), b"</") {
        let (own, behind) = name_of(&rest[at + 2..]);
        if own.eq_ignore_ascii_case(name) {
            let end = memchr::memchr(b'>', behind.as_bytes());
            return end.map_or("", |end| &behind[end + 1..]);
        }
        rest = &rest[at + 2..];
    }
    ""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How deep elements lie in balanced HTML; none when it is not balanced.
    fn depth(html: &str) -> Option<usize> {
        let (mut open, mut deepest) = (Vec::new(), 0);
        for tag in html.split('<').skip(1) {
            let (name, _) = name_of(tag.strip_prefix('/').unwrap_or(tag));
            if tag.starts_with('/') {
                if open.pop() != Some(name) {
                    return None;
                }
            } else if !VOID.contains(&name) {
                open.push(name);
                deepest = deepest.max(open.len());
            }
        }
        open.is_empty().then_some(deepest)
    }

    #[test]
    fn tags_are_balanced_and_shallow_and_the_text_stays() {
        assert_eq!(normalize("<p>a<p>b</i>"), "<p>a</p><p>b</p>");
        assert_eq!(normalize("<B CLASS=x>a"), "<b CLASS=\"x\">a</b>");
        assert_eq!(
            normalize("<ul><li>a<ul><li>b</ul><li>c</ul>"),
            "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"
        );
        assert_eq!(
            normalize("<a href='\"<>' b=1 href=2>x</a>y"),
            "<a href=\"&quot;&lt;&gt;\" b=\"1\">x</a>y"
        );
        assert_eq!(normalize("a<!-- <p> -->b<video src=x>c</video><3"), "abc&lt;3");
        assert_eq!(
            normalize("a & b &amp; c&d <a href=\"?a=1&b=2&amp;\">&#39;&;"),
            "a &amp; b &amp; c&amp;d <a href=\"?a=1&amp;b=2&amp;\">&#39;&amp;;</a>"
        );
        assert_eq!(normalize("a<style>p{}</styles></STYLE >b<script>"), "ab");
        assert_eq!(normalize("a<p title=\"never closed"), "a<p title=\"never closed\"></p>");
        let deep = format!("{}x{}y", "<div>".repeat(500), "</div>".repeat(500));
        let shallow = format!("{}x{}y", "<div>".repeat(DEPTH), "</div>".repeat(DEPTH));
        assert_eq!(normalize(&deep), shallow);
    }

    proptest! {
        #[test]
        fn any_text_becomes_balanced_and_shallow_and_is_as_it_was_the_second_time(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "<", ">", "</", "/", "=", "\"", "'", " ", "p", "<p>", "</p>", "<b>", "</b>", "<li>", "<ul>", "</ul>", "<td>",
                    "<tr>", "<table>", "</table>", "<!--", "-->", "<script>", "</script>", "é", "&", ";", "&lt;", "<br>", "<a href=", "<div>",
                ]),
                0..300,
            )
        ) {
            let once = normalize(&parts.concat());
            prop_assert!(depth(&once).is_some_and(|depth| depth <= DEPTH), "{once}");
            prop_assert_eq!(normalize(&once), once);
        }
    }
}
