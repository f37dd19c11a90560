//! The header of a safetensors file, read with hard limits: eight bytes of length, then
//! one JSON object. Tensor data is never touched.
//!
//! Source of the format: the safetensors documentation. Sizes are checked against the
//! file before anything is allocated.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io::Read;
use std::path::Path;

use aho_corasick::AhoCorasick;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::files::foreign::ForeignFile;
use crate::files::foreign_json;

/// Longest header that is read, in bytes.
pub const MAX_HEADER: u64 = 64 << 20;
/// Longest metadata value handed to a plugin, in bytes.
const MAX_VALUE: usize = 64 << 10;
/// Most tensors handed to a plugin.
const MAX_TENSORS: usize = 16;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Io(#[from] std::io::Error),
    /// It ends before the header's length.
    #[error("is only {0} bytes long, too short for a safetensors file; the download was probably cut off")]
    TooShort(u64),
    /// It ends before the end of its header.
    #[error(
        "ends inside its header ({size} bytes, the header alone needs {needed}); the download was probably cut off"
    )]
    Truncated {
        /// Size of the file.
        size: u64,
        /// Size with the whole header.
        needed: u64,
    },
    /// Its header is longer than is read.
    #[error("says that its header is {0} bytes long, more than the {MAX_HEADER} that are accepted")]
    TooLong(u64),
    /// Its header is not what the format says.
    #[error("has a broken header: {0}")]
    Broken(String),
    /// Its tensors need more bytes than the file has.
    #[error("is incomplete: its tensors end at byte {needed}, the file at {size}; download it again")]
    Incomplete {
        /// Size of the file.
        size: u64,
        /// Size that the header asks for.
        needed: u64,
    },
    /// The file goes on behind its tensors.
    #[error("has {} bytes behind its tensors, which end at byte {needed}; it is no whole safetensors file", size - needed)]
    Longer {
        /// Size of the file.
        size: u64,
        /// Size that the header asks for.
        needed: u64,
    },
}

/// What to keep of a header.
#[derive(Debug, Clone, Default)]
pub struct Interest {
    metadata_keys: HashSet<String>,
    // Longest value that is kept, in bytes.
    longest: usize,
    // All substrings at once: headers have thousands of tensors. None when nothing is wanted.
    tensors: Option<AhoCorasick>,
}

impl Interest {
    /// Keys of `__metadata__`, whose values are kept however long they are.
    pub fn whole(metadata_keys: &[&str]) -> Self {
        Self {
            metadata_keys: metadata_keys.iter().map(|key| (*key).to_owned()).collect(),
            longest: usize::MAX,
            tensors: None,
        }
    }

    /// Keys of `__metadata__`, and substrings of tensor names.
    pub fn new(metadata_keys: &[String], tensors: &[String]) -> Self {
        let wanted: Vec<&String> = tensors.iter().filter(|part| !part.is_empty()).collect();
        Self {
            metadata_keys: metadata_keys.iter().cloned().collect(),
            longest: MAX_VALUE,
            tensors: if wanted.is_empty() {
                None
            } else {
                AhoCorasick::new(wanted).ok()
            },
        }
    }
}

/// One tensor of a header.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Element type.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
}

/// What was kept of a header.
#[derive(Debug, Default)]
pub struct Header {
    /// The wanted pairs of `__metadata__`.
    pub metadata: Vec<(String, String)>,
    /// AutoV3 as the header says it: twelve lower-case hex digits.
    pub autov3: Option<String>,
    /// The wanted tensors.
    pub tensors: Vec<Tensor>,
    /// How many tensors there are.
    pub tensor_count: u32,
}

/// Reads the header of a file.
///
/// # Errors
/// Says in words for a person what is wrong with the file.
pub fn read(path: &Path, interest: &Interest) -> Result<Header, HeaderError> {
    Ok(read_with_sizes(path, interest)?.0)
}

/// Checks that a file has a readable header, and ends where its tensors do.
///
/// # Errors
/// Says in words for a person what is wrong with the file.
pub fn check_whole(path: &Path) -> Result<(), HeaderError> {
    let (_, needed, size) = read_with_sizes(path, &Interest::whole(&[]))?;
    if needed < size {
        return Err(HeaderError::Longer { size, needed });
    }
    Ok(())
}

/// The header, the size that it asks for, and that of the file.
fn read_with_sizes(path: &Path, interest: &Interest) -> Result<(Header, u64, u64), HeaderError> {
    let mut file = ForeignFile::existing(path).map_err(std::io::Error::from)?;
    let size = file.len();
    let mut length = [0; 8];
    if size < 8 {
        return Err(HeaderError::TooShort(size));
    }
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(HeaderError::TooLong(length));
    }
    let needed = length + 8;
    if needed > size {
        return Err(HeaderError::Truncated { size, needed });
    }
    // Bounded by MAX_HEADER and by the file itself.
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    crate::metrics::content_read(needed);
    let (header, data_end) = parse(&text, interest).or_else(|error| {
        // Trainers write JSON as Python does. What is broken in another way is broken afterwards, too.
        parse(&foreign_json::cleaned(&text), interest).map_err(|_| error)
    })?;
    let needed = needed.saturating_add(data_end);
    if needed > size {
        return Err(HeaderError::Incomplete { size, needed });
    }
    Ok((header, needed, size))
}

/// Parses the JSON of a header; also the end of the last tensor behind it, in bytes.
///
/// # Errors
/// [`HeaderError::Broken`].
pub fn parse(text: &[u8], interest: &Interest) -> Result<(Header, u64), HeaderError> {
    let mut input = serde_json::Deserializer::from_slice(text);
    let mut seed = HeaderSeed {
        interest,
        header: Header::default(),
        data_end: 0,
    };
    (&mut seed)
        .deserialize(&mut input)
        .map_err(|error| HeaderError::Broken(error.to_string()))?;
    input.end().map_err(|error| HeaderError::Broken(error.to_string()))?;
    Ok((seed.header, seed.data_end))
}

struct HeaderSeed<'i> {
    interest: &'i Interest,
    header: Header,
    data_end: u64,
}

#[derive(Deserialize)]
struct RawTensor<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> DeserializeSeed<'de> for &mut HeaderSeed<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Of two tensors of one name the last counts, as in the library of this format.
        let mut ends: HashMap<Cow<'de, str>, u64> = HashMap::new();
        let mut has_metadata = false;
        while let Some(key) = map.next_key::<BorrowedText<'de>>()? {
            let key = key.0;
            if key == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(de::Error::custom("`__metadata__` occurs twice"));
                }
                map.next_value_seed(MetadataSeed(self))?;
                continue;
            }
            let tensor: RawTensor = map.next_value()?;
            if tensor.data_offsets.0 > tensor.data_offsets.1 {
                return Err(de::Error::custom(format_args!("tensor {key:?} ends before it starts")));
            }
            if ends.insert(key.clone(), tensor.data_offsets.1).is_some() {
                self.header.tensors.retain(|other| *other.name != *key);
            }
            if self.header.tensors.len() < MAX_TENSORS
                && self
                    .interest
                    .tensors
                    .as_ref()
                    .is_some_and(|parts| parts.is_match(&*key))
            {
                self.header.tensors.push(Tensor {
                    name: key.into_owned(),
                    dtype: tensor.dtype.into_owned(),
                    shape: tensor.shape,
                });
            }
        }
        self.header.tensor_count = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        self.data_end = ends.into_values().max().unwrap_or_default();
        Ok(())
    }
}

/// Text borrowed from the input where it has no escapes.
#[derive(Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads `__metadata__`, whose values should be texts; other values are passed over.
struct MetadataSeed<'s, 'i>(&'s mut HeaderSeed<'i>);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_, '_> {
    type Value = ();

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        // `null` stands for no metadata.
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: de::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("an object of texts under `__metadata__`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut sshs, mut modelspec) = (None, None);
        while let Some(BorrowedText(key)) = map.next_key::<BorrowedText<'de>>()? {
            let wanted = self.0.interest.metadata_keys.contains(&*key);
            let hash = matches!(&*key, "sshs_model_hash" | "modelspec.hash_sha256");
            if !wanted && !hash {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            // Of two values of one key the last counts.
            self.0.header.metadata.retain(|(other, _)| *other != *key);
            let Text(Some(value)) = map.next_value()? else { continue };
            match &*key {
                "sshs_model_hash" => sshs = autov3(&value),
                "modelspec.hash_sha256" => modelspec = autov3(&value),
                _ => {}
            }
            if wanted && value.len() <= self.0.interest.longest {
                self.0.header.metadata.push((key.into_owned(), value));
            }
        }
        self.0.header.autov3 = sshs.or(modelspec);
        Ok(())
    }
}

/// A text, or nothing for any other JSON value.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: de::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let value: &serde_json::value::RawValue = Deserialize::deserialize(input)?;
        Ok(Self(serde_json::from_str(value.get()).ok()))
    }
}

/// First twelve hex digits of a hash in a header; none for the hash of nothing, which some
/// trainers wrote.
pub fn autov3(hash: &str) -> Option<String> {
    let hash = hash.trim().to_lowercase();
    let digits = hash.strip_prefix("0x").unwrap_or(&hash).get(..12)?;
    (digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && digits != "e3b0c44298fc").then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn framed(json: &str, data: usize) -> Vec<u8> {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    fn interest() -> Interest {
        Interest::new(&["ss_base".into()], &["attn".into()])
    }

    #[test]
    fn wanted_metadata_and_tensors_are_kept_and_the_rest_is_counted() {
        let json = r#"{"__metadata__":{"ss_base":"sd_v1","other":"x","sshs_model_hash":"0xABCDEF0123456789"},
            "a.attn.weight":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},
            "b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]}}"#;
        let (_folder, path) = file(&framed(json, 12));
        let header = read(&path, &interest()).unwrap();
        assert_eq!(header.metadata, [("ss_base".to_owned(), "sd_v1".to_owned())]);
        assert_eq!(header.autov3.as_deref(), Some("abcdef012345"));
        assert_eq!(header.tensor_count, 2);
        assert_eq!(
            header.tensors,
            [Tensor {
                name: "a.attn.weight".into(),
                dtype: "F16".into(),
                shape: vec![2, 2]
            }]
        );
    }

    #[test]
    fn hostile_files_give_an_error_in_words_and_no_large_allocation() {
        let deep = format!(r#"{{"__metadata__":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        let cases: Vec<(Vec<u8>, &str)> = vec![
            (vec![], "too short"),
            (vec![1; 7], "too short"),
            ((1u64 << 63).to_le_bytes().to_vec(), "more than"),
            (100_000_000u64.to_le_bytes().to_vec(), "more than"),
            (framed("{}", 0)[..9].to_vec(), "inside its header"),
            (framed("not json", 0), "broken header"),
            (framed("[1,2,3]", 0), "broken header"),
            (framed(&deep, 0), "broken header"),
            (framed(r#"{"a":1,"a":2}"#, 0), "broken header"),
            (framed(r#"{"__metadata__":{},"__metadata__":{}}"#, 0), "occurs twice"),
            (
                framed(r#"{"t":{"dtype":"F32","shape":[9],"data_offsets":[0,99999]}}"#, 0),
                "incomplete",
            ),
            (
                framed(r#"{"t":{"dtype":"F32","shape":[9],"data_offsets":[9,0]}}"#, 0),
                "ends before",
            ),
            (
                b"<!DOCTYPE html><html><body>403 Forbidden</body></html>".to_vec(),
                "more than",
            ),
        ];
        for (bytes, word) in cases {
            let (_folder, path) = file(&bytes);
            let error = read(&path, &interest()).unwrap_err().to_string();
            assert!(error.contains(word), "{error:?} lacks {word:?}");
        }
    }

    #[test]
    fn metadata_values_that_are_no_texts_are_passed_over() {
        let json = r#"{"__metadata__":{"ss_base":{"a":1},"n":3}}"#;
        let (_folder, path) = file(&framed(json, 0));
        assert!(read(&path, &interest()).unwrap().metadata.is_empty());
    }

    #[test]
    fn null_stands_for_no_metadata() {
        let json = r#"{"__metadata__":null,"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
        let (_folder, path) = file(&framed(json, 4));
        let header = read(&path, &interest()).unwrap();
        assert!(header.metadata.is_empty() && header.tensor_count == 1);
    }

    #[test]
    fn metadata_as_python_writes_it_is_read() {
        let json = r#"{"__metadata__":{"ss_base":"x\ud800y","loss":NaN},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"z":1e999}}"#;
        let (_folder, path) = file(&framed(json, 4));
        let header = read(&path, &interest()).unwrap();
        assert_eq!(header.metadata, [("ss_base".to_owned(), "x\u{fffd}y".to_owned())]);
    }

    #[test]
    fn the_hash_of_nothing_is_no_autov3() {
        assert_eq!(
            autov3("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            None
        );
        assert_eq!(autov3("123"), None);
    }

    /// Headers near the border of what is valid.
    fn headers() -> impl Strategy<Value = String> {
        let offset = prop_oneof![Just("0"), Just("4"), Just("8"), Just("4.0"), Just("-1"), Just("null")];
        let dtype = prop_oneof![
            Just("\"F32\""),
            Just("\"F32\""),
            Just("\"U8\""),
            Just("\"none\""),
            Just("3")
        ];
        let shape = prop_oneof![Just("[]"), Just("[1]"), Just("[2, 1]"), Just("[0]"), Just("1")];
        let tensor =
            (dtype, shape, offset.clone(), offset, 0..6).prop_map(|(dtype, shape, start, end, form)| match form {
                0 => format!("[{dtype}, {shape}, [{start}, {end}]]"),
                1 => format!(
                    "{{\"dtype\": {dtype}, \"shape\": {shape}, \"data_offsets\": [{start}, {end}], \"x\": [{{}}]}}"
                ),
                2 => "null".to_owned(),
                _ => format!("{{\"data_offsets\": [{start}, {end}], \"dtype\": {dtype}, \"shape\": {shape}}}"),
            });
        let metadata = prop_oneof![
            Just("null".to_owned()),
            Just("{}".to_owned()),
            Just(r#"{"a": "1", "a": "2", "ss_base": "x"}"#.to_owned()),
            Just(r#"{"a": 1}"#.to_owned()),
            Just("[]".to_owned()),
        ];
        let name = prop_oneof![Just("a"), Just("b"), Just("attn"), Just("\\u0061")];
        let member = prop_oneof![
            (name, tensor).prop_map(|(name, tensor)| format!("\"{name}\": {tensor}")),
            metadata.prop_map(|metadata| format!("\"__metadata__\": {metadata}")),
        ];
        let space = prop_oneof![Just(""), Just("   "), Just("\n")];
        (proptest::collection::vec(member, 0..4), space)
            .prop_map(|(members, space)| format!("{{{}}}{space}", members.join(",")))
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_the_formats_own_library_reads_is_read(json in headers(), data in 0usize..4) {
            let bytes = framed(&json, data * 4);
            if let Ok((_, theirs)) = safetensors::SafeTensors::read_metadata(&bytes) {
                let (_folder, path) = file(&bytes);
                let header = read(&path, &interest());
                // The library of the format looks at the length of the data only when it reads tensors.
                if safetensors::SafeTensors::deserialize(&bytes).is_ok() {
                    let header = header.unwrap();
                    proptest::prop_assert_eq!(header.tensor_count as usize, theirs.tensors().len());
                    let theirs = theirs.metadata().as_ref().and_then(|pairs| pairs.get("ss_base"));
                    proptest::prop_assert_eq!(header.metadata.first().map(|(_, value)| value), theirs);
                }
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes, &interest());
        }
    }
}
