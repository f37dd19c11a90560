//! From a request to its handler: host check, authentication, route table, scope and origin checks, ready gate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use super::authentication::{self, Caller};
use super::client_address::ClientAddress;
use super::error::ApiError;
use super::pages::Instead;
use super::query::Query;
use super::registrar::{Bound, Target};
use super::routes::Shared;
use super::serving::IsEncrypted;
use super::{csrf, handlers, headers, host_check, json_limits};
use crate::access::effects::Effects;
use crate::app::App;
use crate::data_folder::DataFolderError;
use crate::library::previewing;
use crate::model_types::{Off, TypeSlot};
use crate::plugins::Asker;

/// Largest body of a request in bytes.
const MAX_BODY: usize = 1 << 20;
/// The same where a body names any number of models.
const MAX_BODY_OF_MANY: usize = 64 << 20;

/// Common routes that answer while libraries are being opened.
const ALWAYS: [Shared; 6] = [
    Shared::HealthCheck,
    Shared::VersionInfo,
    Shared::Plugins,
    Shared::PluginsPage,
    Shared::LoginPage,
    Shared::AccessPage,
];

/// A request on its way to a handler.
pub struct Call {
    /// The server's parts.
    pub app: Arc<App>,
    /// Method.
    pub method: Method,
    /// Path, percent-encoded as it came.
    pub path: String,
    /// Query string as it came.
    pub query_text: String,
    /// Query string, parsed.
    pub query: Query,
    /// Values of placeholders, decoded.
    pub params: Vec<(String, String)>,
    /// Headers.
    pub headers: HeaderMap,
    /// Whether it has a sign that it is the person's own.
    pub asker: Asker,
    /// Body, at most 1 MiB.
    pub body: Bytes,
    /// Who asks.
    pub caller: Caller,
    /// What the route may do.
    pub effects: Effects,
}

impl Call {
    /// The value of a placeholder.
    pub fn param(&self, name: &str) -> &str {
        self.params
            .iter()
            .find(|(own, _)| own == name)
            .map_or("", |(_, value)| value)
    }
}

/// Wraps every answer: host check and authentication before, security headers after.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let origin = csrf::allowed_origin(&app.settings, request.headers()).cloned();
    let mut response = match host_check::check_host(&app.settings, request.headers(), request.uri()) {
        Ok(()) if origin.is_some() && request.method() == Method::OPTIONS => preflight(),
        Ok(()) => match admit(&app, &mut request) {
            Ok(()) => next.run(request).await,
            Err(refused) => *refused,
        },
        Err(error) => error.into_response(),
    };
    headers::add(&mut response, origin);
    response
}

/// Finds out who asks and puts that into the request.
fn admit(app: &App, request: &mut Request) -> Result<(), Box<Response>> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
    let client = ClientAddress::of(
        peer,
        IsEncrypted::of(request),
        request.headers(),
        &app.settings.trusted_proxies,
    );
    let (caller, error) = Caller::of(&app.settings, &app.access, request.headers(), client);
    let (method, path) = (request.method(), request.uri().path());
    if !authentication::is_open(method, path) {
        if caller.identity.is_none() {
            let refusal = authentication::refusal(
                &app.settings.base_path,
                method,
                request.uri(),
                request.headers(),
                error.as_ref(),
            );
            return Err(Box::new(refusal));
        }
        let isolated = caller.source.check_isolation(method, authentication::is_page(path));
        isolated.map_err(|error| Box::new(error.into_response()))?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// What a listed origin's page may send; asked for by browsers before it does.
fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PUT, DELETE"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "content-type, authorization, x-modelshelf-token",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Answers everything that has no fixed route.
pub async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let page = (!is_api && request.method() == Method::GET).then(|| request.uri().path().to_owned());
    let languages = request
        .headers()
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    match (answer(app.clone(), request).await, page) {
        (Ok(response), _) => response,
        (Err(error), Some(path)) => {
            let instead = instead(&app, &error, &path);
            app.pages.error(&error, instead, languages.as_deref())
        }
        (Err(error), None) => error.into_response(),
    }
}

/// What the page at `path` says in place of what can't be shown.
fn instead(app: &App, error: &ApiError, path: &str) -> Instead {
    if error.status == StatusCode::SERVICE_UNAVAILABLE && !is_ready(app) {
        Instead::Starting
    } else if app.routes.load().find(path).is_none() {
        Instead::NoPage
    } else {
        Instead::Error
    }
}

async fn answer(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let path = request.uri().path().to_owned();
    let table = app.routes.load_full();
    let Some(found) = table.find(&path) else {
        // While plugins are loading, nobody can say which routes there will be.
        let starting = app.starting.load(Ordering::Relaxed);
        return Err(if starting && !path.starts_with("/static/") {
            ApiError::not_ready()
        } else {
            ApiError::no_route()
        });
    };
    let method = if request.method() == Method::HEAD {
        Method::GET
    } else {
        request.method().clone()
    };
    let bound = found
        .bound
        .iter()
        .find(|bound| bound.method == method)
        .ok_or_else(|| ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed"))?;
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| ApiError::internal("a request was not authenticated"))?;
    caller.require(bound.scope)?;
    let effects = bound.effects_of(request.uri().query());
    caller.source.check(request.method(), effects)?;
    if effects.write && app.data.is_gone() {
        let reason = DataFolderError::Gone(app.data.path().to_owned());
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, reason.to_string()));
    }
    let asker = if caller.source.is_own() {
        Asker::Owner
    } else {
        Asker::Stranger
    };
    let Bound { target, slot, .. } = bound.clone();
    let service = match &slot {
        Some(slot) => Some(slot.service().ok_or_else(|| not_served(slot, &path))?),
        // "No such model" would be a lie while libraries are still being opened.
        None if !answers_always(&target) && !has_types(&app) => {
            return Err(ApiError::not_ready());
        }
        None => None,
    };
    let params = found
        .params
        .into_iter()
        .map(|(name, value)| (name, percent_decode_str(&value).decode_utf8_lossy().into_owned()))
        .collect();
    let (parts, body) = request.into_parts();
    let query_text = parts.uri.query().unwrap_or_default().to_owned();
    let query = Query::parse(Some(&query_text));
    query.check()?;
    let body = read_body(body, max_body(&target)).await?;
    if !matches!(target, Target::Plugin(_) | Target::Shared(Shared::ReplacePreview)) {
        json_limits::check(&body, &parts.extensions).await?;
    }
    let call = Call {
        app,
        method,
        path,
        query,
        query_text,
        params,
        headers: parts.headers,
        asker,
        body,
        caller,
        effects,
    };
    effects
        .within(async {
            match (target, service) {
                (Target::Shared(shared), Some(service)) => handlers::of_type(shared, call, service).await,
                (Target::Shared(shared), None) => handlers::common(shared, call).await,
                (Target::Plugin(handler), Some(service)) => handlers::plugin::handle(handler, call, service).await,
                (Target::Plugin(_), None) => Err(ApiError::not_ready()),
            }
        })
        .await
}

fn answers_always(target: &Target) -> bool {
    match target {
        Target::Shared(Shared::Access(_)) => true,
        Target::Shared(shared) => ALWAYS.contains(shared),
        Target::Plugin(_) => false,
    }
}

/// Whether every plugin is loaded, also those that had to be compiled, and every library attached.
pub fn is_ready(app: &App) -> bool {
    !app.starting.load(Ordering::Relaxed) && has_types(app)
}

/// Whether the types that are loaded have their libraries. Further plugins may still be compiled.
fn has_types(app: &App) -> bool {
    let types = app.types.load();
    !types.is_empty()
        && types
            .iter()
            .all(|slot| slot.service().is_some() || slot.off().is_some())
}

/// 503. Clients of the API know its text; a person who opens the page is told why.
fn not_served(slot: &TypeSlot, path: &str) -> ApiError {
    let name = &slot.info.descriptor.display_name;
    let why = match slot.off() {
        Some(Off::Disabled) => "its plugin is disabled".to_owned(),
        Some(Off::Quarantined(reason)) => format!("its plugin is quarantined: {reason}"),
        None => return ApiError::not_ready(),
    };
    if path.starts_with("/api/") {
        return ApiError::not_ready();
    }
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{name} are not served: {why}. The page /plugins brings them back."),
    )
}

fn max_body(target: &Target) -> usize {
    match target {
        Target::Shared(
            Shared::BulkEdit
            | Shared::FetchAll
            | Shared::BulkDelete
            | Shared::MoveModels
            | Shared::AutoOrganize
            | Shared::LinkDuplicates
            | Shared::VerifyDuplicates,
        ) => MAX_BODY_OF_MANY,
        // Other fields have room, too.
        Target::Shared(Shared::ReplacePreview) => previewing::MAX_BYTES + MAX_BODY,
        _ => MAX_BODY,
    }
}

async fn read_body(body: Body, most: usize) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, most).await.map_err(|_| {
        ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The request's body is larger than {most} bytes, or broke off."),
        )
    })
}

/// Runs something that computes for a while away from the threads that serve requests.
///
/// # Errors
/// 500 when it panicked.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let work = match Effects::current() {
        Some(effects) => Box::new(move || effects.within_blocking(work)) as Box<dyn FnOnce() -> T + Send>,
        None => Box::new(work),
    };
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}
