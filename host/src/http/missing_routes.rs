//! Routes of LoraManager whose features Modelshelf does not have. They answer 501 and name the feature, so that clients
//! learn what is missing, no plugin takes their addresses, and the check for changes stands in front of them.

use axum::http::Method;

use super::routes::SharedRoute;

/// A feature that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Missing {
    /// Its name, for the text "Modelshelf has no NAME".
    feature: &'static str,
    /// Its paths. All methods of a path are missing, but those that another table serves.
    paths: &'static [&'static str],
}

const METHODS: [Method; 4] = [Method::GET, Method::POST, Method::PUT, Method::DELETE];

static MISSING: &[Missing] = &[
    Missing {
        feature: "usage statistics",
        paths: &["/api/lm/get-usage-stats", "/api/lm/update-usage-stats"],
    },
    Missing {
        feature: "statistics of the library",
        paths: &["/api/lm/stats/{*path}"],
    },
    Missing {
        feature: "recipes",
        paths: &["/api/lm/recipes", "/api/lm/recipes/{*path}", "/api/lm/recipe/{*path}"],
    },
    Missing {
        feature: "example images",
        paths: &[
            "/api/lm/download-example-images",
            "/api/lm/force-download-example-images",
            "/api/lm/import-example-images",
            "/api/lm/pause-example-images",
            "/api/lm/resume-example-images",
            "/api/lm/stop-example-images",
            "/api/lm/open-example-images-folder",
            "/api/lm/delete-example-image",
            "/api/lm/cleanup-example-image-folders",
            "/api/lm/example-images/{*path}",
            "/api/lm/model-example-files",
        ],
    },
    Missing {
        feature: "diagnostics",
        paths: &["/api/lm/doctor/{*path}"],
    },
    Missing {
        feature: "backups",
        paths: &["/api/lm/backup/{*path}"],
    },
    Missing {
        feature: "language models",
        paths: &["/api/lm/llm/{*path}"],
    },
    Missing {
        feature: "agent skills",
        paths: &["/api/lm/agent/{*path}"],
    },
    Missing {
        feature: "updates of itself",
        paths: &["/api/lm/perform-update", "/api/lm/switch-channel"],
    },
    Missing {
        feature: "wildcard files",
        paths: &["/api/lm/wildcards/{*path}"],
    },
    Missing {
        feature: "example workflows",
        paths: &["/api/lm/example-workflows/{*path}"],
    },
];

/// A route for each method of each missing path.
pub fn missing_routes() -> impl Iterator<Item = SharedRoute> {
    let paths = MISSING
        .iter()
        .flat_map(|missing| missing.paths.iter().map(|path| (missing.feature, *path)));
    paths.flat_map(|(feature, template)| {
        METHODS
            .into_iter()
            .map(move |method| SharedRoute::missing(method, template, feature))
    })
}
