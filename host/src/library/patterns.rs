//! Patterns on names: substrings or regular expressions, case ignored.

use regex::{Regex, RegexBuilder};

use super::record::Record;
use crate::plugins::bindings::NamePatterns;

/// Longest compiled expression in bytes; hostile ones are taken as substrings.
const REGEX_SIZE: usize = 1 << 20;

enum Pattern {
    Substring(String),
    Regex(Regex),
}

impl Pattern {
    fn new(text: &str, regex: bool) -> Self {
        if regex
            && let Ok(compiled) = RegexBuilder::new(text)
                .case_insensitive(true)
                .size_limit(REGEX_SIZE)
                .build()
        {
            return Self::Regex(compiled);
        }
        Self::Substring(text.to_lowercase())
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Substring(text) => name.to_lowercase().contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    fn matches_record(&self, record: &Record) -> bool {
        self.matches(&record.model_name) || self.matches(&record.file_name)
    }
}

/// Patterns ready to be tested.
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// None when the patterns keep everything.
    pub fn new(patterns: &NamePatterns) -> Option<Self> {
        let compile = |texts: &[String]| -> Vec<Pattern> {
            texts
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| Pattern::new(text, patterns.regex))
                .collect()
        };
        let (include, exclude) = (compile(&patterns.include), compile(&patterns.exclude));
        (!include.is_empty() || !exclude.is_empty()).then_some(Self { include, exclude })
    }

    /// Whether a record's names pass: exclude wins, several includes are alternatives.
    pub fn keep(&self, record: &Record) -> bool {
        !self.exclude.iter().any(|pattern| pattern.matches_record(record))
            && (self.include.is_empty() || self.include.iter().any(|pattern| pattern.matches_record(record)))
    }
}
