//! A loaded model type and the calls that the host makes into it.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::Store;

use super::account::{Account, Health};
use super::bindings::{
    Derived, FileFacts, GuestError, GuestRequest, GuestResponse, MergeInput, Model, ModelType, ModelTypePre,
    OrganiseInput, Placement, QueryFilter, SelectInput, Selection,
};
use super::code_cache::CodeCache;
use super::descriptor::TypeInfo;
use super::engine::{BATCHED, CallKind, PluginEngine};
use super::error::{CallError, LoadError};
use super::imports::{Reach, RouteCollector, RouteWish};
use super::instance::{self, Call, CallFuture, CallState};
use super::output::Output;
use super::wasi;

/// The version of the interface in `wit/`. A component built for a later patch of the same minor version fits, too, as long
/// as it uses nothing that is new there.
const INTERFACE: &str = "0.1.0";

/// What a component imports and nobody here has.
enum Foreign {
    /// Our interface in this version.
    Version(String),
    /// Something else, by its whole name.
    Other(String),
}

impl Foreign {
    /// The first that there is.
    fn import_of(engine: &wasmtime::Engine, component: &wasmtime::component::Component) -> Option<Self> {
        let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
        let ty = component.component_type();
        ty.imports(engine)
            .find_map(|(name, _)| match name.strip_prefix("modelshelf:plugin/") {
                Some(own) => {
                    let (_, version) = own.split_once('@')?;
                    (minor(version) != minor(INTERFACE)).then(|| Self::Version(version.to_owned()))
                }
                None => (!wasi::serves(name)).then(|| Self::Other(name.to_owned())),
            })
    }
}

/// Whose request a call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// The person's own, or the server's for them.
    Owner,
    /// Nobody knows: a page of another site may have sent it. The plugin's faults are counted, but never lead to
    /// quarantine, or such a page could take a type out of service.
    Stranger,
}

/// A model type, ready to be called.
pub struct Plugin {
    engine: Arc<PluginEngine>,
    pre: ModelTypePre<CallState>,
    info: Arc<TypeInfo>,
    digest: String,
    routes: Vec<RouteWish>,
    account: Arc<Account>,
    health: Health,
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
        let misfit = |error: wasmtime::Error| LoadError::component(name, &error);
        let component = cache.component(engine.engine(), name, wasm).await?;
        let linker = instance::linker(engine.engine(), &component).map_err(misfit)?;
        let pre = linker.instantiate_pre(&component).map_err(|error| {
            let name = name.to_owned();
            match Foreign::import_of(engine.engine(), &component) {
                Some(Foreign::Version(wanted)) => LoadError::Interface {
                    name,
                    wanted,
                    known: INTERFACE,
                },
                Some(Foreign::Other(import)) => LoadError::Import { name, import },
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
            account: &Arc::new(Account::new(engine.limits().clone())),
            kind: CallKind::Rule,
            reach: Reach::closed(name),
        };
        let (descriptor, _) = call
            .run(|instance, store| Box::pin(instance.call_describe(store)))
            .await?;
        let info = Arc::new(TypeInfo::new(name, descriptor)?);
        let account = engine.account(info.id());

        let export = "setup-specific-routes";
        let reach = Reach::setup(&info);
        let call = Call {
            engine,
            pre: &pre,
            plugin: info.id(),
            export,
            time_limit: account.limits().call_time(),
            account: &account,
            kind: CallKind::Rule,
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
            account,
            health: Health::default(),
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

    /// What it may use, and what it used in all of its versions.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Why this version is not called any more: it trapped too often.
    pub fn quarantine(&self) -> Option<Arc<String>> {
        self.health.quarantine()
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
        asker: Asker,
    ) -> Result<GuestResponse, CallError> {
        let call = self.call("handle", CallKind::Request, self.account.limits().call_time(), reach)?;
        let answer = self
            .ask_for(asker, call, move |instance, store| {
                Box::pin(async move { instance.call_handle(store, &handler, &request).await })
            })
            .await?;
        answer.map_err(CallError::Guest)
    }

    /// What only the type can say of files; as many answers as files.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn derive(&self, files: Arc<[FileFacts]>) -> Result<Vec<Derived>, CallError> {
        let expected = files.len();
        let call = self.rule("derive")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_derive(store, &files).await })
            })
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
            .rule("derive")?
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
        let call = self.rule("format")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_format(store, &models).await })
            })
            .await?;
        self.same_length("format", expected, answer)
    }

    /// The type's own query parameters as a filter.
    ///
    /// # Errors
    /// [`CallError::Guest`] when it can't use them.
    pub async fn parse_query(&self, parameters: Vec<(String, String)>, asker: Asker) -> Result<QueryFilter, CallError> {
        let call = self.question("parse-query")?;
        let answer = self
            .ask_for(asker, call, move |instance, store| {
                Box::pin(async move { instance.call_parse_query(store, &parameters).await })
            })
            .await?;
        answer.map_err(CallError::Guest)
    }

    /// A provider's word merged into sidecars: for each an object with the fields to set, or the plugin's error.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn merge_remote(&self, inputs: Arc<[MergeInput]>) -> Result<Vec<Result<String, GuestError>>, CallError> {
        let expected = inputs.len();
        let call = self.rule("merge-remote")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_merge_remote(store, &inputs).await })
            })
            .await?;
        self.same_length("merge-remote", expected, answer)
    }

    /// How models are filed; as many answers as inputs.
    ///
    /// # Errors
    /// When the whole call failed.
    pub async fn organise(&self, inputs: Arc<[OrganiseInput]>) -> Result<Vec<Placement>, CallError> {
        let expected = inputs.len();
        let call = self.rule("organise")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_organise(store, &inputs).await })
            })
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
        let call = self.rule("select-file")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_select_file(store, &inputs).await })
            })
            .await?;
        self.same_length("select-file", expected, answer)
    }

    /// Whether a provider's type is one of this type.
    ///
    /// # Errors
    /// [`CallError::Guest`] that says what was expected, when it is not.
    pub async fn validate_remote_type(&self, remote_type: String) -> Result<(), CallError> {
        let call = self.question("validate-remote-type")?;
        let answer = self
            .ask(call, move |instance, store| {
                Box::pin(async move { instance.call_validate_remote_type(store, &remote_type).await })
            })
            .await?;
        answer.map_err(CallError::Guest)
    }

    fn call(
        &self,
        export: &'static str,
        kind: CallKind,
        time_limit: Duration,
        reach: Reach,
    ) -> Result<Call<'_>, CallError> {
        if let Some(reason) = self.quarantine() {
            return Err(CallError::Quarantined {
                plugin: self.info.id().to_owned(),
                reason,
            });
        }
        Ok(Call {
            engine: &self.engine,
            pre: &self.pre,
            plugin: self.info.id(),
            export,
            time_limit,
            account: &self.account,
            kind,
            reach,
        })
    }

    /// A call of a batched rule.
    fn rule(&self, export: &'static str) -> Result<Call<'_>, CallError> {
        let time = self.account.limits().rule_time();
        self.call(export, CallKind::Rule, time, Reach::closed(self.info.id()))
    }

    /// A call of a rule about one thing that a request waits for.
    fn question(&self, export: &'static str) -> Result<Call<'_>, CallError> {
        let time = self.account.limits().call_time();
        self.call(export, CallKind::Rule, time, Reach::closed(self.info.id()))
    }

    /// Makes a call for the server itself.
    async fn ask<T, F>(&self, call: Call<'_>, body: F) -> Result<T, CallError>
    where
        T: Output + Send + 'static,
        F: for<'s> FnOnce(&'s ModelType, &'s mut Store<CallState>) -> CallFuture<'s, T> + Send + 'static,
    {
        self.ask_for(Asker::Owner, call, body).await
    }

    /// Makes a call, and notes what the plugin did wrong.
    async fn ask_for<T, F>(&self, asker: Asker, call: Call<'_>, body: F) -> Result<T, CallError>
    where
        T: Output + Send + 'static,
        F: for<'s> FnOnce(&'s ModelType, &'s mut Store<CallState>) -> CallFuture<'s, T> + Send + 'static,
    {
        let export = call.export;
        let outcome = call.run(body).await.map(|(answer, _)| answer);
        outcome.map_err(|error| self.failed(export, error, asker))
    }

    /// Notes a fault; gives the error back, without its backtrace when the plugin has written enough into the log.
    fn failed(&self, export: &'static str, error: CallError, asker: Asker) -> CallError {
        if !error.is_fault() {
            return error;
        }
        self.account.fail(export, &error);
        // One bad file is no reason to end all.
        if !BATCHED.contains(&export) && asker == Asker::Owner {
            self.strike(1, &error);
        }
        match error {
            CallError::Trap { plugin, export, reason } if !self.account.may_log(&plugin, reason.len()) => {
                let reason = reason.lines().next().unwrap_or_default().to_owned();
                CallError::Trap { plugin, export, reason }
            }
            other => other,
        }
    }

    /// Notes that the plugin did what counts as so many traps. When that is too much, it is quarantined.
    pub(super) fn strike(&self, weight: usize, error: &CallError) {
        if !self.health.strike(self.account.limits(), weight, error) {
            return;
        }
        let reason = self.quarantine().unwrap_or_default();
        tracing::error!(plugin = self.info.id(), %reason, "a plugin is quarantined");
        self.engine.quarantined().notify_one();
    }

    fn same_length<T>(&self, export: &'static str, expected: usize, answer: Vec<T>) -> Result<Vec<T>, CallError> {
        if answer.len() == expected {
            return Ok(answer);
        }
        let error = CallError::Answer {
            plugin: self.info.id().to_owned(),
            export,
            reason: format!("{} answers for {expected} inputs", answer.len()),
        };
        Err(self.failed(export, error, Asker::Owner))
    }
}
