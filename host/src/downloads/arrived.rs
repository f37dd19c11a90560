//! Whether a file that has its name is what a download was to bring: told by what the file is, never by its name.

use std::path::Path;

use super::hugging_face;
use super::ledger::HistoryRow;
use super::wanted::Wanted;
use crate::app::App;
use crate::library::record::Record;

/// Whether a library lists a file as this version.
pub fn is_version(app: &App, path: &Path, version: Option<i64>) -> bool {
    version.is_some_and(|version| is_listed(app, path, |record| record.remote.id == Some(version.cast_unsigned())))
}

/// Whether a download that ended well brought what is asked for, and that is still there.
pub fn has_arrived(app: &App, wanted: &Wanted, row: &HistoryRow) -> bool {
    let Some(path) = row.file_path.as_deref().map(Path::new).filter(|_| wanted.was_of(row)) else {
        return false;
    };
    match &wanted.hugging_face {
        Some(file) => {
            let page = hugging_face::page(&file.repo);
            is_listed(app, path, |record| record.hf_url.as_deref() == Some(&page))
        }
        None => is_version(app, path, row.model_version_id),
    }
}

fn is_listed(app: &App, path: &Path, is_it: impl Fn(&Record) -> bool) -> bool {
    let Some(wire) = crate::files::wire_path(path) else {
        return false;
    };
    let types = app.types.load();
    let mut services = types.iter().filter_map(|slot| slot.service());
    services.any(|service| {
        service
            .library
            .snapshot()
            .by_path(&wire)
            .is_some_and(|record| is_it(record))
    })
}
