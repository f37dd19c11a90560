//! `library`: the models of the plugin's own type.

use rand::seq::index;
use rand::{SeedableRng, rngs::SmallRng};

use super::super::bindings::Model;
use super::super::instance::CallState;
use super::wit::library::{Facet, Host, Lookup, Order, Page, Root, Selection, TagLogic};
use super::wit::types::Error;
use super::{LibraryView, unsupported};
use crate::library::chunk::Slot;
use crate::library::edit::Edit;
use crate::library::editing::{EditError, Tools};
use crate::library::filter::Filter;
use crate::library::groups::Grouping;
use crate::library::haystack::Field;
use crate::library::history::ActKind;
use crate::library::item;
use crate::library::listing::{Listing, Sort};
use crate::library::orders::SortKey;
use crate::library::search::Search;
use crate::library::text::Initial;

/// Most models in one answer of `query`.
const MAX_PAGE: u32 = 1_000;
/// Most models that one call changes.
const MAX_EDITS: u32 = 100;
/// Largest patch in bytes.
const MAX_PATCH: usize = 256 << 10;

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl CallState {
    fn view(&self) -> Result<&LibraryView, Error> {
        match &self.reach.library {
            Some(view) => Ok(view),
            None => unsupported("library"),
        }
    }
}

impl CallState {
    async fn patched(&mut self, path: String, patch: &str) -> Result<Model, Error> {
        let library = self.view()?.library.clone();
        let (Some(outside), Some(rules)) = (self.reach.outside.clone(), self.reach.rules.clone()) else {
            return unsupported("library.patch-metadata");
        };
        self.reach.edits_made += 1;
        if self.reach.edits_made > MAX_EDITS {
            return Err(Error::Conflict(format!("more than {MAX_EDITS} changes in one call")));
        }
        if patch.len() > MAX_PATCH {
            return Err(Error::Invalid(format!("the patch is larger than {MAX_PATCH} bytes")));
        }
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(patch) else {
            return Err(Error::Invalid("the patch is no JSON object".into()));
        };
        let edited = tokio::task::spawn_blocking(move || {
            let tools = Tools {
                plugin: &rules,
                history: &outside.history,
                handle: &outside.handle,
            };
            let outcome = library.edit(&tools, ActKind::Edit, std::slice::from_ref(&path), &[Edit::Set(fields)])?;
            let edited = outcome.models.into_iter().next();
            edited.map_or(Ok(None), |edited| edited.result)
        });
        match self.clock.waiting(edited).await {
            Ok(Ok(Some(record))) => Ok(item::model(&record)),
            Ok(Ok(None)) => Err(Error::NotFound("the model is gone".into())),
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }
}

fn refused(error: &EditError) -> Error {
    let text = error.to_string();
    match error {
        EditError::NotFound(_) => Error::NotFound(text),
        EditError::Outside(_) | EditError::Hidden(_) | EditError::Open(_) => Error::Unauthorised(text),
        EditError::Shared { .. }
        | EditError::NameTaken(_)
        | EditError::TargetTaken(_)
        | EditError::TargetShared { .. }
        | EditError::Away(_)
        | EditError::NoRoot(_)
        | EditError::Foreign(_)
        | EditError::NotHashed(_)
        | EditError::Differs(..)
        | EditError::IsLink(_)
        | EditError::CantLink { .. }
        | EditError::ChangedSince(_) => Error::Conflict(text),
        EditError::Name(..) | EditError::TooLong(_) => Error::Invalid(text),
        EditError::Sidecar(_)
        | EditError::History(_)
        | EditError::Merge { .. }
        | EditError::NotFiled(_)
        | EditError::Write { .. } => Error::Internal(text),
    }
}

fn filter(which: Selection) -> Filter {
    let lower = |list: Vec<String>| list.into_iter().map(|text| text.to_lowercase()).collect();
    Filter {
        base_models: which.base_models,
        sub_types: lower(which.sub_types),
        tags_include: lower(which.tags_include),
        tags_exclude: lower(which.tags_exclude),
        all_tags: matches!(which.tag_logic, TagLogic::All),
        folder_prefix_include: which.folder_prefixes_include,
        folder_prefix_exclude: which.folder_prefixes_exclude,
        root_key: which.root_key,
        favorites_only: which.favorites_only,
        credit_required: which.credit_required,
        selling_allowed: which.selling_allowed,
        initial: which.initial.map(Into::into),
        names: Some(which.names),
        search: (!which.search.is_empty()).then_some(Search {
            text: which.search,
            fuzzy: false,
            fields: vec![Field::FileName, Field::ModelName],
            ..Search::default()
        }),
        ..Filter::default()
    }
}

fn slots(view: &LibraryView, which: Selection, order: Order) -> Vec<Slot> {
    let (key, descending) = match order {
        Order::Name => (SortKey::Name, false),
        Order::FileName => (SortKey::FileName, false),
        Order::RelativePath => (SortKey::Path, false),
        Order::Newest => (SortKey::Date, true),
    };
    let listing = Listing {
        filter: filter(which),
        sort: Sort::Key { key, descending },
        group_by_model: false,
        grouping: Grouping::SameBase,
        model: None,
        page: 1,
        page_size: 1,
    };
    listing.slots(&view.snapshot)
}

fn models(view: &LibraryView, slots: impl Iterator<Item = Slot>) -> Vec<Model> {
    slots
        .filter_map(|slot| Some(item::model(view.snapshot.get(slot)?)))
        .collect()
}

impl Host for CallState {
    async fn query(&mut self, which: Selection, order: Order, offset: u64, limit: u32) -> Answer<Page> {
        let view = match self.view() {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let slots = slots(view, which, order);
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let stretch = slots.iter().copied().skip(offset).take(limit.min(MAX_PAGE) as usize);
        Ok(Ok(Page {
            total: slots.len() as u64,
            models: models(view, stretch),
        }))
    }

    async fn random_sample(&mut self, which: Selection, count: u32, seed: u64) -> Answer<Vec<Model>> {
        let view = match self.view() {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let slots = slots(view, which, Order::RelativePath);
        let count = (count.min(MAX_PAGE) as usize).min(slots.len());
        let chosen = index::sample(&mut SmallRng::seed_from_u64(seed), slots.len(), count);
        Ok(Ok(models(view, chosen.into_iter().map(|index| slots[index]))))
    }

    async fn get(&mut self, key: Lookup) -> Answer<Option<Model>> {
        let view = match self.view() {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let snapshot = &view.snapshot;
        let record = match &key {
            Lookup::Path(path) => snapshot.by_path(path).filter(|record| !record.exclude),
            Lookup::Name(name) => snapshot.by_name(name),
            Lookup::Reference(reference) => snapshot.by_reference(reference),
            Lookup::PathPart(part) => snapshot.by_path_part(part),
            Lookup::Hash(hash) => snapshot.by_hash(hash),
        };
        Ok(Ok(record.map(|record| item::model(record))))
    }

    async fn entry(&mut self, path: String) -> Answer<Option<String>> {
        Ok(self.view().map(|view| {
            view.snapshot.by_path(&path).map(|record| {
                let mut entry = item::entry(record);
                entry["auto_tags"] = record.auto_tags.names().collect();
                entry.to_string()
            })
        }))
    }

    async fn facets(&mut self, kind: Facet, limit: u32) -> Answer<Vec<(String, u64)>> {
        let view = match self.view() {
            Ok(view) => view,
            Err(error) => return Ok(Err(error)),
        };
        let properties = view.snapshot.properties();
        let sets = |sets: &crate::library::sets::Sets| -> Vec<(String, u64)> {
            sets.iter()
                .map(|(value, slots)| (value.to_string(), slots.len()))
                .collect()
        };
        let mut counts = match kind {
            Facet::Tag => properties
                .tag_counts
                .iter()
                .map(|(tag, count)| (tag.to_string(), u64::from(*count)))
                .collect(),
            Facet::BaseModel => sets(&properties.base_models),
            Facet::SubType => sets(&properties.sub_types),
            Facet::Folder => sets(&properties.folders),
            Facet::Initial => properties
                .initials
                .iter()
                .filter_map(|(initial, slots)| {
                    let name = match initial {
                        Initial::Digit => "#".to_owned(),
                        Initial::Letter(letter) => char::from(*letter).to_string(),
                        Initial::Symbol => "@".to_owned(),
                        Initial::Cjk => "漢".to_owned(),
                        Initial::Other(_) => return None,
                    };
                    Some((name, slots.len()))
                })
                .collect(),
        };
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        if limit > 0 {
            counts.truncate(limit as usize);
        }
        Ok(Ok(counts))
    }

    async fn roots(&mut self) -> Answer<Vec<Root>> {
        Ok(self.view().map(|view| {
            let offline = view.library.offline();
            let known: Vec<_> = view.library.known_roots().cloned().collect();
            let roots = view
                .library
                .roots()
                .iter()
                .enumerate()
                .filter(|(_, root)| known.contains(root));
            roots
                .map(|(index, root)| Root {
                    path: root.wire.to_string(),
                    key: root.key.to_string(),
                    online: !offline.get(index).copied().unwrap_or(false),
                })
                .collect()
        }))
    }

    async fn patch_metadata(&mut self, path: String, patch: String) -> Answer<Model> {
        Ok(self.patched(path, &patch).await)
    }
}
