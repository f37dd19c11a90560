//! A model type written against the interface itself, as one in any language is: against the copy of 0.1.0 beside it, as it
//! was published. Newer servers must go on loading it, so that copy stays as it is.

wit_bindgen::generate!({
    world: "model-type",
    path: "wit",
});

use modelshelf::plugin::description::{Capabilities, Column, Facet, HashPolicy, HeaderInterest, RootKind, SubType};
use modelshelf::plugin::rule_types::NamePatterns;

struct Bare;

impl Guest for Bare {
    fn describe() -> Descriptor {
        let text = str::to_owned;
        Descriptor {
            id: text("bare"),
            prefix: text("bares"),
            display_name: text("Bares"),
            version: text("0.1.0"),
            menu_order: 100,
            sub_types: vec![SubType {
                id: text("bare"),
                label: text("Bare"),
            }],
            sub_types_closed: false,
            extensions: vec![text(".bare")],
            roots: vec![RootKind {
                key: text("bares"),
                folders: vec![text("bares")],
                default_root_setting: text("default_bare_root"),
            }],
            remote_types: vec![text("bare")],
            remote_types_text: text("Bare"),
            default_path_template: text("{base_model}"),
            hashing: HashPolicy::AtScan,
            new_from_remote: true,
            new_sidecar_fields: text("{}"),
            headers: HeaderInterest {
                metadata_keys: Vec::new(),
                tensors: Vec::new(),
            },
            query_parameters: Vec::new(),
            usage_bucket: None,
            filename_conflicts_off: None,
            facets: vec![Facet {
                kind: text("tag"),
                label: text("Tag"),
            }],
            columns: vec![Column {
                field: text("file_size"),
                label: text("Size"),
            }],
            capabilities: Capabilities {
                remote_hosts: Vec::new(),
                kv: false,
                events: Vec::new(),
            },
        }
    }

    fn setup_specific_routes(registrar: &Registrar) -> Result<(), Error> {
        registrar.add_route("GET", "/api/lm/{prefix}/hello", "hello")
    }

    fn handle(handler: String, _request: Request) -> Result<Response, Error> {
        if handler != "hello" {
            return Err(Error::NotFound(format!("there is no handler `{handler}`")));
        }
        let body = br#"{"success":true,"hello":"bare"}"#.to_vec();
        Ok(Response {
            status: 200,
            content_type: "application/json".to_owned(),
            body,
        })
    }

    fn derive(files: Vec<FileFacts>) -> Vec<Derived> {
        let derived = |_| Derived {
            sub_type: "bare".to_owned(),
            base_model_hint: None,
            fields: "{}".to_owned(),
            problem: None,
        };
        files.into_iter().map(derived).collect()
    }

    fn format(models: Vec<Model>) -> Vec<Json> {
        models.iter().map(|_| "{}".to_owned()).collect()
    }

    fn parse_query(_parameters: Vec<Pair>) -> Result<QueryFilter, Error> {
        let names = NamePatterns {
            include: Vec::new(),
            exclude: Vec::new(),
            regex: false,
        };
        Ok(QueryFilter {
            hashes: Vec::new(),
            fuzzy: None,
            initial: None,
            names,
        })
    }

    fn merge_remote(inputs: Vec<MergeInput>) -> Vec<Result<Json, Error>> {
        inputs.iter().map(|_| Ok("{}".to_owned())).collect()
    }

    fn organise(inputs: Vec<OrganiseInput>) -> Vec<Placement> {
        let placement = |input: OrganiseInput| Placement {
            placeholders: vec![("base_model".to_owned(), input.base_model)],
            spaces: None,
            root_key: "bares".to_owned(),
        };
        inputs.into_iter().map(placement).collect()
    }

    fn select_file(inputs: Vec<SelectInput>) -> Vec<Result<Selection, Error>> {
        let none = || Err(Error::NotFound("this type is downloaded from nowhere".to_owned()));
        inputs.iter().map(|_| none()).collect()
    }

    fn validate_remote_type(remote_type: String) -> Result<(), Error> {
        if remote_type.eq_ignore_ascii_case("bare") {
            return Ok(());
        }
        Err(Error::Invalid(format!("Expected Bare, got {remote_type}")))
    }
}

export!(Bare);
