use std::io::{Seek, SeekFrom, Write};

use rusqlite::params;

use super::schema::checksum;
use super::*;
use crate::library::record::HashStatus;
use crate::library::snapshot_tests;

fn blank(path: &str) -> Record {
    let mut record = snapshot_tests::record(0, 0);
    record.path = path.into();
    record
}

fn record(path: &str) -> Arc<Record> {
    let mut record = blank(path);
    record.notes = format!("notes of {path}").into();
    record.item = format!("{{\"file_path\":\"{path}\"").into_bytes().into();
    Arc::new(record)
}

fn path_of(number: usize) -> String {
    format!("/models/folder {}/model {number:06}.safetensors", number % 17)
}

fn filled(folder: &Path, count: usize) -> Store {
    let store = Store::open(folder).unwrap();
    let changes = (0..count).map(|number| Change::Put(record(&path_of(number))));
    store.save("kind", changes.collect());
    store.save("other", vec![Change::Put(record("/models/other.safetensors"))]);
    store.complete("kind", "digest", &[PathBuf::from("/elsewhere")]);
    store.flush();
    store
}

fn paths(stored: &Stored) -> Vec<String> {
    let mut paths: Vec<String> = stored.records.iter().map(|record| record.path.to_string()).collect();
    paths.sort();
    paths
}

fn aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".aside-")).count()
}

fn key(inode: u64) -> FileKey {
    FileKey {
        disk: u64::MAX - 3,
        inode,
        size: 7,
        mtime_ns: -5,
    }
}

fn hashes(byte: u8) -> Hashes {
    Hashes {
        sha256: Sha256([byte; 32]),
        blake3: Blake3([byte + 1; 32]),
    }
}

fn sql(folder: &Path, sql: &str) {
    Connection::open(folder.join(FILE)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_was_stored_is_loaded_whole_by_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 5_000);
    let loaded = store.load("kind", &|_| true).unwrap();
    let expected: Vec<String> = (0..5_000).map(path_of).collect();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(paths(&loaded), sorted);
    assert!(
        loaded
            .records
            .iter()
            .all(|record| *record.notes == *format!("notes of {}", record.path))
    );
    assert_eq!(loaded.plugin_digest.as_deref(), Some("digest"));
    assert_eq!(loaded.link_targets, [PathBuf::from("/elsewhere")]);
    assert_eq!(
        paths(&store.load("other", &|_| true).unwrap()),
        ["/models/other.safetensors"]
    );
    assert!(store.load("unknown", &|_| true).unwrap().records.is_empty());
}

#[test]
fn the_last_change_of_a_record_counts_and_a_removed_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 3);
    let mut changed = blank(&path_of(1));
    changed.hash_status = HashStatus::Failed;
    store.save(
        "kind",
        vec![Change::Remove(path_of(0).into()), Change::Put(record(&path_of(1)))],
    );
    store.save(
        "kind",
        vec![Change::Put(Arc::new(changed)), Change::Put(record("/new"))],
    );
    drop(store);
    let loaded = Store::open(folder.path()).unwrap().load("kind", &|_| true).unwrap();
    let mut expected = [path_of(1), path_of(2), "/new".to_owned()];
    expected.sort();
    assert_eq!(paths(&loaded), expected);
    let status = loaded
        .records
        .iter()
        .find(|record| *record.path == *path_of(1))
        .unwrap()
        .hash_status;
    assert_eq!(status, HashStatus::Failed);
}

#[test]
fn hashes_are_known_before_and_after_they_are_written_and_only_for_the_same_content() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.remember(key(1), hashes(1));
    assert_eq!(store.known(&key(1)), Some(hashes(1)));
    store.flush();
    assert_eq!(store.known(&key(1)), Some(hashes(1)));
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.known(&key(1)), Some(hashes(1)));
    assert_eq!(store.known(&key(2)), None);
    assert_eq!(store.known(&FileKey { size: 8, ..key(1) }), None);
    assert_eq!(store.known(&FileKey { mtime_ns: 5, ..key(1) }), None);
    let replaced = FileKey { size: 8, ..key(1) };
    store.remember(replaced, hashes(9));
    store.flush();
    assert_eq!((store.known(&replaced), store.known(&key(1))), (Some(hashes(9)), None));
}

#[test]
fn another_form_of_records_drops_them_and_keeps_the_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 3);
    store.remember(key(1), hashes(1));
    drop(store);
    sql(folder.path(), "UPDATE form SET number = number - 1");
    let store = Store::open(folder.path()).unwrap();
    let loaded = store.load("kind", &|_| true).unwrap();
    assert!(loaded.records.is_empty() && loaded.plugin_digest.is_none());
    assert_eq!(store.known(&key(1)), Some(hashes(1)));
    assert_eq!(aside(folder.path()), 0);
}

#[test]
fn stores_of_earlier_versions_are_brought_forward() {
    for version in 1..=3 {
        let folder = tempfile::tempdir().unwrap();
        sql(
            folder.path(),
            &format!(
                "CREATE TABLE record (model_type TEXT NOT NULL, path TEXT NOT NULL, body BLOB NOT NULL,
                     PRIMARY KEY (model_type, path));
                 CREATE TABLE scan (model_type TEXT PRIMARY KEY, plugin_digest TEXT NOT NULL, link_targets TEXT NOT NULL);
                 INSERT INTO record VALUES ('kind', '/a', x'00');
                 INSERT INTO scan VALUES ('kind', 'digest', '[]');
                 PRAGMA user_version = {version};"
            ),
        );
        let store = Store::open(folder.path()).unwrap();
        let loaded = store.load("kind", &|_| true).unwrap();
        assert!(loaded.records.is_empty() && loaded.plugin_digest.is_none(), "{version}");
        store.save("kind", vec![Change::Put(record("/a"))]);
        store.flush();
        assert_eq!(paths(&store.load("kind", &|_| true).unwrap()), ["/a"]);
        assert_eq!(aside(folder.path()), 0, "nothing was put aside");
    }
}

#[test]
fn a_store_of_a_newer_version_is_put_aside_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 3));
    sql(folder.path(), "PRAGMA user_version = 999");
    let store = Store::open(folder.path()).unwrap();
    assert!(store.load("kind", &|_| true).unwrap().records.is_empty());
    assert!(aside(folder.path()) > 0);
}

#[test]
fn a_turned_bit_in_a_row_is_noticed_and_the_store_begun_again() {
    for part in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), 50));
        let database = Connection::open(folder.path().join(FILE)).unwrap();
        let mut body: Vec<u8> = database
            .query_row("SELECT body FROM record WHERE path = ?1", [path_of(7)], |row| {
                row.get(0)
            })
            .unwrap();
        let at = part * (body.len() - 1) / 2;
        body[at] ^= 0x10;
        database
            .execute("UPDATE record SET body = ?2 WHERE path = ?1", params![path_of(7), body])
            .unwrap();
        drop(database);
        let store = Store::open(folder.path()).unwrap();
        let error = store.load("kind", &|_| true).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(aside(folder.path()) > 0);
        assert!(store.load("other", &|_| true).unwrap().records.is_empty());
    }
}

#[test]
fn a_turned_bit_in_a_hash_makes_it_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.remember(key(1), hashes(1));
    store.flush();
    sql(folder.path(), "UPDATE hash SET body = x'FF' || substr(body, 2)");
    assert_eq!(store.known(&key(1)), None);
}

/// Damages the database of a stopped server, opens it, and demands that what it gives is either
/// whole or nothing, and that what is stored then is there at the next start. How much it gave.
fn damaged(damage: impl FnOnce(&Path)) -> usize {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 5_000));
    damage(&folder.path().join(FILE));
    let store = Store::open(folder.path()).unwrap();
    let loaded = store.load("kind", &|_| true).unwrap_or_default();
    assert!(
        loaded.records.len() == 5_000 || (loaded.records.is_empty() && loaded.plugin_digest.is_none()),
        "{} records",
        loaded.records.len()
    );
    for record in &loaded.records {
        assert_eq!(*record.notes, *format!("notes of {}", record.path));
    }
    // What the scan that follows does.
    let changes = (0..5_000).map(|number| Change::Put(record(&path_of(number))));
    store.save("kind", changes.collect());
    store.complete("kind", "digest", &[]);
    drop(store);
    let whole = Store::open(folder.path())
        .unwrap()
        .load("kind", &|_| true)
        .unwrap_or_default();
    // Damage to what only writing looks at is found while it writes: then it is begun again once more.
    assert!(
        whole.records.len() == 5_000 || (whole.records.is_empty() && whole.plugin_digest.is_none()),
        "{} records",
        whole.records.len()
    );
    loaded.records.len()
}

#[test]
fn bytes_turned_in_the_middle_of_the_file_are_noticed() {
    for part in 1..8u64 {
        damaged(|path| {
            let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            file.seek(SeekFrom::Start(length * part / 8)).unwrap();
            file.write_all(&[0xA5; 40_000]).unwrap();
        });
    }
}

#[test]
fn a_file_that_was_cut_short_is_noticed() {
    for part in 0..8u64 {
        damaged(|path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length * part / 8).unwrap();
        });
    }
}

#[test]
fn a_journal_of_garbage_is_passed_over() {
    let kept = damaged(|path| {
        std::fs::write(format!("{}-wal", path.display()), vec![0x5A; 100_000]).unwrap();
    });
    assert_eq!(kept, 5_000);
}

#[test]
fn a_journal_that_was_torn_gives_what_was_written_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 100);
    let wal = folder.path().join(format!("{FILE}-wal"));
    let database = folder.path().join(FILE);
    let copy = tempfile::tempdir().unwrap();
    // As a power cut leaves it: the last pages of the journal are missing.
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::copy(&database, copy.path().join(FILE)).unwrap();
    std::fs::write(copy.path().join(format!("{FILE}-wal")), &bytes[..bytes.len() * 2 / 3]).unwrap();
    drop(store);
    let store = Store::open(copy.path()).unwrap();
    let loaded = store.load("kind", &|_| true).unwrap();
    assert!(loaded.records.len() <= 100);
    store.save("kind", vec![Change::Put(record("/a"))]);
    store.flush();
    assert!(paths(&store.load("kind", &|_| true).unwrap()).contains(&"/a".to_owned()));
}

#[test]
fn a_checksum_differs_for_any_turned_bit_and_any_length() {
    let bytes: Vec<u8> = (0..61).collect();
    let sum = checksum(&bytes);
    for at in 0..bytes.len() * 8 {
        let mut turned = bytes.clone();
        turned[at / 8] ^= 1 << (at % 8);
        assert_ne!(checksum(&turned), sum, "{at}");
    }
    assert_ne!(checksum(&[0; 8]), checksum(&[0; 16]));
    assert_ne!(checksum(&[]), checksum(&[0]));
}
