//! How many connections there are, and which one ends when there is no room for another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::settings::ConnectionSettings;

/// Handles that are kept for files of libraries, databases and downloads.
const RESERVED_HANDLES: u64 = 512;
/// Connections that are allowed however few handles there are.
const FEWEST: usize = 32;

/// Bounds of the number of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From all addresses.
    pub total: usize,
    /// From one address.
    pub each_address: usize,
}

impl Limits {
    /// The bounds of the settings, lowered so that at least half of the handles, or 512 if that is fewer, are left.
    pub fn new(settings: &ConnectionSettings, handles: u64) -> Self {
        let for_connections = handles.saturating_sub(RESERVED_HANDLES.min(handles / 2));
        let most = usize::try_from(for_connections).unwrap_or(usize::MAX).max(FEWEST);
        Self {
            total: settings.total.clamp(1, most),
            each_address: settings.each_address.max(1),
        }
    }
}

/// All open connections.
pub struct Admission {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    last: u64,
    connections: HashMap<u64, Entry>,
    /// Connections of each address that has a bound.
    by_address: HashMap<IpAddr, usize>,
}

struct Entry {
    address: IpAddr,
    is_bounded: bool,
    activity: Arc<Activity>,
}

impl Open {
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.connections.remove(&id)?;
        if entry.is_bounded
            && let Some(count) = self.by_address.get_mut(&entry.address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }

    /// Ends the connection without a request that matters least: one that never had a request before one that had, and
    /// the one that waits longest first.
    fn end_one(&mut self, of: Option<IpAddr>) -> bool {
        let waiting = self
            .connections
            .iter()
            .filter(|(_, entry)| of.is_none_or(|of| entry.is_bounded && entry.address == of))
            .filter_map(|(id, entry)| Some((entry.activity.rank()?, *id)));
        let Some((_, id)) = waiting.min() else { return false };
        if let Some(entry) = self.remove(id) {
            entry.activity.close.notify_one();
        }
        true
    }
}

impl Admission {
    /// No connections yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection in. When there is no room, a connection without a request ends for it; none where every
    /// connection has one.
    pub fn admit(self: &Arc<Self>, address: IpAddr, is_bounded: bool) -> Option<Admitted> {
        let mut open = self.open();
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        if is_bounded && of_address >= self.limits.each_address && !open.end_one(Some(address)) {
            return None;
        }
        if open.connections.len() >= self.limits.total && !open.end_one(None) {
            return None;
        }
        open.last += 1;
        let (id, activity) = (open.last, Arc::new(Activity::new()));
        if is_bounded {
            *open.by_address.entry(address).or_default() += 1;
        }
        let entry = Entry {
            address,
            is_bounded,
            activity: activity.clone(),
        };
        open.connections.insert(id, entry);
        Some(Admitted {
            admission: self.clone(),
            id,
            activity,
        })
    }

    /// Ends a connection without a request, if there is one.
    pub fn make_room(&self) {
        self.open().end_one(None);
    }
}

/// A place among the connections; given up when dropped.
pub struct Admitted {
    admission: Arc<Admission>,
    id: u64,
    /// The connection's requests.
    pub activity: Arc<Activity>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open().remove(self.id);
    }
}

/// The requests of one connection.
pub struct Activity {
    /// Notified when the connection has to end.
    pub close: Notify,
    status: Mutex<Status>,
}

/// Since when a connection waits for its client.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Requests that are being answered.
    pub requests: usize,
    /// Whether there was a request.
    pub had_request: bool,
    /// Since when there is no request.
    pub idle_since: Instant,
    /// Since when a part of a request's headers is here.
    pub header_since: Option<Instant>,
}

impl Activity {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            close: Notify::new(),
            // Who connects has to send something soon.
            status: Mutex::new(Status {
                requests: 0,
                had_request: false,
                idle_since: now,
                header_since: Some(now),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current status.
    pub fn status(&self) -> Status {
        *self.lock()
    }

    /// Bytes arrived.
    pub fn received(&self) {
        let mut status = self.lock();
        if status.requests == 0 && status.header_since.is_none() {
            status.header_since = Some(Instant::now());
        }
    }

    /// A request begins; it ends when the guard is dropped.
    pub fn request(self: &Arc<Self>) -> RequestGuard {
        let mut status = self.lock();
        status.requests += 1;
        status.had_request = true;
        status.header_since = None;
        drop(status);
        RequestGuard(self.clone())
    }

    /// Order in which connections without a request end; none for a connection that has one.
    fn rank(&self) -> Option<(bool, Instant)> {
        let status = self.status();
        (status.requests == 0).then_some((status.had_request, status.header_since.unwrap_or(status.idle_since)))
    }
}

/// A request that is being answered.
pub struct RequestGuard(Arc<Activity>);

impl RequestGuard {
    /// Counts the request for as long as the connection lasts: it has become a WebSocket.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut status = self.0.lock();
        status.requests -= 1;
        status.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(total: usize, each_address: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Limits { total, each_address }))
    }

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_full_server_ends_connections_without_a_request_and_refuses_when_there_is_none() {
        let admission = admission(2, 10);
        let idle = admission.admit(A, true).unwrap();
        drop(idle.activity.request());
        let silent = admission.admit(A, true).unwrap();
        let third = admission.admit(B, true).unwrap();
        // The connection that never sent a request made room, though the other one is older.
        assert!(admission.open().connections.contains_key(&idle.id));
        assert!(!admission.open().connections.contains_key(&silent.id));
        let busy = (idle.activity.request(), third.activity.request());
        assert!(admission.admit(B, true).is_none());
        drop(busy);
        assert!(admission.admit(B, true).is_some());
    }

    #[test]
    fn one_address_takes_room_from_itself_alone() {
        let admission = admission(10, 2);
        let other = admission.admit(B, true).unwrap();
        let own: Vec<_> = (0..5).map(|_| admission.admit(A, true).unwrap()).collect();
        assert_eq!(admission.open().by_address[&A], 2);
        assert!(admission.open().connections.contains_key(&other.id));
        drop((own, other));
        let open = admission.open();
        assert!(open.connections.is_empty() && open.by_address.is_empty());
    }

    #[test]
    fn a_trusted_proxy_has_no_bound_of_its_own() {
        let admission = admission(10, 2);
        let own: Vec<_> = (0..5).map(|_| admission.admit(A, false).unwrap()).collect();
        assert_eq!(admission.open().connections.len(), own.len());
    }

    #[test]
    fn handles_are_left_for_files() {
        let settings = ConnectionSettings::default();
        assert_eq!(Limits::new(&settings, 65_536).total, settings.total);
        assert_eq!(Limits::new(&settings, 1_024).total, 512);
        assert_eq!(Limits::new(&settings, 256).total, 128);
    }
}
