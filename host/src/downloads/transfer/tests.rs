//! Transfers from a server in this process that misbehaves as told.

mod odd_answers;
mod site;

use site::{Setting, Site, Whim, with_ranges};

use super::*;

const LARGE: usize = 50 << 20;

#[tokio::test]
async fn a_large_file_comes_over_several_connections_each_byte_once() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    let arrived = setting.run(&setting.source(&["/file"]), 3).await.unwrap();
    assert_eq!(arrived.bytes, LARGE as u64);
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
    assert_eq!(
        (setting.meter.here(), setting.meter.total()),
        (LARGE as u64, Some(LARGE as u64))
    );
    assert!(setting.site.asked.load(Ordering::Relaxed) >= 3);
}

#[tokio::test]
async fn a_small_file_takes_one_request() {
    let setting = Setting::new(1000, with_ranges()).await;
    setting.run(&setting.source(&["/signed/0"]), 3).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_pause_that_the_host_asked_somebody_else_for_is_waited_for() {
    let setting = Setting::new(1000, with_ranges()).await;
    let (url, pause) = (setting.base.parse().unwrap(), Duration::from_millis(400));
    setting.budgets.limited(&url, Some(pause));
    let began = std::time::Instant::now();
    setting.run(&setting.source(&["/file"]), 1).await.unwrap();
    assert!(began.elapsed() >= pause && setting.is_whole());
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_settings_name_it() {
    let setting = Setting::new(1000, with_ranges()).await;
    let mut source = setting.source(&["/file"]);
    source.private = Private::default();
    let error = setting.run(&source, 1).await.unwrap_err();
    assert!(matches!(error, TransferError::Private(_)), "{error}");
    source.urls = vec![setting.base.replace("127.0.0.1", "localhost") + "/file"];
    let error = setting.run(&source, 1).await.unwrap_err();
    assert!(matches!(error, TransferError::Private(_)), "{error}");
    assert_eq!(setting.site.asked.load(Ordering::Relaxed), 0);
    source.urls = setting.source(&["/file"]).urls;
    source.private.named = vec![setting.base.parse().unwrap()];
    setting.run(&source, 1).await.unwrap();
}

#[tokio::test]
async fn drops_breaks_and_faults_of_the_server_are_gone_over_and_no_byte_comes_twice() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [
        Whim::Status(500),
        Whim::Busy,
        Whim::Drop(100),
        Whim::Drop(5_000_000),
        Whim::Status(503),
        Whim::Drop(0),
        Whim::Drop(1),
    ]
    .into();
    setting.run(&setting.source(&["/file"]), 2).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_file_whole() {
    let setting = Setting::new(100_000, Site::default()).await;
    setting.site.whims.lock().unwrap().push_back(Whim::Drop(50_000));
    setting.run(&setting.source(&["/file"]), 3).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), 150_000);
}

#[tokio::test]
async fn an_expired_address_is_asked_for_again() {
    let site = Site {
        uses: Some(2),
        ..with_ranges()
    };
    let setting = Setting::new(LARGE, site).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(10), Whim::Drop(20), Whim::Drop(30), Whim::Drop(40)].into();
    setting.run(&setting.source(&["/file"]), 1).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_stopped_transfer_goes_on_where_it_was() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(3_000_000), Whim::Status(404)].into();
    // Another file by then: what is here is of no use, unless it is the same.
    let error = setting.run(&setting.source(&["/signed/0"]), 1).await.unwrap_err();
    assert!(matches!(error, TransferError::Gone { status: 404, .. }), "{error}");
    setting.run(&setting.source(&["/signed/0"]), 1).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.sent.load(Ordering::Relaxed), LARGE as u64);
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let mut setting = Setting::new(LARGE, with_ranges()).await;
    // Without a hash, what has a header must have a good one.
    setting.name = "a.pt";
    *setting.site.whims.lock().unwrap() = [Whim::Drop(3_000_000), Whim::Status(404)].into();
    let mut source = setting.source(&["/signed/0"]);
    source.sha256 = None;
    setting.run(&source, 1).await.unwrap_err();
    setting
        .site
        .content
        .lock()
        .unwrap()
        .iter_mut()
        .for_each(|byte| *byte ^= 1);
    *setting.site.etag.lock().unwrap() = "\"two\"".into();
    setting.run(&source, 1).await.unwrap();
    assert!(setting.is_whole());
}

#[tokio::test]
async fn a_wrong_hash_is_kept_aside_and_told() {
    let setting = Setting::new(1000, with_ranges()).await;
    let mut source = setting.source(&["/file"]);
    source.sha256 = Some("ab".repeat(32));
    let error = setting.run(&source, 2).await.unwrap_err();
    let TransferError::WrongHash { kept, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(std::fs::read(kept).unwrap().len(), 1000);
    assert!(!part_of(&setting.target()).exists() && !state_of(&setting.target()).exists());
    assert!(!setting.target().exists());
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_has_nothing() {
    let setting = Setting::new(1000, with_ranges()).await;
    setting
        .run(&setting.source(&["/status/404", "/status/451", "/file"]), 2)
        .await
        .unwrap();
    assert!(setting.is_whole());
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_has_another_file() {
    let setting = Setting::new(1000, with_ranges()).await;
    let arrived = setting.run(&setting.source(&["/another", "/file"]), 2).await.unwrap();
    assert_eq!(arrived.bytes, 1000);
    assert!(setting.is_whole());
    // Nobody has it: what came last is kept.
    let error = setting
        .run(&setting.source(&["/status/404", "/another"]), 2)
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::WrongHash { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_asked_again_and_a_slow_one_is_waited_for() {
    let setting = Setting::new(1000, with_ranges()).await;
    let source = setting.source(&["/signed/0"]);
    setting.site.whims.lock().unwrap().push_back(Whim::Silence(300));
    let patience = Duration::from_millis(1000);
    setting.run_with(&source, 1, patience).await.unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.asked.load(Ordering::Relaxed), 2);

    // Twice as long as a silence may be, with bytes all the time.
    let setting = Setting::new(1000, with_ranges()).await;
    setting.site.whims.lock().unwrap().push_back(Whim::Trickle(100));
    setting
        .run_with(&setting.source(&["/signed/0"]), 1, patience)
        .await
        .unwrap();
    assert!(setting.is_whole());
    assert_eq!(setting.site.asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_has_arrived_can_be_given_to_another_name() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    *setting.site.whims.lock().unwrap() = [Whim::Drop(3_000_000), Whim::Status(404)].into();
    let source = setting.source(&["/signed/0"]);
    setting.run(&source, 1).await.unwrap_err();
    let elsewhere = setting.folder.path().join("b.safetensors");
    bring(&setting.target(), &elsewhere);
    assert!(!part_of(&setting.target()).exists() && !state_of(&setting.target()).exists());
    assert_eq!(State::load(&elsewhere, source.sha256.as_deref()).done.len(), 3_000_000);
}

#[tokio::test]
async fn each_refusal_has_its_own_error() {
    let setting = Setting::new(10, with_ranges()).await;
    let ask = async |path: &str, gated: bool, key: bool| {
        let mut source = setting.source(&[path]);
        source.gated = gated;
        source.key = Key::below(format!("{}/", setting.base), "secret").filter(|_| key);
        setting.run(&source, 1).await.unwrap_err()
    };
    assert!(matches!(
        ask("/status/401", false, false).await,
        TransferError::KeyMissing { .. }
    ));
    assert!(matches!(
        ask("/status/403", false, true).await,
        TransferError::KeyRejected { .. }
    ));
    assert!(matches!(
        ask("/status/403", true, true).await,
        TransferError::EarlyAccess
    ));
    assert!(matches!(
        ask("/status/451", false, true).await,
        TransferError::Region { .. }
    ));
    assert!(matches!(
        ask("/status/410", false, true).await,
        TransferError::Gone { .. }
    ));
    assert!(matches!(
        ask("/status/500", false, true).await,
        TransferError::Refused { status: 500, .. }
    ));
    assert!(matches!(ask("/page", false, true).await, TransferError::Page { .. }));
    assert!(matches!(
        ask("/status/200", false, true).await,
        TransferError::Empty { .. }
    ));
    let mut nowhere = setting.source(&[]);
    nowhere.urls = vec!["http://127.0.0.1:9/x".into()];
    assert!(matches!(
        setting.run(&nowhere, 1).await.unwrap_err(),
        TransferError::Network { .. }
    ));
}

#[tokio::test]
async fn a_key_does_not_go_along_a_redirect() {
    let setting = Setting::new(10, with_ranges()).await;
    let mut source = setting.source(&["/file"]);
    source.key = Key::below(format!("{}/file", setting.base), "secret");
    setting.run(&source, 1).await.unwrap();
    let keys = setting.site.keys.lock().unwrap().clone();
    assert_eq!(keys, [("/file".to_owned(), true), ("/signed/0".to_owned(), false)]);
}

#[tokio::test]
async fn pausing_holds_it_and_stopping_ends_it() {
    let setting = Setting::new(LARGE, with_ranges()).await;
    let source = setting.source(&["/file"]);
    setting.signal.send_replace(Signal::Pause);
    let control = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(setting.site.asked.load(Ordering::Relaxed), 0);
        setting.signal.send_replace(Signal::Stop);
    };
    let (result, ()) = tokio::join!(setting.run(&source, 2), control);
    assert!(matches!(result.unwrap_err(), TransferError::Stopped));
}
