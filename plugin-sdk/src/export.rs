//! From a [`ModelType`] to the component's exports.

use core::marker::PhantomData;

use crate::bindings::modelshelf::plugin::routes::Registrar as HostRegistrar;
use crate::bindings::modelshelf::plugin::types::Error;
use crate::bindings::{Guest, Selection};
use crate::model_type::ModelType;
use crate::{Derived, Descriptor, FileFacts, Json, MergeInput, Model, OrganiseInput, Pair, Placement, QueryFilter};
use crate::{Registrar, Request, Response, SelectInput, log};

/// The component's exports, answered by `T`.
pub struct Component<T>(PhantomData<T>);

/// A panic ends a call as a trap without a word; this puts the word into the log first.
fn announce_panics() {
    std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
}

impl<T: ModelType> Guest for Component<T> {
    fn describe() -> Descriptor {
        announce_panics();
        T::describe()
    }

    fn setup_specific_routes(registrar: &HostRegistrar) -> Result<(), Error> {
        announce_panics();
        Ok(T::setup_specific_routes(&Registrar::of_host(registrar))?)
    }

    fn handle(handler: String, request: Request) -> Result<Response, Error> {
        announce_panics();
        Ok(T::handle(&handler, &request)?)
    }

    fn derive(files: Vec<FileFacts>) -> Vec<Derived> {
        announce_panics();
        T::derive(&files)
    }

    fn format(models: Vec<Model>) -> Vec<Json> {
        announce_panics();
        T::format(&models)
    }

    fn parse_query(parameters: Vec<Pair>) -> Result<QueryFilter, Error> {
        announce_panics();
        Ok(T::parse_query(&parameters)?)
    }

    fn merge_remote(inputs: Vec<MergeInput>) -> Vec<Result<Json, Error>> {
        announce_panics();
        T::merge_remote(&inputs).into_iter().map(|merged| Ok(merged?)).collect()
    }

    fn organise(inputs: Vec<OrganiseInput>) -> Vec<Placement> {
        announce_panics();
        T::organise(&inputs)
    }

    fn select_file(inputs: Vec<SelectInput>) -> Vec<Result<Selection, Error>> {
        announce_panics();
        T::select_file(&inputs)
            .into_iter()
            .map(|selected| Ok(selected?))
            .collect()
    }

    fn validate_remote_type(remote_type: String) -> Result<(), Error> {
        announce_panics();
        Ok(T::validate_remote_type(&remote_type)?)
    }
}

/// Only there so that a native build checks what a component build would.
pub fn assert_model_type<T: ModelType>() {}

/// Makes a [`ModelType`](crate::ModelType) the model type of this component. Once in a crate, which must be a `cdylib`.
///
/// On targets other than WebAssembly it only checks that the type is a `ModelType`, so that a plugin crate links
/// into its tests.
#[macro_export]
macro_rules! export_model_type {
    ($model_type:ty) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            type Exported = $crate::export::Component<$model_type>;
    $crate::bindings::export_world!(Exported with_types_in $crate::bindings);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: fn() = $crate::export::assert_model_type::<$model_type>;
    };
}
