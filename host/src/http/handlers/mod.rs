//! Handlers by concern. They adapt: parameters in, a call into the library, an answer out.

mod access;
mod archive;
mod catalogue;
mod common;
mod compatibility;
mod counts;
mod deleting;
mod downloads;
mod duplicates;
mod editing;
mod folders;
mod hashing;
mod listing;
mod media;
mod moving;
mod names;
mod organising;
mod page;
pub mod plugin;
mod plugins;
mod previewing;
mod providers;
mod scan;
mod settings;
mod sidecars;
mod updates;

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::dispatch::Call;
use super::error::ApiError;
use super::routes::Shared;
use crate::model_types::TypeService;

/// Answers a shared route of a type that is ready.
///
/// # Errors
/// The handler's.
pub async fn of_type(shared: Shared, call: Call, service: Arc<TypeService>) -> Result<Response, ApiError> {
    match shared {
        Shared::Page => page::page(&call, &service),
        Shared::List => listing::list(call, service).await,
        Shared::Excluded => listing::excluded(call, service).await,
        Shared::TopTags => counts::top_tags(&call, &service),
        Shared::SearchTags => counts::search_tags(&call, &service),
        Shared::BaseModels => counts::base_models(&call, &service),
        Shared::ModelTypes => counts::model_types(&call, &service),
        Shared::Roots => Ok(folders::roots(&service)),
        Shared::Folders => Ok(folders::folders(&service)),
        Shared::FolderTree => folders::folder_tree(&call, &service),
        Shared::UnifiedFolderTree => Ok(folders::unified(&service)),
        Shared::FindDuplicates => duplicates::duplicates(call, service).await,
        Shared::VerifyDuplicates => duplicates::verify(call, service).await,
        Shared::LinkDuplicates => duplicates::link(call, service).await,
        Shared::FindFilenameConflicts => duplicates::conflicts(call, service).await,
        Shared::GetNotes => names::notes(&call, &service),
        Shared::PreviewUrl => names::preview_url(&call, &service),
        Shared::CivitaiUrl => names::civitai_url(&call, &service),
        Shared::RelativePaths => names::relative_paths(call, service).await,
        Shared::Metadata => sidecars::metadata(call, service).await,
        Shared::ModelDescription => sidecars::description(call, service).await,
        Shared::Scan => scan::scan(call, service).await,
        Shared::CancelTask => Ok(scan::cancel(&call, &service)),
        Shared::AutoOrganize => organising::organise(call, service).await,
        Shared::AutoOrganizeProgress => organising::progress(&call),
        Shared::Status => Ok(scan::status(&call, &service)),
        Shared::Problems => Ok(scan::problems(&call, &service)),
        Shared::Media => media::media(call, service).await,
        Shared::Hash => hashing::hash(call, service).await,
        Shared::SaveMetadata => editing::save_metadata(call, service).await,
        Shared::AddTags => editing::add_tags(call, service).await,
        Shared::Exclude => editing::exclude(call, service, true).await,
        Shared::Unexclude => editing::exclude(call, service, false).await,
        Shared::Rename => editing::rename(call, service).await,
        Shared::MoveModel => moving::move_model(call, service).await,
        Shared::MoveModels => moving::move_models(call, service).await,
        Shared::Delete => deleting::delete(call, service).await,
        Shared::BulkDelete => deleting::bulk_delete(call, service).await,
        Shared::ReplacePreview => previewing::replace(call, service).await,
        Shared::PreviewFromUrl => previewing::from_url(call, service).await,
        Shared::BulkEdit => editing::bulk_edit(call, service).await,
        Shared::FetchOne => providers::fetch_one(call, service).await,
        Shared::FetchAll => providers::fetch_all(call, service).await,
        Shared::FetchAllProgress => Ok(providers::fetch_all_progress(&call, &service)),
        Shared::CheckUpdates => updates::refresh(call, service).await,
        Shared::FetchLicences => updates::fetch_licences(call, service).await,
        Shared::IgnoreUpdates => updates::ignore(call, service).await,
        Shared::IgnoreVersion => updates::ignore_version(call, service).await,
        Shared::UpdateStatus => updates::status(call, service, false).await,
        Shared::UpdateVersions => updates::status(call, service, true).await,
        Shared::Relink => providers::relink(call, service).await,
        Shared::RemoteVersions => providers::versions(call, service).await,
        Shared::RemoteVersion => providers::version(call).await,
        Shared::RemoteHash => providers::by_hash(call).await,
        other => common(other, call).await,
    }
}

/// Answers a shared route that belongs to no type.
///
/// # Errors
/// The handler's.
pub async fn common(shared: Shared, call: Call) -> Result<Response, ApiError> {
    match shared {
        Shared::Previews => media::preview(call).await,
        Shared::HealthCheck => Ok(json(&serde_json::json!({ "status": "ok" }))),
        Shared::Settings => Ok(settings::settings(&call)),
        Shared::ChangeSettings => settings::change(call).await,
        Shared::Libraries => Ok(common::libraries(&call)),
        Shared::ActivateLibrary => common::activate_library(call).await,
        Shared::CheckModelExists => common::model_exists(call).await,
        Shared::CheckModelsExist => Ok(common::models_exist(&call)),
        Shared::PriorityTags => Ok(common::priority_tags(&call)),
        Shared::Hashing => Ok(hashing::status(&call)),
        Shared::PauseHashing => hashing::pause(call, true).await,
        Shared::ResumeHashing => hashing::pause(call, false).await,
        Shared::Providers => Ok(providers::state(&call)),
        Shared::VersionsOfModel => catalogue::versions(call).await,
        Shared::ModelsOfUser => catalogue::of_user(call).await,
        Shared::KnownBaseModels => catalogue::base_models(call).await,
        Shared::RefreshBaseModels => catalogue::refresh_base_models(call).await,
        Shared::BaseModelCategories => Ok(catalogue::base_model_categories()),
        Shared::BaseModelState => Ok(catalogue::base_model_state(&call)),
        Shared::DownloadArchive => archive::download(call).await,
        Shared::RemoveArchive => archive::remove(call).await,
        Shared::ArchiveState => archive::state(call).await,
        Shared::History => editing::history(&call),
        Shared::Undo => editing::undo(call).await,
        Shared::UndoDelete => deleting::undo(call).await,
        Shared::TrainedWords => sidecars::trained_words(call).await,
        Shared::DeleteModelVersion => deleting::version(call).await,
        Shared::EmptyTrash => deleting::empty_trash(call).await,
        Shared::Plugins => Ok(plugins::list(&call)),
        Shared::PluginsPage => page::plugins(&call),
        Shared::LoginPage => page::login(&call),
        Shared::AccessPage => page::access(&call),
        Shared::Access(route) => access::answer(route, call).await,
        Shared::ReloadPlugin => plugins::reload(call).await,
        Shared::EnablePlugin => plugins::enable(call).await,
        Shared::DisablePlugin => plugins::disable(call).await,
        Shared::GrantPlugin => plugins::grant(call).await,
        Shared::Download(route) => downloads::answer(route, call).await,
        Shared::VersionInfo => Ok(compatibility::version_info()),
        Shared::CheckOwnUpdates => Ok(compatibility::check_updates(&call)),
        Shared::Supporters => Ok(compatibility::supporters()),
        Shared::CustomWords => Ok(compatibility::custom_words()),
        Shared::Wildcards => Ok(compatibility::wildcards()),
        Shared::ExampleWorkflows => Ok(compatibility::example_workflows()),
        Shared::AgentSkills => Ok(compatibility::agent_skills()),
        Shared::ExampleImagesStatus => Ok(compatibility::example_images_status()),
        Shared::ExampleImagesNeeded => Ok(compatibility::example_images_needed()),
        Shared::ExampleImageFiles => compatibility::example_image_files(&call),
        Shared::HasExampleImages => compatibility::has_example_images(&call),
        Shared::FileLocation => compatibility::file_location(&call),
        Shared::SettingsLocation => compatibility::settings_location(call).await,
        Shared::WithoutComfyUi => Ok(compatibility::without_comfyui()),
        Shared::Missing(feature) => Err(ApiError::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "{} {} is not served: Modelshelf has no {feature}. Nothing was changed.",
                call.method, call.path
            ),
        )),
        _ => Err(ApiError::no_route()),
    }
}

pub use providers::state_of as state_of_providers;

/// A JSON answer that must be asked for again each time.
pub fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes),
        Err(error) => ApiError::internal(error).into_response(),
    }
}

/// JSON that is already text.
pub fn json_bytes(bytes: Vec<u8>) -> Response {
    (
        [
            (header::CONTENT_TYPE, "application/json; charset=utf-8"),
            (header::CACHE_CONTROL, "no-cache"),
        ],
        bytes,
    )
        .into_response()
}
