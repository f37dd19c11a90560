use super::*;
use crate::library::{self, Facet};
use crate::{Descriptor, PluginError, Response, Route, events, kv, log, remote, routes, settings};
use serde_json::json;

#[path = "tests/library.rs"]
mod library_tests;

struct Shelf;

fn echo(request: &Request) -> Result<Response> {
    Response::success(json!({"name": request.path_param("name")?, "q": request.require("q")?, "seed": request.seed()}))
}

impl ModelType for Shelf {
    fn describe() -> Descriptor {
        Descriptor::new("shelf", "shelves", "Shelves")
            .extensions([".x"])
            .root("shelves", ["shelves"], "default_shelf_root")
            .wants_kv()
            .wants_events(["ping"])
            .wants_remote_hosts(["example.org"])
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/echo/{name}" => echo,
        }
    }
}

fn host() -> FakeHost {
    FakeHost::new::<Shelf>().with_models([
        Model {
            base_model: "SDXL 1.0".into(),
            tags: vec!["Style".into(), "anime".into()],
            sub_type: "lora".into(),
            model_name: "Zebra 10".into(),
            sha256: "ab".repeat(32),
            modified: 1.0,
            ..model("styles/zebra.x")
        },
        Model {
            model_name: "zebra 9".into(),
            favorite: true,
            license_flags: 2,
            modified: 3.0,
            ..model("styles/deep/ant.x")
        },
        Model {
            model_name: "猫".into(),
            modified: 2.0,
            tags: vec!["anime".into()],
            ..model("cat.x")
        },
    ])
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn requests_go_through_templates_and_come_back_as_clients_see_them() {
    let host = host().with_seed(5);
    let answer = host.get("/api/lm/shelves/echo/a%20b?q=c+d%2B");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({"success": true, "name": "a b", "q": "c d+", "seed": 5})
    );
    let refused = host.get("/api/lm/shelves/echo/a");
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["success"], false);
    assert_eq!(host.get("/api/lm/shelves/echo/a/b").status, 404);
    assert_eq!(host.post("/api/lm/shelves/echo/a", &json!({})).status, 404);
    assert_eq!(
        host.routes(),
        [("GET".to_owned(), "/api/lm/shelves/echo/{name}".to_owned())]
    );
}

#[test]
fn own_state_has_limits() {
    let _host = host();
    assert_eq!(kv::get("a"), Ok(None));
    assert_eq!(kv::set("a", b"1"), Ok(()));
    assert_eq!(kv::set("ab", b"2"), Ok(()));
    assert_eq!(kv::get("a"), Ok(Some(b"1".to_vec())));
    assert_eq!(kv::list_keys("a"), Ok(texts(&["a", "ab"])));
    assert_eq!(kv::delete("a"), Ok(()));
    assert_eq!(kv::list_keys(""), Ok(texts(&["ab"])));
    assert_eq!(kv::set(&"k".repeat(257), b"").expect_err("long key").status(), 400);
    assert_eq!(kv::set("k", &vec![0; 65 * 1024]).expect_err("long value").status(), 400);
}

#[test]
fn only_what_the_descriptor_asks_for_is_allowed() {
    let host = host().with_remote(|request| {
        let names = library::facets(Facet::Folder, 0)?.len();
        Ok(remote::FetchResponse {
            status: 200,
            headers: vec![],
            body: format!("{} {names}", request.url).into_bytes(),
        })
    });
    assert_eq!(events::broadcast("ping", &json!({"id": 1})), Ok(()));
    assert_eq!(host.events(), [json!({"id": 1, "type": "ping"})]);
    assert_eq!(
        events::broadcast("pong", &json!({}))
            .expect_err("not asked for")
            .status(),
        401
    );
    assert_eq!(
        events::broadcast("ping", &json!(1)).expect_err("no object").status(),
        400
    );
    assert_eq!(
        events::broadcast("ping", &json!({"x": "y".repeat(70_000)}))
            .expect_err("too large")
            .status(),
        400
    );

    let fetched = remote::fetch(&remote::FetchRequest::get("https://example.org/x")).expect("allowed");
    assert_eq!(fetched.body, b"https://example.org/x 3");
    assert_eq!(
        remote::fetch(&remote::FetchRequest::get("https://evil.org/"))
            .expect_err("not asked for")
            .status(),
        401
    );
    assert_eq!(
        remote::fetch(&remote::FetchRequest::get("http://example.org/"))
            .expect_err("no https")
            .status(),
        400
    );
}

#[test]
fn settings_and_log_lines_arrive() {
    let host = host().with_setting("limit", &json!(3));
    assert_eq!(settings::get::<u32>("limit"), Ok(Some(3)));
    assert_eq!(settings::get::<u32>("other"), Ok(None));
    assert_eq!(settings::get::<String>("limit").expect_err("a number").status(), 400);
    log::warn("careful");
    assert_eq!(host.logs(), [(Level::Warn, "careful".to_owned())]);
}

#[test]
fn without_a_host_every_import_says_so() {
    let error = library::roots().expect_err("no host");
    assert_eq!(error, PluginError::internal("this thread has no testing::FakeHost"));
    assert_eq!(settings::get::<u32>("x"), Ok(None));
    drop(host());
    assert!(library::roots().is_err(), "a dropped host is gone");
}

#[test]
fn templates_outside_the_type_and_doubled_ones_are_refused() {
    let table = RouteTable::new("shelves");
    assert_eq!(
        table
            .add(crate::Method::Get, "/api/lm/shelves/x", "x")
            .expect_err("no placeholder")
            .status(),
        400
    );
    assert_eq!(table.add(crate::Method::Get, "/api/lm/{prefix}/x", "x"), Ok(()));
    assert_eq!(
        table
            .add(crate::Method::Get, "/api/lm/{prefix}/x", "y")
            .expect_err("twice")
            .status(),
        409
    );
    assert_eq!(table.add(crate::Method::Post, "/api/lm/{prefix}/x", "y"), Ok(()));
}
