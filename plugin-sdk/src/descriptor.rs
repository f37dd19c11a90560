//! Building a [`Descriptor`].
//!
//! Each method sets the field of its name and returns the descriptor, so that a type is described in one expression.

use crate::{Capabilities, Column, Descriptor, Facet, HashPolicy, HeaderInterest, RootKind, SettingEquals, SubType};

/// The filters that every type has use for.
const FACETS: [(&str, &str); 3] = [("folder", "Folder"), ("base-model", "Base model"), ("tag", "Tag")];

fn facets<'a>(kinds: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Facet> {
    let facet = |(kind, label): (&str, &str)| Facet {
        kind: kind.to_owned(),
        label: label.to_owned(),
    };
    kinds.into_iter().map(facet).collect()
}

fn texts<I: IntoIterator<Item: Into<String>>>(items: I) -> Vec<String> {
    items.into_iter().map(Into::into).collect()
}

impl Descriptor {
    /// A type with the singular id `id` (such as `vae`), the URL prefix `prefix` (such as `vaes`) and a name in the
    /// plural. Id and prefix are `[a-z][a-z0-9_-]*` of at most 40 characters.
    ///
    /// It has one sub-type, named as the type; place 100 in the navigation; the path template
    /// `{base_model}/{first_tag}`; hashes at scan; filters for folder, base model and tag, and for the kind once it has
    /// several sub-types; columns for base model, size and date. Extensions and at least one root are still missing.
    pub fn new(id: &str, prefix: &str, display_name: &str) -> Self {
        Self {
            id: id.to_owned(),
            prefix: prefix.to_owned(),
            display_name: display_name.to_owned(),
            version: "0.1.0".to_owned(),
            menu_order: 100,
            sub_types: vec![SubType {
                id: id.to_owned(),
                label: display_name.to_owned(),
            }],
            sub_types_closed: false,
            extensions: Vec::new(),
            roots: Vec::new(),
            remote_types: Vec::new(),
            remote_types_text: String::new(),
            default_path_template: "{base_model}/{first_tag}".to_owned(),
            hashing: HashPolicy::AtScan,
            new_from_remote: true,
            new_sidecar_fields: "{}".to_owned(),
            headers: HeaderInterest {
                metadata_keys: Vec::new(),
                tensors: Vec::new(),
            },
            query_parameters: Vec::new(),
            usage_bucket: None,
            filename_conflicts_off: None,
            facets: Vec::new(),
            columns: Vec::new(),
            capabilities: Capabilities {
                remote_hosts: Vec::new(),
                kv: false,
                events: Vec::new(),
            },
        }
        .facets(FACETS)
        .columns([
            ("base_model", "Base model"),
            ("file_size", "Size"),
            ("modified", "Added"),
        ])
    }

    /// Version of the plugin, semver; best `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Place in the navigation, ascending.
    #[must_use]
    pub fn menu_order(mut self, place: u32) -> Self {
        self.menu_order = place;
        self
    }

    /// The sub-types as (id, label); the first is the default. Several of them are worth a filter, unless others were
    /// chosen by [`facets`](Self::facets).
    #[must_use]
    pub fn sub_types<'a>(mut self, sub_types: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let sub_type = |(id, label): (&str, &str)| SubType {
            id: id.to_owned(),
            label: label.to_owned(),
        };
        self.sub_types = sub_types.into_iter().map(sub_type).collect();
        let [folder, base_model, tag] = FACETS;
        if self.sub_types.len() > 1 && self.facets == facets([folder, base_model, tag]) {
            return self.facets([folder, base_model, ("sub-type", "Kind"), tag]);
        }
        self
    }

    /// Lets the route `model-types` answer only the sub-types above.
    #[must_use]
    pub fn sub_types_closed(mut self) -> Self {
        self.sub_types_closed = true;
        self
    }

    /// Extensions of weight files, lower-case with the dot.
    #[must_use]
    pub fn extensions<I: IntoIterator<Item: Into<String>>>(mut self, extensions: I) -> Self {
        self.extensions = texts(extensions);
        self
    }

    /// Adds a kind of folder; the first one added is the default. `key` stands below `folder_paths` in the settings,
    /// `folders` are names below a ComfyUI `models` folder, `default_root_setting` names the default download root.
    #[must_use]
    pub fn root<I>(mut self, key: &str, folders: I, default_root_setting: &str) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.roots.push(RootKind {
            key: key.to_owned(),
            folders: texts(folders),
            default_root_setting: default_root_setting.to_owned(),
        });
        self
    }

    /// Provider types that may be downloaded as this type, lower-case, and the same for a person, as in "Expected
    /// LORA, LoCon, or DORA".
    #[must_use]
    pub fn remote_types<I: IntoIterator<Item: Into<String>>>(mut self, remote_types: I, text: &str) -> Self {
        self.remote_types = texts(remote_types);
        self.remote_types_text = text.to_owned();
        self
    }

    /// Template for paths below a root until the person sets one.
    #[must_use]
    pub fn default_path_template(mut self, template: &str) -> Self {
        self.default_path_template = template.to_owned();
        self
    }

    /// When to hash.
    #[must_use]
    pub fn hashing(mut self, policy: HashPolicy) -> Self {
        self.hashing = policy;
        self
    }

    /// `from_civitai` of a new local file; true unless set.
    #[must_use]
    pub fn new_from_remote(mut self, from_remote: bool) -> Self {
        self.new_from_remote = from_remote;
        self
    }

    /// Further sidecar fields of a new file with their defaults: one JSON object.
    #[must_use]
    pub fn new_sidecar_fields(mut self, fields: &serde_json::Value) -> Self {
        self.new_sidecar_fields = fields.to_string();
        self
    }

    /// Adds what `derive` wants of a safetensors header: keys of `__metadata__` and substrings of tensor names.
    #[must_use]
    pub fn headers<K, T>(mut self, metadata_keys: K, tensors: T) -> Self
    where
        K: IntoIterator<Item: Into<String>>,
        T: IntoIterator<Item: Into<String>>,
    {
        self.headers
            .metadata_keys
            .extend(metadata_keys.into_iter().map(Into::into));
        self.headers.tensors.extend(tensors.into_iter().map(Into::into));
        self
    }

    /// Query parameters of the listing that `parse_query` understands.
    #[must_use]
    pub fn query_parameters<I: IntoIterator<Item: Into<String>>>(mut self, names: I) -> Self {
        self.query_parameters = texts(names);
        self
    }

    /// Bucket of the usage statistics that counts this type.
    #[must_use]
    pub fn usage_bucket(mut self, bucket: &str) -> Self {
        self.usage_bucket = Some(bucket.to_owned());
        self
    }

    /// A settings key and the value with which file-name conflicts are not reported.
    #[must_use]
    pub fn filename_conflicts_off(mut self, key: &str, value: &str) -> Self {
        self.filename_conflicts_off = Some(SettingEquals {
            key: key.to_owned(),
            value: value.to_owned(),
        });
        self
    }

    /// Filters for the page as (kind, label); kinds are `base-model`, `tag`, `sub-type` and `folder`.
    #[must_use]
    pub fn facets<'a>(mut self, kinds: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.facets = facets(kinds);
        self
    }

    /// Facts for the page as (key of a listed item, heading).
    #[must_use]
    pub fn columns<'a>(mut self, columns: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let column = |(field, label): (&str, &str)| Column {
            field: field.to_owned(),
            label: label.to_owned(),
        };
        self.columns = columns.into_iter().map(column).collect();
        self
    }

    /// Asks for own state in `kv`.
    #[must_use]
    pub fn wants_kv(mut self) -> Self {
        self.capabilities.kv = true;
        self
    }

    /// Asks to broadcast messages of these types.
    #[must_use]
    pub fn wants_events<I: IntoIterator<Item: Into<String>>>(mut self, kinds: I) -> Self {
        self.capabilities.events = texts(kinds);
        self
    }

    /// Asks to fetch from these hosts, such as `huggingface.co`.
    #[must_use]
    pub fn wants_remote_hosts<I: IntoIterator<Item: Into<String>>>(mut self, hosts: I) -> Self {
        self.capabilities.remote_hosts = texts(hosts);
        self
    }

    /// What a host would refuse of this descriptor, one text each; empty when it is sound.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (what, id) in [("id", &self.id), ("prefix", &self.prefix)] {
            if !is_identifier(id) {
                faults.push(format!(
                    "{what} `{id}` is not [a-z][a-z0-9_-]* of at most 40 characters"
                ));
            }
        }
        if self.sub_types.is_empty() {
            faults.push("there is no sub-type".to_owned());
        }
        if self.extensions.is_empty() {
            faults.push("there is no extension".to_owned());
        }
        for extension in &self.extensions {
            if !is_extension(extension) {
                faults.push(format!(
                    "extension {extension:?} is not a dot and a lower-case name of at most 40 bytes behind it"
                ));
            }
        }
        if self.roots.is_empty() {
            faults.push("there is no root".to_owned());
        }
        for root in &self.roots {
            if !is_identifier(&root.key) {
                faults.push(format!("root key `{}` is not [a-z][a-z0-9_-]*", root.key));
            }
        }
        if !serde_json::from_str(&self.new_sidecar_fields).is_ok_and(|fields: serde_json::Value| fields.is_object()) {
            faults.push("new-sidecar-fields is not one JSON object".to_owned());
        }
        for facet in &self.facets {
            if !["base-model", "tag", "sub-type", "folder"].contains(&facet.kind.as_str()) {
                faults.push(format!("facet `{}` is none that the host keeps", facet.kind));
            }
        }
        faults
    }
}

fn is_extension(text: &str) -> bool {
    text == text.to_lowercase()
        && text.strip_prefix('.').is_some_and(|name| {
            (1..=40).contains(&name.len())
                && !name
                    .chars()
                    .any(|letter| matches!(letter, '/' | '\\' | '.') || letter.is_control())
        })
}

fn is_identifier(text: &str) -> bool {
    text.len() <= 40
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_descriptor_is_sound() {
        let descriptor =
            Descriptor::new("vae", "vaes", "VAEs")
                .extensions([".pt"])
                .root("vae", ["vae"], "default_vae_root");
        assert_eq!(descriptor.faults(), [""; 0]);
        assert_eq!(descriptor.sub_types[0].id, "vae");
    }

    #[test]
    fn several_sub_types_have_a_filter_unless_others_were_chosen() {
        let kinds =
            |descriptor: Descriptor| -> Vec<String> { descriptor.facets.into_iter().map(|facet| facet.kind).collect() };
        let new = || Descriptor::new("vae", "vaes", "VAEs");
        let two = [("vae", "VAE"), ("tiny", "Tiny VAE")];
        assert_eq!(kinds(new().sub_types(two)), ["folder", "base-model", "sub-type", "tag"]);
        assert_eq!(kinds(new().sub_types([two[0]])), ["folder", "base-model", "tag"]);
        for chosen in [
            new().sub_types(two).facets([("tag", "Tag")]),
            new().facets([("tag", "Tag")]).sub_types(two),
        ] {
            assert_eq!(kinds(chosen), ["tag"]);
        }
    }

    #[test]
    fn faults_are_named() {
        let mut descriptor = Descriptor::new("Vae", "", "VAEs")
            .extensions(["PT"])
            .facets([("colour", "Colour")]);
        descriptor.sub_types.clear();
        descriptor.new_sidecar_fields = "[]".to_owned();
        assert_eq!(descriptor.faults().len(), 7);

        let odd_root = Descriptor::new("vae", "vaes", "VAEs")
            .extensions([".pt"])
            .root("My VAEs", ["vae"], "x");
        assert_eq!(odd_root.faults(), ["root key `My VAEs` is not [a-z][a-z0-9_-]*"]);

        for odd in ["./../../x", ".tar.gz", ".", ".a\n"] {
            let descriptor = Descriptor::new("vae", "vaes", "VAEs")
                .extensions([odd])
                .root("vae", ["vae"], "x");
            assert_eq!(descriptor.faults().len(), 1, "{odd:?}");
        }
    }
}
