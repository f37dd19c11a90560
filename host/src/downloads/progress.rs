//! How far downloads are: one board, from which sockets and polling clients are told the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

/// Messages that a slow client may fall behind before it loses the oldest.
const BACKLOG: usize = 64;

/// Bytes of a download.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Flow {
    /// Bytes that are here.
    pub here: u64,
    /// Bytes of the whole.
    pub total: Option<u64>,
    /// Bytes a second over the last seconds.
    pub rate: f64,
}

/// How far a download is. Source of the words: contract section 3.4.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// `progress`, `paused`, `downloading` (after a pause), `cancelled` or `skipped`.
    pub status: &'static str,
    /// Percent: 3 when the preview is there, 100 when all is written.
    pub percent: u8,
    /// Bytes, once they flow.
    pub flow: Option<Flow>,
    /// For people.
    pub message: Option<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            status: "progress",
            percent: 0,
            flow: None,
            message: None,
        }
    }
}

impl Progress {
    /// As a socket is told.
    fn message(&self, id: &str) -> String {
        let mut message = json!({ "status": self.status, "progress": self.percent, "download_id": id });
        if let Some(fields) = message.as_object_mut() {
            self.add_rest(fields, self.flow);
        }
        message.to_string()
    }

    /// As a polling client is told.
    pub fn answer(&self) -> Value {
        let mut answer = json!({ "success": true, "progress": self.percent });
        if let Some(fields) = answer.as_object_mut() {
            if self.status != "progress" {
                fields.insert("status".into(), self.status.into());
            }
            self.add_rest(fields, Some(self.flow.unwrap_or_default()));
        }
        answer
    }

    fn add_rest(&self, fields: &mut Map<String, Value>, flow: Option<Flow>) {
        if let Some(flow) = flow {
            fields.insert("bytes_downloaded".into(), flow.here.into());
            fields.insert("total_bytes".into(), flow.total.into());
            fields.insert("bytes_per_second".into(), flow.rate.into());
        }
        if let Some(message) = &self.message {
            fields.insert("message".into(), message.as_str().into());
        }
    }
}

/// The board.
#[derive(Default)]
pub struct Board {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    last: HashMap<String, Progress>,
    listeners: HashMap<String, broadcast::Sender<Arc<str>>>,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a download, and tells it.
    pub fn update(&self, id: &str, change: impl FnOnce(&mut Progress)) {
        let mut inner = self.lock();
        let progress = inner.last.entry(id.to_owned()).or_default();
        change(progress);
        // Under the lock, so that what a socket is told last is what a polling client is told.
        let message = progress.message(id);
        if let Some(listeners) = inner.listeners.get(id)
            && listeners.send(message.into()).is_err()
        {
            inner.listeners.remove(id);
        }
    }

    /// Tells those who listen without remembering it: of a download that waits in the queue, its row says all.
    pub fn tell(&self, id: &str, progress: &Progress) {
        let inner = self.lock();
        if let Some(listeners) = inner.listeners.get(id) {
            let _ = listeners.send(progress.message(id).into());
        }
    }

    /// How far a download is; none of one that never ran or is forgotten.
    pub fn get(&self, id: &str) -> Option<Progress> {
        self.lock().last.get(id).cloned()
    }

    /// Forgets a download.
    pub fn forget(&self, id: &str) {
        self.lock().last.remove(id);
    }

    /// Messages of a download from now on; it need not have begun.
    pub fn listen(&self, id: &str) -> broadcast::Receiver<Arc<str>> {
        let mut inner = self.lock();
        inner.listeners.retain(|_, sender| sender.receiver_count() > 0);
        let listeners = inner.listeners.entry(id.to_owned());
        listeners.or_insert_with(|| broadcast::channel(BACKLOG).0).subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_polling_are_told_the_same() {
        let board = Board::default();
        let mut messages = board.listen("a");
        assert!(board.get("a").is_none());
        board.update("a", |progress| {
            progress.percent = 50;
            progress.flow = Some(Flow {
                here: 5,
                total: Some(10),
                rate: 2.0,
            });
        });
        board.update("b", |progress| progress.percent = 1);
        let told: Value = serde_json::from_str(&messages.try_recv().unwrap()).unwrap();
        assert_eq!(
            told,
            json!({"status": "progress", "progress": 50, "download_id": "a", "bytes_downloaded": 5, "total_bytes": 10, "bytes_per_second": 2.0})
        );
        let polled = board.get("a").unwrap().answer();
        assert_eq!(
            polled,
            json!({"success": true, "progress": 50, "bytes_downloaded": 5, "total_bytes": 10, "bytes_per_second": 2.0})
        );
        board.update("a", |progress| progress.status = "paused");
        assert_eq!(board.get("a").unwrap().answer()["status"], "paused");
        assert!(messages.try_recv().is_ok() && messages.try_recv().is_err());
    }
}
