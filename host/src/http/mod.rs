//! HTTP: the route table, the gate, handlers, sockets and pages.

mod disk_file;
pub mod dispatch;
pub mod error;
mod handlers;
mod list_query;
pub mod pages;
pub mod query;
pub mod registrar;
pub mod routes;
pub mod safety;
mod sockets;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use error::ApiError;
use pages::{Instead, Pages};

use crate::app::App;
use crate::compat::compat;

/// What pages are told when a provider can't be reached, or can be again.
pub fn providers_message(app: &App) -> String {
    let mut message = handlers::state_of_providers(app);
    message["type"] = "providers".into();
    message.to_string()
}

/// The server's router. Routes of the API and of pages are in [`registrar`]; what is here
/// belongs to no type and never changes.
pub fn router(app: Arc<App>) -> Router {
    let legacy = format!("/{}/{{*path}}", compat().static_prefix);
    Router::new()
        .route("/", get(home))
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readiness))
        .route(
            "/version",
            get(async || axum::Json(serde_json::json!({ "version": pages::version() }))),
        )
        .route("/static/{version}/{*path}", get(versioned))
        .route(
            &legacy,
            get(
                async |State(app): State<Arc<App>>, Path(path): Path<String>, headers: HeaderMap| {
                    app.pages.file(None, &path, &headers)
                },
            ),
        )
        .route(
            "/locales/{path}",
            get(async |Path(path): Path<String>, headers: HeaderMap| Pages::locale(&path, &headers)),
        )
        .route("/ws/fetch-progress", get(sockets::general))
        .route("/ws/batch-import-progress", get(sockets::general))
        .route("/ws/init-progress", get(sockets::init))
        .route("/ws/download-progress", get(sockets::download))
        .fallback(dispatch::dispatch)
        .layer(axum::middleware::from_fn_with_state(app.clone(), dispatch::guard))
        .with_state(app)
}

/// The first type's page.
async fn home(State(app): State<Arc<App>>) -> Response {
    let types = app.types.load();
    let first = types.iter().find(|slot| slot.off().is_none()).or(types.first());
    match first {
        Some(slot) => (
            StatusCode::FOUND,
            [(header::LOCATION, format!("/{}", slot.info.prefix()))],
        )
            .into_response(),
        None => app.pages.error(&ApiError::not_ready(), Instead::Starting, None),
    }
}

/// 200 once every type answers.
async fn readiness(State(app): State<Arc<App>>) -> Response {
    if !dispatch::is_ready(&app) {
        return ApiError::not_ready().into_response();
    }
    "ready".into_response()
}

async fn versioned(
    State(app): State<Arc<App>>,
    Path((version, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    app.pages.file(Some(&version), &path, &headers)
}
