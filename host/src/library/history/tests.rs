use super::*;
use crate::cancel::Cancel;

#[test]
fn an_act_and_its_copies_are_there_after_a_restart_and_old_ones_are_not() {
    let data = tempfile::tempdir().unwrap();
    let settings = HistorySettings {
        days: 1,
        acts: 2,
        ..HistorySettings::default()
    };
    let history = History::open(data.path(), settings.clone());
    let mut ids = Vec::new();
    for number in 0..3 {
        let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
        draft.keep("m", "m.json", Some(&[number]), Some(b"new")).unwrap();
        ids.push(draft.end().unwrap().unwrap());
    }
    assert!(
        history
            .begin(ActKind::Edit, "t", None)
            .unwrap()
            .end()
            .unwrap()
            .is_none()
    );
    drop(history);
    let history = History::open(data.path(), settings);
    let kept: Vec<String> = history.acts().into_iter().map(|act| act.id.clone()).collect();
    assert_eq!(kept, [ids[2].clone(), ids[1].clone()]);
    let act = history.act(&ids[2]).unwrap();
    assert_eq!(history.before(&act, 0).unwrap(), Some(vec![2]));
    assert!(matches!(&act.steps[0], Step::Content { after, .. } if *after == digest(b"new")));
    assert!(matches!(history.act(&ids[0]), Err(HistoryError::Unknown(_))));
    assert_eq!(std::fs::read_dir(data.path().join("history")).unwrap().count(), 2);
}

#[test]
fn an_act_that_was_cut_off_is_ended_with_the_files_as_they_are() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("a.json");
    std::fs::write(&file, "new").unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
    let path = file.to_str().unwrap();
    draft.keep("m", path, Some(b"old"), Some(b"new")).unwrap();
    let id = draft.id().to_owned();
    // As a crash leaves it.
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    let act = history.act(&id).unwrap();
    assert!(matches!(&act.steps[0], Step::Content { after, .. } if *after == digest(b"new")));
    assert_eq!(history.before(&act, 0).unwrap().as_deref(), Some(&b"old"[..]));
}

#[test]
fn an_act_that_moved_files_and_was_cut_off_is_rolled_back() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    std::fs::write(file("a"), "a").unwrap();
    std::fs::write(file("b"), "b").unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
    draft.rename("m", &file("a"), &file("a2")).unwrap();
    let path = file("b");
    draft
        .keep("m", path.to_str().unwrap(), Some(b"b"), Some(b"changed"))
        .unwrap();
    std::fs::write(file("b"), "changed").unwrap();
    assert!(matches!(
        draft.rename("m", &file("a2"), &file("b")),
        Err(HistoryError::Occupied(_))
    ));
    // As a crash leaves it.
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    assert!(history.acts().is_empty());
    assert_eq!(std::fs::read(file("a")).unwrap(), b"a");
    assert_eq!(std::fs::read(file("b")).unwrap(), b"b");
    assert!(!file("a2").exists());
}

#[test]
fn an_undo_that_was_cut_off_before_it_moved_anything_is_rolled_back_when_its_act_moved_files() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    std::fs::write(file("a"), "a").unwrap();
    std::fs::write(file("side"), "old").unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Rename, "t", None).unwrap();
    draft.rename("m", &file("a"), &file("b")).unwrap();
    let id = draft.end().unwrap().unwrap();
    let mut draft = history.begin(ActKind::Undo, "t", Some(&id)).unwrap();
    let path = file("side");
    draft
        .keep("m", path.to_str().unwrap(), Some(b"old"), Some(b"new"))
        .unwrap();
    std::fs::write(file("side"), "new").unwrap();
    // As a crash leaves it.
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    assert_eq!(history.acts().len(), 1);
    assert_eq!(std::fs::read(file("side")).unwrap(), b"old");
}

#[test]
fn an_act_that_is_dropped_on_its_way_is_taken_back_at_once() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    std::fs::write(file("a"), "a").unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Rename, "t", None).unwrap();
    draft.rename("m", &file("a"), &file("a2")).unwrap();
    drop(draft);
    assert!(file("a").exists() && !file("a2").exists() && history.acts().is_empty());
    assert_eq!(std::fs::read_dir(data.path().join("history")).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_relative_link_is_rolled_back_though_it_leads_nowhere_from_the_trash() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    std::fs::create_dir(file("models")).unwrap();
    std::fs::write(file("weights"), "w").unwrap();
    std::os::unix::fs::symlink("../weights", file("models/a")).unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
    let trash = trash::folder_for(&file("models"), draft.id()).unwrap();
    draft.rename("m", &file("models/a"), &trash.join("a")).unwrap();
    drop(draft);
    assert_eq!(std::fs::read(file("models/a")).unwrap(), b"w");
    assert!(!file("models").join(trash::STAGING).exists());
}

#[test]
fn a_cut_off_move_on_a_disk_that_is_away_stays_to_be_undone() {
    let data = tempfile::tempdir().unwrap();
    let disk = data.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    std::fs::write(disk.join("a"), "a").unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
    let trash = trash::folder_for(&disk, draft.id()).unwrap();
    draft.rename("m", &disk.join("a"), &trash.join("a")).unwrap();
    let id = draft.id().to_owned();
    std::mem::forget(draft);
    drop(history);
    std::fs::rename(&disk, data.path().join("elsewhere")).unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    assert!(history.act(&id).unwrap().has_trash());
    assert_eq!(history.empty_trash(), 0);
    assert!(history.act(&id).is_ok(), "what can't be removed is not forgotten");
    std::fs::rename(data.path().join("elsewhere"), &disk).unwrap();
    assert_eq!(history.empty_trash(), 1);
    assert!(!disk.join(trash::STAGING).exists());
}

#[test]
fn the_bound_of_acts_leaves_the_trash_alone() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("a"), "a").unwrap();
    let settings = HistorySettings {
        acts: 1,
        ..HistorySettings::default()
    };
    let history = History::open(data.path(), settings);
    let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
    let trash = trash::folder_for(data.path(), draft.id()).unwrap();
    draft.rename("m", &data.path().join("a"), &trash.join("a")).unwrap();
    let id = draft.end().unwrap().unwrap();
    for number in 0..4 {
        let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
        draft.keep("m", "m.json", Some(&[number]), None).unwrap();
        draft.end().unwrap();
    }
    assert_eq!(history.acts().len(), 2);
    let pinned = history.pin(&id).unwrap();
    assert_eq!(history.empty_trash(), 0, "an act that is being undone stays");
    drop(pinned);
    assert_eq!(history.empty_trash(), 1);
}

/// A history, and a draft of a move of `names` into `to/` that copies, with nothing removed yet.
fn copying<'h>(history: &'h History, data: &Path, models: &[&str]) -> Draft<'h> {
    let mut draft = history.begin(ActKind::Move, "t", None).unwrap();
    for model in models {
        copy_one(&mut draft, data, model);
        draft.settle().unwrap();
    }
    draft
}

fn copy_one(draft: &mut Draft, data: &Path, model: &str) {
    draft.make_folders(model, &data.join("to")).unwrap();
    for ending in ["w", "json"] {
        let name = format!("{model}.{ending}");
        std::fs::write(data.join(&name), &name).unwrap();
        draft
            .copy(
                model,
                &data.join(&name),
                &data.join("to").join(&name),
                &Cancel::default(),
            )
            .unwrap();
    }
}

#[test]
fn a_cut_off_copy_goes_and_its_original_stays() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = copying(&history, data.path(), &[]);
    copy_one(&mut draft, data.path(), "a");
    // As when the second copy is being written.
    let place = draft.mark() - 1;
    let unfinished = file("to").join(format!(".modelshelf-{}-{place}.tmp", draft.id()));
    std::fs::rename(file("to/a.json"), &unfinished).unwrap();
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    assert!(history.acts().is_empty());
    assert_eq!(std::fs::read(file("a.w")).unwrap(), b"a.w");
    assert!(file("a.json").exists() && !file("to").exists());
}

#[test]
fn models_that_were_copied_before_a_crash_stay_and_can_be_taken_back() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = copying(&history, data.path(), &["a"]);
    copy_one(&mut draft, data.path(), "b");
    // One of the originals went already.
    std::fs::remove_file(file("b.json")).unwrap();
    let id = draft.id().to_owned();
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    let act = history.act(&id).unwrap();
    assert!(act.steps.iter().all(|step| step.model() == "a"), "{:?}", act.steps);
    assert_eq!(std::fs::read(file("b.json")).unwrap(), b"b.json");
    assert!(file("b.w").exists() && !file("to/b.w").exists() && !file("to/b.json").exists());
    assert!(file("to/a.w").exists() && !file("a.w").exists());
    assert_eq!(std::fs::read_dir(file("to")).unwrap().count(), 2);
}

#[test]
fn a_copy_that_is_taken_back_leaves_nothing_and_folders_go_with_it() {
    let data = tempfile::tempdir().unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = copying(&history, data.path(), &["a"]);
    assert!(draft.back_to(0));
    drop(draft);
    let left: Vec<_> = std::fs::read_dir(data.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().starts_with("history_"))
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
    assert_eq!(std::fs::read(data.path().join("a.w")).unwrap(), b"a.w");
}

#[test]
fn what_somebody_changed_after_a_step_stays_while_its_act_is_rolled_back() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    for name in ["m", "typed", "gone", "same"] {
        std::fs::write(file(name), name).unwrap();
    }
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Move, "t", None).unwrap();
    draft.rename("m", &file("m"), &file("m2")).unwrap();
    for name in ["typed", "gone", "same"] {
        let path = file(name);
        draft
            .keep("m", path.to_str().unwrap(), Some(name.as_bytes()), Some(b"moved"))
            .unwrap();
    }
    std::fs::write(file("typed"), "by a person").unwrap();
    std::fs::remove_file(file("gone")).unwrap();
    // As a crash leaves it.
    std::mem::forget(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    assert!(history.acts().is_empty());
    assert_eq!(std::fs::read(file("m")).unwrap(), b"m");
    assert_eq!(std::fs::read(file("typed")).unwrap(), b"by a person");
    assert!(!file("gone").exists());
    assert_eq!(std::fs::read(file("same")).unwrap(), b"same");
}

#[test]
fn of_acts_that_were_cut_off_the_last_is_rolled_back_first() {
    for _ in 0..4 {
        let data = tempfile::tempdir().unwrap();
        let file = |name: &str| data.path().join(name);
        std::fs::write(file("a"), "a").unwrap();
        let history = History::open(data.path(), HistorySettings::default());
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
            let mut draft = history.begin(ActKind::Move, "t", None).unwrap();
            draft.rename("m", &file(from), &file(to)).unwrap();
            std::mem::forget(draft);
        }
        drop(history);
        let history = History::open(data.path(), HistorySettings::default());
        assert!(history.acts().is_empty());
        assert!(file("a").exists());
    }
}

#[test]
fn trash_is_unknown_only_when_no_act_has_files_in_it_or_is_on_its_way() {
    let data = tempfile::tempdir().unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let waiting = |act: &str| data.path().join(trash::STAGING).join(act);
    let stray = waiting("0123");
    std::fs::create_dir_all(&stray).unwrap();
    let file = data.path().join("m");
    std::fs::write(&file, "m").unwrap();
    let mut draft = history.begin(ActKind::Delete, "t", None).unwrap();
    let own = waiting(draft.id());
    std::fs::create_dir_all(&own).unwrap();
    draft.rename("m", &file, &own.join("m")).unwrap();
    let all = [stray.clone(), own.clone()];
    assert_eq!(history.unknown_trash(&all), std::slice::from_ref(&stray));
    let id = draft.end().unwrap().unwrap();
    assert_eq!(history.unknown_trash(&all), std::slice::from_ref(&stray));
    // An undo's redo has its files under the first act's name.
    let mut draft = history.begin(ActKind::Undo, "t", Some(&id)).unwrap();
    draft.rename("m", &own.join("m"), &file).unwrap();
    draft.end().unwrap();
    assert_eq!(history.unknown_trash(&all), std::slice::from_ref(&stray));
}

#[test]
fn an_act_that_somebody_else_took_back_is_not_offered_any_more() {
    let data = tempfile::tempdir().unwrap();
    let history = History::open(data.path(), HistorySettings::default());
    let mut draft = history.begin(ActKind::Edit, "t", None).unwrap();
    draft.keep("m", "m.json", Some(b"old"), Some(b"new")).unwrap();
    let id = draft.end().unwrap().unwrap();
    let draft = history.begin(ActKind::Undo, "t", Some(&id)).unwrap();
    assert!(draft.end().unwrap().is_none());
    assert!(matches!(history.act(&id), Err(HistoryError::Undone(_))));
}
