//! The folders of a ComfyUI: its `models` folder and what its `extra_model_paths.yaml` adds.

use std::path::{Path, PathBuf};

use super::yaml::{self, Yaml};
use super::{RootSources, SettingsError, Warning};
use crate::compat::compat;
use crate::files::foreign::{self, ForeignFile};

/// Largest file of paths that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Adds every folder that this ComfyUI would look into, under ComfyUI's own names. `warnings` gets what is ignored.
///
/// # Errors
/// When the folder is not there, or its YAML can't be parsed.
pub fn add(folder: &Path, roots: &mut RootSources, warnings: &mut Vec<Warning>) -> Result<(), SettingsError> {
    let models = folder.join(&compat().models_folder);
    let entries = std::fs::read_dir(&models).or_else(|error| {
        // A folder that is itself a `models` folder is fine, too.
        if folder.is_dir() {
            std::fs::read_dir(folder)
        } else {
            Err(error)
        }
    });
    for entry in entries.map_err(|source| SettingsError::Io {
        path: models.clone(),
        source,
    })? {
        let Ok(entry) = entry else { continue };
        if let Some(name) = entry.file_name().to_str()
            && entry.path().is_dir()
        {
            roots.add_primary(name, &entry.path());
        }
    }
    for name in &compat().extra_paths {
        let path = folder.join(name);
        if foreign::is_taken(&path) {
            let text = read(&path)?;
            let yaml = Yaml::parse(&text).map_err(|error| SettingsError::Format {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            let mut paths = Paths {
                beside: path.parent().unwrap_or(Path::new(".")),
                roots: &mut *roots,
                ignored: Vec::new(),
                variable: &|name| std::env::var(name).ok(),
            };
            paths.add(&yaml);
            let source = path.display().to_string();
            warnings.extend(paths.ignored.into_iter().map(|text| Warning {
                source: source.clone(),
                text,
            }));
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let text = ForeignFile::existing(path)?.read_text(MAX_BYTES)?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The paths of one file.
struct Paths<'p> {
    // The folder of the file.
    beside: &'p Path,
    roots: &'p mut RootSources,
    // What can't be used, for a person.
    ignored: Vec<String>,
    variable: &'p dyn Fn(&str) -> Option<String>,
}

impl Paths<'_> {
    /// Each top-level entry is an installation: `base_path`, `is_default`, and under other names one folder or several, one
    /// a line.
    fn add(&mut self, yaml: &Yaml) {
        let installations = match yaml {
            Yaml::Map(map) => self.members(map, "the file"),
            Yaml::Null => return,
            other => {
                return self
                    .ignored
                    .push(format!("the file holds {} instead of installations", other.kind()));
            }
        };
        for (name, installation) in installations {
            match installation {
                Yaml::Map(map) => {
                    let members = self.members(&map, &format!("`{name}`"));
                    self.add_installation(&name, members);
                }
                Yaml::Null => {}
                other => self
                    .ignored
                    .push(format!("`{name}` is {} instead of folders", other.kind())),
            }
        }
    }

    /// The members of a mapping; what is repeated or can't be merged is noted.
    fn members(&mut self, map: &[(String, Yaml)], place: &str) -> Vec<(String, Yaml)> {
        let (mut repeated, mut ignored) = (Vec::new(), Vec::new());
        let members = yaml::members(map, &mut repeated, &mut ignored);
        let repeated = repeated.into_iter();
        self.ignored
            .extend(repeated.map(|key| format!("{place} has `{key}` more than once; the last one counts")));
        self.ignored
            .extend(ignored.into_iter().map(|what| format!("{place}: {what}")));
        members
    }

    fn add_installation(&mut self, installation: &str, members: Vec<(String, Yaml)>) {
        let (mut base, mut is_default) = (self.beside.to_owned(), false);
        for (key, value) in &members {
            match (key.as_str(), value) {
                ("base_path", Yaml::Text(path)) => {
                    let path = self.expanded(path.trim(), installation);
                    base = self.beside.join(path);
                }
                ("base_path", Yaml::Null) => {
                    let hint = "is empty; write '~' in quotes if you mean the home folder";
                    self.ignored.push(format!("`{installation}.base_path` {hint}"));
                }
                ("base_path", other) => {
                    let kind = other.kind();
                    self.ignored.push(format!(
                        "`{installation}.base_path` is {kind} instead of a folder, so `{installation}` is ignored"
                    ));
                    return;
                }
                ("is_default", value) => is_default = value.is_true(),
                _ => {}
            }
        }
        for (name, value) in members {
            if name == "base_path" || name == "is_default" {
                continue;
            }
            let lines: Vec<&str> = match &value {
                Yaml::Text(text) => text.lines().collect(),
                Yaml::List(list) => list
                    .iter()
                    .flat_map(|line| self.line(line, installation, &name))
                    .collect(),
                other => {
                    let kind = other.kind();
                    self.ignored
                        .push(format!("`{installation}.{name}` is {kind} instead of folders"));
                    continue;
                }
            };
            for line in lines.into_iter().map(str::trim).filter(|line| !line.is_empty()) {
                if line.starts_with("# ") {
                    self.ignored.push(format!(
                        "`{installation}.{name}`: the line {line:?} is taken for a comment"
                    ));
                    continue;
                }
                let folder = base.join(self.expanded(line, installation));
                match is_default {
                    true => self.roots.add_default(&name, &folder),
                    false => self.roots.add_primary(&name, &folder),
                }
            }
        }
    }

    fn line<'y>(&mut self, line: &'y Yaml, installation: &str, name: &str) -> Option<&'y str> {
        match line {
            Yaml::Text(line) => Some(line),
            other => {
                let kind = other.kind();
                self.ignored
                    .push(format!("`{installation}.{name}` has {kind} among its folders"));
                None
            }
        }
    }

    /// A path with the home folder and the variables of the environment put in, as Python's `expanduser` and `expandvars`
    /// do: a variable that is not set stays as it is written.
    fn expanded(&mut self, path: &str, installation: &str) -> PathBuf {
        let home = match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with(['/', '\\']) => dirs::home_dir().map(|home| (home, rest)),
            Some(_) => {
                self.ignored.push(format!(
                    "`{installation}`: homes of other users, as in {path:?}, are not looked up"
                ));
                None
            }
            None => None,
        };
        let path = match home {
            Some((home, rest)) => format!("{}{rest}", home.display()),
            None => path.to_owned(),
        };
        let (path, unknown) = with_variables(&path, self.variable, cfg!(windows));
        let unknown = unknown.into_iter();
        self.ignored
            .extend(unknown.map(|name| format!("`{installation}`: the variable {name} of {path:?} is not set")));
        PathBuf::from(path)
    }
}

/// A text with `$NAME` and `${NAME}`, and with `percent` also `%NAME%`, replaced; also the names that are not set.
fn with_variables(text: &str, variable: &dyn Fn(&str) -> Option<String>, percent: bool) -> (String, Vec<String>) {
    let (mut out, mut unknown, mut rest) = (String::with_capacity(text.len()), Vec::new(), text);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(at) = rest.find(|c| c == '$' || (percent && c == '%')) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let after = &from[1..];
        // The name, and how long it is with its signs.
        let found = if from.starts_with('%') {
            after.find('%').map(|end| (&after[..end], end + 2))
        } else if let Some(inner) = after.strip_prefix('{') {
            inner.find('}').map(|end| (&inner[..end], end + 3))
        } else {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            Some((&after[..end], end + 1))
        };
        let found = found.filter(|(name, _)| !name.is_empty());
        let length = found.map_or(1, |(_, length)| length);
        match found.map(|(name, _)| (name, variable(name))) {
            Some((_, Some(value))) => out.push_str(&value),
            Some((name, None)) => {
                unknown.push(name.to_owned());
                out.push_str(&from[..length]);
            }
            None => out.push_str(&from[..length]),
        }
        rest = &from[length..];
    }
    out.push_str(rest);
    (out, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(yaml: &str) -> (RootSources, Vec<String>) {
        let mut roots = RootSources::default();
        let mut paths = Paths {
            beside: Path::new("/comfy"),
            roots: &mut roots,
            ignored: Vec::new(),
            variable: &|name| (name == "DATA").then(|| "/data".to_owned()),
        };
        paths.add(&Yaml::parse(yaml).unwrap());
        let ignored = paths.ignored;
        (roots, ignored)
    }

    fn folders(yaml: &str, name: &str) -> Vec<String> {
        let (roots, _) = added(yaml);
        roots
            .named(name)
            .iter()
            .map(|folder| folder.display().to_string())
            .collect()
    }

    #[test]
    fn variables_and_homes_are_put_in() {
        let yaml = "a:\n  base_path: ${DATA}/x\n  vae: |\n    one\n\n    $DATA/two\n    /three\nb:\n  base_path: rel\n  vae: four\nc:\n  vae: five\n";
        assert_eq!(
            folders(yaml, "vae"),
            ["/data/x/one", "/data/two", "/three", "/comfy/rel/four", "/comfy/five"]
        );
        if let Some(home) = dirs::home_dir() {
            let home = home.display();
            assert_eq!(
                folders("a:\n  base_path: '~'\n  vae: x\n", "vae"),
                [format!("{home}/x")]
            );
            assert_eq!(
                folders("a:\n  base_path: ~\n  vae: x\n", "vae"),
                ["/comfy/x"],
                "a bare ~ is null in YAML"
            );
        }
        let (_, ignored) = added("a:\n  base_path: $NOPE/x\n  vae: y\n");
        assert!(ignored[0].contains("NOPE"), "{ignored:?}");
    }

    #[test]
    fn windows_variables_are_put_in_where_they_are_meant() {
        let variable = |name: &str| (name == "DATA").then(|| "D:".to_owned());
        let expand = |text: &str, percent| with_variables(text, &variable, percent).0;
        assert_eq!(expand("%DATA%\\x", true), "D:\\x");
        assert_eq!(expand("%DATA%\\x", false), "%DATA%\\x");
        assert_eq!(expand("100%/$", true), "100%/$");
        assert_eq!(expand("${DATA", true), "${DATA");
        assert_eq!(expand("$DATA.x$$", true), "D:.x$$");
    }

    #[test]
    fn merged_and_repeated_keys_count_as_in_python() {
        let yaml = "d: &d\n  base_path: /d\n  vae: one\nx:\n  <<: *d\n  vae: two\n  loras: a\n  loras: b\n";
        assert_eq!(folders(yaml, "vae"), ["/d/one", "/d/two"]);
        assert_eq!(folders(yaml, "loras"), ["/d/b"]);
        let (_, ignored) = added(yaml);
        assert!(ignored.len() == 1 && ignored[0].contains("`loras`"), "{ignored:?}");
    }

    #[test]
    fn the_default_comes_first() {
        let yaml = "a:\n  vae: /a\nb:\n  is_default: true\n  vae: |\n    /b\n    /c\nd:\n  is_default: no\n  vae: /d\n";
        assert_eq!(folders(yaml, "vae"), ["/c", "/b", "/a", "/d"]);
    }

    #[test]
    fn whatever_is_ignored_is_named() {
        let yaml = "a:\n  vae: 1\n  loras: [x, {y: z}]\nb: text\nc:\n  base_path: [x]\n  vae: y\n";
        let (roots, ignored) = added(yaml);
        let named = [
            "`a.vae` is a number",
            "`a.loras` has a mapping",
            "`b` is a text",
            "`c.base_path` is a list",
        ];
        for text in named {
            assert!(ignored.iter().any(|line| line.contains(text)), "{text}: {ignored:?}");
        }
        assert_eq!(roots.named("loras"), [Path::new("/comfy/x")]);
        assert!(added("[1]").1[0].contains("a list"));
    }
}
