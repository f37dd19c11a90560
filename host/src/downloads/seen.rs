//! Remembering which versions were ever in a library, also after their files are gone. Source: contract section 6.2.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::service::Downloads;
use crate::app::App;

/// Changes come in bursts; they are looked at together.
const REST: Duration = Duration::from_secs(1);

/// Notes what the libraries have, now and after each change, until the server ends.
pub async fn remember_seen(app: Arc<App>, downloads: Arc<Downloads>) {
    let mut changes = app.hub.model_changes();
    let mut noted: HashMap<String, HashSet<u64>> = HashMap::new();
    loop {
        if let Err(error) = note(&app, &downloads, &mut noted).await {
            tracing::error!(%error, "the versions of the libraries are not noted");
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(REST).await;
        changes.mark_unchanged();
    }
}

async fn note(
    app: &App,
    downloads: &Downloads,
    noted: &mut HashMap<String, HashSet<u64>>,
) -> Result<(), super::DownloadError> {
    for slot in app.types.load_full().iter() {
        let Some(service) = slot.service() else { continue };
        let id = slot.info.id().to_owned();
        if !noted.contains_key(&id) {
            let own = id.clone();
            let known = downloads.in_ledger(move |ledger| ledger.noted(&own)).await?;
            noted.insert(id.clone(), known.into_iter().collect());
        }
        let Some(known) = noted.get_mut(&id) else { continue };
        let snapshot = service.library.snapshot();
        let records = snapshot.records();
        let ids = records
            .iter()
            .filter_map(|(_, record)| Some((record.remote.id?, record.remote.model_id)));
        let new: Vec<(u64, Option<u64>)> = ids.filter(|(version, _)| !known.contains(version)).collect();
        if new.is_empty() {
            continue;
        }
        note_new(downloads, id, known, new).await?;
    }
    Ok(())
}

/// Notes versions of a type; they are known only once that is done, so that what could not be noted is tried again with the
/// next change.
async fn note_new(
    downloads: &Downloads,
    model_type: String,
    known: &mut HashSet<u64>,
    new: Vec<(u64, Option<u64>)>,
) -> Result<(), super::DownloadError> {
    let versions: Vec<u64> = new.iter().map(|(version, _)| *version).collect();
    downloads
        .in_ledger(move |ledger| ledger.note_downloaded(&model_type, &new, "scan"))
        .await?;
    known.extend(versions);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::downloads::ledger::Ledger;
    use crate::settings::DownloadSettings;

    #[tokio::test]
    async fn what_could_not_be_noted_is_not_taken_for_noted() {
        let folder = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(Ledger::open(folder.path()).unwrap(), DownloadSettings::default());
        let file = rusqlite::Connection::open(folder.path().join("downloads.sqlite")).unwrap();
        let rename = |from: &str, to: &str| {
            file.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"))
                .unwrap()
        };
        let mut known = HashSet::new();
        rename("downloaded_versions", "away");
        assert!(
            note_new(&downloads, "t".into(), &mut known, vec![(1, None)])
                .await
                .is_err()
        );
        assert!(known.is_empty());
        rename("away", "downloaded_versions");
        note_new(&downloads, "t".into(), &mut known, vec![(1, None)])
            .await
            .unwrap();
        assert!(known.contains(&1) && downloads.ledger().was_downloaded("t", 1).unwrap());
    }
}
