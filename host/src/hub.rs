//! Messages to connected clients: general broadcasts, and the progress of first readings with
//! the last message of each type kept for late comers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{broadcast, mpsc, watch};

use crate::library::progress::{Activity, InitProgress, Phase, ProgressSink};
use crate::terminal::Terminal;

/// Types of the server's own messages, which no plugin may send: clients act on them.
pub const OWN_EVENTS: [&str; 12] = [
    "activity",
    "auto_organize_progress",
    // The original's; ours sends none.
    "cache_health_warning",
    "download_id",
    "downloads_changed",
    "library_activated",
    "metadata_archive_download",
    "models_changed",
    "plugins_changed",
    "providers",
    "settings_changed",
    "updates_changed",
];

/// Messages that a slow client may fall behind before it loses the oldest.
const BACKLOG: usize = 256;

/// How long [`Hub::delivered`] waits for a client that reads slowly.
const DELIVERY: Duration = Duration::from_secs(1);

/// What goes to the general sockets.
#[derive(Debug, Clone)]
pub enum Event {
    /// A JSON text.
    Message(Arc<str>),
    /// Nothing to send. Each socket drops it when all messages before it are sent; see [`Hub::delivered`].
    Marker(mpsc::Sender<()>),
}

/// The hub.
pub struct Hub {
    general: broadcast::Sender<Event>,
    // Changes whenever models of any type did.
    models: watch::Sender<()>,
    init: broadcast::Sender<Arc<str>>,
    // Last progress by page type.
    latest: Mutex<BTreeMap<String, InitProgress>>,
    // Last activity by page type and whether it is hashing.
    activities: Mutex<BTreeMap<(String, bool), Activity>>,
    terminal: Option<Arc<Terminal>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            general: broadcast::channel(BACKLOG).0,
            models: watch::Sender::new(()),
            init: broadcast::channel(BACKLOG).0,
            latest: Mutex::default(),
            activities: Mutex::default(),
            terminal: None,
        }
    }
}

impl Hub {
    /// A hub that shows what goes on in a terminal too.
    pub fn with_terminal(terminal: Option<Arc<Terminal>>) -> Self {
        Self {
            terminal,
            ..Self::default()
        }
    }

    /// What a page type's library does, or did last: its scan, and its hashing.
    pub fn activities(&self, page_type: &str) -> Vec<Activity> {
        let activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        let own = activities.iter().filter(|((of, _), _)| of == page_type);
        own.map(|(_, activity)| activity.clone()).collect()
    }

    /// Sends a JSON text to all general sockets.
    pub fn broadcast(&self, message: String) {
        // No receiver is no error.
        let _ = self.general.send(Event::Message(message.into()));
    }

    /// Waits until all general sockets were sent what was broadcast before, at most a second.
    pub async fn delivered(&self) {
        let (marker, mut dropped) = mpsc::channel(1);
        if self.general.send(Event::Marker(marker)).is_ok() {
            // Ends when the last marker is dropped.
            let _ = tokio::time::timeout(DELIVERY, dropped.recv()).await;
        }
    }

    /// General messages from now on.
    pub fn general(&self) -> broadcast::Receiver<Event> {
        self.general.subscribe()
    }

    /// Changes whenever models of any type did.
    pub fn model_changes(&self) -> watch::Receiver<()> {
        self.models.subscribe()
    }

    /// Progress of first readings: the last message of each type, and all from now on.
    pub fn init_progress(&self) -> (Vec<String>, broadcast::Receiver<Arc<str>>) {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // Subscribed under the lock, so that no message is lost or sent twice.
        (latest.values().map(text).collect(), self.init.subscribe())
    }

    /// The last progress of one page type.
    pub fn latest(&self, page_type: &str) -> Option<InitProgress> {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(page_type)
            .cloned()
    }
}

impl ProgressSink for Hub {
    fn init(&self, progress: InitProgress) {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.init.send(text(&progress).into());
        latest.insert(progress.page_type.clone(), progress);
    }

    fn models_changed(&self, page_type: &str) {
        self.models.send_replace(());
        self.broadcast(json!({ "type": "models_changed", "pageType": page_type }).to_string());
    }

    fn activity(&self, activity: Activity) {
        if let Some(terminal) = &self.terminal {
            terminal.show(&activity);
        }
        if let Ok(text) = serde_json::to_string(&activity) {
            self.broadcast(text);
        }
        let key = (activity.page_type.clone(), activity.phase == Phase::Hashing);
        let mut activities = self.activities.lock().unwrap_or_else(PoisonError::into_inner);
        activities.insert(key, activity);
    }
}

fn text(progress: &InitProgress) -> String {
    serde_json::to_string(progress).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn delivery_is_awaited_until_every_receiver_is_past_the_marker() {
        let hub = Arc::new(Hub::default());
        // Nobody listens.
        hub.delivered().await;
        let mut slow = hub.general();
        hub.broadcast("1".into());
        let waiting = tokio::spawn({
            let hub = hub.clone();
            async move { hub.delivered().await }
        });
        let Ok(Event::Message(first)) = slow.recv().await else {
            panic!("no message")
        };
        assert_eq!(&*first, "1");
        let marker = slow.recv().await.unwrap();
        assert!(matches!(marker, Event::Marker(_)) && !waiting.is_finished());
        drop(marker);
        waiting.await.unwrap();
    }

    /// All that looks like the type of a message: in objects, in texts, and set later. Those of providers are capitalised.
    #[test]
    fn every_message_of_the_servers_own_is_reserved() {
        let pattern = regex::Regex::new(r#"(?:"type":\s*|\["type"\] = |"type", |kind: )"([a-z][a-z_]*)""#).unwrap();
        let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
        let mut found = std::collections::BTreeSet::new();
        for entry in walkdir::WalkDir::new(sources) {
            let entry = entry.unwrap();
            // Kits and rules are called with made-up data.
            let is_code = entry.path().extension().is_some_and(|extension| extension == "rs");
            if !is_code || entry.path().components().any(|part| part.as_os_str() == "authoring") {
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap();
            found.extend(pattern.captures_iter(&text).map(|found| found[1].to_owned()));
        }
        let unreserved: Vec<_> = found
            .iter()
            .filter(|name| !OWN_EVENTS.contains(&name.as_str()))
            .collect();
        assert!(unreserved.is_empty(), "{unreserved:?}");
        // The pattern finds them: all but the original's.
        assert_eq!(found.len(), OWN_EVENTS.len() - 1, "{found:?}");
    }
}
