//! The trait that a plugin implements.

use serde::Serialize;

use crate::router::{Registrar, Route, dispatch};
use crate::rules::{file_choice, header, merge, remote_type};
use crate::{
    Derived, Descriptor, FileFacts, FileSelection, Json, MergeInput, Model, OrganiseInput, Pair, Placement,
    QueryFilter, Request, Response, Result, SelectInput,
};

/// A model type. Only [`describe`](Self::describe) must be given.
///
/// Every call from the host runs in a fresh instance: statics and thread-locals are as they were at the start. Rules
/// come in batches; the methods that end in `_one` see one item each, and the batch methods call them. Override a
/// batch method when items share work.
///
/// Limits of a call, unless the person set others: 64 MiB of memory; 2 s, or 10 s for rules; 16 MiB of output.
pub trait ModelType {
    /// What this type is. Called once at load; only [`log`](crate::log) works in it.
    fn describe() -> Descriptor;

    /// The type's own routes; none unless given. See [`routes!`](crate::routes).
    fn routes() -> &'static [Route] {
        &[]
    }

    /// Adds the type's own routes to the host's. Left alone, it adds [`routes`](Self::routes).
    ///
    /// # Errors
    /// `Conflict` or `Invalid` from the host; either ends the loading of the plugin.
    fn setup_specific_routes(registrar: &Registrar<'_>) -> Result<()> {
        registrar.add_routes(Self::routes())
    }

    /// Answers a request to the route with that handler name. Left alone, it looks into [`routes`](Self::routes).
    ///
    /// # Errors
    /// Whatever the client should see: each error has its HTTP status.
    fn handle(handler: &str, request: &Request) -> Result<Response> {
        dispatch(Self::routes(), handler, request)
    }

    /// What only the type can say of one file. Left alone: the first sub-type, the base model that the header shows (when
    /// the descriptor asked for [`header::METADATA_KEYS`] and tensors), no fields.
    ///
    /// It must give the same for the same facts, since the host keeps what it gives. An empty `sub_type` stands for
    /// the first one.
    fn derive_one(file: &FileFacts) -> Derived {
        Derived {
            base_model_hint: file.header.as_ref().and_then(header::base_model),
            ..Derived::default()
        }
    }

    /// [`derive_one`](Self::derive_one) for each file, in order.
    fn derive(files: &[FileFacts]) -> Vec<Derived> {
        let mut derived: Vec<Derived> = files.iter().map(Self::derive_one).collect();
        fill_first(&mut derived, |derived| &mut derived.sub_type, first_sub_type::<Self>);
        derived
    }

    /// The type's own part of a listed item: one JSON object. Left alone: the fields that
    /// [`derive_one`](Self::derive_one) gave. The host computes it when a record changes, not when it is listed; members
    /// that the host has itself are left out.
    fn format_one(model: &Model) -> Json {
        model.fields.clone()
    }

    /// [`format_one`](Self::format_one) for each model, in order.
    fn format(models: &[Model]) -> Vec<Json> {
        models.iter().map(Self::format_one).collect()
    }

    /// Understands the type's own query parameters of the listing. Left alone, it filters nothing.
    ///
    /// # Errors
    /// `Invalid`, naming the parameter, for a value that can't be used.
    fn parse_query(_parameters: &[Pair]) -> Result<QueryFilter> {
        Ok(QueryFilter::default())
    }

    /// A provider's word merged into one sidecar: a JSON object with the fields to set. Left alone:
    /// [`merge::merge_remote`].
    ///
    /// # Errors
    /// When the sidecar or the provider's version can't be read. The other items are not affected.
    fn merge_remote_one(input: &MergeInput) -> Result<Json> {
        merge::merge_remote(input)
    }

    /// [`merge_remote_one`](Self::merge_remote_one) for each input, in order.
    fn merge_remote(inputs: &[MergeInput]) -> Vec<Result<Json>> {
        inputs.iter().map(Self::merge_remote_one).collect()
    }

    /// How one model is filed. Left alone: the placeholders `base_model`, `first_tag`, `author`, `model_name` and
    /// `version_name`, below the first root. An empty `root_key` stands for the first root.
    fn organise_one(input: &OrganiseInput) -> Placement {
        Placement::of(input)
    }

    /// [`organise_one`](Self::organise_one) for each model, in order.
    fn organise(inputs: &[OrganiseInput]) -> Vec<Placement> {
        let mut placements: Vec<Placement> = inputs.iter().map(Self::organise_one).collect();
        fill_first(&mut placements, |placement| &mut placement.root_key, first_root::<Self>);
        placements
    }

    /// The file of one version that is to be downloaded. Left alone: [`file_choice::choose`], below the first root. An
    /// empty `root_key` stands for the first root.
    ///
    /// # Errors
    /// `NotFound` when the version has no file that could be meant.
    fn select_file_one(input: &SelectInput) -> Result<FileSelection> {
        Ok(FileSelection {
            file: file_choice::choose_from(input)?,
            root_key: String::new(),
        })
    }

    /// [`select_file_one`](Self::select_file_one) for each version, in order.
    fn select_file(inputs: &[SelectInput]) -> Vec<Result<FileSelection>> {
        let mut selected: Vec<Result<FileSelection>> = inputs.iter().map(Self::select_file_one).collect();
        let chosen = selected.iter_mut().filter_map(|selected| selected.as_mut().ok());
        fill_first(chosen, |selection| &mut selection.root_key, first_root::<Self>);
        selected
    }

    /// Whether a provider's type is one of this type. Left alone, it compares with the descriptor's `remote_types` in any
    /// case.
    ///
    /// # Errors
    /// `Invalid`, saying what was expected.
    fn validate_remote_type(remote_type: &str) -> Result<()> {
        remote_type::validate(&Self::describe(), remote_type)
    }
}

/// A value as a JSON text, for `fields` and [`ModelType::format_one`]; `{}` for what has no JSON form, such as a map whose
/// keys are no texts.
pub fn json_of(value: &impl Serialize) -> Json {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

impl Placement {
    /// The placeholders that every type has.
    pub fn of(input: &OrganiseInput) -> Self {
        let placeholders = [
            ("base_model", &input.base_model),
            ("first_tag", &input.first_tag),
            ("author", &input.author),
            ("model_name", &input.model_name),
            ("version_name", &input.version_name),
        ];
        let placeholders = placeholders
            .map(|(name, value)| (name.to_owned(), value.clone()))
            .into();
        Self {
            placeholders,
            ..Self::default()
        }
    }
}

fn first_sub_type<T: ModelType + ?Sized>() -> String {
    T::describe()
        .sub_types
        .into_iter()
        .next()
        .map(|sub_type| sub_type.id)
        .unwrap_or_default()
}

fn first_root<T: ModelType + ?Sized>() -> String {
    T::describe()
        .roots
        .into_iter()
        .next()
        .map(|root| root.key)
        .unwrap_or_default()
}

/// Fills empty texts with one that is only made when there is one to fill: a descriptor costs more than an item.
fn fill_first<'a, T: 'a>(
    items: impl IntoIterator<Item = &'a mut T>,
    text: impl Fn(&mut T) -> &mut String,
    first: impl FnOnce() -> String,
) {
    let mut first = Some(first);
    let mut value = String::new();
    for item in items {
        let text = text(item);
        if text.is_empty() {
            if let Some(make) = first.take() {
                value = make();
            }
            text.clone_from(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain;

    impl ModelType for Plain {
        fn describe() -> Descriptor {
            Descriptor::new("plain", "plains", "Plains")
                .extensions([".plain"])
                .root("plains", ["plains"], "default_plain_root")
                .remote_types(["plain", "simple"], "Plain or Simple")
        }
    }

    #[test]
    fn derive_gives_the_first_sub_type_and_no_fields() {
        let derived = Plain::derive(&[FileFacts::default(), FileFacts::default()]);
        assert_eq!(derived.len(), 2);
        for derived in derived {
            assert_eq!((derived.sub_type.as_str(), derived.fields.as_str()), ("plain", "{}"));
            assert_eq!((derived.base_model_hint, derived.problem), (None, None));
        }
    }

    #[test]
    fn format_shows_the_fields_and_parse_query_filters_nothing() {
        assert_eq!(Plain::format(&[Model::default()]), ["{}"]);
        let fields = json_of(&serde_json::json!({"channels": 4}));
        let model = Model {
            fields: fields.clone(),
            ..Model::default()
        };
        assert_eq!(Plain::format(&[model]), [fields]);
        assert_eq!(
            Plain::parse_query(&[("x".into(), "y".into())]),
            Ok(QueryFilter::default())
        );
    }

    #[test]
    fn organise_gives_five_placeholders_below_the_first_root() {
        let input = OrganiseInput {
            base_model: "SDXL 1.0".into(),
            author: "me".into(),
            ..OrganiseInput::default()
        };
        let [placement] = &Plain::organise(&[input])[..] else {
            panic!("one in, one out")
        };
        let names: Vec<&str> = placement.placeholders.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            ["base_model", "first_tag", "author", "model_name", "version_name"]
        );
        assert_eq!(placement.placeholders[0].1, "SDXL 1.0");
        assert_eq!((placement.root_key.as_str(), &placement.spaces), ("plains", &None));
    }

    #[test]
    fn select_file_keeps_order_and_faults_apart() {
        let version = |text: &str| SelectInput {
            remote_version: text.into(),
            choice: None,
        };
        let selected = Plain::select_file(&[version(r#"{"files":[]}"#), version(r#"{"files":[{"type":"Model"}]}"#)]);
        assert_eq!(selected[0].as_ref().expect_err("no file").status(), 404);
        assert_eq!(
            selected[1],
            Ok(FileSelection {
                file: 0,
                root_key: "plains".into()
            })
        );
    }

    #[test]
    fn other_provider_types_are_refused_with_what_was_expected() {
        assert_eq!(Plain::validate_remote_type("SIMPLE"), Ok(()));
        let error = Plain::validate_remote_type("LORA").expect_err("another type");
        assert_eq!(
            error.to_string(),
            "Model type mismatch. Expected Plain or Simple, got LORA"
        );
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn an_unknown_handler_is_not_found() {
        assert_eq!(
            Plain::handle("nothing", &Request::default())
                .expect_err("no routes")
                .status(),
            404
        );
    }
}
