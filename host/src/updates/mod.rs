//! Which models have newer versions at their provider: what was learnt of each, and what a person wants to hear of.
//! Source: contract sections 1.6 and 6.11.
//!
//! Kept in `updates.sqlite` in the data folder, apart from the library's store: what a person chose to ignore is no cache.

mod available;
mod kept;
mod tracked;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use roaring::RoaringBitmap;

pub use self::available::{Wishes, has_update};
pub use self::tracked::{Tracked, TrackedVersion, main_hash};

use self::kept::Kept;
use crate::library::Snapshot;

/// After how many seconds what was learnt of a model is old.
pub const STALE: f64 = 24.0 * 3600.0;

/// Model type and the provider's model id.
type Key = (String, u64);

/// What a set of slots holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    service: u64,
    generation: u64,
    learnt: u64,
    revision: u64,
    hour: u64,
}

/// All that is tracked.
pub struct Updates {
    kept: Mutex<Option<Kept>>,
    models: RwLock<HashMap<Key, Arc<Tracked>>>,
    // Grows with each change, so that answers can be kept.
    learnt: AtomicU64,
    computed: Mutex<Vec<(Moment, Arc<RoaringBitmap>)>>,
}

/// Sets that are kept; one for each type, and some more while a library is left.
const COMPUTED: usize = 16;

impl Updates {
    /// Opens what was kept. A file that can't be used is put aside, and tracking starts anew.
    pub fn open(data_folder: &Path) -> Self {
        let (kept, models) = match Kept::open(&data_folder.join("updates.sqlite")) {
            Ok((kept, models)) => (Some(kept), models),
            Err(error) => {
                tracing::error!(%error, "what was learnt of updates can't be kept; it is learnt again after the next start");
                (None, HashMap::new())
            }
        };
        Self {
            kept: Mutex::new(kept),
            models: RwLock::new(models),
            learnt: AtomicU64::new(1),
            computed: Mutex::default(),
        }
    }

    /// What is known of a model.
    pub fn get(&self, model_type: &str, model: u64) -> Option<Arc<Tracked>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        models.get(&(model_type.to_owned(), model)).cloned()
    }

    /// Grows with each change.
    pub fn learnt(&self) -> u64 {
        self.learnt.load(Ordering::Acquire)
    }

    /// Changes what is known of models, and keeps it. Blocks.
    ///
    /// # Errors
    /// When it can't be written; it holds until the server ends then.
    pub fn change(
        &self,
        model_type: &str,
        ids: &[u64],
        change: impl Fn(u64, &mut Tracked),
    ) -> Result<(), rusqlite::Error> {
        // One at a time, or two changes of one model would lose one.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Vec::with_capacity(ids.len());
        for id in ids {
            let mut tracked = self
                .get(model_type, *id)
                .map(|own| Tracked::clone(&own))
                .unwrap_or_default();
            change(*id, &mut tracked);
            changed.push(((model_type.to_owned(), *id), Arc::new(tracked)));
        }
        let written = kept.as_mut().map_or(Ok(()), |kept| kept.write(&changed));
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        models.extend(changed);
        drop(models);
        self.learnt.fetch_add(1, Ordering::AcqRel);
        written
    }

    fn moment(&self, snapshot: &Snapshot, service: u64, wishes: Wishes, revision: u64) -> Moment {
        Moment {
            service,
            generation: snapshot.generation(),
            learnt: self.learnt(),
            revision,
            hour: wishes.hour(),
        }
    }

    /// What [`Updates::slots`] gives, where that is known already.
    pub fn known_slots(
        &self,
        snapshot: &Snapshot,
        service: u64,
        wishes: Wishes,
        revision: u64,
    ) -> Option<Arc<RoaringBitmap>> {
        let now = self.moment(snapshot, service, wishes, revision);
        let computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = computed.iter().find(|(moment, _)| *moment == now);
        known.map(|(_, slots)| slots.clone())
    }

    /// The slots of a type's models that have an update worth telling. `service` and `revision` tell libraries and settings
    /// apart. Looks at every model that is tracked, unless nothing changed since the last time.
    pub fn slots(
        &self,
        model_type: &str,
        snapshot: &Snapshot,
        service: u64,
        wishes: Wishes,
        revision: u64,
    ) -> Arc<RoaringBitmap> {
        if let Some(known) = self.known_slots(snapshot, service, wishes, revision) {
            return known;
        }
        let now = self.moment(snapshot, service, wishes, revision);
        let own: Vec<(u64, Arc<Tracked>)> = {
            let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
            let of_type = models.iter().filter(|((own, _), _)| own == model_type);
            of_type.map(|((_, id), tracked)| (*id, tracked.clone())).collect()
        };
        let slots = own
            .iter()
            .flat_map(|(id, tracked)| available::slots(snapshot, *id, tracked, wishes));
        let slots: Arc<RoaringBitmap> = Arc::new(slots.collect());
        let mut computed = self.computed.lock().unwrap_or_else(PoisonError::into_inner);
        computed.retain(|(own, _)| own.service != service || own.generation > now.generation);
        if computed.len() >= COMPUTED {
            computed.remove(0);
        }
        computed.push((now, slots.clone()));
        slots
    }
}
