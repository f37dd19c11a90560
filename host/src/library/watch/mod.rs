//! Keeping a library true to the disk while files change under it.
//!
//! One thread for each library, the keeper, hears of changes and scans the folders concerned: from the system's events
//! where the disk sends them, else by looking from time to time. It also looks for roots that come and go, and at files
//! that wait until they are whole. Whatever is heard while a scan runs is one scan after it.

mod events;
mod folders;
mod keeper;
mod roots;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::collection::Library;
use super::io_profile::IoProfile;
use crate::plugins::Plugin;
use events::Touched;
use folders::WatchedFolders;

/// How a library is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// Whether its folders are watched.
    pub watch: bool,
    /// Time between looks at roots that send no events.
    pub poll: Duration,
    /// How long a new or changed file must keep still before it is read.
    pub stable: Duration,
}

/// How changes of a root are heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Watched {
    /// The system tells them.
    Events,
    /// It is looked at from time to time.
    Polling,
    /// Only when somebody asks for a scan.
    #[default]
    Off,
}

impl Watched {
    /// The word that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Polling => "polling",
            Self::Off => "off",
        }
    }
}

/// What is known of a root's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootWatch {
    /// Its profile, as it was when the root was last there.
    pub profile: IoProfile,
    /// How it is watched.
    pub watched: Watched,
    /// Why it is not watched by events, where that is no choice.
    pub problem: Option<String>,
}

/// What the keeper is told.
enum Message {
    /// Files or folders changed.
    Touched(Vec<Touched>),
    /// Changes were missed; why.
    Missed(String),
    /// The system watches no more folders; the one that was too many.
    Full(Option<PathBuf>),
    /// These folders are worth a look.
    Look(Vec<PathBuf>),
    /// Links changed, and with them what is to be watched.
    Links,
    /// A root's folders are watched after all: setting that up took long.
    Watching(usize, Arc<Mutex<WatchedFolders>>),
    /// Another plugin gives the rules, by which every record is derived again.
    Rules,
    /// The library is closed.
    Close,
}

/// The library's end of its keeper.
pub struct Watch {
    roots: ArcSwap<Vec<RootWatch>>,
    sender: Sender<Message>,
    // Until the keeper takes it.
    receiver: Mutex<Option<Receiver<Message>>>,
}

impl Watch {
    /// Nothing is watched yet.
    pub fn new(profiles: &[IoProfile]) -> Self {
        let (sender, receiver) = channel();
        let off = |profile: &IoProfile| RootWatch {
            profile: *profile,
            watched: Watched::Off,
            problem: None,
        };
        Self {
            roots: ArcSwap::from_pointee(profiles.iter().map(off).collect()),
            sender,
            receiver: Mutex::new(Some(receiver)),
        }
    }

    /// How each root is watched, by index.
    pub fn roots(&self) -> Arc<Vec<RootWatch>> {
        self.roots.load_full()
    }

    /// Has the folders of these files looked at soon.
    pub fn look_at<'p>(&self, paths: impl IntoIterator<Item = &'p str>) {
        let parent = |path: &str| Some(Path::new(path).parent()?.to_owned());
        let folders: Vec<PathBuf> = paths.into_iter().filter_map(parent).collect();
        if !folders.is_empty() {
            self.tell(Message::Look(folders));
        }
    }

    /// Has what is watched compared with the links that there are.
    pub fn links_changed(&self) {
        self.tell(Message::Links);
    }

    /// Has every record derived again that another plugin derived.
    pub fn rules_changed(&self) {
        self.tell(Message::Rules);
    }

    /// Ends the keeper.
    pub fn close(&self) {
        self.tell(Message::Close);
    }

    fn tell(&self, message: Message) {
        // Without a keeper nobody has to know.
        let _ = self.sender.send(message);
    }
}

/// Starts the keeper of a library; a second time does nothing.
pub fn start(library: &Arc<Library>, plugin: Arc<Plugin>, keeping: Keeping, handle: tokio::runtime::Handle) {
    let watch = library.watch();
    let Some(receiver) = watch.receiver.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    let (weak, sender) = (Arc::downgrade(library), watch.sender.clone());
    let name = format!("watch-{}", plugin.info().id());
    let started = std::thread::Builder::new().name(name).spawn(move || {
        keeper::Keeper::new(weak, plugin, keeping, handle, sender).run(&receiver);
    });
    if let Err(error) = started {
        tracing::error!(%error, "no thread can be started, so that the library is neither scanned nor watched by itself");
    }
}
