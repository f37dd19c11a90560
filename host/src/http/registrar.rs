//! The one declarative table of the shared routes, and the table of all routes that is bound
//! from it, the plugins' own routes and each type's prefix.
//!
//! Source of the shared routes: contract section 1 and appendix A.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::Method;

use super::types::TypeSlot;
use crate::compat::compat;
use crate::plugins::imports::RouteWish;

/// Every path of the API starts with this.
pub const API: &str = "/api/lm/";
/// Stands for the type's prefix in a template.
const PREFIX: &str = "{prefix}";

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
    /// Description from the sidecar.
    ModelDescription,
    /// Paths for autocompletion.
    RelativePaths,
    /// Scans.
    Scan,
    /// Stops what runs.
    CancelTask,
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
    /// Gives a model another file name.
    Rename,
    /// Puts a model into the trash.
    Delete,
    /// Puts several models into the trash.
    BulkDelete,
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
    /// Not yet: says which part of the plan brings it.
    Later(&'static str),
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
    /// Whether it changes something, whatever its method.
    pub changes_state: bool,
}

const fn get(template: &'static str, handler: Shared) -> SharedRoute {
    SharedRoute {
        method: Method::GET,
        template,
        handler,
        changes_state: false,
    }
}

/// A GET that changes state: it stays for the tools that call it.
const fn get_changing(template: &'static str, handler: Shared) -> SharedRoute {
    SharedRoute {
        method: Method::GET,
        template,
        handler,
        changes_state: true,
    }
}

const fn post(template: &'static str, handler: Shared) -> SharedRoute {
    SharedRoute {
        method: Method::POST,
        template,
        handler,
        changes_state: true,
    }
}

const MUTATIONS: Shared = Shared::Later("changing, moving and deleting models");
const PROVIDERS: Shared = Shared::Later("looking models up at a provider");
const DOWNLOADS: Shared = Shared::Later("downloads");
const SETTINGS: Shared = Shared::Later("changing settings");

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
    post("/api/lm/{prefix}/replace-preview", MUTATIONS),
    post("/api/lm/{prefix}/set-preview-from-url", MUTATIONS),
    post("/api/lm/{prefix}/verify-duplicates", MUTATIONS),
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
    post("/api/lm/{prefix}/move_model", MUTATIONS),
    post("/api/lm/{prefix}/move_models_bulk", MUTATIONS),
    get_changing("/api/lm/{prefix}/auto-organize", MUTATIONS),
    post("/api/lm/{prefix}/auto-organize", MUTATIONS),
    get("/api/lm/{prefix}/auto-organize-progress", Shared::AutoOrganizeProgress),
    // Provider look-ups
    post("/api/lm/{prefix}/fetch-civitai", PROVIDERS),
    post("/api/lm/{prefix}/fetch-all-civitai", PROVIDERS),
    post("/api/lm/{prefix}/relink-civitai", PROVIDERS),
    get("/api/lm/{prefix}/civitai/versions/{model_id}", PROVIDERS),
    get("/api/lm/{prefix}/civitai/model/version/{modelVersionId}", PROVIDERS),
    get("/api/lm/{prefix}/civitai/model/hash/{hash}", PROVIDERS),
    // Update tracking
    post("/api/lm/{prefix}/updates/refresh", PROVIDERS),
    post("/api/lm/{prefix}/updates/fetch-missing-license", PROVIDERS),
    post("/api/lm/{prefix}/updates/ignore", PROVIDERS),
    post("/api/lm/{prefix}/updates/ignore-version", PROVIDERS),
    get("/api/lm/{prefix}/updates/status/{model_id}", PROVIDERS),
    get("/api/lm/{prefix}/updates/versions/{model_id}", PROVIDERS),
    // Ours
    get("/api/lm/{prefix}/status", Shared::Status),
    get("/api/lm/{prefix}/problems", Shared::Problems),
    post("/api/lm/{prefix}/hash", Shared::Hash),
    get("/api/lm/{prefix}/media/{key}", Shared::Media),
    post("/api/lm/{prefix}/bulk-edit", Shared::BulkEdit),
];

/// Routes that belong to no type.
pub static COMMON_ROUTES: &[SharedRoute] = &[
    get("/api/lm/previews", Shared::Previews),
    get("/api/lm/health-check", Shared::HealthCheck),
    get("/api/lm/settings", Shared::Settings),
    post("/api/lm/settings", SETTINGS),
    get("/api/lm/settings/libraries", Shared::Libraries),
    post("/api/lm/settings/libraries/activate", Shared::ActivateLibrary),
    get("/api/lm/history", Shared::History),
    post("/api/lm/undo", Shared::Undo),
    post("/api/lm/trash/empty", Shared::EmptyTrash),
    get("/api/plugins", Shared::Plugins),
    get("/plugins", Shared::PluginsPage),
    post("/api/plugins/{id}/reload", Shared::ReloadPlugin),
    post("/api/plugins/{id}/enable", Shared::EnablePlugin),
    post("/api/plugins/{id}/disable", Shared::DisablePlugin),
    post("/api/plugins/{id}/grants", Shared::GrantPlugin),
    get("/api/lm/check-model-exists", Shared::CheckModelExists),
    get("/api/lm/check-models-exist", Shared::CheckModelsExist),
    get("/api/lm/priority-tags", Shared::PriorityTags),
    get("/api/lm/hashing", Shared::Hashing),
    post("/api/lm/hashing/pause", Shared::PauseHashing),
    post("/api/lm/hashing/resume", Shared::ResumeHashing),
    get("/api/lm/trained-words", PROVIDERS),
    get("/api/lm/get-usage-stats", MUTATIONS),
    post("/api/lm/update-usage-stats", MUTATIONS),
    get("/api/lm/base-models", PROVIDERS),
    post("/api/lm/undo-delete", Shared::UndoDelete),
    get_changing("/api/lm/delete-model-version", MUTATIONS),
    get("/api/lm/model-versions-status", PROVIDERS),
    get("/api/lm/model-version-download-status", DOWNLOADS),
    post("/api/lm/model-version-download-status", DOWNLOADS),
    get_changing("/api/lm/set-model-version-download-status", DOWNLOADS),
    post("/api/lm/download-model", DOWNLOADS),
    get_changing("/api/lm/download-model-get", DOWNLOADS),
    get_changing("/api/lm/cancel-download-get", DOWNLOADS),
    get_changing("/api/lm/skip-download", DOWNLOADS),
    get_changing("/api/lm/pause-download", DOWNLOADS),
    get_changing("/api/lm/resume-download", DOWNLOADS),
    get("/api/lm/download-progress/{download_id}", DOWNLOADS),
    get("/api/lm/downloads/queue", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/add", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/remove", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/move-to-top", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/move-to-end", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/clear", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/complete", DOWNLOADS),
    get_changing("/api/lm/downloads/queue/status", DOWNLOADS),
    get("/api/lm/downloads/history", DOWNLOADS),
    get_changing("/api/lm/downloads/history/clear", DOWNLOADS),
    get_changing("/api/lm/downloads/history/delete", DOWNLOADS),
    get_changing("/api/lm/downloads/history/retry", DOWNLOADS),
    get_changing("/api/lm/downloads/history/retry-all", DOWNLOADS),
    get("/api/lm/downloads/stats", DOWNLOADS),
];

/// Why a plugin can't have a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishError {
    /// Another route is there; the text names it.
    Clash(String),
    /// It is no route of this API.
    Invalid(String),
}

/// Looks whether a plugin may have a route, as far as the shared routes are concerned.
///
/// # Errors
/// Names the shared route in the way, or what is wrong with the template.
pub fn check_wish(wish: &RouteWish) -> Result<(), WishError> {
    let start = format!("{API}{PREFIX}/");
    if !wish.template.starts_with(&start) || wish.template.matches(PREFIX).count() != 1 {
        return Err(WishError::Invalid(format!(
            "the template {:?} must start with {start} and name the prefix once",
            wish.template
        )));
    }
    if wish.template.contains("{*") {
        return Err(WishError::Invalid(format!(
            "the template {:?} would match everything below it; name its segments",
            wish.template
        )));
    }
    if !["GET", "POST", "PUT", "DELETE"].contains(&wish.method.as_str()) {
        return Err(WishError::Invalid(format!(
            "the method {:?} is not GET, POST, PUT or DELETE",
            wish.method
        )));
    }
    let mut shared = matchit::Router::new();
    for route in TYPE_ROUTES.iter().filter(|route| route.method.as_str() == wish.method) {
        let _ = shared.insert(bind(route.template, "-"), ());
    }
    match shared.insert(bind(&wish.template, "-"), ()) {
        Ok(()) => Ok(()),
        Err(matchit::InsertError::Conflict { with }) => {
            let with = with.replacen("/-", &format!("/{PREFIX}"), 1);
            Err(WishError::Clash(format!(
                "{} {} of `{}` clashes with the shared route {} {with}",
                wish.method, wish.template, wish.handler, wish.method
            )))
        }
        Err(error) => Err(WishError::Invalid(format!(
            "the template {:?} can't be used: {error}",
            wish.template
        ))),
    }
}

fn bind(template: &str, prefix: &str) -> String {
    template.replacen(PREFIX, prefix, 1)
}

/// The fixed route that a type with this prefix would hide or be hidden by.
fn reserved(prefix: &str) -> Option<String> {
    let fixed = [
        "api",
        "static",
        "ws",
        "locales",
        "plugins",
        "healthz",
        "readyz",
        "version",
        &compat().static_prefix,
    ];
    if fixed.contains(&prefix) {
        return Some(format!("/{prefix}"));
    }
    let common = COMMON_ROUTES.iter().map(|route| route.template);
    common
        .into_iter()
        .find(|path| path.strip_prefix(API).and_then(|path| path.split('/').next()) == Some(prefix))
        .map(str::to_owned)
}

/// Who answers a bound route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A shared handler.
    Shared(Shared),
    /// The plugin of the type, by the name of its handler.
    Plugin(String),
}

/// A route as it is bound.
#[derive(Clone)]
pub struct Bound {
    /// Method.
    pub method: Method,
    /// Who answers.
    pub target: Target,
    /// The type it belongs to.
    pub slot: Option<Arc<TypeSlot>>,
    /// Whether it changes something, whatever its method.
    pub changes_state: bool,
}

/// A plugin's route that clashes with another route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{method} {template} of `{plugin}` clashes with {with}")]
pub struct BindError {
    /// The plugin that is left out.
    pub plugin: String,
    /// HTTP method.
    pub method: String,
    /// The route's template.
    pub template: String,
    /// The route in the way.
    pub with: String,
}

/// All routes.
#[derive(Default)]
pub struct RouteTable {
    paths: matchit::Router<usize>,
    bound: Vec<Vec<Bound>>,
    index: HashMap<String, usize>,
}

/// A path found in the table.
pub struct Match<'t> {
    /// Its routes, one for each method.
    pub bound: &'t [Bound],
    /// Values of its placeholders, still percent-encoded.
    pub params: Vec<(String, String)>,
}

impl RouteTable {
    /// Binds the common routes.
    pub fn new() -> Self {
        let mut table = Self::default();
        for route in COMMON_ROUTES {
            table.add_shared(route, route.template.to_owned(), None);
        }
        table
    }

    /// Binds the shared routes for a type, then the routes of its plugin.
    ///
    /// # Errors
    /// Names both routes when one of the plugin's clashes; the table then has the type's routes
    /// before it.
    pub fn add_type(&mut self, slot: &Arc<TypeSlot>, wishes: &[RouteWish]) -> Result<(), BindError> {
        let prefix = slot.info.prefix().to_owned();
        if let Some(route) = reserved(&prefix) {
            return Err(BindError {
                plugin: slot.info.id().to_owned(),
                method: Method::GET.to_string(),
                template: format!("/{prefix}"),
                with: route,
            });
        }
        for route in TYPE_ROUTES {
            self.add_shared(route, bind(route.template, &prefix), Some(slot));
        }
        for wish in wishes {
            let error = |with: String| BindError {
                plugin: slot.info.id().to_owned(),
                method: wish.method.clone(),
                template: wish.template.clone(),
                with,
            };
            let method = Method::from_bytes(wish.method.as_bytes()).map_err(|_| error("no HTTP method".into()))?;
            let changes_state = method != Method::GET;
            let target = Target::Plugin(wish.handler.clone());
            let bound = Bound {
                method,
                target,
                slot: Some(slot.clone()),
                changes_state,
            };
            self.add(bind(&wish.template, &prefix), bound).map_err(error)?;
        }
        Ok(())
    }

    fn add_shared(&mut self, route: &SharedRoute, path: String, slot: Option<&Arc<TypeSlot>>) {
        let bound = Bound {
            method: route.method.clone(),
            target: Target::Shared(route.handler),
            slot: slot.cloned(),
            changes_state: route.changes_state,
        };
        if let Err(with) = self.add(path.clone(), bound) {
            tracing::error!(path, with, "a shared route is bound twice");
        }
    }

    fn add(&mut self, path: String, bound: Bound) -> Result<(), String> {
        let index = match self.index.get(&path) {
            Some(index) => *index,
            None => {
                let index = self.bound.len();
                self.paths.insert(path.clone(), index).map_err(|error| match error {
                    matchit::InsertError::Conflict { with } => with,
                    other => other.to_string(),
                })?;
                self.bound.push(Vec::new());
                self.index.insert(path.clone(), index);
                index
            }
        };
        if self.bound[index].iter().any(|other| other.method == bound.method) {
            return Err(format!("{} {path}", bound.method));
        }
        self.bound[index].push(bound);
        Ok(())
    }

    /// Finds a path.
    pub fn find(&self, path: &str) -> Option<Match<'_>> {
        let found = self.paths.at(path).ok()?;
        let params = found
            .params
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Some(Match {
            bound: &self.bound[*found.value],
            params,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(method: &str, template: &str) -> RouteWish {
        RouteWish {
            method: method.into(),
            template: template.into(),
            handler: "h".into(),
        }
    }

    #[test]
    fn a_plugin_gets_its_own_routes_and_none_of_the_shared_ones() {
        assert_eq!(check_wish(&wish("GET", "/api/lm/{prefix}/info/{name}")), Ok(()));
        // The same path with another method is free.
        assert_eq!(check_wish(&wish("POST", "/api/lm/{prefix}/list")), Ok(()));
        let Err(WishError::Clash(text)) = check_wish(&wish("GET", "/api/lm/{prefix}/list")) else {
            panic!("no clash")
        };
        assert!(
            text.contains("of `h`") && text.contains("shared route GET /api/lm/{prefix}/list"),
            "{text}"
        );
        let Err(WishError::Clash(_)) = check_wish(&wish("GET", "/api/lm/{prefix}/updates/status/{x}")) else {
            panic!("no clash")
        };
    }

    #[test]
    fn templates_outside_the_types_own_space_are_refused() {
        for template in [
            "/api/lm/other/x",
            "/x",
            "/api/lm/{prefix}",
            "/api/lm/{prefix}/{prefix}",
            "/api/lm/{prefix}/{*rest}",
            "/api/lm/{prefix}/{",
        ] {
            assert!(
                matches!(check_wish(&wish("GET", template)), Err(WishError::Invalid(_))),
                "{template}"
            );
        }
        assert!(matches!(
            check_wish(&wish("PATCH", "/api/lm/{prefix}/x")),
            Err(WishError::Invalid(_))
        ));
    }

    #[test]
    fn prefixes_of_fixed_routes_are_reserved() {
        for prefix in ["static", "ws", "downloads", "settings", "previews"] {
            assert!(reserved(prefix).is_some(), "{prefix}");
        }
        assert_eq!(reserved("vaes"), None);
    }

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
