//! The listing, and the listing of excluded models.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use roaring::RoaringBitmap;

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::list_query;
use super::json_bytes;
use crate::library::Library;
use crate::library::Snapshot;
use crate::library::filter::Filter;
use crate::library::item;
use crate::library::listing::{self, Listing, Sort};
use crate::library::patterns;
use crate::model_types::TypeService;
use crate::updates::Wishes;
use crate::use_cases::metadata::now;
use crate::workers::Deadline;

/// Records up to which a plain search is quick enough for the threads that serve requests.
const QUICK: usize = 50_000;

/// GET `list`.
pub async fn list(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let own = service.parse_query(call.query.pairs()).await?;
    let mut listing = list_query::listing(&call.query, own, &call.app.active.load().contract)?;
    let (snapshot, offline) = (service.library.snapshot(), service.library.offline());
    let wishes = Wishes::new(&call.app.active.load().contract, now());
    listing.filter.updates = Some(updates(&call, &service, &snapshot, wishes).await?);
    let etag = etag(&call, service.id, snapshot.generation(), wishes.hour(), &offline);
    if call.headers.get(header::IF_NONE_MATCH).is_some_and(|own| *own == etag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let bytes = match Cost::of(&listing, snapshot.len()) {
        Cost::Low => listing.render(&snapshot, &offline),
        Cost::Some => blocking(move || listing.render(&snapshot, &offline)).await?,
        Cost::High => {
            let job = move |deadline: &Deadline| {
                listing.filter.deadline = deadline.clone();
                if let Some(search) = &mut listing.filter.search {
                    service.library.look_into_descriptions(&snapshot, search, deadline);
                }
                listing.render(&snapshot, &offline)
            };
            call.app.workers.run(job).await?
        }
    };
    let mut response = json_bytes(bytes);
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
}

/// The models with an update worth telling.
async fn updates(
    call: &Call,
    service: &Arc<TypeService>,
    snapshot: &Arc<Snapshot>,
    wishes: Wishes,
) -> Result<Arc<RoaringBitmap>, ApiError> {
    let revision = call.app.active.load().revision;
    if let Some(known) = call.app.updates.known_slots(snapshot, service.id, wishes, revision) {
        return Ok(known);
    }
    let (app, service, snapshot) = (call.app.clone(), service.clone(), snapshot.clone());
    blocking(move || {
        let model_type = service.plugin.info().id();
        app.updates.slots(model_type, &snapshot, service.id, wishes, revision)
    })
    .await
}

/// What a listing costs, and so which threads do it.
#[derive(Debug, PartialEq)]
enum Cost {
    /// It only reads what is kept up: the threads that serve.
    Low,
    /// It sorts or searches plainly, in a few milliseconds for 100,000 records: a blocking thread.
    Some,
    /// The query string decides how long it takes: the bounded pool.
    High,
}

impl Cost {
    fn of(listing: &Listing, records: usize) -> Self {
        let filter = &listing.filter;
        let search = filter.search.as_ref();
        if search.is_some_and(|search| search.fuzzy || search.in_descriptions)
            || filter.names.as_ref().is_some_and(patterns::are_any)
        {
            return Self::High;
        }
        let kept_up = matches!(listing.sort, Sort::Key { .. }) && !listing.group_by_model && listing.model.is_none();
        match kept_up && (search.is_none() || records <= QUICK) {
            true => Self::Low,
            false => Self::Some,
        }
    }
}

fn etag(call: &Call, service: u64, generation: u64, hour: u64, offline: &[bool]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    let settings = (call.app.active.load().revision, call.app.updates.learnt());
    (call.app.run, service, settings, generation, hour, offline).hash(&mut hasher);
    (&call.path, &call.query_text).hash(&mut hasher);
    HeaderValue::from_str(&format!("W/\"{:016x}\"", hasher.finish())).unwrap_or(HeaderValue::from_static("W/\"0\""))
}

/// GET `excluded`.
pub async fn excluded(call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    let own = service.parse_query(call.query.pairs()).await?;
    let active = call.app.active.load_full();
    let contract = &active.contract;
    let mut listing = list_query::listing(&call.query, own, contract)?;
    // Only search and order have an effect here.
    listing.filter = Filter {
        search: listing.filter.search,
        ..Filter::default()
    };
    let (snapshot, offline) = (service.library.snapshot(), service.library.offline());
    let mut slots = snapshot.excluded().clone();
    if let Some(mut search) = listing.filter.search.take() {
        let (snapshot, library) = (snapshot.clone(), service.library.clone());
        let job = move |deadline: &Deadline| {
            library.look_into_descriptions(&snapshot, &mut search, deadline);
            search.run(&snapshot, deadline)
        };
        slots &= call.app.workers.run(job).await?;
    }
    let bytes = blocking(move || {
        let mut records: Vec<_> = slots.iter().filter_map(|slot| snapshot.get(slot)).collect();
        let away = |root: u16| offline.get(usize::from(root)).copied().unwrap_or(false);
        records.retain(|record| away(record.root) || is_there(&service.library, &record.path));
        if let Sort::Key { key, descending } = listing.sort {
            records.sort_by(|a, b| key.compare(a, b));
            if descending {
                records.reverse();
            }
        }
        let (from, limit) = listing::stretch(listing.page, listing.page_size);
        let mut out = b"{\"items\":[".to_vec();
        for (index, record) in records.iter().skip(from).take(limit).enumerate() {
            if index > 0 {
                out.push(b',');
            }
            item::close(
                &mut out,
                record,
                None,
                offline.get(usize::from(record.root)).copied().unwrap_or(false),
            );
        }
        listing::envelope(&mut out, records.len(), listing.page, listing.page_size);
        out
    });
    Ok(json_bytes(bytes.await?))
}

/// Whether a file is there, or its disk does not say.
fn is_there(library: &Library, path: &str) -> bool {
    match library.section(path) {
        Ok(_section) => Path::new(path).exists(),
        Err(_) => true,
    }
}
