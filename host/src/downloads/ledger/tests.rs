use super::*;

fn ledger() -> (tempfile::TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(folder.path()).unwrap();
    (folder, ledger)
}

fn row(id: &str, version: i64) -> QueueRow {
    QueueRow {
        download_id: id.into(),
        model_version_id: Some(version),
        request: Some("{}".into()),
        ..QueueRow::default()
    }
}

fn order(ledger: &Ledger) -> Vec<String> {
    ledger.queue().unwrap().into_iter().map(|row| row.download_id).collect()
}

fn ending(status: &str) -> Ending {
    Ending {
        status: status.into(),
        file_path: Some("/a".into()),
        ..Ending::default()
    }
}

#[test]
fn the_queue_keeps_its_order_and_its_rows() {
    let (_folder, ledger) = ledger();
    for id in ["a", "b", "c"] {
        assert_eq!(ledger.add(&row(id, 1)).unwrap().unwrap().status, "queued");
    }
    ledger
        .add(&QueueRow {
            model_name: "other".into(),
            ..row("a", 2)
        })
        .unwrap();
    assert_eq!(ledger.queued("a").unwrap().unwrap().model_version_id, Some(1));
    assert!(ledger.shift("c", true).unwrap() && ledger.shift("a", false).unwrap() && !ledger.shift("x", true).unwrap());
    assert_eq!(order(&ledger), ["c", "b", "a"]);
    assert!(ledger.remove("b").unwrap().is_some() && ledger.remove("b").unwrap().is_none());
    ledger.set_status("a", "paused").unwrap();
    let cleared = |status| -> Vec<String> {
        let rows = ledger.clear_queue(status).unwrap().into_iter();
        rows.map(|row| row.download_id).collect()
    };
    assert_eq!(cleared(Some("paused")), ["a"]);
    assert_eq!(cleared(None), ["c"]);
}

#[test]
fn what_ended_is_in_the_history_once_and_can_be_tried_again() {
    let (_folder, ledger) = ledger();
    ledger.add(&row("a", 1)).unwrap();
    assert_eq!(ledger.finish("a", &ending("failed")).unwrap().unwrap().download_id, "a");
    assert!(ledger.finish("a", &ending("failed")).unwrap().is_none() && ledger.add(&row("a", 1)).unwrap().is_none());
    let again = ledger.retry(&Which::Download("a".into())).unwrap().unwrap();
    assert_eq!(again.source.as_deref(), Some("retry"));
    assert_eq!(again.download_id.len(), 36);
    assert_eq!(ledger.history(10, 0, None).unwrap().1, 0);
    ledger.finish(&again.download_id, &ending("completed")).unwrap();
    assert!(
        ledger
            .retry(&Which::Download(again.download_id.clone()))
            .unwrap()
            .is_none()
    );
    for id in ["b", "c"] {
        ledger.add(&row(id, 2)).unwrap();
        ledger.finish(id, &ending("canceled")).unwrap();
    }
    assert_eq!(
        ledger.stats().unwrap(),
        Stats {
            completed: 1,
            canceled: 2,
            ..Stats::default()
        }
    );
    assert_eq!(ledger.history(-1, 0, None).unwrap().0.len(), 3);
    assert_eq!(ledger.retry_all().unwrap(), 2);
    assert_eq!(ledger.stats().unwrap().queued, 2);
}

#[test]
fn a_restart_queues_what_ran_and_leaves_what_stood_still() {
    let (folder, ledger) = ledger();
    for (id, status) in [("a", "downloading"), ("b", "paused"), ("c", "queued")] {
        ledger.add(&row(id, 1)).unwrap();
        ledger.set_status(id, status).unwrap();
    }
    for (id, status) in [("x", "failed"), ("y", "completed")] {
        ledger.add(&row(id, 7)).unwrap();
        ledger.finish(id, &ending(status)).unwrap();
    }
    drop(ledger);
    let ledger = Ledger::open(folder.path()).unwrap();
    let statuses: Vec<String> = ledger.queue().unwrap().into_iter().map(|row| row.status).collect();
    assert_eq!(statuses, ["queued", "paused", "queued"]);
    // Of several tries of one file, the one that arrived.
    let (rows, total) = ledger.history(10, 0, None).unwrap();
    assert_eq!((rows[0].status.as_str(), total), ("completed", 1));
}

#[test]
fn versions_are_remembered_and_a_persons_word_stands_against_a_scan() {
    let (_folder, ledger) = ledger();
    ledger
        .note_downloaded("t", &[(1, Some(9)), (2, Some(9))], "scan")
        .unwrap();
    assert!(ledger.was_downloaded("t", 1).unwrap() && !ledger.was_downloaded("u", 1).unwrap());
    ledger.note_not_downloaded("t", 1).unwrap();
    ledger.note_downloaded("t", &[(1, Some(9))], "scan").unwrap();
    assert!(!ledger.was_downloaded("t", 1).unwrap());
    assert_eq!(ledger.downloaded_of(9).unwrap(), [("t".to_owned(), 2)]);
    ledger.note_downloaded("t", &[(1, None)], "download").unwrap();
    assert_eq!(ledger.downloaded_of(9).unwrap().len(), 2);
}

/// As this server notes where it writes.
fn describe(ledger: &Ledger, id: &str, path: &str) {
    let described = QueueRow {
        file_path: Some(path.into()),
        ..row(id, 1)
    };
    ledger.describe(&described).unwrap();
}

const NEW: TakenUp = TakenUp::Queued { is_new: true };
const KNOWN: TakenUp = TakenUp::Queued { is_new: false };

#[test]
fn a_call_is_the_later_word_and_another_try_goes_on_where_the_first_wrote() {
    let (_folder, ledger) = ledger();
    let arrived = |_: &HistoryRow| true;
    // As a client queues it: nothing is said of where it goes.
    let of_client = QueueRow {
        request: None,
        model_name: "old".into(),
        ..row("a", 1)
    };
    ledger.add(&of_client).unwrap();
    ledger.set_status("a", "paused").unwrap();
    assert_eq!(ledger.take_up(&row("a", 2), arrived).unwrap(), KNOWN);
    let taken = ledger.queued("a").unwrap().unwrap();
    assert_eq!(
        (taken.model_version_id, taken.request.as_deref(), taken.status.as_str()),
        (Some(2), Some("{}"), "queued")
    );
    assert_eq!(taken.model_name, "");
    describe(&ledger, "a", "/a");

    ledger.finish("a", &ending("failed")).unwrap();
    assert_eq!(ledger.take_up(&row("a", 2), arrived).unwrap(), KNOWN);
    assert_eq!(ledger.queued("a").unwrap().unwrap().written_to.as_deref(), Some("/a"));
    assert_eq!(ledger.history(10, 0, None).unwrap().1, 0);
    ledger.finish("a", &ending("completed")).unwrap();
    assert!(matches!(
        ledger.take_up(&row("a", 2), arrived).unwrap(),
        TakenUp::Completed(_)
    ));
    assert!(ledger.queued("a").unwrap().is_none());
    assert_eq!(ledger.take_up(&row("new", 2), arrived).unwrap(), NEW);
}

#[test]
fn a_second_try_under_an_id_that_ended_well_has_a_row_of_its_own() {
    let (_folder, ledger) = ledger();
    ledger.add(&row("a", 1)).unwrap();
    ledger.finish("a", &ending("completed")).unwrap();
    // Another model, or the file is gone.
    assert_eq!(ledger.take_up(&row("a", 2), |_| false).unwrap(), NEW);
    ledger.finish("a", &ending("failed")).unwrap().unwrap();
    let (rows, total) = ledger.history(10, 0, None).unwrap();
    let statuses: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
    assert_eq!((statuses, total), (vec!["failed", "completed"], 2));
    assert_eq!(ledger.ended("a").unwrap().unwrap().model_version_id, Some(2));
    assert!(ledger.retry(&Which::Download("a".into())).unwrap().is_some());
}

#[test]
fn a_path_that_a_client_named_is_not_written_to() {
    let (_folder, ledger) = ledger();
    // One that this server ran, too.
    for id in ["a", "b"] {
        let of_client = QueueRow {
            request: (id == "b").then(|| "{}".into()),
            ..row(id, 1)
        };
        ledger.add(&of_client).unwrap();
        describe(&ledger, id, "/own");
        let of_client = Ending {
            file_path: Some("/etc/passwd".into()),
            ..ending("failed")
        };
        ledger.finish(id, &of_client).unwrap();
        assert_eq!(ledger.places_of_others("x").unwrap()[0].path, "/own");
        let again = ledger.retry(&Which::Download(id.into())).unwrap().unwrap();
        assert_eq!((again.file_path, again.written_to.as_deref()), (None, Some("/own")));
        ledger.remove(&again.download_id).unwrap();
    }
}

#[test]
fn tables_of_the_first_version_are_brought_forward_with_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let before = Connection::open(&path).unwrap();
    before.execute_batch(schema::MIGRATIONS[0]).unwrap();
    before
        .execute_batch(
            "INSERT INTO queue (download_id, added_at, file_path, request) VALUES ('a', 1, '/a', '{}');
             INSERT INTO history (download_id, status, completed_at, file_path, request) VALUES ('b', 'failed', 1, '/b', '{}');
             INSERT INTO history (download_id, status, completed_at, file_path) VALUES ('c', 'failed', 2, '/c');
             PRAGMA user_version = 1;",
        )
        .unwrap();
    drop(before);
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.queued("a").unwrap().unwrap().written_to.as_deref(), Some("/a"));
    let written = |id: &str| ledger.ended(id).unwrap().unwrap().written_to;
    assert_eq!((written("b").as_deref(), written("c")), (Some("/b"), None));
    assert_eq!(ledger.ended("c").unwrap().unwrap().id, 2);
}

#[test]
fn a_download_begins_unless_it_stands_still_or_is_gone() {
    let (_folder, ledger) = ledger();
    ledger.add(&row("a", 1)).unwrap();
    assert_eq!(ledger.start("a").unwrap(), Start::Go);
    assert_eq!(ledger.queued("a").unwrap().unwrap().status, "downloading");
    ledger.set_status("a", "paused").unwrap();
    assert_eq!(ledger.start("a").unwrap(), Start::Paused);
    ledger.remove("a").unwrap();
    assert_eq!(ledger.start("a").unwrap(), Start::Gone);
}

#[test]
fn a_file_that_can_not_be_used_is_put_aside_and_one_that_can_not_be_made_is_done_without() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let aside = || {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_str().unwrap().starts_with("downloads.sqlite.aside-")
            })
            .count()
    };
    std::fs::write(&path, "this is no database, and longer than the head of one would be").unwrap();
    Ledger::open(folder.path()).unwrap().add(&row("a", 1)).unwrap();
    assert_eq!(aside(), 1);
    assert_eq!(order(&Ledger::open(folder.path()).unwrap()), ["a"]);

    let newer = tempfile::tempdir().unwrap();
    let connection = Connection::open(newer.path().join(FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    Ledger::open(newer.path()).unwrap().add(&row("a", 1)).unwrap();
    assert_eq!(order(&Ledger::open(newer.path()).unwrap()), ["a"]);

    let nowhere = Ledger::open(&folder.path().join("none")).unwrap();
    nowhere.add(&row("a", 1)).unwrap();
    assert_eq!(order(&nowhere), ["a"]);
}

#[test]
fn what_is_known_of_versions_is_told_by_version() {
    let (_folder, ledger) = ledger();
    ledger.note_downloaded("t", &[(1, None), (2, None)], "scan").unwrap();
    ledger.note_not_downloaded("t", 2).unwrap();
    let words = ledger.words_on("t", [1, 2, 3].into_iter()).unwrap();
    assert_eq!(words, [(1, true), (2, false)].into());
}
