//! What keeps strangers out.

use anyhow::{Context, Result, bail};
use modelshelf_tests::ws::{Socket, refused};
use modelshelf_tests::{Call, Connection, Library, Model, Server};
use serde_json::json;

async fn server() -> Result<Server> {
    Library::of([Model::lora("amber")])?.serve().await
}

#[tokio::test]
async fn a_foreign_host_name_is_answered_with_421() -> Result<()> {
    let server = server().await?;
    for host in [
        "evil.example",
        "evil.example:8188",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
    ] {
        for target in [
            "/api/lm/loras/list",
            "/loras",
            "/",
            "/static/js/main.js",
            "/ws/fetch-progress",
            "/nowhere",
        ] {
            let reply = server.send(&Call::get(target).header("Host", host)).await?;
            assert_eq!(reply.status, 421, "{host} {target}");
        }
    }
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:8188"] {
        assert_eq!(
            server
                .send(&Call::get("/api/lm/loras/list").header("Host", host))
                .await?
                .status,
            200,
            "{host}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_websocket_is_refused_to_a_foreign_host_and_to_a_foreign_page() -> Result<()> {
    let server = server().await?;
    for path in ["/ws/fetch-progress", "/ws/batch-import-progress", "/ws/init-progress"] {
        let status = async |headers: &[(&str, &str)]| match Socket::open(server.address(), path, headers).await {
            Ok(_) => Ok(None),
            Err(error) => refused(&error).map(Some).with_context(|| format!("{path}: {error:#}")),
        };
        assert_eq!(status(&[("Host", "evil.example")]).await?, Some(421), "{path}");
        assert_eq!(status(&[("Origin", "http://evil.example")]).await?, Some(403), "{path}");
        assert_eq!(status(&[("Origin", "null")]).await?, Some(403), "{path}");
        assert_eq!(
            status(&[("Origin", &format!("http://{}", server.address()))]).await?,
            None,
            "{path}"
        );
        // A script of one's own sends no Origin.
        assert_eq!(status(&[]).await?, None, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_change_from_a_foreign_page_is_refused_with_403() -> Result<()> {
    let server = server().await?;
    let address = server.address().to_string();
    let own_origin = format!("http://{address}");
    let changing = [
        Call::post("/api/lm/loras/cancel-task", &json!({})),
        Call::get("/api/lm/loras/scan"),
        Call::post("/api/lm/loras/random-sample", &json!({})),
        Call::get("/api/lm/downloads/queue/clear"),
        Call::get("/api/lm/delete-model-version?modelVersionId=1"),
    ];
    for call in changing {
        let call = call.without("Sec-Fetch-Site");
        for (headers, allowed) in [
            (&[("Sec-Fetch-Site", "cross-site")][..], false),
            (&[("Sec-Fetch-Site", "same-site")], false),
            (&[("Origin", "http://evil.example")], false),
            (&[("Origin", "null")], false),
            (&[("Sec-Fetch-Site", "cross-site"), ("Origin", &own_origin)], false),
            (&[("Sec-Fetch-Site", "same-origin")], true),
            (
                &[
                    ("Sec-Fetch-Site", "none"),
                    ("Sec-Fetch-Mode", "cors"),
                    ("Sec-Fetch-Dest", "empty"),
                ],
                true,
            ),
            (&[("Sec-Fetch-Site", "none")], false),
            (&[("Origin", &own_origin)], true),
        ] {
            let call = headers
                .iter()
                .fold(call.clone(), |call, (name, value)| call.header(name, value));
            let reply = server.send(&call).await?;
            assert_eq!(
                reply.status != 403,
                allowed,
                "{call:?}: {} {}",
                reply.status,
                reply.text()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn no_answer_lets_another_site_read_it() -> Result<()> {
    let server = server().await?;
    for target in ["/api/lm/loras/list", "/loras", "/api/lm/nowhere"] {
        let reply = server
            .send(&Call::get(target).header("Origin", "http://evil.example"))
            .await?;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{target}");
    }
    let preflight = Call::new("OPTIONS", "/api/lm/loras/delete")
        .header("Origin", "http://evil.example")
        .header("Access-Control-Request-Method", "POST");
    let reply = server.send(&preflight).await?;
    assert_eq!(reply.header("access-control-allow-methods"), "");
    Ok(())
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_strict() -> Result<()> {
    let server = server().await?;
    for target in ["/loras", "/api/lm/loras/list", "/api/lm/nowhere", "/nowhere"] {
        let reply = server.get(target).await?;
        let policy = reply.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{target}: {policy:?}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{target}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{target}");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin", "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn a_host_header_that_is_malformed_doubled_or_foreign_in_the_address_is_refused() -> Result<()> {
    let server = server().await?;
    for host in [
        "[127.0.0.1]evil.example",
        "[::1",
        "127.0.0.1:80:80",
        "user@127.0.0.1",
        "",
    ] {
        let reply = server
            .send(&Call::get("/api/lm/loras/list").header("Host", host))
            .await?;
        assert_eq!(reply.status, 400, "{host:?}");
    }
    let reply = server.send(&Call::get("http://evil.example/api/lm/loras/list")).await?;
    assert_eq!(reply.status, 421);
    let port = server.address().port();
    let twice = format!("GET /api/lm/loras/list HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n\r\n");
    let reply = Connection::open(server.address())
        .await?
        .exchange(twice.as_bytes(), false)
        .await?;
    assert_eq!(reply.status, 400);
    Ok(())
}

#[tokio::test]
async fn a_link_or_a_prefetch_changes_nothing_and_neither_does_an_address_that_is_typed() -> Result<()> {
    let server = Library::of([Model::lora("amber").civitai(json!({"id": 1, "modelId": 2}))])?
        .serve()
        .await?;
    let delete = "/api/lm/delete-model-version?modelVersionId=1";
    let navigation = [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    let script = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")];
    for (site, rest, more) in [
        ("none", navigation, None),
        ("same-origin", navigation, None),
        ("cross-site", navigation, None),
        ("same-origin", script, Some(("Sec-Purpose", "prefetch"))),
        ("none", script, Some(("Purpose", "prefetch"))),
        (
            "same-origin",
            [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
            None,
        ),
    ] {
        let headers = rest.into_iter().chain(more).chain([("Sec-Fetch-Site", site)]);
        let call = headers.fold(Call::get(delete), |call, (name, value)| call.header(name, value));
        let reply = server.send(&call).await?;
        assert_eq!(reply.status, 403, "{call:?}: {}", reply.text());
    }
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    // A browser extension's own request is a person's wish.
    let headers = script.into_iter().chain([("Sec-Fetch-Site", "none")]);
    let call = headers.fold(Call::get(delete), |call, (name, value)| call.header(name, value));
    assert_eq!(server.send(&call).await?.status, 200);
    assert_eq!(server.list("loras", &[]).await?["total"], 0);
    Ok(())
}

#[tokio::test]
async fn a_client_made_with_qt_may_write_and_a_browser_without_a_sign_may_not() -> Result<()> {
    let server = server().await?;
    let scan = Call::get("/api/lm/loras/scan");
    let post = Call::post("/api/lm/loras/cancel-task", &json!({})).without("Sec-Fetch-Site");
    for call in [scan, post] {
        let status = async |agent: &str| server.send(&call.clone().header("User-Agent", agent)).await;
        assert_eq!(status("Mozilla/5.0").await?.status, 200, "{call:?}");
        assert_eq!(status("Mozilla/5.0 (X11; Linux x86_64)").await?.status, 403, "{call:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_referer_of_the_own_origin_lets_a_page_over_plain_http_change_by_get() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library
        .options()
        .settings("[server]\nallowed_hosts = ['comfy.lan']")
        .serve()
        .await?;
    let browser = Call::get("/api/lm/loras/scan")
        .header("Host", "comfy.lan:9303")
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)");
    for (referer, status) in [
        ("http://comfy.lan:9303/loras", 200),
        ("http://evil.example/http://comfy.lan:9303/", 403),
        ("http://comfy.lan:9303.evil.example/", 403),
        ("http://comfy.lan:9304/loras", 403),
    ] {
        let reply = server.send(&browser.clone().header("Referer", referer)).await?;
        assert_eq!(reply.status, status, "{referer}: {}", reply.text());
    }
    assert_eq!(server.send(&browser).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn a_browser_extension_may_open_a_socket() -> Result<()> {
    let server = server().await?;
    for origin in ["chrome-extension://zzz", "moz-extension://0d1e"] {
        Socket::open(server.address(), "/ws/fetch-progress", &[("Origin", origin)]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_site_links_to_pages_and_loads_nothing() -> Result<()> {
    let server = server().await?;
    let foreign = |target: &str, mode: &str| {
        let call = Call::get(target).header("Sec-Fetch-Mode", mode);
        call.header("Sec-Fetch-Site", "cross-site")
    };
    assert_eq!(server.send(&foreign("/loras", "navigate")).await?.status, 200);
    for target in [
        "/api/lm/loras/list",
        "/api/lm/settings",
        "/static/x/js/main.js",
        "/loras",
        "/version",
    ] {
        assert_eq!(server.send(&foreign(target, "no-cors")).await?.status, 403, "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_the_server_goes_on() -> Result<()> {
    let server = server().await?;
    let large = vec![b' '; 3 << 20];
    let call = Call::post("/api/lm/loras/cycler-list", &json!({})).body(large);
    // A server may close the connection instead of reading on.
    match server.send(&call).await {
        Ok(reply) => assert_eq!(reply.status, 413),
        Err(error) => eprintln!("closed: {error:#}"),
    }
    assert_eq!(server.get("/api/lm/loras/list").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn an_unknown_route_is_404_and_a_wrong_method_405_both_in_json() -> Result<()> {
    let server = server().await?;
    let reply = server.get("/api/lm/loras/no-such-thing").await?;
    assert_eq!(
        (reply.status, reply.json()?),
        (404, json!({"success": false, "error": "404: Not Found"}))
    );
    let reply = server.send(&Call::post("/api/lm/loras/list", &json!({}))).await?;
    assert_eq!((reply.status, reply.json()?["success"].clone()), (405, json!(false)));
    Ok(())
}

#[tokio::test]
async fn paths_with_dots_reach_no_file() -> Result<()> {
    let server = server().await?;
    for target in [
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%2f..%2f..%2fetc%2fpasswd",
        "/loras_static/../../../etc/passwd",
        "/locales/../../Cargo.toml",
        "//etc/passwd",
    ] {
        let reply = server.get(target).await?;
        assert!((400..500).contains(&reply.status), "{target}: {}", reply.status);
        assert!(!reply.text().contains("root:"), "{target}");
    }
    Ok(())
}

#[tokio::test]
async fn nonsense_on_the_wire_ends_that_connection_only() -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().await?;
    let nonsense: [&[u8]; 4] = [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/lm/loras/list HTTP/1.1\r\n\r\n",
        b"POST /api/lm/loras/cancel-task HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    ];
    for bytes in nonsense {
        let mut stream = tokio::net::TcpStream::connect(server.address()).await?;
        stream.write_all(bytes).await?;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some(status) = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
            assert!(status.starts_with('4'), "{text}");
        } else if read.is_err() {
            bail!("neither answered nor closed: {bytes:?}");
        }
        assert_eq!(server.get("/api/lm/loras/list").await?.status, 200);
    }
    Ok(())
}

#[tokio::test]
async fn secrets_in_settings_are_never_shown() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let config = library.path().join("my settings.toml");
    std::fs::write(
        &config,
        "civitai_api_key = \"very-secret-key\"\nproxy_password = \"very-secret-word\"\n[server]\ntoken = \"very-secret-token-of-32-characters\"\n",
    )?;
    let server = library.options().sending_token("very-secret-token-of-32-characters");
    let server = server.argument("--config").argument(&config).serve().await?;
    let reply = server.get("/api/lm/settings").await?;
    assert_eq!(reply.status, 200);
    assert!(!reply.text().contains("very-secret"), "{}", reply.text());
    assert_eq!(reply.json()?["settings"]["civitai_api_key_set"], true);
    assert!(!server.log().contains("very-secret"));
    Ok(())
}

#[tokio::test]
async fn a_listed_origin_may_change_state_from_its_own_page_and_no_other_may() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let config = library.path().join("own.toml");
    std::fs::write(&config, "[server]\nallowed_origins = ['http://tool.example']\n")?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
    for (origin, allowed) in [("http://tool.example", true), ("http://evil.example", false)] {
        let preflight = Call::new("OPTIONS", "/api/lm/loras/cancel-task").header("Origin", origin);
        let preflight = server.send(&preflight).await?;
        assert_eq!(
            preflight.header("access-control-allow-origin") == origin,
            allowed,
            "{origin}"
        );
        let call = Call::post("/api/lm/loras/cancel-task", &json!({}))
            .header("Origin", origin)
            .header("Sec-Fetch-Site", "cross-site");
        let answer = server.send(&call).await?;
        assert_eq!(answer.status == 200, allowed, "{origin}");
        assert_eq!(
            answer.header("access-control-allow-origin") == origin,
            allowed,
            "{origin}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn secrets_in_settings_are_shown_at_no_depth() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let config = library.path().join("own.toml");
    let text = "civitai_api_key = 'hush1'\nproxy_password = 'hush2'\n[libraries.default]\ncivitai_api_key = 'hush3'\n\
                [libraries.default.folder_paths]\nloras = []\n";
    std::fs::write(&config, text)?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
    for path in ["/api/lm/settings", "/api/lm/settings/libraries"] {
        let answer = server.get(path).await?.text();
        assert!(!answer.contains("hush"), "{path}: {answer}");
    }
    assert_eq!(
        server.get_json("/api/lm/settings", &[]).await?["settings"]["civitai_api_key_set"],
        json!(true)
    );
    Ok(())
}
