//! The person's list of tags that stand for a model first. Source of its form: contract section 5.4.

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorityTag {
    /// The name that a folder gets.
    pub name: String,
    // Lower-case, with the name itself.
    aliases: Vec<String>,
}

/// Reads a list: entries by commas or lines, each `name` or `name(alias|alias)`. Of entries with one name the first counts.
pub fn parse(text: &str) -> Vec<PriorityTag> {
    let mut tags: Vec<PriorityTag> = Vec::new();
    for entry in text.split([',', '\n']).map(str::trim) {
        let (name, aliases) = match entry.strip_suffix(')').and_then(|open| open.split_once('(')) {
            Some((name, aliases)) => (name.trim().to_owned(), aliases),
            // An entry whose brackets don't close is a name.
            None => (entry.replace(['(', ')'], "").trim().to_owned(), ""),
        };
        let lower = name.to_lowercase();
        if name.is_empty() || tags.iter().any(|tag| tag.aliases.first() == Some(&lower)) {
            continue;
        }
        let aliases = aliases.split('|').map(|alias| alias.trim().to_lowercase());
        let aliases = std::iter::once(lower).chain(aliases.filter(|alias| !alias.is_empty()));
        tags.push(PriorityTag {
            aliases: aliases.collect(),
            name,
        });
    }
    tags
}

/// The tag that stands for a model: of the list the first that the model has under any alias, else the model's own first
/// tag in lower case; none when it has no tags.
pub fn first_of<'t>(list: &[PriorityTag], tags: impl Iterator<Item = &'t str>) -> Option<String> {
    let own: Vec<String> = tags.map(str::to_lowercase).filter(|tag| !tag.is_empty()).collect();
    let listed = list
        .iter()
        .find(|tag| tag.aliases.iter().any(|alias| own.contains(alias)));
    listed.map(|tag| tag.name.clone()).or_else(|| own.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_a_model_has_under_any_alias_wins() {
        let list = parse("character, Style(anime style|Art Style)\n concept, (x|y), broken(a, style");
        let names: Vec<&str> = list.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["character", "Style", "concept", "brokena"]);
        let first = |tags: &[&str]| first_of(&list, tags.iter().copied());
        assert_eq!(first(&["concept", "ART STYLE"]).as_deref(), Some("Style"));
        assert_eq!(first(&["Concept", "Character"]).as_deref(), Some("character"));
        assert_eq!(first(&["", "Cats", "dogs"]).as_deref(), Some("cats"));
        assert_eq!(first(&[]), None);
    }
}
