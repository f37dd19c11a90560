use super::*;

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
        draft.keep("m", "m.json", Some(&[number])).unwrap();
        draft.changed_to(b"new");
        ids.push(draft.end().unwrap());
    }
    assert!(history.begin(ActKind::Edit, "t", None).unwrap().end().is_none());
    drop(history);
    let history = History::open(data.path(), settings);
    let kept: Vec<String> = history.acts().into_iter().map(|act| act.id).collect();
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
    draft.keep("m", file.to_str().unwrap(), Some(b"old")).unwrap();
    let id = draft.id().to_owned();
    drop(draft);
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
    draft.keep("m", file("b").to_str().unwrap(), Some(b"b")).unwrap();
    std::fs::write(file("b"), "changed").unwrap();
    assert!(matches!(
        draft.rename("m", &file("a2"), &file("b")),
        Err(HistoryError::Occupied(_))
    ));
    drop(draft);
    drop(history);
    let history = History::open(data.path(), HistorySettings::default());
    assert!(history.acts().is_empty());
    assert_eq!(std::fs::read(file("a")).unwrap(), b"a");
    assert_eq!(std::fs::read(file("b")).unwrap(), b"b");
    assert!(!file("a2").exists());
}
