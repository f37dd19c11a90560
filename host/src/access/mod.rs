//! Who may use the server: passwords, sessions, tokens, and the tries that failed.
//!
//! Everything that must survive a restart is in one private file ([`file`]), which `host token` and `host password`
//! change too while the server runs. This module knows nothing of HTTP.

pub mod command;
pub mod effects;
mod error;
mod file;
mod identity;
mod password;
mod policy;
mod scope;
mod secret;
mod throttle;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

pub use error::{AccessError, LoginError};
pub use file::{Session, State, Token};
pub use identity::{Identity, Principal};
pub use password::MIN_PASSWORD;
pub use policy::{AccessPolicy, MIN_TOKEN, checked_token};
pub use scope::{Scope, Scopes};
pub use secret::Digest;
pub use throttle::{Failure, Kind};

use file::AccessFile;
use secret::Secret;
use throttle::Throttle;

/// How long a session lasts without being used.
pub const SESSION_IDLE: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a one-time login code can be used.
const CODE_LASTS: Duration = Duration::from_secs(3600);
/// Most sessions that are kept; the one unused for longest makes room.
const MAX_SESSIONS: usize = 500;
/// Most tokens.
const MAX_TOKENS: usize = 500;

/// A secret that was just made, shown once, with what is kept of it.
#[derive(Debug)]
pub struct Issued<T> {
    /// The secret's text. It can't be read again.
    pub secret: String,
    /// The stored entry.
    pub entry: T,
}

struct LoginCode {
    digest: Digest,
    until: Instant,
}

/// Identities, and the state behind them.
pub struct Access {
    file: AccessFile,
    policy: AccessPolicy,
    // Whether every address that is listened on is a loopback address.
    on_loopback: AtomicBool,
    state: ArcSwap<State>,
    throttle: Throttle,
    // When which session or token was last used, as long as that is not in the file.
    used: Mutex<HashMap<String, i64>>,
    code: Mutex<Option<LoginCode>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// Reads the file of the data folder; a missing one holds no credential.
    ///
    /// # Errors
    /// When the file can't be read or is broken. It is never replaced then, since an empty one would let everybody in.
    pub fn open(data_folder: &Path, policy: AccessPolicy) -> Result<Self, AccessError> {
        let file = AccessFile::new(data_folder);
        let state = file.read()?;
        Ok(Self {
            file,
            policy,
            on_loopback: AtomicBool::new(true),
            state: ArcSwap::from_pointee(state),
            throttle: Throttle::default(),
            used: Mutex::default(),
            code: Mutex::default(),
        })
    }

    /// Notes where the server listens.
    ///
    /// # Errors
    /// When an address is reachable by other machines and there is no credential at all.
    pub fn listen_on(&self, addresses: &[IpAddr]) -> Result<(), AccessError> {
        let on_loopback = addresses.iter().all(|address| address.to_canonical().is_loopback());
        self.on_loopback.store(on_loopback, Ordering::Relaxed);
        match addresses.iter().find(|address| !address.to_canonical().is_loopback()) {
            Some(address) if !self.has_credential() => Err(AccessError::NoCredential {
                address: *address,
                data_folder: self.file.folder().to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether each request needs a session or a token, also one from this machine.
    pub fn login_required(&self) -> bool {
        !self.on_loopback.load(Ordering::Relaxed)
            || self.policy.require_login
            || self.policy.token.is_some()
            || self.state.load().password.is_some()
    }

    /// Whether the server can be reached from this machine alone.
    pub fn is_on_loopback(&self) -> bool {
        self.on_loopback.load(Ordering::Relaxed)
    }

    /// Settings of access.
    pub fn policy(&self) -> &AccessPolicy {
        &self.policy
    }

    /// Whether there is anything that a person or program could log in with.
    pub fn has_credential(&self) -> bool {
        let state = self.state.load();
        self.policy.token.is_some()
            || self.policy.user_header.is_some()
            || state.password.is_some()
            || !state.tokens.is_empty()
    }

    /// Passwords, tokens and sessions as they are now; digests only, no secrets.
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// The latest failed tries, newest first.
    pub fn failures(&self) -> Vec<Failure> {
        self.throttle.failures()
    }

    /// The name of the session cookie. Servers on several ports of one host share their cookies, so each has its own.
    pub fn cookie_name(&self) -> String {
        format!("modelshelf_session_{}", self.state.load().instance)
    }

    /// Whose session this is; none when it has ended.
    pub fn session(&self, cookie: &str) -> Option<Identity> {
        let state = self.state.load();
        let (id, digest) = Secret::parse_session(cookie)?;
        let session = state.sessions.iter().find(|session| session.id == id)?;
        let alive =
            session.digest.matches(&digest) && !session.has_ended(self.last_used(&session.id, session.last_used));
        alive.then(|| {
            self.note_use(id);
            Identity {
                principal: Principal::Session(id.to_owned()),
                scopes: Scopes::ALL,
            }
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// When it is nobody's, or its address has failed too often. Tokens that the server made are looked up in any case:
    /// they can't be guessed, and their owner may share an address with whoever guesses.
    pub fn token(&self, text: &str, address: IpAddr) -> Result<Identity, LoginError> {
        if let Some((id, digest)) = Secret::parse_token(text) {
            let state = self.state.load();
            let token = state.tokens.iter().find(|token| token.id == id);
            if let Some(token) = token.filter(|token| token.digest.matches(&digest)) {
                self.note_use(id);
                return Ok(Identity {
                    principal: Principal::Token {
                        id: token.id.clone(),
                        name: token.name.clone(),
                    },
                    scopes: token.scopes,
                });
            }
        }
        self.throttle.check(address)?;
        let own = self.policy.token.as_ref();
        if own.is_some_and(|own| own.matches(&Digest::of(text))) {
            return Ok(Identity {
                principal: Principal::SettingsToken,
                scopes: Scopes::ALL,
            });
        }
        Err(self.throttle.failed(address, Kind::Token))
    }

    /// Whether somebody who was let in still would be: not when the session or token was ended, nor without a login after one
    /// was configured.
    pub fn still_holds(&self, principal: &Principal) -> bool {
        let state = self.state.load();
        match principal {
            Principal::Local => !self.login_required(),
            Principal::Session(id) => state.sessions.iter().any(|session| session.id == *id),
            Principal::Token { id, .. } => state.tokens.iter().any(|token| token.id == *id),
            Principal::SettingsToken | Principal::ProxyUser(_) => true,
        }
    }

    /// Begins a session for whoever knows the password. Takes some 50 ms of a processor: blocks.
    ///
    /// # Errors
    /// When the password is wrong, none is set, too many tries failed, or the file can't be written.
    pub fn log_in_by_password(
        &self,
        password: &str,
        address: IpAddr,
        client: &str,
    ) -> Result<Issued<Session>, LoginError> {
        self.throttle.check(address)?;
        // One at a time: tries of all addresses together are as slow as one processor makes them.
        let _turn = self.throttle.one_at_a_time()?;
        let state = self.state.load();
        if !password::verify(password, state.password.as_deref()) {
            return Err(self.throttle.failed(address, Kind::Password));
        }
        self.throttle.succeeded(address);
        Ok(self.begin_session(client)?)
    }

    /// Begins a session for whoever has a token that may do everything. Blocks.
    ///
    /// # Errors
    /// When the token is wrong or has other scopes, too many tries failed, or the file can't be written.
    pub fn log_in_by_token(&self, token: &str, address: IpAddr, client: &str) -> Result<Issued<Session>, LoginError> {
        let identity = self.token(token.trim(), address)?;
        if !identity.scopes.allows(Scope::Admin) {
            return Err(LoginError::NotAdmin);
        }
        Ok(self.begin_session(client)?)
    }

    /// Begins a session for whoever has the link that the terminal printed. Blocks.
    ///
    /// # Errors
    /// When the code is wrong, used or too old, too many tries failed, or the file can't be written.
    pub fn log_in_by_code(&self, code: &str, address: IpAddr, client: &str) -> Result<Issued<Session>, LoginError> {
        self.throttle.check(address)?;
        let mut kept = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        let good = kept
            .as_ref()
            .is_some_and(|kept| kept.until > Instant::now() && kept.digest.matches(&Digest::of(code)));
        if !good {
            drop(kept);
            return Err(self.throttle.failed(address, Kind::Link));
        }
        *kept = None;
        drop(kept);
        Ok(self.begin_session(client)?)
    }

    /// A code that logs in once within an hour. An earlier one ends.
    pub fn new_login_code(&self) -> String {
        let code = Secret::random();
        *self.code.lock().unwrap_or_else(PoisonError::into_inner) = Some(LoginCode {
            digest: Digest::of(&code),
            until: Instant::now() + CODE_LASTS,
        });
        code
    }

    /// Begins a session. Blocks.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn begin_session(&self, client: &str) -> Result<Issued<Session>, AccessError> {
        let secret = Secret::new_session();
        let now = file::now();
        let entry = Session {
            id: secret.id,
            digest: secret.digest,
            created: now,
            last_used: now,
            client: client.chars().take(200).collect(),
        };
        let kept = entry.clone();
        self.update(move |state| {
            state.sessions.retain(|session| !session.has_ended(session.last_used));
            if state.sessions.len() >= MAX_SESSIONS {
                state
                    .sessions
                    .sort_by_key(|session| std::cmp::Reverse(session.last_used));
                state.sessions.truncate(MAX_SESSIONS - 1);
            }
            state.sessions.push(kept);
            Ok(())
        })?;
        Ok(Issued {
            secret: secret.text,
            entry,
        })
    }

    /// Ends a session; false when there is none of this id. Blocks.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn end_session(&self, id: &str) -> Result<bool, AccessError> {
        self.update(|state| {
            let before = state.sessions.len();
            state.sessions.retain(|session| session.id != id);
            Ok(state.sessions.len() < before)
        })
    }

    /// Sets the password and ends all sessions but `keep`. Blocks.
    ///
    /// # Errors
    /// When it is too short, or the file can't be written.
    pub fn set_password(&self, password: &str, keep: Option<&str>) -> Result<(), AccessError> {
        let hash = password::hash(password)?;
        self.update(|state| {
            state.password = Some(hash.clone());
            state.sessions.retain(|session| Some(session.id.as_str()) == keep);
            Ok(())
        })
    }

    /// Whether this is the password; counts as a try. Blocks.
    ///
    /// # Errors
    /// When it is not, or too many tries failed.
    pub fn confirm_password(&self, password: &str, address: IpAddr) -> Result<(), LoginError> {
        self.throttle.check(address)?;
        let _turn = self.throttle.one_at_a_time()?;
        if password::verify(password, self.state.load().password.as_deref()) {
            return Ok(());
        }
        Err(self.throttle.failed(address, Kind::Password))
    }

    /// Makes a token. Blocks.
    ///
    /// # Errors
    /// When there are too many, its name is empty or too long, or the file can't be written.
    pub fn new_token(&self, name: &str, scopes: Scopes) -> Result<Issued<Token>, AccessError> {
        let issued = new_token(name, scopes)?;
        let kept = issued.entry.clone();
        self.update(move |state| add_token(state, kept))?;
        Ok(issued)
    }

    /// Ends a token; false when there is none of this id. Blocks.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn revoke_token(&self, id: &str) -> Result<bool, AccessError> {
        self.update(|state| Ok(revoke_token(state, id)))
    }

    /// When a session or token was last used, in seconds since 1970.
    pub fn last_used(&self, id: &str, stored: i64) -> i64 {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.get(id).copied().unwrap_or(stored).max(stored)
    }

    /// Takes over what another process wrote, and writes when what was last used. Called once a second. Blocks.
    ///
    /// # Errors
    /// When the file can't be read or written; what holds stays as it was.
    pub fn synchronize(&self, write_uses: bool) -> Result<(), AccessError> {
        if let Some(state) = self.file.read_if_changed()? {
            tracing::info!("passwords, tokens or sessions were changed by another program");
            self.state.store(Arc::new(state));
        }
        if !write_uses {
            return Ok(());
        }
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if used.is_empty() {
            return Ok(());
        }
        self.update(|state| {
            for (id, at) in &used {
                state.note_use(id, *at);
            }
            Ok(())
        })
    }

    fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T, AccessError>) -> Result<T, AccessError> {
        let (state, result) = self.file.update(change)?;
        self.state.store(Arc::new(state));
        Ok(result)
    }

    fn note_use(&self, id: &str) {
        let now = file::now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(id) {
            Some(at) => *at = now,
            None => {
                used.insert(id.to_owned(), now);
            }
        }
    }

    /// The file with passwords, tokens and sessions, for messages.
    pub fn path(&self) -> PathBuf {
        self.file.path()
    }
}

/// A token that is in no file yet.
fn new_token(name: &str, scopes: Scopes) -> Result<Issued<Token>, AccessError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > 100 {
        return Err(AccessError::TokenName);
    }
    if scopes.is_empty() {
        return Err(AccessError::NoScope);
    }
    let secret = Secret::new_token();
    Ok(Issued {
        secret: secret.text,
        entry: Token {
            id: secret.id,
            name: name.to_owned(),
            digest: secret.digest,
            scopes,
            created: file::now(),
            last_used: None,
        },
    })
}

fn add_token(state: &mut State, token: Token) -> Result<(), AccessError> {
    if state.tokens.len() >= MAX_TOKENS {
        return Err(AccessError::TooManyTokens(MAX_TOKENS));
    }
    state.tokens.push(token);
    Ok(())
}

fn revoke_token(state: &mut State, id: &str) -> bool {
    let before = state.tokens.len();
    state.tokens.retain(|token| token.id != id);
    state.tokens.len() < before
}

#[cfg(test)]
mod tests;
