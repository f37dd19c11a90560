//! Empty values of the boundary's records, for struct update syntax.

#![allow(
    clippy::derivable_impls,
    reason = "the records are generated, so that nothing can be derived for them"
)]

use crate::bindings::modelshelf::plugin::library::{Selection, TagLogic};
use crate::{
    Derived, FileChoice, FileFacts, Header, MergeInput, Model, NamePatterns, OrganiseInput, Placement, QueryFilter,
    RemoteIdentity, Request,
};

impl Default for RemoteIdentity {
    fn default() -> Self {
        Self {
            version_id: None,
            model_id: None,
            version_name: String::new(),
            creator: String::new(),
            model_type: String::new(),
        }
    }
}

impl Default for Model {
    /// Nothing known; no credit needed and `fields` `{}`.
    fn default() -> Self {
        Self {
            file_path: String::new(),
            relative_path: String::new(),
            file_name: String::new(),
            folder: String::new(),
            root_key: String::new(),
            model_name: String::new(),
            base_model: String::new(),
            sub_type: String::new(),
            sha256: String::new(),
            size: 0,
            modified: 0.0,
            tags: Vec::new(),
            trigger_words: Vec::new(),
            favorite: false,
            notes: String::new(),
            license_flags: 113,
            usage_count: 0,
            remote: RemoteIdentity::default(),
            fields: "{}".to_owned(),
        }
    }
}

impl Default for FileFacts {
    fn default() -> Self {
        Self {
            relative_path: String::new(),
            file_name: String::new(),
            root_key: String::new(),
            size: 0,
            base_model: String::new(),
            tags: Vec::new(),
            remote: RemoteIdentity::default(),
            header: None,
            sidecar: "{}".to_owned(),
        }
    }
}

impl Default for Header {
    fn default() -> Self {
        Self {
            metadata: Vec::new(),
            tensors: Vec::new(),
            tensor_count: 0,
        }
    }
}

impl Default for Derived {
    /// An empty sub-type stands for the descriptor's first one where [`ModelType::derive`](crate::ModelType::derive) is
    /// left alone.
    fn default() -> Self {
        Self {
            sub_type: String::new(),
            base_model_hint: None,
            fields: "{}".to_owned(),
            problem: None,
        }
    }
}

impl Default for NamePatterns {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            regex: false,
        }
    }
}

impl Default for QueryFilter {
    /// Filters nothing.
    fn default() -> Self {
        Self {
            hashes: Vec::new(),
            fuzzy: None,
            initial: None,
            names: NamePatterns::default(),
        }
    }
}

impl Default for MergeInput {
    fn default() -> Self {
        Self {
            sidecar: "{}".to_owned(),
            remote_version: "{}".to_owned(),
            source: "civitai_api".to_owned(),
            edited: Vec::new(),
        }
    }
}

impl Default for OrganiseInput {
    fn default() -> Self {
        Self {
            base_model: String::new(),
            first_tag: String::new(),
            author: String::new(),
            model_name: String::new(),
            version_name: String::new(),
            sub_type: String::new(),
            fields: "{}".to_owned(),
        }
    }
}

impl Default for Placement {
    /// An empty root key stands for the descriptor's first root where
    /// [`ModelType::organise`](crate::ModelType::organise) is left alone.
    fn default() -> Self {
        Self {
            placeholders: Vec::new(),
            spaces: None,
            root_key: String::new(),
        }
    }
}

impl Default for FileChoice {
    /// Everything open.
    fn default() -> Self {
        Self {
            id: None,
            file_type: None,
            format: None,
            size: None,
            fp: None,
            primary: false,
        }
    }
}

impl Default for Selection {
    /// All models that are not excluded.
    fn default() -> Self {
        Self {
            base_models: Vec::new(),
            sub_types: Vec::new(),
            tags_include: Vec::new(),
            tags_exclude: Vec::new(),
            tag_logic: TagLogic::Any,
            folder_prefixes_include: Vec::new(),
            folder_prefixes_exclude: Vec::new(),
            root_key: None,
            favorites_only: false,
            credit_required: None,
            selling_allowed: None,
            initial: None,
            names: NamePatterns::default(),
            search: String::new(),
        }
    }
}

impl Default for Request {
    /// `GET` without anything.
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            path: String::new(),
            path_params: Vec::new(),
            query: Vec::new(),
            content_type: String::new(),
            body: Vec::new(),
        }
    }
}
