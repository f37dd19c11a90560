//! How the folders of a library hang together: the trees that are walked, and the paths that lead into them once more.
//!
//! A tree is a root, or what a link leads to that no other tree holds. Inside a tree nothing is followed. All other
//! paths to the same place, links and roots inside roots, are aliases. So each real folder has one path under which it
//! is walked, watched and listed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A part of the library that is walked without following links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Path of its top, as it is listed: a root, or a link below one.
    pub written: PathBuf,
    /// The same with all links resolved.
    pub real: PathBuf,
}

/// What the last walk of all roots found out; a walk of some folders relies on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Roots in their order, then what links lead to.
    pub trees: Vec<Tree>,
    /// Further paths of folders: as written, and the real one.
    pub aliases: Vec<(PathBuf, PathBuf)>,
    /// Every link that matters, as written, with what it leads to.
    pub links: BTreeMap<PathBuf, PathBuf>,
    /// Real paths of models with the links to them that are not listed themselves.
    pub file_aliases: BTreeMap<PathBuf, Vec<PathBuf>>,
}

impl Topology {
    /// The tree that holds a path as it is listed.
    pub fn tree_of(&self, written: &Path) -> Option<&Tree> {
        let holding = self.trees.iter().filter(|tree| written.starts_with(&tree.written));
        holding.max_by_key(|tree| tree.written.as_os_str().len())
    }

    /// The real path of a path as it is listed, without asking the disk.
    pub fn real_of(&self, written: &Path) -> Option<PathBuf> {
        let tree = self.tree_of(written)?;
        Some(rebased(written, &tree.written, &tree.real))
    }

    /// The path under which a place is listed, of any path that leads there.
    pub fn listed_path(&self, path: &Path) -> PathBuf {
        let alias = self.aliases.iter().find(|(written, _)| path.starts_with(written));
        let Some((written, real)) = alias else {
            return path.to_owned();
        };
        let real = rebased(path, written, real);
        let holding = self.trees.iter().filter(|tree| real.starts_with(&tree.real));
        match holding.max_by_key(|tree| tree.real.as_os_str().len()) {
            Some(tree) => rebased(&real, &tree.real, &tree.written),
            None => path.to_owned(),
        }
    }

    /// Further paths of a folder, by its real one.
    pub fn aliases_of(&self, real: &Path) -> Vec<PathBuf> {
        let leading = self.aliases.iter().filter(|(_, to)| real.starts_with(to));
        leading.map(|(written, to)| rebased(real, to, written)).collect()
    }

    /// Tops of trees strictly below a folder: a walk of the folder's own tree leaves them out.
    pub fn trees_below(&self, folder: &Path) -> impl Iterator<Item = &Path> {
        let below = move |tree: &&Tree| tree.written != folder && tree.written.starts_with(folder);
        self.trees.iter().filter(below).map(|tree| &*tree.written)
    }
}

/// A path at another place: `from` at its start becomes `to`.
pub fn rebased(path: &Path, from: &Path, to: &Path) -> PathBuf {
    match path.strip_prefix(from) {
        // Joining an empty path would put a slash at the end.
        Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
        Ok(rest) => to.join(rest),
        Err(_) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let tree = |written: &str, real: &str| Tree {
            written: written.into(),
            real: real.into(),
        };
        Topology {
            trees: vec![tree("/m", "/disk/m"), tree("/m/out", "/other")],
            aliases: vec![
                ("/n".into(), "/disk/m/sub".into()),
                ("/m/again".into(), "/other/x".into()),
            ],
            ..Topology::default()
        }
    }

    #[test]
    fn a_place_is_listed_under_one_path_and_has_the_others_as_aliases() {
        let topology = topology();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(topology.listed_path(&path("/n/a")), path("/m/sub/a"));
        assert_eq!(topology.listed_path(&path("/m/again")), path("/m/out/x"));
        assert_eq!(topology.listed_path(&path("/m/sub/a")), path("/m/sub/a"));
        assert_eq!(topology.real_of(&path("/m/out/x/a")), Some(path("/other/x/a")));
        assert_eq!(topology.aliases_of(&path("/other/x/y")), [path("/m/again/y")]);
        assert_eq!(topology.aliases_of(&path("/disk/m/subway")), [] as [PathBuf; 0]);
    }

    #[test]
    fn trees_below_a_folder_are_those_of_links_and_roots_inside_it() {
        let topology = topology();
        let below = |folder: &str| topology.trees_below(Path::new(folder)).count();
        assert_eq!((below("/m"), below("/m/out"), below("/")), (1, 0, 2));
    }
}
