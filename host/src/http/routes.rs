//! The one declarative table of the shared routes.
//!
//! Source: contract section 1 and appendix A.

use axum::http::Method;

use crate::access::Scope;
use crate::access::effects::Effects;

/// Who answers a shared route. Handlers are in `handlers`, one file for each concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// The page of a type.
    Page,
    /// Listing.
    List,
    /// Listing of excluded models.
    Excluded,
    /// Most frequent tags.
    TopTags,
    /// Tags that contain a text.
    SearchTags,
    /// Base models with counts.
    BaseModels,
    /// Sub-types with counts.
    ModelTypes,
    /// Roots.
    Roots,
    /// Folders as a list.
    Folders,
    /// Folders of one root as a tree.
    FolderTree,
    /// Folders of all roots as a tree.
    UnifiedFolderTree,
    /// Copies of one file.
    FindDuplicates,
    /// Reads copies again, to see whether they are.
    VerifyDuplicates,
    /// Has copies share their bytes on the disk; ours.
    LinkDuplicates,
    /// Files of one name.
    FindFilenameConflicts,
    /// Notes by name.
    GetNotes,
    /// Preview by name.
    PreviewUrl,
    /// Provider's page by name.
    CivitaiUrl,
    /// The provider's object from the sidecar.
    Metadata,
    /// Words with which a model was trained.
    TrainedWords,
    /// Description from the sidecar.
    ModelDescription,
    /// Paths for autocompletion.
    RelativePaths,
    /// Scans.
    Scan,
    /// Stops what runs.
    CancelTask,
    /// Files models by the template.
    AutoOrganize,
    /// The last progress of auto-organise.
    AutoOrganizeProgress,
    /// Readiness, progress and generation; ours.
    Status,
    /// Files with something wrong; ours.
    Problems,
    /// A preview by key; ours.
    Media,
    /// A preview by path.
    Previews,
    /// Liveness.
    HealthCheck,
    /// Settings without secrets.
    Settings,
    /// Changes settings.
    ChangeSettings,
    /// Named libraries.
    Libraries,
    /// Makes another library the active one.
    ActivateLibrary,
    /// Whether a provider's model is here.
    CheckModelExists,
    /// Whether several are.
    CheckModelsExist,
    /// Tags that stand for a model first.
    PriorityTags,
    /// What the hashing service does; ours.
    Hashing,
    /// Pauses it; ours.
    PauseHashing,
    /// Lets it go on; ours.
    ResumeHashing,
    /// Asks for missing hashes; ours.
    Hash,
    /// Changes fields of one model's metadata.
    SaveMetadata,
    /// Adds tags to one model.
    AddTags,
    /// Hides a model.
    Exclude,
    /// Shows a hidden model again.
    Unexclude,
    /// Replaces a model's preview by a file.
    ReplacePreview,
    /// The same by what is at an address.
    PreviewFromUrl,
    /// Gives a model another file name.
    Rename,
    /// Moves a model.
    MoveModel,
    /// Moves several models.
    MoveModels,
    /// Puts a model into the trash.
    Delete,
    /// Puts several models into the trash.
    BulkDelete,
    /// Puts all files of a provider's version into the trash.
    DeleteModelVersion,
    /// Brings deleted models back.
    UndoDelete,
    /// Frees the disk of what was deleted; ours.
    EmptyTrash,
    /// Changes metadata of several models; ours.
    BulkEdit,
    /// What was done; ours.
    History,
    /// Takes an act back; ours.
    Undo,
    /// Metadata of one model from providers.
    FetchOne,
    /// Metadata of all models from providers.
    FetchAll,
    /// How far that is; ours.
    FetchAllProgress,
    /// Links a model to a provider's version.
    Relink,
    /// Versions of a provider's model.
    RemoteVersions,
    /// A provider's version by its id.
    RemoteVersion,
    /// A provider's version by a file's hash.
    RemoteHash,
    /// Who is asked, and whether they can be reached; ours.
    Providers,
    /// Versions of a provider's model, with what is here and what was.
    VersionsOfModel,
    /// The same of all models of a user.
    ModelsOfUser,
    /// Names of base models that providers know.
    KnownBaseModels,
    /// Asks for them anew.
    RefreshBaseModels,
    /// Names of base models in groups.
    BaseModelCategories,
    /// How old what is known of them is.
    BaseModelState,
    /// Brings the archive of metadata onto this machine.
    DownloadArchive,
    /// Removes it.
    RemoveArchive,
    /// What there is of it.
    ArchiveState,
    /// Looks for newer versions.
    CheckUpdates,
    /// Fills in licences.
    FetchLicences,
    /// Ignores a model's updates.
    IgnoreUpdates,
    /// Ignores a version.
    IgnoreVersion,
    /// What is known of a model's updates.
    UpdateStatus,
    /// The same, with what of it is here.
    UpdateVersions,
    /// A route of downloads.
    Download(DownloadRoute),
    /// What is known of the plugins; ours.
    Plugins,
    /// The page of plugins; ours.
    PluginsPage,
    /// Loads a plugin anew; ours.
    ReloadPlugin,
    /// Serves a plugin again; ours.
    EnablePlugin,
    /// Takes a plugin out of service; ours.
    DisablePlugin,
    /// Allows a plugin something, or takes that back; ours.
    GrantPlugin,
    /// The server's version.
    VersionInfo,
    /// Whether there is a newer version of the server.
    CheckOwnUpdates,
    /// People who support the project.
    Supporters,
    /// Words of word lists.
    CustomWords,
    /// Names of wildcard files.
    Wildcards,
    /// Example workflows.
    ExampleWorkflows,
    /// Skills of agents.
    AgentSkills,
    /// How far a download of example images is.
    ExampleImagesStatus,
    /// Whether models lack example images.
    ExampleImagesNeeded,
    /// Example images of a model.
    ExampleImageFiles,
    /// Whether a model has example images.
    HasExampleImages,
    /// Where a model's file is.
    FileLocation,
    /// Where the settings file is.
    SettingsLocation,
    /// What needs a running ComfyUI.
    WithoutComfyUi,
    /// Answers 501 and names the feature that is missing; see [`super::missing_routes`].
    Missing(&'static str),
    /// The login page.
    LoginPage,
    /// The page of sessions and tokens.
    AccessPage,
    /// Sessions, tokens and the password.
    Access(AccessRoute),
}

/// The routes of sessions, tokens and the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessRoute {
    /// Begins a session.
    LogIn,
    /// Ends the session that asks.
    LogOut,
    /// Who asks.
    Me,
    /// Sessions, tokens and failed tries.
    State,
    /// Sets the password.
    SetPassword,
    /// Makes a token.
    NewToken,
    /// Ends a token.
    RevokeToken,
    /// Ends a session.
    EndSession,
}

/// The routes of downloads, their queue and history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadRoute {
    /// Downloads, and answers when that has ended.
    Model,
    /// The same by GET.
    ModelGet,
    /// What would be downloaded, and where to; ours.
    Plan,
    /// Ends one and removes what has arrived.
    Cancel,
    /// Ends one and leaves what has arrived.
    Skip,
    /// Has one stand still.
    Pause,
    /// Lets it go on.
    Resume,
    /// How far one is.
    Progress,
    /// The queue.
    Queue,
    /// Adds to the queue.
    Add,
    /// Takes out of the queue.
    Remove,
    /// Makes one the next.
    MoveToTop,
    /// Makes one the last.
    MoveToEnd,
    /// Empties the queue.
    Clear,
    /// Notes that a client has downloaded one.
    Complete,
    /// Sets the status of one.
    Status,
    /// What was downloaded.
    History,
    /// Empties that.
    ClearHistory,
    /// Takes a row out of that.
    DeleteHistory,
    /// Downloads one again.
    Retry,
    /// Downloads all again that failed.
    RetryAll,
    /// Counts.
    Stats,
    /// Whether a version was ever here.
    WasDownloaded,
    /// Says whether it was, by POST.
    SetDownloaded,
    /// The same by GET.
    SetDownloadedGet,
    /// Files of a repository.
    RepoFiles,
    /// Downloads one of them.
    RepoFile,
    /// Links a model to a repository.
    SetRepo,
}

/// One shared route.
#[derive(Debug, Clone)]
pub struct SharedRoute {
    /// Method.
    pub method: Method,
    /// Path with `{prefix}` and other placeholders.
    pub template: &'static str,
    /// Who answers.
    pub handler: Shared,
    /// What it may do.
    pub effects: Effects,
    /// Parameters of the query that make it do more, and what.
    pub more: Option<(&'static [&'static str], Effects)>,
    /// What its caller needs; none where anybody may ask.
    pub scope: Option<Scope>,
}

impl SharedRoute {
    /// A route of a feature that Modelshelf does not have.
    pub fn missing(method: Method, template: &'static str, feature: &'static str) -> Self {
        let (effects, scope) = match method {
            Method::GET => (Effects::NONE, Scope::Read),
            _ => (Effects::WRITE, Scope::Write),
        };
        route(method, template, Shared::Missing(feature), effects, scope)
    }

    const fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    const fn open(mut self) -> Self {
        self.scope = None;
        self
    }

    /// Asks other hosts, too.
    const fn asks(mut self) -> Self {
        self.effects = self.effects.and(Effects::NETWORK);
        self
    }

    /// Has more effects when one of these parameters is set.
    const fn when(mut self, parameters: &'static [&'static str], effects: Effects) -> Self {
        self.more = Some((parameters, effects));
        self
    }
}

const fn route(method: Method, template: &'static str, handler: Shared, effects: Effects, scope: Scope) -> SharedRoute {
    SharedRoute {
        method,
        template,
        handler,
        effects,
        more: None,
        scope: Some(scope),
    }
}

/// Reads.
const fn get(template: &'static str, handler: Shared) -> SharedRoute {
    route(Method::GET, template, handler, Effects::NONE, Scope::Read)
}

/// A GET that changes something: it stays for the tools that call it.
const fn get_changing(template: &'static str, handler: Shared) -> SharedRoute {
    route(Method::GET, template, handler, Effects::WRITE, Scope::Write)
}

const fn post(template: &'static str, handler: Shared) -> SharedRoute {
    route(Method::POST, template, handler, Effects::WRITE, Scope::Write)
}

/// Routes of every type.
pub static TYPE_ROUTES: &[SharedRoute] = &[
    get("/{prefix}", Shared::Page),
    get("/api/lm/{prefix}/list", Shared::List),
    get("/api/lm/{prefix}/excluded", Shared::Excluded),
    // Management
    post("/api/lm/{prefix}/delete", Shared::Delete),
    post("/api/lm/{prefix}/bulk-delete", Shared::BulkDelete),
    post("/api/lm/{prefix}/exclude", Shared::Exclude),
    post("/api/lm/{prefix}/unexclude", Shared::Unexclude),
    post("/api/lm/{prefix}/rename", Shared::Rename),
    post("/api/lm/{prefix}/save-metadata", Shared::SaveMetadata),
    post("/api/lm/{prefix}/add-tags", Shared::AddTags),
    post("/api/lm/{prefix}/replace-preview", Shared::ReplacePreview),
    post("/api/lm/{prefix}/set-preview-from-url", Shared::PreviewFromUrl).asks(),
    post("/api/lm/{prefix}/verify-duplicates", Shared::VerifyDuplicates),
    post("/api/lm/{prefix}/cancel-task", Shared::CancelTask),
    // Queries
    get("/api/lm/{prefix}/top-tags", Shared::TopTags),
    get("/api/lm/{prefix}/search-tags", Shared::SearchTags),
    get("/api/lm/{prefix}/base-models", Shared::BaseModels),
    get("/api/lm/{prefix}/model-types", Shared::ModelTypes),
    get_changing("/api/lm/{prefix}/scan", Shared::Scan),
    get("/api/lm/{prefix}/roots", Shared::Roots),
    get("/api/lm/{prefix}/folders", Shared::Folders),
    get("/api/lm/{prefix}/folder-tree", Shared::FolderTree),
    get("/api/lm/{prefix}/unified-folder-tree", Shared::UnifiedFolderTree),
    get("/api/lm/{prefix}/find-duplicates", Shared::FindDuplicates),
    get(
        "/api/lm/{prefix}/find-filename-conflicts",
        Shared::FindFilenameConflicts,
    ),
    get("/api/lm/{prefix}/get-notes", Shared::GetNotes),
    get("/api/lm/{prefix}/preview-url", Shared::PreviewUrl),
    get("/api/lm/{prefix}/civitai-url", Shared::CivitaiUrl),
    get("/api/lm/{prefix}/metadata", Shared::Metadata),
    get("/api/lm/{prefix}/model-description", Shared::ModelDescription),
    get("/api/lm/{prefix}/relative-paths", Shared::RelativePaths),
    // Moves and auto-organise
    post("/api/lm/{prefix}/move_model", Shared::MoveModel),
    post("/api/lm/{prefix}/move_models_bulk", Shared::MoveModels),
    get_changing("/api/lm/{prefix}/auto-organize", Shared::AutoOrganize),
    post("/api/lm/{prefix}/auto-organize", Shared::AutoOrganize),
    get("/api/lm/{prefix}/auto-organize-progress", Shared::AutoOrganizeProgress),
    // Provider look-ups
    post("/api/lm/{prefix}/fetch-civitai", Shared::FetchOne).asks(),
    post("/api/lm/{prefix}/fetch-all-civitai", Shared::FetchAll).asks(),
    post("/api/lm/{prefix}/relink-civitai", Shared::Relink).asks(),
    get("/api/lm/{prefix}/civitai/versions/{model_id}", Shared::RemoteVersions).asks(),
    get(
        "/api/lm/{prefix}/civitai/model/version/{modelVersionId}",
        Shared::RemoteVersion,
    )
    .asks(),
    get("/api/lm/{prefix}/civitai/model/hash/{hash}", Shared::RemoteHash).asks(),
    // Update tracking
    post("/api/lm/{prefix}/updates/refresh", Shared::CheckUpdates).asks(),
    post("/api/lm/{prefix}/updates/fetch-missing-license", Shared::FetchLicences).asks(),
    post("/api/lm/{prefix}/updates/ignore", Shared::IgnoreUpdates),
    post("/api/lm/{prefix}/updates/ignore-version", Shared::IgnoreVersion),
    get("/api/lm/{prefix}/updates/status/{model_id}", Shared::UpdateStatus)
        .when(&["refresh", "force"], Effects::WRITE.and(Effects::NETWORK)),
    get("/api/lm/{prefix}/updates/versions/{model_id}", Shared::UpdateVersions)
        .when(&["refresh", "force"], Effects::WRITE.and(Effects::NETWORK)),
    // Ours
    get("/api/lm/{prefix}/fetch-all-civitai-progress", Shared::FetchAllProgress),
    get("/api/lm/{prefix}/status", Shared::Status),
    get("/api/lm/{prefix}/problems", Shared::Problems),
    post("/api/lm/{prefix}/hash", Shared::Hash),
    get("/api/lm/{prefix}/media/{key}", Shared::Media),
    post("/api/lm/{prefix}/bulk-edit", Shared::BulkEdit),
    post("/api/lm/{prefix}/link-duplicates", Shared::LinkDuplicates),
];

/// Routes that belong to no type.
pub static COMMON_ROUTES: &[SharedRoute] = &[
    get("/api/lm/previews", Shared::Previews),
    get("/api/lm/health-check", Shared::HealthCheck),
    get("/api/lm/settings", Shared::Settings),
    post("/api/lm/settings", Shared::ChangeSettings).scope(Scope::Admin),
    get("/api/lm/settings/libraries", Shared::Libraries),
    post("/api/lm/settings/libraries/activate", Shared::ActivateLibrary).scope(Scope::Admin),
    get("/api/lm/history", Shared::History),
    post("/api/lm/undo", Shared::Undo),
    post("/api/lm/trash/empty", Shared::EmptyTrash).scope(Scope::Admin),
    get("/api/plugins", Shared::Plugins),
    // For pages behind proxies that forward LoraManager's addresses alone.
    get("/api/lm/plugins", Shared::Plugins),
    get("/plugins", Shared::PluginsPage),
    get("/login", Shared::LoginPage).open(),
    get("/access", Shared::AccessPage).scope(Scope::Admin),
    get("/api/access", Shared::Access(AccessRoute::State)).scope(Scope::Admin),
    get("/api/access/me", Shared::Access(AccessRoute::Me)).open(),
    post("/api/access/login", Shared::Access(AccessRoute::LogIn)).open(),
    post("/api/access/logout", Shared::Access(AccessRoute::LogOut)).scope(Scope::Read),
    post("/api/access/password", Shared::Access(AccessRoute::SetPassword)).scope(Scope::Admin),
    post("/api/access/tokens", Shared::Access(AccessRoute::NewToken)).scope(Scope::Admin),
    post(
        "/api/access/tokens/{id}/revoke",
        Shared::Access(AccessRoute::RevokeToken),
    )
    .scope(Scope::Admin),
    post(
        "/api/access/sessions/{id}/revoke",
        Shared::Access(AccessRoute::EndSession),
    )
    .scope(Scope::Admin),
    post("/api/plugins/{id}/reload", Shared::ReloadPlugin).scope(Scope::Admin),
    post("/api/plugins/{id}/enable", Shared::EnablePlugin).scope(Scope::Admin),
    post("/api/plugins/{id}/disable", Shared::DisablePlugin).scope(Scope::Admin),
    post("/api/plugins/{id}/grants", Shared::GrantPlugin).scope(Scope::Admin),
    get("/api/lm/check-model-exists", Shared::CheckModelExists),
    get("/api/lm/check-models-exist", Shared::CheckModelsExist),
    get("/api/lm/priority-tags", Shared::PriorityTags),
    get("/api/lm/providers", Shared::Providers),
    get("/api/lm/hashing", Shared::Hashing),
    post("/api/lm/hashing/pause", Shared::PauseHashing),
    post("/api/lm/hashing/resume", Shared::ResumeHashing),
    get("/api/lm/trained-words", Shared::TrainedWords),
    get("/api/lm/base-models", Shared::KnownBaseModels).asks(),
    post("/api/lm/base-models/refresh", Shared::RefreshBaseModels).asks(),
    get("/api/lm/base-models/categories", Shared::BaseModelCategories),
    get("/api/lm/base-models/cache-status", Shared::BaseModelState),
    get("/api/lm/civitai/user-models", Shared::ModelsOfUser).asks(),
    post("/api/lm/download-metadata-archive", Shared::DownloadArchive)
        .asks()
        .scope(Scope::Admin),
    post("/api/lm/remove-metadata-archive", Shared::RemoveArchive).scope(Scope::Admin),
    get("/api/lm/metadata-archive-status", Shared::ArchiveState),
    post("/api/lm/undo-delete", Shared::UndoDelete),
    get_changing("/api/lm/delete-model-version", Shared::DeleteModelVersion),
    get("/api/lm/model-versions-status", Shared::VersionsOfModel).asks(),
    get(
        "/api/lm/model-version-download-status",
        Shared::Download(DownloadRoute::WasDownloaded),
    ),
    post(
        "/api/lm/model-version-download-status",
        Shared::Download(DownloadRoute::SetDownloaded),
    )
    .scope(Scope::Download),
    get_changing(
        "/api/lm/set-model-version-download-status",
        Shared::Download(DownloadRoute::SetDownloadedGet),
    )
    .scope(Scope::Download),
    post("/api/lm/download-model", Shared::Download(DownloadRoute::Model))
        .asks()
        .scope(Scope::Download),
    get_changing("/api/lm/download-model-get", Shared::Download(DownloadRoute::ModelGet))
        .asks()
        .scope(Scope::Download),
    get_changing("/api/lm/cancel-download-get", Shared::Download(DownloadRoute::Cancel)).scope(Scope::Download),
    get_changing("/api/lm/skip-download", Shared::Download(DownloadRoute::Skip)).scope(Scope::Download),
    get_changing("/api/lm/pause-download", Shared::Download(DownloadRoute::Pause)).scope(Scope::Download),
    get_changing("/api/lm/resume-download", Shared::Download(DownloadRoute::Resume))
        .asks()
        .scope(Scope::Download),
    get(
        "/api/lm/download-progress/{download_id}",
        Shared::Download(DownloadRoute::Progress),
    ),
    get("/api/lm/downloads/queue", Shared::Download(DownloadRoute::Queue)),
    get_changing("/api/lm/downloads/queue/add", Shared::Download(DownloadRoute::Add))
        .asks()
        .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/queue/remove",
        Shared::Download(DownloadRoute::Remove),
    )
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/queue/move-to-top",
        Shared::Download(DownloadRoute::MoveToTop),
    )
    .asks()
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/queue/move-to-end",
        Shared::Download(DownloadRoute::MoveToEnd),
    )
    .asks()
    .scope(Scope::Download),
    get_changing("/api/lm/downloads/queue/clear", Shared::Download(DownloadRoute::Clear)).scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/queue/complete",
        Shared::Download(DownloadRoute::Complete),
    )
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/queue/status",
        Shared::Download(DownloadRoute::Status),
    )
    .scope(Scope::Download),
    get("/api/lm/downloads/history", Shared::Download(DownloadRoute::History)),
    get_changing(
        "/api/lm/downloads/history/clear",
        Shared::Download(DownloadRoute::ClearHistory),
    )
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/history/delete",
        Shared::Download(DownloadRoute::DeleteHistory),
    )
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/history/retry",
        Shared::Download(DownloadRoute::Retry),
    )
    .asks()
    .scope(Scope::Download),
    get_changing(
        "/api/lm/downloads/history/retry-all",
        Shared::Download(DownloadRoute::RetryAll),
    )
    .asks()
    .scope(Scope::Download),
    get("/api/lm/downloads/stats", Shared::Download(DownloadRoute::Stats)),
    post("/api/lm/downloads/plan", Shared::Download(DownloadRoute::Plan))
        .asks()
        .scope(Scope::Download),
    get("/api/lm/hf-repo-files", Shared::Download(DownloadRoute::RepoFiles)).asks(),
    post("/api/lm/download-hf-model", Shared::Download(DownloadRoute::RepoFile))
        .asks()
        .scope(Scope::Download),
    post("/api/lm/set-hf-url", Shared::Download(DownloadRoute::SetRepo)).asks(),
    // For clients of LoraManager: see `handlers::compatibility`.
    get("/api/lm/version-info", Shared::VersionInfo),
    get("/api/lm/check-updates", Shared::CheckOwnUpdates),
    get("/api/lm/supporters", Shared::Supporters),
    get("/api/lm/custom-words/search", Shared::CustomWords),
    get("/api/lm/wildcards/search", Shared::Wildcards),
    get("/api/lm/example-workflows", Shared::ExampleWorkflows),
    get("/api/lm/agent/skills", Shared::AgentSkills),
    get("/api/lm/example-images-status", Shared::ExampleImagesStatus),
    post("/api/lm/check-example-images-needed", Shared::ExampleImagesNeeded),
    get("/api/lm/example-image-files", Shared::ExampleImageFiles),
    get("/api/lm/has-example-images", Shared::HasExampleImages),
    post("/api/lm/open-file-location", Shared::FileLocation),
    post("/api/lm/settings/open-location", Shared::SettingsLocation),
    get("/api/lm/get-registry", Shared::WithoutComfyUi),
    post("/api/lm/register-nodes", Shared::WithoutComfyUi),
    post("/api/lm/update-lora-code", Shared::WithoutComfyUi),
    get_changing("/api/lm/update-lora-code", Shared::WithoutComfyUi),
    post("/api/lm/update-node-widget", Shared::WithoutComfyUi),
    get_changing("/api/lm/update-node-widget", Shared::WithoutComfyUi),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_shared_route_is_declared_twice() {
        for (index, route) in TYPE_ROUTES.iter().chain(COMMON_ROUTES).enumerate() {
            let again = TYPE_ROUTES.iter().chain(COMMON_ROUTES).skip(index + 1);
            assert!(
                !again
                    .into_iter()
                    .any(|other| other.method == route.method && other.template == route.template),
                "{}",
                route.template
            );
        }
    }
}
