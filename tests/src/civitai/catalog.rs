//! Models, versions and files as the stand-in has them, and as its API shows them.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// A model.
#[derive(Debug, Clone)]
pub struct CatalogModel {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Such as `LORA`.
    pub kind: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// HTML.
    pub description: String,
    /// User name of its creator.
    pub creator: String,
    /// Further fields, such as those of the licence; they replace the usual ones.
    pub fields: Map<String, Value>,
    /// Newest first.
    pub versions: Vec<CatalogVersion>,
}

impl CatalogModel {
    /// A model of one version with the id `id * 10` and one file.
    pub fn new(id: u64, name: &str, kind: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            kind: kind.to_owned(),
            tags: vec!["style".into(), "test".into()],
            description: format!("<p>{name} in words</p>"),
            creator: "stand-in".into(),
            fields: Map::new(),
            versions: vec![CatalogVersion::new(id * 10, "v1")],
        }
    }

    /// Sets a field of the model.
    #[must_use]
    pub fn field(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    /// Other versions, newest first.
    #[must_use]
    pub fn versions(mut self, versions: impl IntoIterator<Item = CatalogVersion>) -> Self {
        self.versions = versions.into_iter().collect();
        self
    }

    /// The version with this id.
    pub fn version(&self, id: u64) -> Option<&CatalogVersion> {
        self.versions.iter().find(|version| version.id == id)
    }

    /// As `GET /models/{id}` shows it.
    pub(crate) fn json(&self, api: &str, storage: &str) -> Value {
        let mut fields = json!({
            "id": self.id, "name": self.name, "type": self.kind, "nsfw": false, "poi": false,
            "description": self.description, "tags": self.tags,
            "creator": { "username": self.creator, "image": null },
            "allowNoCredit": true, "allowCommercialUse": ["Image", "Sell"], "allowDerivatives": true, "allowDifferentLicense": true,
            "modelVersions": self.versions.iter().map(|own| own.json(api, storage)).collect::<Vec<_>>(),
        });
        if let Value::Object(fields) = &mut fields {
            fields.extend(self.fields.clone());
        }
        fields
    }

    /// As `GET /model-versions/{id}` shows one of its versions.
    pub(crate) fn version_json(&self, version: &CatalogVersion, api: &str, storage: &str) -> Value {
        let mut fields = version.json(api, storage);
        if let Value::Object(fields) = &mut fields {
            fields.insert("modelId".into(), self.id.into());
            let model = json!({ "name": self.name, "type": self.kind, "nsfw": false, "poi": false });
            fields.insert("model".into(), model);
        }
        fields
    }
}

/// A version.
#[derive(Debug, Clone)]
pub struct CatalogVersion {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Such as `SDXL 1.0`.
    pub base_model: String,
    /// Trigger words.
    pub words: Vec<String>,
    /// Its files; the first is the primary one.
    pub files: Vec<CatalogFile>,
    /// Its images: address and NSFW level.
    pub images: Vec<Value>,
    /// Whether only those who paid get its files.
    pub early_access: bool,
    /// Further fields; they replace the usual ones.
    pub fields: Map<String, Value>,
}

impl CatalogVersion {
    /// A version with one file of 3,000 bytes.
    pub fn new(id: u64, name: &str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            base_model: "SDXL 1.0".into(),
            words: vec![format!("word{id}")],
            files: vec![CatalogFile::new(id * 10, &format!("file{id}.safetensors"), 3_000)],
            images: Vec::new(),
            early_access: false,
            fields: Map::new(),
        }
    }

    /// Its only file is one with this hash.
    #[must_use]
    pub fn sha256(mut self, sha256: &str) -> Self {
        if let Some(file) = self.files.first_mut() {
            sha256.clone_into(&mut file.sha256);
        }
        self
    }

    /// Another base model.
    #[must_use]
    pub fn base(mut self, base_model: &str) -> Self {
        base_model.clone_into(&mut self.base_model);
        self
    }

    /// Sets a field of the version.
    #[must_use]
    pub fn field(mut self, key: &str, value: Value) -> Self {
        self.fields.insert(key.to_owned(), value);
        self
    }

    fn json(&self, api: &str, storage: &str) -> Value {
        let files = self.files.iter().enumerate();
        let files: Vec<Value> = files
            .map(|(place, file)| file.json(place == 0, &format!("{api}/api/download/models/{}", self.id)))
            .collect();
        let images: Vec<Value> = self.images.iter().map(|image| at_storage(image, storage)).collect();
        let mut fields = json!({
            "id": self.id, "name": self.name, "baseModel": self.base_model, "trainedWords": self.words,
            "createdAt": "2025-01-02T03:04:05.000Z", "publishedAt": "2025-01-02T03:04:05.000Z", "nsfwLevel": 1,
            "status": "Published", "description": null, "stats": { "downloadCount": 1 },
            "availability": if self.early_access { "EarlyAccess" } else { "Public" },
            "earlyAccessEndsAt": self.early_access.then_some("2999-01-01T00:00:00.000Z"),
            "usageControl": "Download",
            "files": files, "images": images,
            "downloadUrl": format!("{api}/api/download/models/{}", self.id),
        });
        if let Value::Object(fields) = &mut fields {
            fields.extend(self.fields.clone());
        }
        fields
    }
}

/// Images whose address starts with `/` are at the host that files come from.
fn at_storage(image: &Value, storage: &str) -> Value {
    let mut image = image.clone();
    let path = image["url"].as_str().filter(|url| url.starts_with('/'));
    if let Some(url) = path.map(|path| format!("{storage}{path}")) {
        image["url"] = url.into();
    }
    image
}

/// A file: bytes that follow from a seed, so that any size costs nothing.
#[derive(Debug, Clone)]
pub struct CatalogFile {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// What its bytes follow from.
    pub seed: u64,
    /// As the API says it, lower case.
    pub sha256: String,
    /// As the API says it.
    pub autov3: Option<String>,
    /// Such as `Model`.
    pub kind: String,
    /// Format, size and precision.
    pub metadata: Value,
}

impl CatalogFile {
    /// A file with the hash of its bytes.
    pub fn new(id: u64, name: &str, size: u64) -> Self {
        let mut file = Self {
            id,
            name: name.to_owned(),
            size,
            seed: id,
            sha256: String::new(),
            autov3: None,
            kind: "Model".into(),
            metadata: json!({ "format": "SafeTensor", "size": "pruned", "fp": "fp16" }),
        };
        file.sha256 = file.true_sha256();
        file
    }

    /// Some of its bytes; a `.safetensors` starts with a header of one tensor that is all the rest.
    pub fn bytes(&self, from: u64, length: usize) -> Vec<u8> {
        let mut bytes = self.noise(from, length);
        let header = self.header();
        if from < header.len() as u64 && self.size > header.len() as u64 {
            let own = &header[from as usize..];
            let both = own.len().min(bytes.len());
            bytes[..both].copy_from_slice(&own[..both]);
        }
        bytes
    }

    fn header(&self) -> Vec<u8> {
        /// Long enough for any size.
        const JSON: usize = 120;
        if !self.name.ends_with(".safetensors") {
            return Vec::new();
        }
        let rest = self.size.saturating_sub(8 + JSON as u64);
        let text = format!(r#"{{"t":{{"dtype":"U8","shape":[{rest}],"data_offsets":[0,{rest}]}}}}"#);
        [&(JSON as u64).to_le_bytes()[..], format!("{text:<JSON$}").as_bytes()].concat()
    }

    fn noise(&self, from: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        let mut block = from / 8;
        let skip = (from % 8) as usize;
        while bytes.len() < length + skip {
            bytes.extend_from_slice(&mixed(self.seed, block).to_le_bytes());
            block += 1;
        }
        bytes.drain(..skip);
        bytes.truncate(length);
        bytes
    }

    /// The hash of its bytes, whatever the API says.
    pub fn true_sha256(&self) -> String {
        const STEP: u64 = 1 << 20;
        let mut hash = Sha256::new();
        let mut from = 0;
        while from < self.size {
            let length = STEP.min(self.size - from);
            hash.update(self.bytes(from, length as usize));
            from += length;
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn json(&self, primary: bool, url: &str) -> Value {
        let mut hashes = Map::new();
        if !self.sha256.is_empty() {
            hashes.insert("SHA256".into(), self.sha256.to_uppercase().into());
        }
        if let Some(autov3) = &self.autov3 {
            hashes.insert("AutoV3".into(), autov3.to_uppercase().into());
        }
        let url = if primary {
            url.to_owned()
        } else {
            format!("{url}?type={}&id={}", self.kind, self.id)
        };
        json!({
            "id": self.id, "name": self.name, "type": self.kind, "sizeKB": self.size as f64 / 1024.0, "primary": primary,
            "hashes": hashes, "metadata": self.metadata, "downloadUrl": url,
        })
    }
}

/// Eight bytes of a block (SplitMix64).
pub(crate) fn mixed(seed: u64, block: u64) -> u64 {
    let mut value = seed
        .wrapping_mul(0xA24B_AED4_963E_E407)
        .wrapping_add((block + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}
