//! Logging in and out, the password, sessions and tokens. All of it is a Modelshelf extension.

use std::net::IpAddr;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::dispatch::{Call, blocking};
use super::super::error::ApiError;
use super::super::routes::AccessRoute;
use super::json;
use crate::access::{Identity, Issued, LoginError, MIN_PASSWORD, Principal, SESSION_IDLE, Scope, Scopes, Session};

/// Answers a route of access.
///
/// # Errors
/// The handler's.
pub async fn answer(route: AccessRoute, call: Call) -> Result<Response, ApiError> {
    match route {
        AccessRoute::LogIn => log_in(call).await,
        AccessRoute::LogOut => log_out(call).await,
        AccessRoute::Me => Ok(me(&call)),
        AccessRoute::State => Ok(state(&call)),
        AccessRoute::SetPassword => set_password(call).await,
        AccessRoute::NewToken => new_token(call).await,
        AccessRoute::RevokeToken => revoke_token(call).await,
        AccessRoute::EndSession => end_session(call).await,
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, ApiError> {
    serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::bad_request(format!("The body can't be used: {error}")))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Login {
    Password(String),
    Token(String),
    Code(String),
}

/// POST `/api/access/login`: one of `password`, `token` and `code`.
async fn log_in(call: Call) -> Result<Response, ApiError> {
    let login: Login = body(&call)?;
    let (access, address, client) = (call.app.access.clone(), call.caller.client.address, user_agent(&call));
    let done = blocking(move || match login {
        Login::Password(password) => access.log_in_by_password(&password, address, &client),
        Login::Token(token) => access.log_in_by_token(&token, address, &client),
        Login::Code(code) => access.log_in_by_code(&code, address, &client),
    });
    match done.await? {
        Ok(session) => Ok(with_cookie(&call, &session, json(&json!({ "success": true })))),
        Err(error) => Ok(login_failed(&error)),
    }
}

/// The answer to a failed login; 429 says how long to wait.
fn login_failed(error: &LoginError) -> Response {
    let mut response = ApiError::from_login(error).into_response();
    if let LoginError::Slow(wait) = error {
        let seconds = HeaderValue::from(wait.as_secs().max(1));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

/// POST `/api/access/logout`.
async fn log_out(call: Call) -> Result<Response, ApiError> {
    if let Some(id) = own_session(&call) {
        let access = call.app.access.clone();
        let ended = blocking(move || access.end_session(&id)).await?;
        ended.map_err(|error| ApiError::from_access(&error))?;
    }
    let mut response = json(&json!({ "success": true }));
    set_cookie(&call, &mut response, "", 0);
    Ok(response)
}

fn own_session(call: &Call) -> Option<String> {
    match &call.caller.identity.as_ref()?.principal {
        Principal::Session(id) => Some(id.clone()),
        _ => None,
    }
}

/// GET `/api/access/me`.
fn me(call: &Call) -> Response {
    let access = &call.app.access;
    json(&json!({
        "success": true,
        "login_required": access.login_required(),
        "identity": call.caller.identity.as_ref().map(identity),
    }))
}

fn identity(identity: &Identity) -> Value {
    let (kind, name) = match &identity.principal {
        Principal::Local => ("local", None),
        Principal::Session(_) => ("session", None),
        Principal::Token { name, .. } => ("token", Some(name)),
        Principal::SettingsToken => ("settings_token", None),
        Principal::ProxyUser(name) => ("proxy_user", Some(name)),
    };
    json!({ "kind": kind, "name": name, "scopes": identity.scopes.names() })
}

/// GET `/api/access`.
fn state(call: &Call) -> Response {
    let access = &call.app.access;
    let state = access.state();
    let own = own_session(call);
    let mut sessions: Vec<Value> = state
        .sessions
        .iter()
        .map(|session| (access.last_used(&session.id, session.last_used), session))
        .filter(|(last_used, session)| !session.has_ended(*last_used))
        .map(|(last_used, session)| {
            json!({
                "id": session.id,
                "created": session.created,
                "last_used": last_used,
                "client": session.client,
                "is_own": own.as_deref() == Some(&session.id),
            })
        })
        .collect();
    sessions.sort_by_key(|session| -session["last_used"].as_i64().unwrap_or_default());
    let tokens: Vec<Value> = state
        .tokens
        .iter()
        .map(|token| {
            let last_used = access.last_used(&token.id, token.last_used.unwrap_or_default());
            json!({
                "id": token.id,
                "name": token.name,
                "scopes": token.scopes.names(),
                "created": token.created,
                "last_used": (last_used > 0).then_some(last_used),
            })
        })
        .collect();
    let failures: Vec<Value> = access
        .failures()
        .iter()
        .map(|failure| {
            json!({
                "address": failure.address.to_string(),
                "kind": failure.kind.name(),
                "at": failure.at,
                "count": failure.count,
            })
        })
        .collect();
    json(&json!({
        "success": true,
        "login_required": access.login_required(),
        "on_loopback": access.is_on_loopback(),
        "password_set": state.password.is_some(),
        "settings_token_set": access.policy().token.is_some(),
        "min_password": MIN_PASSWORD,
        "identity": call.caller.identity.as_ref().map(identity),
        "sessions": sessions,
        "tokens": tokens,
        "failures": failures,
    }))
}

#[derive(Deserialize)]
struct PasswordBody {
    password: String,
    #[serde(default)]
    current: String,
}

/// POST `/api/access/password`. Ends all other sessions; whoever sets it is logged in afterwards.
async fn set_password(call: Call) -> Result<Response, ApiError> {
    let wanted: PasswordBody = body(&call)?;
    let (access, own, client) = (call.app.access.clone(), own_session(&call), user_agent(&call));
    let address: IpAddr = call.caller.client.address;
    let done = blocking(move || -> Result<Option<Issued<Session>>, LoginError> {
        // Whoever finds an unlocked screen does not know the old one.
        if access.state().password.is_some() {
            access.confirm_password(&wanted.current, address)?;
        }
        access.set_password(&wanted.password, own.as_deref())?;
        match own {
            Some(_) => Ok(None),
            None => Ok(Some(access.begin_session(&client)?)),
        }
    });
    match done.await? {
        // 401 would send the page to the login.
        Err(LoginError::Wrong) => Err(ApiError::new(StatusCode::FORBIDDEN, "The current password is wrong.")),
        Err(error) => Ok(login_failed(&error)),
        Ok(session) => {
            tracing::info!(address = %call.caller.client.address, "the password was set");
            let response = json(&json!({ "success": true }));
            Ok(match session {
                Some(session) => with_cookie(&call, &session, response),
                None => response,
            })
        }
    }
}

#[derive(Deserialize)]
struct TokenBody {
    name: String,
    scopes: Vec<Scope>,
}

/// POST `/api/access/tokens`.
async fn new_token(call: Call) -> Result<Response, ApiError> {
    let wanted: TokenBody = body(&call)?;
    let access = call.app.access.clone();
    let made = blocking(move || access.new_token(&wanted.name, wanted.scopes.into_iter().collect::<Scopes>()));
    let made = made.await?.map_err(|error| ApiError::from_access(&error))?;
    tracing::info!(address = %call.caller.client.address, id = made.entry.id, name = made.entry.name, "a token was made");
    let mut response = json(&json!({
        "success": true,
        "token": made.secret,
        "id": made.entry.id,
        "name": made.entry.name,
        "scopes": made.entry.scopes.names(),
    }));
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// POST `/api/access/tokens/{id}/revoke`.
async fn revoke_token(call: Call) -> Result<Response, ApiError> {
    let (access, id) = (call.app.access.clone(), call.param("id").to_owned());
    let found = blocking(move || access.revoke_token(&id)).await?;
    match found.map_err(|error| ApiError::from_access(&error))? {
        true => Ok(json(&json!({ "success": true }))),
        false => Err(ApiError::not_found("There is no such token.")),
    }
}

/// POST `/api/access/sessions/{id}/revoke`.
async fn end_session(call: Call) -> Result<Response, ApiError> {
    let (access, id) = (call.app.access.clone(), call.param("id").to_owned());
    let found = blocking(move || access.end_session(&id)).await?;
    match found.map_err(|error| ApiError::from_access(&error))? {
        true => Ok(json(&json!({ "success": true }))),
        false => Err(ApiError::not_found("There is no such session.")),
    }
}

fn user_agent(call: &Call) -> String {
    let agent = call
        .headers
        .get(header::USER_AGENT)
        .and_then(|value| value.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

fn with_cookie(call: &Call, session: &Issued<Session>, mut response: Response) -> Response {
    set_cookie(call, &mut response, &session.secret, SESSION_IDLE.as_secs());
    response
}

fn set_cookie(call: &Call, response: &mut Response, value: &str, seconds: u64) {
    let name = call.app.access.cookie_name();
    let secure = if call.caller.client.is_https { "; Secure" } else { "" };
    let path = match call.app.settings.base_path.as_str() {
        "" => "/",
        path => path,
    };
    let cookie = format!("{name}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}
