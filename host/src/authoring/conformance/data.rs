//! What rules are called with: facts that real files have had, and those that no file should have.

use crate::plugins::TypeInfo;
use crate::plugins::bindings::{
    Derived, FileChoice, FileFacts, Header, MergeInput, Model, OrganiseInput, RemoteIdentity, SelectInput, Tensor,
};

/// Texts that surprise: empty, long, of other scripts, with the marks of other languages.
pub const TEXTS: [&str; 10] = [
    "",
    " ",
    "0",
    "-1",
    "true",
    "漢字 ünïcode 🙂\u{202e}",
    "../../etc/passwd",
    "a,b,,c",
    "<b>\"'\\&\0\n\t",
    "[*(?+{",
];

fn nobody() -> RemoteIdentity {
    RemoteIdentity {
        version_id: None,
        model_id: None,
        version_name: String::new(),
        creator: String::new(),
        model_type: String::new(),
    }
}

fn bare(info: &TypeInfo) -> FileFacts {
    FileFacts {
        relative_path: String::new(),
        file_name: String::new(),
        root_key: info
            .descriptor
            .roots
            .first()
            .map_or_else(String::new, |root| root.key.clone()),
        size: 0,
        base_model: String::new(),
        tags: Vec::new(),
        remote: nobody(),
        header: None,
        sidecar: "{}".to_owned(),
    }
}

fn named(info: &TypeInfo, name: &str) -> FileFacts {
    let extension = info.descriptor.extensions.first().map_or(".bin", String::as_str);
    FileFacts {
        relative_path: format!("folder/{name}{extension}"),
        file_name: name.to_owned(),
        size: 144_000_000,
        base_model: "SDXL 1.0".to_owned(),
        tags: vec!["style".into(), "character".into()],
        ..bare(info)
    }
}

fn tensor(name: &str, shape: &[u64]) -> Tensor {
    Tensor {
        name: name.to_owned(),
        dtype: "F16".to_owned(),
        shape: shape.to_vec(),
    }
}

/// A file as most are: what costs are measured with.
pub fn ordinary_file(info: &TypeInfo) -> FileFacts {
    let interest = &info.descriptor.headers;
    let metadata = interest
        .metadata_keys
        .iter()
        .map(|key| (key.clone(), "sdxl_base_v1-0".to_owned()));
    let tensors = interest.tensors.iter().take(4).map(|name| tensor(name, &[640, 2048]));
    FileFacts {
        header: Some(Header {
            metadata: metadata.collect(),
            tensors: tensors.collect(),
            tensor_count: 2_000,
        }),
        ..named(info, "ordinary file v2")
    }
}

/// Files with what may be odd about each.
pub fn awkward_files(info: &TypeInfo) -> Vec<(String, FileFacts)> {
    let interest = &info.descriptor.headers;
    let header = |value: &str, shape: &[u64]| Header {
        metadata: interest
            .metadata_keys
            .iter()
            .map(|key| (key.clone(), value.to_owned()))
            .collect(),
        tensors: interest
            .tensors
            .iter()
            .cycle()
            .take(16)
            .map(|name| tensor(name, shape))
            .collect(),
        tensor_count: u32::MAX,
    };
    let mut files = vec![
        ("an ordinary file".to_owned(), ordinary_file(info)),
        ("an empty file of which nothing is known".to_owned(), bare(info)),
        (
            "a file of 16 EiB".to_owned(),
            FileFacts {
                size: u64::MAX,
                ..named(info, "huge")
            },
        ),
        (
            "a header without anything".to_owned(),
            FileFacts {
                header: Some(Header {
                    metadata: Vec::new(),
                    tensors: Vec::new(),
                    tensor_count: 0,
                }),
                ..named(info, "headless")
            },
        ),
        (
            "tensors without dimensions".to_owned(),
            FileFacts {
                header: Some(header("", &[])),
                ..named(info, "flat")
            },
        ),
        (
            "tensors with dimensions of 0".to_owned(),
            FileFacts {
                header: Some(header("None", &[0, 0, 0])),
                ..named(info, "nil")
            },
        ),
        (
            "tensors with dimensions of 2^64 - 1".to_owned(),
            FileFacts {
                header: Some(header("[]", &[u64::MAX; 8])),
                ..named(info, "vast")
            },
        ),
        (
            "header values of 64 KiB".to_owned(),
            FileFacts {
                header: Some(header(&"é".repeat(32 << 10), &[1, 1])),
                ..named(info, "wordy")
            },
        ),
        (
            "a sidecar of 1 MiB".to_owned(),
            FileFacts {
                sidecar: format!("{{\"notes_of_others\":\"{}\"}}", "x".repeat(1 << 20)),
                ..named(info, "noted")
            },
        ),
        (
            "a sidecar whose fields have other types".to_owned(),
            FileFacts {
                sidecar: r#"{"sub_type":5,"usage_tips":[],"notes":{"a":null},"trainedWords":"no list","fields":true}"#
                    .to_owned(),
                ..named(info, "mistyped")
            },
        ),
        (
            "a sidecar nested 100 deep".to_owned(),
            FileFacts {
                sidecar: format!("{{\"deep\":{}{}}}", "[".repeat(100), "]".repeat(100)),
                ..named(info, "deep")
            },
        ),
        (
            "a thousand tags".to_owned(),
            FileFacts {
                tags: (0..1_000).map(|number| format!("tag {number}")).collect(),
                ..named(info, "tagged")
            },
        ),
        (
            "a provider with the largest ids".to_owned(),
            FileFacts {
                remote: RemoteIdentity {
                    version_id: Some(u64::MAX),
                    model_id: Some(u64::MAX),
                    version_name: "v".repeat(300),
                    creator: "漢字".to_owned(),
                    model_type: "SomethingNew".to_owned(),
                },
                ..named(info, "published")
            },
        ),
        (
            "a root of no known kind".to_owned(),
            FileFacts {
                root_key: "no-such-root".to_owned(),
                ..named(info, "astray")
            },
        ),
        ("a name of 4 KiB".to_owned(), named(info, &"n".repeat(4 << 10))),
    ];
    files.extend(TEXTS.iter().map(|text| {
        (
            format!("the name {text:?}"),
            FileFacts {
                base_model: (*text).to_owned(),
                ..named(info, text)
            },
        )
    }));
    files
}

/// The model that a file with these answers becomes.
pub fn model_of(file: &FileFacts, derived: &Derived) -> Model {
    Model {
        file_path: format!("/models/{}", file.relative_path),
        relative_path: file.relative_path.clone(),
        file_name: file.file_name.clone(),
        folder: file
            .relative_path
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
            .to_owned(),
        root_key: file.root_key.clone(),
        model_name: file.file_name.clone(),
        base_model: file.base_model.clone(),
        sub_type: derived.sub_type.clone(),
        sha256: String::new(),
        size: file.size,
        modified: 1.7e9,
        tags: file.tags.clone(),
        trigger_words: file.tags.clone(),
        favorite: true,
        notes: String::new(),
        license_flags: 127,
        usage_count: u64::MAX,
        remote: file.remote.clone(),
        fields: derived.fields.clone(),
    }
}

/// Provider's words with what may be odd about each.
pub fn merges() -> Vec<(&'static str, MergeInput)> {
    let input = |sidecar: &str, remote: &str| MergeInput {
        sidecar: sidecar.to_owned(),
        remote_version: remote.to_owned(),
        source: "civitai_api".to_owned(),
        edited: Vec::new(),
    };
    let full = r#"{"id":7,"modelId":5,"name":"v2","baseModel":"SDXL 1.0","trainedWords":["one","two"],"images":[],
        "files":[{"id":1,"name":"a.safetensors","type":"Model","primary":true,"hashes":{"SHA256":"00"}}],
        "model":{"name":"A model","type":"Other","description":"<p>text</p>","tags":["a"]},"creator":{"username":"someone"}}"#;
    let sidecar = r#"{"file_name":"a","model_name":"Mine","tags":["own"],"base_model":"Pony","civitai":{"trainedWords":["own"]}}"#;
    let mut edited = input(sidecar, full);
    edited.edited = vec![
        "model_name".into(),
        "tags".into(),
        "base_model".into(),
        "civitai.trainedWords".into(),
    ];
    vec![
        ("an ordinary version", input(sidecar, full)),
        ("fields that a person edited", edited),
        ("an empty sidecar and an empty version", input("{}", "{}")),
        (
            "a version whose fields have other types",
            input(
                sidecar,
                r#"{"id":"seven","trainedWords":"one","files":{},"model":[],"creator":5,"images":null}"#,
            ),
        ),
        (
            "a sidecar whose fields have other types",
            input(r#"{"civitai":[],"tags":"a","model_name":5,"base_model":null}"#, full),
        ),
        (
            "a source that it does not know",
            MergeInput {
                source: "somewhere_new".to_owned(),
                ..input(sidecar, full)
            },
        ),
    ]
}

/// Models to be filed.
pub fn placements(info: &TypeInfo) -> Vec<OrganiseInput> {
    let sub_types = info.descriptor.sub_types.iter().map(|sub_type| sub_type.id.as_str());
    let inputs = sub_types.chain(["no-such-sub-type"]).flat_map(|sub_type| {
        TEXTS.iter().map(move |text| OrganiseInput {
            base_model: (*text).to_owned(),
            first_tag: (*text).to_owned(),
            author: "Anonymous".to_owned(),
            model_name: (*text).to_owned(),
            version_name: (*text).to_owned(),
            sub_type: sub_type.to_owned(),
            fields: "{}".to_owned(),
        })
    });
    inputs.collect()
}

/// Versions of which a file is to be chosen.
pub fn selections() -> Vec<(&'static str, SelectInput)> {
    let input = |version: &str, choice: Option<FileChoice>| SelectInput {
        remote_version: version.to_owned(),
        choice,
    };
    let choice = FileChoice {
        id: Some(u64::MAX),
        file_type: Some("Training Data".to_owned()),
        format: Some(String::new()),
        size: Some("none".to_owned()),
        fp: Some("fp16".to_owned()),
        primary: false,
    };
    let two = r#"{"files":[{"id":1,"type":"Config","name":"a.yaml"},{"id":2,"type":"Model","primary":true,"name":"a.safetensors"}]}"#;
    vec![
        ("a version with two files", input(two, None)),
        ("a choice that fits no file", input(two, Some(choice))),
        ("a version without files", input(r#"{"files":[]}"#, None)),
        ("an empty version", input("{}", None)),
        (
            "files that are none",
            input(r#"{"files":[null,5,"x",{"id":"one","type":7}]}"#, None),
        ),
    ]
}
