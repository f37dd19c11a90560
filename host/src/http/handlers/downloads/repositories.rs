//! Files of repositories at Hugging Face, and linking a model to one.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::super::dispatch::Call;
use super::super::super::error::ApiError;
use super::super::editing::{self, body};
use super::super::json;
use super::{download_id, flag, place, queue, text};
use crate::downloads::{DownloadError, HubError, Outcome, RepoFile, Wanted};
use crate::library::edit::Edit;
use crate::library::history::ActKind;
use crate::use_cases::blocking_act;

/// Characters of a repository's name, besides letters and digits.
const MARKS: [char; 3] = ['_', '.', '-'];
/// The page of a repository starts with one of these.
const PAGES: [&str; 2] = ["https://huggingface.co/", "http://huggingface.co/"];
/// The short forms of the same address.
const SHORT_PAGES: [&str; 2] = ["https://hf.co/", "http://hf.co/"];

fn is_repo(repo: &str) -> bool {
    let is_name = |name: &str| {
        !["", ".", ".."].contains(&name)
            && name
                .chars()
                .all(|own| own.is_ascii_alphanumeric() || MARKS.contains(&own))
    };
    repo.split_once('/')
        .is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> Self {
        let status = match &error {
            HubError::NotFound(_) | HubError::NoFile { .. } => StatusCode::NOT_FOUND,
            HubError::Status(status) | HubError::Busy(status) => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            HubError::Network(_) | HubError::Answer(_) | HubError::TooLong(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

/// GET `hf-repo-files`: weight files, the largest first.
pub async fn files(call: Call) -> Result<Response, ApiError> {
    let repo = call.query.get("repo").unwrap_or_default().trim();
    if !is_repo(repo) {
        return Err(ApiError::bad_request(
            "Missing or invalid 'repo' parameter (expected user/repo)",
        ));
    }
    let app = &call.app;
    let mut files = app.downloads.hugging_face().files(app, repo, "main").await?;
    let types = app.types.load();
    files.retain(|file| types.iter().any(|slot| slot.info.extension_of(&file.path).is_some()));
    files.sort_by_key(|file| std::cmp::Reverse(file.size));
    let files: Vec<Value> = files
        .into_iter()
        .map(|file| json!({ "filename": file.path, "size": file.size }))
        .collect();
    Ok(json(&files))
}

/// POST `download-hf-model`.
pub async fn download(call: Call) -> Result<Response, ApiError> {
    let fields = body(&call)?;
    let wanted = asked(&fields)?;
    let id = download_id(&fields);
    if flag(&fields, "queued") {
        return queue::enqueue(&call, &fields, &wanted, id).await;
    }
    let (app, downloads) = (call.app.clone(), call.app.downloads.clone());
    let ended = tokio::spawn(async move { downloads.download(&app, &id, wanted).await });
    let outcome = ended.await.map_err(ApiError::internal)?;
    let failure = |error: &DownloadError| {
        let exists = matches!(error, DownloadError::Exists(_));
        if exists {
            return json(&json!({ "success": true, "message": format!("File already exists: {error}") }));
        }
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
    };
    Ok(match outcome {
        Ok(Outcome::Completed(path)) => {
            let path = crate::files::wire_path(&path);
            let message = format!("Downloaded to {}", path.as_deref().unwrap_or_default());
            json(&json!({ "success": true, "message": message, "path": path }))
        }
        Ok(Outcome::Stopped | Outcome::Skipped(_)) => json(&json!({ "success": true, "cancelled": true })),
        Ok(Outcome::Failed(error)) => failure(&error),
        Err(error) => failure(&error),
    })
}

fn asked(fields: &Map<String, Value>) -> Result<Wanted, ApiError> {
    let (repo, file) = (text(fields, "repo"), text(fields, "filename"));
    if repo.is_empty() || file.is_empty() {
        return Err(ApiError::bad_request("Missing required fields: 'repo' and 'filename'"));
    }
    if !is_repo(&repo) {
        return Err(ApiError::bad_request(format!("Invalid repo format: {repo}")));
    }
    if file.split('/').any(|part| ["", ".", ".."].contains(&part)) || file.contains(['\\', '\0']) {
        return Err(ApiError::bad_request("Invalid filename"));
    }
    let place = place(fields);
    if place.relative_path.starts_with('/') {
        return Err(ApiError::bad_request("relative_path must not be absolute"));
    }
    if place.relative_path.contains('\\') || place.relative_path.split('/').any(|part| part == "..") {
        return Err(ApiError::bad_request("Invalid relative_path"));
    }
    let revision = text(fields, "revision");
    Ok(Wanted {
        hugging_face: Some(RepoFile {
            repo,
            file,
            revision: if revision.is_empty() { "main".into() } else { revision },
        }),
        place,
        ..Wanted::default()
    })
}

/// POST `set-hf-url`: `{"file_path", "hf_url"}`.
pub async fn link(call: Call) -> Result<Response, ApiError> {
    let fields = body(&call)?;
    let (path, mut url) = (text(&fields, "file_path"), text(&fields, "hf_url"));
    if let Some(rest) = SHORT_PAGES.iter().find_map(|page| url.strip_prefix(page)) {
        url = format!("{}{rest}", PAGES[0]);
    }
    if path.is_empty() || url.is_empty() {
        return Err(ApiError::bad_request(
            "Missing required fields: 'file_path' and 'hf_url'",
        ));
    }
    let repo = PAGES.iter().find_map(|page| url.strip_prefix(page));
    if !repo.is_some_and(|repo| is_repo(repo.strip_suffix('/').unwrap_or(repo))) {
        return Err(ApiError::bad_request(
            "Invalid HuggingFace URL. Expected format: https://huggingface.co/user/repo",
        ));
    }
    let types = call.app.types.load_full();
    let services: Vec<_> = types.iter().filter_map(|slot| slot.service()).collect();
    let inside = |service: &&std::sync::Arc<crate::model_types::TypeService>| {
        service
            .library
            .roots()
            .iter()
            .any(|root| root.relative(&path).is_some())
    };
    // Whether a file is there that is none of the library is nobody's business.
    let not_found = || ApiError::not_found(format!("File not found: {path}"));
    let service = services.iter().find(inside).ok_or_else(not_found)?;
    blocking_act::list_new(&call.app, service, vec![path.clone()])
        .await
        .map_err(ApiError::internal)?;
    let snapshot = service.library.snapshot();
    let record = snapshot.by_path(&path).ok_or_else(not_found)?;
    if record.hf_url.as_deref() == Some(&url) {
        return Ok(json(
            &json!({ "success": true, "message": "hf_url already set", "hf_url": url }),
        ));
    }
    let edit = Edit::Set(Map::from_iter([
        ("hf_url".to_owned(), json!(url)),
        ("from_civitai".to_owned(), json!(false)),
    ]));
    let outcome = editing::act(&call, service, move |library, tools| {
        library.edit(tools, ActKind::Edit, &[path], &[edit])
    })
    .await?;
    if let Some(error) = outcome.models.into_iter().find_map(|edited| edited.result.err()) {
        return Err(error.into());
    }
    Ok(json(&json!({
        "success": true, "message": format!("hf_url set to {url}"), "hf_url": url, "undo_id": outcome.undo_id,
    })))
}
