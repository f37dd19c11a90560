//! Scopes of a token: which requests it opens.

use serde::{Deserialize, Serialize};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Lists, details, previews, settings without secrets, sockets. Every other scope includes it.
    Read,
    /// Editing, renaming, moving and deleting models, and fetching their metadata.
    Write,
    /// Downloading models, and steering downloads.
    Download,
    /// Settings, plugins, passwords, tokens and sessions; includes everything.
    Admin,
}

impl Scope {
    /// All scopes, weakest first.
    pub const ALL: [Scope; 4] = [Self::Read, Self::Write, Self::Download, Self::Admin];

    /// The name in settings, commands and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Download => "download",
            Self::Admin => "admin",
        }
    }
}

/// Several scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Scope>", into = "Vec<Scope>")]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(1 << Scope::Admin as u8);

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a request that needs `scope` is allowed.
    pub fn allows(self, scope: Scope) -> bool {
        let has = |own: Scope| self.0 & 1 << own as u8 != 0;
        has(Scope::Admin) || has(scope) || (scope == Scope::Read && !self.is_empty())
    }

    /// The names of the scopes that were given.
    pub fn names(self) -> Vec<&'static str> {
        Vec::<Scope>::from(self).into_iter().map(Scope::name).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | 1 << scope as u8))
    }
}

impl From<Vec<Scope>> for Scopes {
    fn from(scopes: Vec<Scope>) -> Self {
        scopes.into_iter().collect()
    }
}

impl From<Scopes> for Vec<Scope> {
    fn from(scopes: Scopes) -> Self {
        let all = Scope::ALL.into_iter();
        all.filter(|scope| scopes.0 & 1 << *scope as u8 != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_includes_reading_and_admin_includes_everything() {
        let table = [
            (Scope::Read, [true, false, false, false]),
            (Scope::Write, [true, true, false, false]),
            (Scope::Download, [true, false, true, false]),
            (Scope::Admin, [true, true, true, true]),
        ];
        for (given, allowed) in table {
            let scopes = Scopes::from_iter([given]);
            assert_eq!(Scope::ALL.map(|scope| scopes.allows(scope)), allowed, "{given:?}");
        }
        assert!(!Scopes::default().allows(Scope::Read));
        let text = serde_json::to_string(&Scopes::from_iter([Scope::Download, Scope::Read])).unwrap();
        assert_eq!(text, r#"["read","download"]"#);
    }
}
