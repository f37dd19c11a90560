//! Pages: templates, texts in the visitor's language, and static files with versioned URLs.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use minijinja::value::Kwargs;
use minijinja::{Environment, Value, context};
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::compat::compat;

/// `templates/`: read from disk in debug builds, embedded in release builds.
#[derive(RustEmbed)]
#[folder = "../templates/"]
struct Files;

const STATIC: &str = "static/";
const LOCALES: &str = "locales/";
const DEFAULT_LANGUAGE: &str = "en";

/// Texts of one language by key.
type Texts = BTreeMap<String, String>;

/// What a page that can't be shown says beside the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// Plugins are loading or libraries being opened; the page asks again by itself.
    Starting,
    /// No route has this address.
    NoPage,
    /// The error says it all.
    Error,
}

/// What is needed to render pages.
pub struct Pages {
    environment: Environment<'static>,
    languages: Arc<BTreeMap<String, Texts>>,
    // In every static URL; changes when any static file does.
    tree: String,
}

impl Pages {
    /// Reads templates and texts. `base_path` precedes the addresses in pages.
    ///
    /// # Errors
    /// When a template or a locale is broken; these are part of the build.
    pub fn new(base_path: &str) -> anyhow::Result<Self> {
        let mut environment = Environment::new();
        let mut digest = Sha256::new();
        let mut languages = BTreeMap::new();
        let mut names: Vec<_> = Files::iter().collect();
        names.sort();
        for name in names {
            let Some(file) = Files::get(&name) else { continue };
            if name.starts_with(STATIC) {
                digest.update(name.as_bytes());
                digest.update(file.metadata.sha256_hash());
            } else if let Some(language) = name.strip_prefix(LOCALES).and_then(|name| name.strip_suffix(".json")) {
                let texts: Texts = serde_json::from_slice(&file.data)?;
                languages.insert(language.to_owned(), texts);
            } else if name.ends_with(".html") {
                let source = String::from_utf8(file.data.into_owned())?;
                environment.add_template_owned(name.into_owned(), source)?;
            }
        }
        let tree = crate::files::hash::hex(&digest.finalize()[..8]);
        // Proxies made for LoraManager forward its prefix of static files and no other.
        let base = format!("{base_path}/{}/{tree}/", compat().static_prefix);
        environment.add_global("base_path", base_path);
        environment.add_function("asset", move |path: &str| format!("{base}{path}"));
        // What a language lacks is there in English.
        let fallback: Texts = languages.get(DEFAULT_LANGUAGE).cloned().unwrap_or_default();
        for texts in languages.values_mut() {
            for (key, text) in &fallback {
                texts.entry(key.clone()).or_insert_with(|| text.clone());
            }
        }
        Ok(Self {
            environment,
            languages: Arc::new(languages),
            tree,
        })
    }

    /// Renders a template in the language that fits an Accept-Language header or a setting.
    ///
    /// # Errors
    /// 500 when the template fails.
    pub fn render(&self, template: &str, wanted: Option<&str>, values: Value) -> Result<Response, ApiError> {
        let language = self.language(wanted);
        let texts = self.languages.get(language).cloned().unwrap_or_default();
        let own = texts.clone();
        let translate = move |key: &str, arguments: Kwargs| -> Result<String, minijinja::Error> {
            let mut text = own.get(key).cloned().unwrap_or_else(|| key.to_owned());
            for name in arguments.args() {
                let value: Value = arguments.get(name)?;
                text = text.replace(&format!("{{{name}}}"), &value.to_string());
            }
            Ok(text)
        };
        let rendered = self.environment.get_template(template).and_then(|template| {
            template
                .render(context! { t => Value::from_function(translate), texts => texts, lang => language, ..values })
        });
        let html =
            rendered.map_err(|error| ApiError::internal(format!("the template {template} failed: {error:#}")))?;
        Ok(([(header::CACHE_CONTROL, "no-store")], Html(html)).into_response())
    }

    /// The label of a plugin in the language that is wanted. Plugins write labels in English; those that the texts do not
    /// know stay as they are.
    pub fn label(&self, wanted: Option<&str>, label: &str) -> String {
        let texts = self.languages.get(self.language(wanted));
        let text = texts.and_then(|texts| texts.get(&format!("label.{label}")));
        text.cloned().unwrap_or_else(|| label.to_owned())
    }

    /// An error as a page.
    pub fn error(&self, error: &ApiError, instead: Instead, wanted: Option<&str>) -> Response {
        let values = context! {
            starting => instead == Instead::Starting,
            no_page => instead == Instead::NoPage,
            status => error.status.as_u16(),
            title => error.status.canonical_reason().unwrap_or_default(),
            message => &error.message,
            version => version(),
        };
        match self.render("error.html", wanted, values) {
            Ok(page) => (error.status, page).into_response(),
            Err(other) => other.into_response(),
        }
    }

    fn language(&self, wanted: Option<&str>) -> &str {
        let tags = wanted
            .unwrap_or_default()
            .split(',')
            .map(|part| part.split(';').next().unwrap_or_default().trim());
        for tag in tags {
            let language = tag.split('-').next().unwrap_or_default().to_lowercase();
            if let Some((own, _)) = self.languages.get_key_value(language.as_str()) {
                return own;
            }
        }
        DEFAULT_LANGUAGE
    }

    /// A static file. Under the current version it never changes; under any other it is asked for again.
    pub fn file(&self, version: Option<&str>, path: &str, headers: &HeaderMap) -> Response {
        let Some(file) = Files::get(&format!("{STATIC}{path}")) else {
            return ApiError::no_route().into_response();
        };
        let cache = if version == Some(self.tree.as_str()) {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        asset(path, file, cache, headers)
    }

    /// A static file by its address below LoraManager's prefix: with a version in front of the path, or without.
    pub fn file_by_address(&self, address: &str, headers: &HeaderMap) -> Response {
        match address.split_once('/') {
            Some((version, path)) if Files::get(&format!("{STATIC}{address}")).is_none() => {
                self.file(Some(version), path, headers)
            }
            _ => self.file(None, address, headers),
        }
    }

    /// A file of texts.
    pub fn locale(path: &str, headers: &HeaderMap) -> Response {
        match Files::get(&format!("{LOCALES}{path}")) {
            Some(file) => asset(path, file, "no-cache", headers),
            None => ApiError::no_route().into_response(),
        }
    }
}

fn asset(path: &str, file: rust_embed::EmbeddedFile, cache: &'static str, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", crate::files::hash::hex(&file.metadata.sha256_hash()[..12]));
    let Ok(etag) = HeaderValue::from_str(&etag) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let cache = HeaderValue::from_static(cache);
    if headers.get(header::IF_NONE_MATCH).is_some_and(|own| *own == etag) {
        return (
            StatusCode::NOT_MODIFIED,
            [(header::ETAG, etag), (header::CACHE_CONTROL, cache)],
        )
            .into_response();
    }
    let content_type = mime_guess::from_path(path).first_or_octet_stream();
    let content_type = match content_type.type_() {
        mime_guess::mime::TEXT => format!("{}; charset=utf-8", content_type.essence_str()),
        _ => content_type.essence_str().to_owned(),
    };
    let content_type =
        HeaderValue::from_str(&content_type).unwrap_or(HeaderValue::from_static("application/octet-stream"));
    (
        [
            (header::CONTENT_TYPE, content_type),
            (header::ETAG, etag),
            (header::CACHE_CONTROL, cache),
        ],
        file.data.into_owned(),
    )
        .into_response()
}

/// Version of the server as pages and the contract show it: semver and commit.
pub fn version() -> String {
    format!("{}-{}", env!("CARGO_PKG_VERSION"), env!("MODELSHELF_COMMIT"))
}
