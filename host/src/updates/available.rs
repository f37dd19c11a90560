//! Whether a newer version is worth telling. Source: contract sections 2.4 and 6.11.

use std::collections::HashMap;

use super::tracked::{Tracked, TrackedVersion};
use crate::library::chunk::Slot;
use crate::library::groups::Grouping;
use crate::library::{Snapshot, metadata};
use crate::settings::ContractSettings;

/// What a person wants to hear of.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Whether only versions of the same base model count.
    pub same_base: bool,
    /// Whether versions that must be bought for a while don't count.
    pub no_early_access: bool,
    /// Whether versions that must be bought don't count.
    pub no_paid: bool,
    /// Now, in seconds since 1970-01-01 UTC.
    pub now: f64,
}

impl Wishes {
    /// By settings.
    pub fn new(contract: &ContractSettings, now: f64) -> Self {
        Self {
            same_base: contract.grouping() == Grouping::SameBase,
            no_early_access: contract.flag("hide_early_access_updates", false),
            no_paid: contract.flag("hide_paid_updates", false),
            now,
        }
    }

    /// The hour, where it has a say in what counts: nothing that was worked out for another one is true any more.
    pub fn hour(&self) -> u64 {
        if self.no_early_access {
            (self.now / 3600.0) as u64
        } else {
            0
        }
    }

    /// Whether a version that is not here counts.
    fn wants(&self, version: &TrackedVersion) -> bool {
        let early = self.no_early_access && version.in_early_access(self.now);
        let paid = self.no_paid && version.is_paid();
        !version.ignored && version.is_downloadable() && !early && !paid
    }
}

/// Whether a model with these local versions has an update.
pub fn has_update(tracked: &Tracked, local: &[u64], wishes: Wishes) -> bool {
    let highest = local.iter().max().copied().unwrap_or(0);
    let newer = |version: &TrackedVersion| version.id > highest && !local.contains(&version.id);
    !tracked.ignored && tracked.versions.iter().any(|own| newer(own) && wishes.wants(own))
}

/// The models of a library for which a version of this provider's model is an update.
pub fn slots(snapshot: &Snapshot, model: u64, tracked: &Tracked, wishes: Wishes) -> Vec<Slot> {
    if tracked.ignored || tracked.versions.is_empty() {
        return Vec::new();
    }
    let here: Vec<_> = snapshot
        .keys()
        .model_id(model)
        .filter_map(|slot| Some((slot, snapshot.get(slot)?)))
        .collect();
    let local: Vec<u64> = here.iter().filter_map(|(_, record)| record.remote.id).collect();
    if !wishes.same_base {
        let any = has_update(tracked, &local, wishes);
        return if any {
            here.into_iter().map(|(slot, _)| slot).collect()
        } else {
            Vec::new()
        };
    }
    let base_of = |text: &str| metadata::base_model(text);
    let mut highest: HashMap<String, u64> = HashMap::new();
    for (_, record) in &here {
        let own = highest.entry(base_of(&record.base_model)).or_default();
        *own = (*own).max(record.remote.id.unwrap_or(0));
    }
    let has_newer = |(base, highest): (&String, &u64)| {
        let newer = |version: &TrackedVersion| {
            version.id > *highest
                && !local.contains(&version.id)
                && base_of(version.base_model.as_deref().unwrap_or_default()) == *base
        };
        tracked.versions.iter().any(|own| newer(own) && wishes.wants(own))
    };
    let updated: Vec<&String> = highest
        .iter()
        .filter(|own| has_newer(*own))
        .map(|(base, _)| base)
        .collect();
    let is_updated = |base: &str| updated.iter().any(|own| **own == base_of(base));
    here.iter()
        .filter(|(_, record)| is_updated(&record.base_model))
        .map(|(slot, _)| *slot)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            same_base: true,
            no_early_access: false,
            no_paid: false,
            now: 1.8e9,
        }
    }

    #[test]
    fn the_hour_counts_where_early_access_does() {
        let at = |now: f64, no_early_access| {
            Wishes {
                no_early_access,
                now,
                ..wishes()
            }
            .hour()
        };
        assert_ne!(at(3600.0, true), at(7200.0, true));
        assert_eq!(at(3600.0, true), at(7199.0, true));
        assert_eq!(at(3600.0, false), at(7200.0, false));
    }

    #[test]
    fn an_update_is_newer_not_ignored_and_downloadable() {
        let mut tracked = Tracked::default();
        tracked.version_mut(5);
        assert!(has_update(&tracked, &[4], wishes()) && has_update(&tracked, &[], wishes()));
        assert!(!has_update(&tracked, &[5], wishes()) && !has_update(&tracked, &[6], wishes()));
        tracked.version_mut(5).early_access = true;
        let no_early = Wishes {
            no_early_access: true,
            ..wishes()
        };
        assert!(has_update(&tracked, &[4], wishes()) && !has_update(&tracked, &[4], no_early));
        tracked.version_mut(5).usage_control = Some("Generation".into());
        assert!(!has_update(&tracked, &[4], wishes()));
        tracked.version_mut(7).ignored = true;
        assert!(!has_update(&tracked, &[4], wishes()));
        tracked.version_mut(8);
        assert!(has_update(&tracked, &[4], wishes()));
        tracked.ignored = true;
        assert!(!has_update(&tracked, &[4], wishes()));
    }
}
