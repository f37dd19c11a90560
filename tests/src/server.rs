//! The real server as a process of its own.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::{self, share_compiled_code};
use crate::http::{Call, Reply};
use crate::ws::Socket;

/// How long a server may take to listen, and a library to be read. A debug build compiles its plugins first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a server is started.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    launcher: Vec<OsString>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    data_dir: Option<PathBuf>,
    compiles: bool,
    silent: bool,
    scan: Option<String>,
    settings: String,
    bind: Option<String>,
    token: Option<String>,
}

/// What a server reads as its settings unless a test says otherwise: files that a test writes count at once, and
/// nothing is scanned but what the test asks for.
const SCAN: &str = "watch = false\nstable_seconds = 0.0";

impl ServerOptions {
    /// Adds a root.
    #[must_use]
    pub fn root(self, name: &str, folder: &Path) -> Self {
        let mut value = OsString::from(format!("{name}="));
        value.push(folder);
        self.argument("--root").argument(value)
    }

    /// Has another program start it: these arguments, and behind them the server with its own.
    #[must_use]
    pub fn launched_by(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(Into::into).collect();
        self
    }

    /// Adds a plugin file.
    #[must_use]
    pub fn plugin(self, file: &Path) -> Self {
        self.argument("--plugin").argument(file)
    }

    /// Adds an argument.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Has it listen elsewhere than on a free port of 127.0.0.1.
    #[must_use]
    pub fn bind(mut self, address: &str) -> Self {
        self.bind = Some(address.to_owned());
        self
    }

    /// Sends this token with each request that has no `Authorization`.
    #[must_use]
    pub fn sending_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Has it watch its folders, as it does for a person, but with files counting as whole after a tenth of a second.
    #[must_use]
    pub fn watching(self) -> Self {
        self.scan_settings("stable_seconds = 0.1")
    }

    /// Sets the table `[scan]` of its settings, unless it has settings of its own.
    #[must_use]
    pub fn scan_settings(mut self, table: &str) -> Self {
        self.scan = Some(table.to_owned());
        self
    }

    /// Adds to its settings, unless it has settings of its own: tables, and before them keys.
    #[must_use]
    pub fn settings(mut self, text: &str) -> Self {
        self.settings.push_str(text);
        self.settings.push('\n');
        self
    }

    /// Has it ask this stand-in for what CivitAI knows.
    #[must_use]
    pub fn civitai(self, civitai: &crate::civitai::Civitai) -> Self {
        self.settings(&civitai.settings())
    }

    /// A data folder that outlives the server; without one it gets a temporary folder.
    #[must_use]
    pub fn data_dir(mut self, folder: &Path) -> Self {
        self.data_dir = Some(folder.to_owned());
        self
    }

    /// Has it compile its plugins, as after an installation. Otherwise tests share what the first of them compiled.
    #[must_use]
    pub fn compiling(mut self) -> Self {
        self.compiles = true;
        self
    }

    /// Does not show the server's log when it ends.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Errors
    /// When it ends or stays silent; the message holds what it wrote to standard error.
    pub async fn start(self) -> Result<Server> {
        Server::start(self).await
    }

    /// Starts the server and waits until all plugins are loaded and the built-in types' libraries have been read.
    ///
    /// # Errors
    /// As [`start`](Self::start), and when a library is not read in time.
    pub async fn serve(self) -> Result<Server> {
        let server = self.start().await?;
        server.wait_loaded().await?;
        for prefix in ["loras", "checkpoints", "embeddings"] {
            server.wait_ready(prefix).await?;
        }
        Ok(server)
    }
}

/// A running server; ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    output: Arc<Mutex<String>>,
    silent: bool,
    token: Option<String>,
    // Its user's folder, empty, so that no test sees the settings of whoever runs it; and the data folder, if temporary.
    _home: TempDir,
    started: Instant,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When it ends or stays silent; the message holds what it wrote to standard error.
    pub async fn start(options: ServerOptions) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("modelshelf-home-").tempdir()?;
        let data_dir = options.data_dir.unwrap_or_else(|| home.path().join("data"));
        let binary = binary::find()?;
        if !options.compiles {
            share_compiled_code(&binary, &data_dir)?;
        }
        let mut line = options.launcher.into_iter().chain([binary.into_os_string()]);
        let mut command = Command::new(line.next().context("nothing to start")?);
        command
            .args(line)
            .args(["--bind", options.bind.as_deref().unwrap_or("127.0.0.1:0"), "--data-dir"])
            .arg(&data_dir)
            .args(&options.arguments)
            .env("HOME", home.path())
            .env("XDG_CONFIG_HOME", home.path().join("config"))
            .env("XDG_DATA_HOME", home.path().join("share"))
            .env("XDG_CACHE_HOME", home.path().join("cache"))
            .envs(options.environment)
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let has_own = data_dir.join("settings.toml").exists();
        if !has_own && !options.arguments.iter().any(|argument| argument == "--config") {
            let (table, config) = (options.scan.as_deref().unwrap_or(SCAN), home.path().join("scan.toml"));
            std::fs::write(&config, format!("{}[scan]\n{table}\n", options.settings))?;
            command.arg("--config").arg(config);
        }
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("{:?} could not be started", command.get_program()))?;
        let log = Arc::new(Mutex::new(String::new()));
        let collected = child.stderr.take().map(|stderr| collect(stderr, Arc::clone(&log)));
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().context("no standard output")?;
        let lines = listening_lines(stdout, Arc::clone(&output));
        // Waiting must not hold up the test's own tasks.
        let waited = tokio::task::spawn_blocking(move || lines.recv_timeout(PATIENCE)).await?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            output,
            silent: options.silent,
            token: options.token,
            _home: home,
            started,
        };
        server.address = match waited {
            Ok(url) => match address_of(&url)? {
                address if address.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
                address => address,
            },
            Err(RecvTimeoutError::Timeout) => bail!("the server did not listen in time:\n{}", server.log()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = server.child.wait()?;
                // Its last words may still be on their way.
                let until = Instant::now() + Duration::from_secs(5);
                while collected.as_ref().is_some_and(|own| !own.is_finished()) && Instant::now() < until {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                bail!("the server ended ({status}):\n{}", server.log());
            }
        };
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When its process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it wrote to standard output so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn send(&self, call: &Call) -> Result<Reply> {
        match &self.token {
            Some(token) if !call.has("Authorization") => {
                let authorization = format!("Bearer {token}");
                call.clone()
                    .header("Authorization", &authorization)
                    .send(self.address)
                    .await
            }
            _ => call.send(self.address).await,
        }
    }

    /// `GET`, whatever the answer is.
    ///
    /// # Errors
    /// When the connection fails.
    pub async fn get(&self, target: &str) -> Result<Reply> {
        self.send(&Call::get(target)).await
    }

    /// `GET` with query parameters; the answer must be 200 and JSON.
    ///
    /// # Errors
    /// When it isn't.
    pub async fn get_json(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let reply = self.send(&Call::get(path).query(query)).await?;
        if reply.status != 200 {
            bail!("GET {path} {query:?}: {} {}", reply.status, reply.text());
        }
        reply.json()
    }

    /// `POST` as the server's own pages do; the answer must be 200 and JSON.
    ///
    /// # Errors
    /// When it isn't.
    pub async fn post_json(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = self.send(&Call::post(path, body)).await?;
        if reply.status != 200 {
            bail!("POST {path}: {} {}", reply.status, reply.text());
        }
        reply.json()
    }

    /// A page of the listing, up to 100 items unless the query says otherwise.
    ///
    /// # Errors
    /// When it isn't answered with 200.
    pub async fn list(&self, prefix: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut whole = vec![("page_size", "100")];
        whole.extend(query);
        if query.iter().any(|(name, _)| *name == "page_size") {
            whole.remove(0);
        }
        self.get_json(&format!("/api/lm/{prefix}/list"), &whole).await
    }

    /// The listed item with this file name.
    ///
    /// # Errors
    /// When there is none.
    pub async fn item(&self, prefix: &str, file_name: &str) -> Result<Value> {
        let page = self.list(prefix, &[]).await?;
        let items = page["items"].as_array().context("items")?;
        let found = items.iter().find(|item| item["file_name"] == file_name);
        found
            .cloned()
            .ok_or_else(|| anyhow!("{prefix} has no {file_name}: {:?}", crate::names(&page)))
    }

    /// Opens a WebSocket as one of the server's own pages does.
    ///
    /// # Errors
    /// When the upgrade is refused.
    pub async fn socket(&self, path: &str) -> Result<Socket> {
        Socket::open(self.address, path, &[("Origin", &format!("http://{}", self.address))]).await
    }

    /// Waits until a type's library has been read for the first time, files that were just written too; gives its last
    /// status.
    ///
    /// # Errors
    /// When it isn't in a minute, or the server ends.
    pub async fn wait_ready(&self, prefix: &str) -> Result<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = self.get(&format!("/api/lm/{prefix}/status")).await?;
            if let Ok(status) = reply.json()
                && status["ready"] == true
                && status["is_initializing"] == false
                && status["waiting"] == 0
            {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!(
                    "{prefix} is not ready: {} {}\n{}",
                    reply.status,
                    reply.text(),
                    self.log()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until all plugins are loaded, those that have to be compiled too.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_loaded(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.get("/readyz").await?.status != 200 {
            if Instant::now() > end {
                bail!("not all plugins are loaded:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Waits until the listing of a type is as wanted; gives it.
    ///
    /// # Errors
    /// When it isn't in 20 seconds; the message holds the names that are listed.
    pub async fn wait_for(&self, prefix: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let page = self.list(prefix, &[]).await?;
            if wanted(&page) {
                return Ok(page);
            }
            if Instant::now() > end {
                bail!("{prefix} still lists {:?}", crate::names(&page));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until exactly these file names are listed, in any order; gives the listing.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    pub async fn wait_for_names(&self, prefix: &str, wanted: &[&str]) -> Result<Value> {
        self.wait_for(prefix, |page| crate::sorted_names(page) == wanted).await
    }

    /// The status of a type.
    ///
    /// # Errors
    /// When it isn't answered with 200.
    pub async fn status(&self, prefix: &str) -> Result<Value> {
        self.get_json(&format!("/api/lm/{prefix}/status"), &[]).await
    }

    /// Waits until the status of a type is as wanted; gives it.
    ///
    /// # Errors
    /// When it isn't in 20 seconds; the message holds it.
    pub async fn wait_for_status(&self, prefix: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let reply = self.get(&format!("/api/lm/{prefix}/status")).await?;
            if let Ok(status) = reply.json()
                && reply.status == 200
                && wanted(&status)
            {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("the status of {prefix} is still {}", reply.text());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Ends it as a power cut would, without a chance to write anything.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Runs a scan to its end.
    ///
    /// # Errors
    /// When it fails.
    pub async fn scan(&self, prefix: &str, full: bool) -> Result<Value> {
        let full = if full { "true" } else { "false" };
        let call = Call::get(&format!("/api/lm/{prefix}/scan"))
            .query(&[("full_rebuild", full)])
            .header("Sec-Fetch-Site", "same-origin");
        let reply = self.send(&call).await?;
        if reply.status != 200 {
            bail!("scan of {prefix}: {} {}", reply.status, reply.text());
        }
        reply.json()
    }

    /// Asks the server to stop, as a service manager does, and waits for its end.
    ///
    /// # Errors
    /// When it doesn't end in ten seconds.
    pub async fn stop(self) -> Result<ExitStatus> {
        self.stop_within(Duration::from_secs(10)).await
    }

    /// As [`stop`](Self::stop), with another patience: a large library takes long to store.
    ///
    /// # Errors
    /// When it doesn't end in that time.
    pub async fn stop_within(mut self, patience: Duration) -> Result<ExitStatus> {
        // The standard library sends no signal but the one that can't be caught.
        Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("the server did not stop:\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is no concern of a test that is over.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.silent {
            // Test runners show this only for a test that failed.
            eprintln!("--- the server's log\n{}", self.log());
        }
    }
}

fn collect(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0u8; 4096];
        while let Ok(read) = from.read(&mut buffer) {
            if read == 0 {
                break;
            }
            let text = String::from_utf8_lossy(&buffer[..read]);
            into.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    })
}

/// The URL of the line that says where the server listens. The rest of its output is read and dropped, so that a full
/// pipe never stops it.
fn listening_lines(stdout: impl Read + Send + 'static, output: Arc<Mutex<String>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
            {
                let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
                output.push_str(&line);
                output.push('\n');
            }
            if let Some(url) = line.strip_prefix("listening on ") {
                // The receiver is gone when the test gave up.
                let _ = sender.send(url.trim().to_owned());
            }
        }
    });
    receiver
}

fn address_of(url: &str) -> Result<SocketAddr> {
    let rest = url
        .strip_prefix("http://")
        .or_else(|| url.strip_prefix("https://"))
        .with_context(|| format!("{url} is no http URL"))?;
    rest.trim_end_matches('/')
        .parse()
        .with_context(|| format!("{url} names no address"))
}
