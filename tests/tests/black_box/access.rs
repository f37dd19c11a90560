//! Logging in: nobody without a session or a token gets in where a login is needed.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use modelshelf_tests::http::basic;
use modelshelf_tests::ws::{Socket, refused};
use modelshelf_tests::{Call, Library, Model, Reply, Server, ServerOptions};
use serde_json::{Value, json};

pub const TOKEN: &str = "a-token-of-32-characters-or-more";

/// A server that asks everybody for a login, with a token of the settings.
pub fn locked(library: &Library) -> ServerOptions {
    library
        .options()
        .settings(&format!("[server]\ntoken = '{TOKEN}'"))
        .sending_token(TOKEN)
}

/// Sends a request without the token that the server's own calls carry.
pub async fn anonymous(server: &Server, call: &Call) -> Result<Reply> {
    call.send(server.address()).await
}

/// Runs `host ...` on a data folder; gives its standard output.
pub fn host(arguments: &[&str], data: &Path, input: &str) -> Result<(bool, String)> {
    let mut child = Command::new(modelshelf_tests::binary::find()?)
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    ))
}

/// Logs in; gives the cookie.
pub async fn log_in(server: &Server, credential: &Value) -> Result<String> {
    let reply = anonymous(server, &Call::post("/api/access/login", credential)).await?;
    if reply.status != 200 {
        bail!("{} {}", reply.status, reply.text());
    }
    let cookie = reply.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    Ok(cookie.split(';').next().unwrap_or_default().to_owned())
}

async fn eventually(mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds().await? {
        if Instant::now() > end {
            bail!("it does not come about");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn no_header_but_a_token_opens_a_server_that_listens_beyond_this_machine() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    // Guesses slow down whoever comes from their address with the settings' token, and not with one that the server made.
    let (_, made) = host(&["token", "new", "phone"], &data, "")?;
    let server = locked(&library)
        .sending_token(&made)
        .data_dir(&data)
        .bind("0.0.0.0:0")
        .serve()
        .await?;
    let own = format!("http://{}", server.address());
    let path = server.item("loras", "amber").await?["file_path"].clone();
    let delete = Call::post("/api/lm/loras/bulk-delete", &json!({ "file_paths": [path] })).without("Sec-Fetch-Site");
    for headers in [
        &[][..],
        &[("X-Modelshelf-Page", "1")],
        &[("Sec-Fetch-Site", "same-origin")],
        &[
            ("Sec-Fetch-Site", "none"),
            ("Sec-Fetch-Mode", "cors"),
            ("Sec-Fetch-Dest", "empty"),
        ],
        &[("Origin", own.as_str())],
        &[("Origin", "chrome-extension://abc")],
        &[("Referer", own.as_str())],
        &[("X-Forwarded-For", "127.0.0.1")],
        &[("X-Real-IP", "127.0.0.1")],
        &[("X-Forwarded-User", "admin")],
        &[("Remote-User", "admin")],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Basic !!")],
        &[("X-Modelshelf-Token", "")],
        &[("Cookie", "modelshelf_session=1.2")],
    ] {
        let with = |call: &Call| {
            headers
                .iter()
                .fold(call.clone(), |call, (name, value)| call.header(name, value))
        };
        for call in [
            &delete,
            &Call::get("/api/lm/loras/list"),
            &Call::get("/api/lm/settings"),
            &Call::get("/version"),
            &Call::get("/static/x/js/main.js"),
            &Call::get("/api/lm/nowhere"),
        ] {
            let reply = anonymous(&server, &with(call)).await?;
            assert!(
                matches!(reply.status, 401 | 429),
                "{headers:?} {call:?}: {}",
                reply.status
            );
            assert_eq!(reply.json()?["success"], false);
        }
    }
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(anonymous(&server, &Call::get(path)).await?.status, 200, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn programs_send_a_token_in_four_ways() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = locked(&library).serve().await?;
    for (name, value) in [
        ("Authorization", format!("Bearer {TOKEN}")),
        ("Authorization", format!("bearer {TOKEN}")),
        ("X-Modelshelf-Token", TOKEN.to_owned()),
        ("Authorization", basic(TOKEN)),
    ] {
        for call in [
            Call::get("/api/lm/loras/list"),
            Call::post("/api/lm/loras/cancel-task", &json!({})).without("Sec-Fetch-Site"),
        ] {
            let reply = anonymous(&server, &call.header(name, &value)).await?;
            assert_eq!(reply.status, 200, "{name}: {}", reply.text());
        }
        let socket = Socket::open(server.address(), "/ws/fetch-progress", &[(name, value.as_str())]).await;
        assert!(socket.is_ok(), "{name}");
    }
    let Err(error) = Socket::open(server.address(), "/ws/fetch-progress", &[]).await else {
        bail!("a socket was opened without a token")
    };
    assert_eq!(refused(&error), Some(401));
    Ok(())
}

#[tokio::test]
async fn a_person_is_led_to_the_login_and_a_program_is_told_what_to_send() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = locked(&library).serve().await?;
    let page = Call::get("/loras?q=a%20b").header("Accept", "text/html");
    let reply = anonymous(&server, &page).await?;
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, "/login?next=%2Floras%3Fq%3Da%2520b")
    );
    let reply = anonymous(&server, &Call::get("/login")).await?;
    assert_eq!(reply.status, 200);
    let html = reply.text().replace("&#x2f;", "/");
    let addresses = html.split('"');
    let files: Vec<&str> = addresses
        .filter(|part| part.starts_with('/') && part.contains("static/"))
        .collect();
    assert!(files.len() > 5, "{html}");
    for file in files {
        assert_eq!(anonymous(&server, &Call::get(file)).await?.status, 200, "{file}");
    }
    let reply = anonymous(&server, &Call::get("/api/lm/loras/list")).await?;
    assert!(reply.header("www-authenticate").starts_with("Basic "));
    assert!(reply.text().contains("host token new"), "{}", reply.text());
    // A browser would ask in a window of its own.
    let browser = Call::get("/api/lm/loras/list").header("X-Modelshelf-Page", "1");
    let reply = anonymous(&server, &browser).await?;
    assert!(reply.header("www-authenticate").starts_with("Bearer "));
    Ok(())
}

#[tokio::test]
async fn a_server_that_nobody_could_log_in_to_does_not_listen_beyond_this_machine() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let options = || library.options().data_dir(&data).bind("0.0.0.0:0");
    let Err(error) = options().start().await else {
        bail!("it started")
    };
    let message = format!("{error:#}");
    assert!(
        message.contains("host password set") && message.contains("host token new"),
        "{message}"
    );
    let (good, token) = host(&["token", "new", "phone"], &data, "")?;
    assert!(good && token.len() >= 32, "{token}");
    let server = options().sending_token(&token).serve().await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 1);
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_short_or_blank_stops_the_start() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    for token in ["", " ", "t0ken", "                                          x"] {
        let options = library.options().settings(&format!("[server]\ntoken = '{token}'"));
        let Err(error) = options.start().await else {
            bail!("it started with {token:?}")
        };
        let message = format!("{error:#}");
        assert!(
            message.contains("host token new") && message.contains("settings.toml"),
            "{message}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked_by_commands_while_the_server_runs() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let server = locked(&library).data_dir(&data).serve().await?;
    let (_, token) = host(&["token", "new", "phone", "--scope", "read,download"], &data, "")?;
    let call = Call::get("/api/lm/loras/list").header("Authorization", &format!("Bearer {token}"));
    eventually(async || Ok(anonymous(&server, &call).await?.status == 200)).await?;
    let (_, listed) = host(&["token", "list"], &data, "")?;
    assert!(
        listed.contains("phone") && listed.contains("read,download") && !listed.contains(&token),
        "{listed}"
    );
    let id = listed.split_whitespace().next().context("no id")?;
    let authorization = format!("Bearer {token}");
    let mut socket = Socket::open(
        server.address(),
        "/ws/fetch-progress",
        &[("Authorization", &authorization)],
    )
    .await?;
    let (good, _) = host(&["token", "revoke", id], &data, "")?;
    assert!(good);
    let Err(error) = socket.find(|_| false).await else {
        bail!("a message that is none")
    };
    assert!(
        !format!("{error:#}").contains("no message"),
        "its socket is closed: {error:#}"
    );
    eventually(async || Ok(anonymous(&server, &call).await?.status == 401)).await?;
    let (good, _) = host(&["token", "revoke", id], &data, "")?;
    assert!(!good, "there is none any more");
    assert!(!server.log().contains(&token));
    Ok(())
}

#[tokio::test]
async fn a_password_logs_in_a_session_that_ends_when_it_is_revoked() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let (good, _) = host(&["password", "set"], &data, "correct horse\n")?;
    assert!(good);
    let (good, _) = host(&["password", "set"], &data, "short\n")?;
    assert!(!good);
    let server = library.options().data_dir(&data).start().await?;
    eventually(async || Ok(anonymous(&server, &Call::get("/readyz")).await?.status == 200)).await?;
    assert_eq!(server.get("/api/lm/loras/list").await?.status, 401, "also on loopback");
    let wrong = Call::post("/api/access/login", &json!({"password": "wrong horse"}));
    assert_eq!(server.send(&wrong).await?.status, 401);
    let foreign = Call::post("/api/access/login", &json!({"password": "correct horse"}));
    let foreign = foreign.header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&foreign).await?.status, 403);
    let (one, two) = (
        log_in(&server, &json!({"password": "correct horse"})).await?,
        log_in(&server, &json!({"password": "correct horse"})).await?,
    );
    let list = async |cookie: &str| {
        server
            .send(&Call::get("/api/lm/loras/list").header("Cookie", cookie))
            .await
    };
    assert_eq!((list(&one).await?.status, list(&two).await?.status), (200, 200));
    // A cookie proves who, not from where.
    let forged = Call::post("/api/lm/loras/cancel-task", &json!({}))
        .header("Cookie", &one)
        .header("Sec-Fetch-Site", "cross-site");
    assert_eq!(server.send(&forged).await?.status, 403);
    let state = server
        .send(&Call::get("/api/access").header("Cookie", &one))
        .await?
        .json()?;
    let sessions = state["sessions"].as_array().context("sessions")?;
    assert_eq!(sessions.len(), 2);
    assert_eq!(state["failures"][0]["kind"], "password");
    let other = sessions
        .iter()
        .find(|session| session["is_own"] == false)
        .context("other")?;
    let target = format!(
        "/api/access/sessions/{}/revoke",
        other["id"].as_str().unwrap_or_default()
    );
    let end = Call::post(&target, &json!({})).header("Cookie", &one);
    assert_eq!(server.send(&end).await?.status, 200);
    assert_eq!((list(&one).await?.status, list(&two).await?.status), (200, 401));
    let out = Call::post("/api/access/logout", &json!({})).header("Cookie", &one);
    assert_eq!(server.send(&out).await?.status, 200);
    assert_eq!(list(&one).await?.status, 401);
    assert!(!server.log().contains("correct horse"));
    Ok(())
}

#[tokio::test]
async fn guesses_are_slowed_logged_and_shown() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    let server = locked(&library).data_dir(&data).serve().await?;
    let (_, made) = host(&["token", "new", "phone", "--scope", "admin"], &data, "")?;
    let own = Call::get("/api/access").header("Authorization", &format!("Bearer {made}"));
    eventually(async || Ok(anonymous(&server, &own).await?.status == 200)).await?;
    let guess = Call::get("/api/lm/loras/list").header("Authorization", "Bearer guess");
    let mut slowed = None;
    for _ in 0..20 {
        let reply = anonymous(&server, &guess).await?;
        if reply.status == 429 {
            slowed = Some(reply);
            break;
        }
    }
    let slowed = slowed.context("20 guesses were answered")?;
    assert!(slowed.header("retry-after").parse::<u32>()? > 0);
    assert!(server.log().contains("127.0.0.1") && server.log().contains("a login with a wrong token failed"));
    // Whoever has a token that the server made gets in from the same address.
    let state = anonymous(&server, &own).await?.json()?;
    assert_eq!(state["failures"][0]["address"], "127.0.0.1");
    assert!(state["failures"][0]["count"].as_u64().unwrap_or_default() >= 5);
    Ok(())
}

#[tokio::test]
async fn the_terminal_prints_a_link_that_logs_in_once_and_the_password_is_set_by_it() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = locked(&library).serve().await?;
    eventually(async || Ok(server.output().contains("#code="))).await?;
    let link = server.output();
    let code = link
        .split("#code=")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let code = code.with_context(|| format!("no link in {link:?}"))?;
    let cookie = log_in(&server, &json!({"code": code})).await?;
    assert!(log_in(&server, &json!({"code": code})).await.is_err());
    let set = Call::post("/api/access/password", &json!({"password": "correct horse"})).header("Cookie", &cookie);
    let reply = anonymous(&server, &set).await?;
    assert_eq!(reply.status, 200, "{}", reply.text());
    log_in(&server, &json!({"password": "correct horse"})).await?;
    // The old one is asked for before it is replaced.
    assert_eq!(anonymous(&server, &set).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn the_user_that_a_trusted_proxy_names_is_let_in_and_the_one_that_a_stranger_names_is_not() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let settings = |proxy: &str| {
        format!("[server]\nrequire_login = true\ntrusted_proxies = ['{proxy}']\nuser_header = 'Remote-User'")
    };
    let named = Call::get("/api/lm/loras/list").header("Remote-User", "anna");
    for (proxy, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 401)] {
        let server = library.options().settings(&settings(proxy)).start().await?;
        eventually(async || Ok(server.get("/readyz").await?.status == 200)).await?;
        assert_eq!(server.send(&named).await?.status, status, "{proxy}");
        assert_eq!(server.get("/api/lm/loras/list").await?.status, 401);
        let foreign = Call::post("/api/lm/loras/cancel-task", &json!({}))
            .header("Remote-User", "anna")
            .header("Sec-Fetch-Site", "cross-site");
        assert!(matches!(server.send(&foreign).await?.status, 401 | 403));
        // The browser's connection to the proxy decides about the cookie.
        let me = server.send(&named.clone().header("X-Forwarded-Proto", "https")).await?;
        assert_eq!(me.status, status);
    }
    Ok(())
}

#[tokio::test]
async fn what_a_proxy_on_this_machine_hands_on_is_no_request_of_this_machines_person() -> Result<()> {
    let library = Library::of([Model::lora("amber")])?;
    let server = library.options().serve().await?;
    for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "X-Forwarded-Host"] {
        for call in [
            Call::get("/api/lm/loras/list"),
            Call::post("/api/lm/loras/cancel-task", &json!({})),
        ] {
            let reply = server.send(&call.header(name, "203.0.113.7")).await?;
            assert_eq!(reply.status, 401, "{name}");
        }
    }
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_credentials_is_private_and_a_broken_one_stops_the_start() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let library = Library::of([Model::lora("amber")])?;
    let data = library.path().join("data");
    host(&["password", "set"], &data, "correct horse\n")?;
    let file = data.join("access.json");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file)?.contains("correct horse"));
    std::fs::write(&file, "{")?;
    let Err(error) = library.options().data_dir(&data).start().await else {
        bail!("it started")
    };
    assert!(format!("{error:#}").contains("access.json"));
    Ok(())
}
