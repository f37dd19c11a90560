//! A loaded model type and the calls that the host makes into it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::bindings::{
    Derived, FileFacts, GuestError, GuestRequest, GuestResponse, MergeInput, Model, ModelTypePre, OrganiseInput,
    Placement, QueryFilter, SelectInput, Selection,
};
use super::code_cache::CodeCache;
use super::descriptor::TypeInfo;
use super::engine::PluginEngine;
use super::error::{CallError, LimitError, LoadError};
use super::imports::{Reach, RouteCollector, RouteWish};
use super::instance::{self, Call, CallState};

/// The version of the interface in `wit/`. A component built for a later patch of the same minor version fits, too, as long
/// as it uses nothing that is new there.
const INTERFACE: &str = "0.1.0";

/// The version of our interface that a component imports, where it is none that fits.
fn foreign_interface(engine: &wasmtime::Engine, component: &wasmtime::component::Component) -> Option<String> {
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    let ty = component.component_type();
    let versions = ty.imports(engine).filter_map(|(name, _)| {
        let (_, version) = name.strip_prefix("modelshelf:plugin/")?.split_once('@')?;
        Some(version.to_owned())
    });
    let mut foreign = versions.filter(|version| minor(version) != minor(INTERFACE));
    foreign.next()
}

/// A model type, ready to be called.
pub struct Plugin {
    engine: Arc<PluginEngine>,
    pre: ModelTypePre<CallState>,
    info: Arc<TypeInfo>,
    digest: String,
    routes: Vec<RouteWish>,
}

impl Plugin {
    /// Compiles (or finds compiled), links, and asks a component for its description and routes.
    ///
    /// # Errors
    /// When the bytes don't fit the interface, or what the plugin says of itself can't be used.
    pub async fn load(
        engine: &Arc<PluginEngine>,
        cache: &Arc<CodeCache>,
        name: &str,
        wasm: &[u8],
    ) -> Result<Self, LoadError> {
        let misfit = |error: wasmtime::Error| LoadError::Component {
            name: name.to_owned(),
            reason: format!("{error:#}"),
        };
        let (compiling, compiled) = (engine.clone(), cache.clone());
        let bytes = wasm.to_vec();
        // Compiling takes seconds of every processor, which the threads that serve can't give.
        let component = tokio::task::spawn_blocking(move || compiled.component(compiling.engine(), &bytes))
            .await
            .map_err(|error| LoadError::Engine(error.to_string()))?
            .map_err(misfit)?;
        let linker = instance::linker(engine.engine()).map_err(misfit)?;
        let pre = linker.instantiate_pre(&component).map_err(|error| {
            match foreign_interface(engine.engine(), &component) {
                Some(wanted) => LoadError::Interface {
                    name: name.to_owned(),
                    wanted,
                    known: INTERFACE,
                },
                None => misfit(error),
            }
        })?;
        let pre = ModelTypePre::new(pre).map_err(misfit)?;
        let time_limit = engine.limits().call_time();

        let call = Call {
            engine,
            pre: &pre,
            plugin: name,
            export: "describe",
            time_limit,
            reach: Reach::closed(name),
        };
        let (descriptor, _) = call
            .run(|instance, store| Box::pin(instance.call_describe(store)))
            .await?;
        let info = Arc::new(TypeInfo::new(name, descriptor)?);

        let export = "setup-specific-routes";
        let reach = Reach::setup(&info);
        let call = Call {
            engine,
            pre: &pre,
            plugin: info.id(),
            export,
            time_limit,
            reach,
        };
        let (answer, reach) = call
            .run(|instance, store| {
                Box::pin(async move {
                    let registrar = store.data_mut().table.push(RouteCollector)?;
                    let registrar_rep = registrar.rep();
                    let answer = instance.call_setup_specific_routes(&mut *store, registrar).await;
                    store
                        .data_mut()
                        .table
                        .delete(wasmtime::component::Resource::<RouteCollector>::new_own(registrar_rep))?;
                    answer
                })
            })
            .await?;
        answer.map_err(CallError::Guest)?;
        let digest = crate::files::hash::hex(&Sha256::digest(wasm));
        Ok(Self {
            engine: engine.clone(),
            pre,
            info,
            digest,
            routes: reach.routes,
        })
    }

    /// What it said of its type.
    pub fn info(&self) -> &Arc<TypeInfo> {
        &self.info
    }

    /// SHA-256 of the component, lower-case hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The start of the digest, by which records remember what derived them.
    pub fn digest_number(&self) -> u64 {
        u64::from_str_radix(self.digest.get(..16).unwrap_or_default(), 16).unwrap_or_default()
    }

    /// The routes it asked for, in order.
    pub fn routes(&self) -> &[RouteWish] {
        &self.routes
    }

    /// Answers a request to one of its routes.
    ///
    /// # Errors
    /// [`CallError::Guest`] for its own errors, else what happened to the call.
    pub async fn handle(
        &self,
        handler: String,
        request: GuestRequest,
        reach: Reach,
    ) -> Result<GuestResponse, CallError> {
        let limit = self.engine.limits().output_bytes();
        let (answer, _) = self
            .call("handle", self.engine.limits().call_time(), reach)
            .run(move |instance, store| Box::pin(async move { instance.call_handle(store, &handler, &request).await }))
            .await?;
        let response = answer.map_err(CallError::Guest)?;
        if response.body.len() > limit {
            let size = response.body.len();
            return Err(CallError::Limit {
                plugin: self.info.id().to_owned(),
                export: "handle",
                limit: LimitError::Output { size, limit },
            });
        }
        Ok(response)
    }

    /// What only the type can say of files; as many answers as files.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn derive(&self, files: Arc<[FileFacts]>) -> Result<Vec<Derived>, CallError> {
        let expected = files.len();
        let (answer, _) = self
            .call("derive", self.engine.limits().rule_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_derive(store, &files).await }))
            .await?;
        self.same_length("derive", expected, answer)
    }

    /// As [`Plugin::derive`], on the caller's own executor and without waiting for a place in the
    /// pool; the bench times it.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn derive_here(&self, files: Arc<[FileFacts]>) -> Result<Vec<Derived>, CallError> {
        let (answer, _) = self
            .call("derive", self.engine.limits().rule_time(), self.rule_reach())
            .run_here(move |instance, store| Box::pin(async move { instance.call_derive(store, &files).await }))
            .await?;
        Ok(answer)
    }

    /// The type's part of listed items; as many answers as models.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn format(&self, models: Arc<[Model]>) -> Result<Vec<String>, CallError> {
        let expected = models.len();
        let (answer, _) = self
            .call("format", self.engine.limits().rule_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_format(store, &models).await }))
            .await?;
        self.same_length("format", expected, answer)
    }

    /// The type's own query parameters as a filter.
    ///
    /// # Errors
    /// [`CallError::Guest`] when it can't use them.
    pub async fn parse_query(&self, parameters: Vec<(String, String)>) -> Result<QueryFilter, CallError> {
        let (answer, _) = self
            .call("parse-query", self.engine.limits().call_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_parse_query(store, &parameters).await }))
            .await?;
        answer.map_err(CallError::Guest)
    }

    /// A provider's word merged into sidecars: for each an object with the fields to set, or the plugin's error.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn merge_remote(&self, inputs: Arc<[MergeInput]>) -> Result<Vec<Result<String, GuestError>>, CallError> {
        let expected = inputs.len();
        let (answer, _) = self
            .call("merge-remote", self.engine.limits().rule_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_merge_remote(store, &inputs).await }))
            .await?;
        self.same_length("merge-remote", expected, answer)
    }

    /// How models are filed; as many answers as inputs.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn organise(&self, inputs: Arc<[OrganiseInput]>) -> Result<Vec<Placement>, CallError> {
        let expected = inputs.len();
        let (answer, _) = self
            .call("organise", self.engine.limits().rule_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_organise(store, &inputs).await }))
            .await?;
        self.same_length("organise", expected, answer)
    }

    /// The files of versions that are to be downloaded: for each the choice, or the plugin's error.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn select_file(
        &self,
        inputs: Arc<[SelectInput]>,
    ) -> Result<Vec<Result<Selection, GuestError>>, CallError> {
        let expected = inputs.len();
        let (answer, _) = self
            .call("select-file", self.engine.limits().rule_time(), self.rule_reach())
            .run(move |instance, store| Box::pin(async move { instance.call_select_file(store, &inputs).await }))
            .await?;
        self.same_length("select-file", expected, answer)
    }

    /// Whether a provider's type is one of this type.
    ///
    /// # Errors
    /// [`CallError::Guest`] that says what was expected, when it is not.
    pub async fn validate_remote_type(&self, remote_type: String) -> Result<(), CallError> {
        let (answer, _) = self
            .call(
                "validate-remote-type",
                self.engine.limits().call_time(),
                self.rule_reach(),
            )
            .run(move |instance, store| {
                Box::pin(async move { instance.call_validate_remote_type(store, &remote_type).await })
            })
            .await?;
        answer.map_err(CallError::Guest)
    }

    fn call(&self, export: &'static str, time_limit: std::time::Duration, reach: Reach) -> Call<'_> {
        Call {
            engine: &self.engine,
            pre: &self.pre,
            plugin: self.info.id(),
            export,
            time_limit,
            reach,
        }
    }

    fn rule_reach(&self) -> Reach {
        Reach::closed(self.info.id())
    }

    fn same_length<T>(&self, export: &'static str, expected: usize, answer: Vec<T>) -> Result<Vec<T>, CallError> {
        if answer.len() == expected {
            return Ok(answer);
        }
        Err(CallError::Answer {
            plugin: self.info.id().to_owned(),
            export,
            reason: format!("{} answers for {expected} inputs", answer.len()),
        })
    }
}
