//! What keeps strangers out.

use anyhow::{Context, Result, bail};
use modelshelf_tests::ws::{Socket, refused};
use modelshelf_tests::{Call, Library, Model, Server};
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
            (&[("Sec-Fetch-Site", "none")], true),
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
        "civitai_api_key = \"very-secret-key\"\nproxy_password = \"very-secret-word\"\n[server]\ntoken = \"very-secret-token\"\n",
    )?;
    let server = library.options().argument("--config").argument(&config).serve().await?;
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
