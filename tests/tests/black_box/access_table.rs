//! Every endpoint, asked by everybody from everywhere.

use anyhow::{Context, Result};
use modelshelf_tests::{Call, Library, Model, Server};
use serde_json::json;

use super::access::{TOKEN, anonymous, host, locked, log_in};

/// The server's own table, so that a route that is added is in this test.
const TABLE: &str = include_str!("../../../host/src/http/routes.rs");

#[derive(Debug, Clone)]
struct Route {
    method: &'static str,
    target: String,
    changes: bool,
    scope: &'static str,
}

/// The rows of the table: `get("/path", ...)` and its like, with what is declared behind.
fn routes() -> Vec<Route> {
    let mut found = Vec::new();
    for (start, method, changes) in [
        (" get(", "GET", false),
        (" get_changing(", "GET", true),
        (" post(", "POST", true),
    ] {
        for part in TABLE.split(start).skip(1) {
            let Some(template) = part
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            let row = part.split("\",").nth(1).unwrap_or_default();
            let row = row
                .split("\n    get")
                .next()
                .unwrap_or_default()
                .split("\n    post")
                .next()
                .unwrap_or_default();
            let declared = |what: &str| row.contains(what);
            let scope = match () {
                () if declared(".open()") => "open",
                () if declared("Scope::Admin") => "admin",
                () if declared("Scope::Download") => "download",
                () if declared("Scope::Read") => "read",
                () if changes => "write",
                () => "read",
            };
            let target = template
                .replace("{prefix}", "loras")
                .replace("{id}", "nothing")
                .replace("{key}", "0")
                .replace("{model_id}", "1")
                .replace("{modelVersionId}", "1")
                .replace("{hash}", "0")
                .replace("{download_id}", "nothing");
            found.push(Route {
                method,
                target,
                changes,
                scope,
            });
        }
    }
    found
}

impl Route {
    fn call(&self) -> Call {
        match self.method {
            "POST" => Call::post(&self.target, &json!({})).without("Sec-Fetch-Site"),
            method => Call::new(method, &self.target),
        }
    }

    /// Whether it can be asked for without harm to the test: it neither empties nor ends what later rows need, nor asks
    /// anybody outside.
    fn is_harmless(&self) -> bool {
        !self.changes
            && !["civitai/", "hf-repo-files", "model-versions-status", "base-models"]
                .iter()
                .any(|part| self.target.contains(part))
    }
}

async fn statuses(server: &Server, routes: &[Route], headers: &[(&str, &str)]) -> Result<Vec<(Route, u16, String)>> {
    let mut answers = Vec::new();
    for route in routes {
        let call = headers
            .iter()
            .fold(route.call(), |call, (name, value)| call.header(name, value));
        let reply = anonymous(server, &call).await?;
        answers.push((route.clone(), reply.status, reply.text()));
    }
    Ok(answers)
}

#[tokio::test]
async fn each_endpoint_needs_the_scope_that_it_declares_wherever_the_server_listens() -> Result<()> {
    let routes = routes();
    assert!(routes.len() > 110, "{} rows were found", routes.len());
    assert!(
        routes
            .iter()
            .any(|route| route.target == "/api/lm/loras/delete" && route.scope == "write")
    );
    assert!(
        routes
            .iter()
            .any(|route| route.target == "/api/lm/settings" && route.changes && route.scope == "admin")
    );
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let mut tokens = Vec::new();
    for scope in ["read", "write", "download", "admin"] {
        let (good, token) = host(&["token", "new", scope, "--scope", scope], &data, "")?;
        assert!(good);
        tokens.push((scope, format!("Bearer {token}")));
    }
    for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
        let server = locked(&library).data_dir(&data).bind(bind).serve().await?;
        for (place, headers) in [
            ("direct", &[][..]),
            (
                "proxy",
                &[("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Proto", "https")],
            ),
            ("page", &[("X-Modelshelf-Page", "1"), ("Sec-Fetch-Site", "same-origin")]),
        ] {
            for (route, status, text) in statuses(&server, &routes, headers).await? {
                let open = route.scope == "open";
                assert_eq!(
                    status == 401 && text.contains("Log in"),
                    !open,
                    "{bind} {place} {route:?}: {status} {text}"
                );
            }
        }
        for (scope, authorization) in &tokens {
            let headers = [("Authorization", authorization.as_str())];
            let allowed = |route: &Route| {
                route.scope == "open" || *scope == "admin" || route.scope == *scope || route.scope == "read"
            };
            let asked: Vec<Route> = routes
                .iter()
                .filter(|route| !allowed(route) || route.is_harmless())
                .cloned()
                .collect();
            for (route, status, text) in statuses(&server, &asked, &headers).await? {
                let denied = status == 403 && text.contains("has no scope");
                assert_eq!(denied, !allowed(&route), "{bind} {scope} {route:?}: {status} {text}");
                assert_ne!(status, 401, "{bind} {scope} {route:?}");
            }
        }
        let cookie = log_in(&server, &json!({ "token": TOKEN })).await?;
        let harmless: Vec<Route> = routes.iter().filter(|route| route.is_harmless()).cloned().collect();
        for (route, status, text) in statuses(&server, &harmless, &[("Cookie", &cookie)]).await? {
            assert!(
                status != 401 && !(status == 403 && text.contains("has no scope")),
                "{bind} session {route:?}: {status} {text}"
            );
        }
        for (route, status, _) in statuses(
            &server,
            &routes,
            &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")],
        )
        .await?
        {
            let is_open_read = route.scope == "open" && !route.changes;
            assert!(status == 403 || is_open_read, "{bind} forged {route:?}: {status}");
        }
        assert_eq!(server.list("loras", &[]).await?["total"], 1, "nothing was changed");
        server.stop().await.context("stop")?;
    }
    Ok(())
}

#[tokio::test]
async fn without_a_login_each_endpoint_that_changes_or_asks_others_refuses_other_sites() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.options().serve().await?;
    let routes = routes();
    for headers in [
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")][..],
        &[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors")],
        &[("Origin", "http://evil.example")],
        &[("Origin", "null")],
    ] {
        for (route, status, _) in statuses(&server, &routes, headers).await? {
            let is_open_read = route.scope == "open" && !route.changes;
            assert!(status == 403 || is_open_read, "{headers:?} {route:?}: {status}");
        }
    }
    let changing: Vec<Route> = routes
        .into_iter()
        .filter(|route| route.changes && route.method == "GET")
        .collect();
    assert!(changing.len() > 15);
    for headers in [
        &[
            ("Sec-Fetch-Site", "none"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ][..],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ],
        &[
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "no-cors"),
            ("Sec-Fetch-Dest", "image"),
        ],
        &[
            ("Sec-Purpose", "prefetch"),
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Mode", "cors"),
        ],
        &[("Referer", "http://evil.example/")],
    ] {
        for (route, status, _) in statuses(&server, &changing, headers).await? {
            assert_eq!(status, 403, "{headers:?} {route:?}");
        }
    }
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}
