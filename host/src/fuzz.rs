//! Formats that others write, under generated input: nothing panics, hangs or grows without bound, whatever the bytes are.
//!
//! Each target runs a few hundred cases; with `MODELSHELF_FUZZ_SECONDS=N` in the environment for N seconds, as
//! in CI (`.ci/run`). A failure prints the smallest input that shows it: keep that as a test of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, header};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value};

use crate::files::foreign;
use crate::http::served_file::ServedFile;
use crate::library::safetensors::{self, Interest};
use crate::library::sidecar::{self, Sidecar};
use crate::library::{metadata, snapshot_tests};
use crate::net::guard::Guard;
use crate::settings::{RootSources, add_comfyui};

/// Memory that the process of a target may have at most, in MiB.
const MOST_MIB: u64 = 2048;

/// Checks generated values, for the time that the environment names and at least a few hundred.
fn fuzz<S: Strategy>(strategy: &S, check: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = std::env::var("MODELSHELF_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0);
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        let mut runner = TestRunner::new(Config {
            cases: 200,
            failure_persistence: None,
            ..Config::default()
        });
        if let Err(error) = runner.run(strategy, &check) {
            panic!("{error}");
        }
        if Instant::now() >= until {
            break;
        }
    }
    if let Some(status) = foreign::kernel_text(Path::new("/proc/self/status")) {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        assert!(peak.is_none_or(|kib| kib / 1024 < MOST_MIB), "a peak of {peak:?} KiB");
    }
}

/// Any JSON, with the odd values that programs write, and with these keys among those of its objects.
fn json(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(keys).prop_map(Value::from),
        Just(Value::from("https://image.civitai.com/x/original=true/1.jpeg")),
        Just(Value::from("../../etc/passwd")),
    ];
    leaf.prop_recursive(5, 96, 12, move |inner| {
        let key = prop_oneof![3 => prop::sample::select(keys).prop_map(str::to_owned), 1 => ".{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..12)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A text with some bytes replaced, removed or doubled.
fn damaged(text: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (
        text,
        prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 0..4),
    )
        .prop_map(|(mut bytes, damages)| {
            for (place, kind, byte) in damages {
                if bytes.is_empty() {
                    break;
                }
                let at = place.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, byte),
                    _ => bytes.truncate(at),
                }
            }
            bytes
        })
}

const SIDECAR: &[&str] = &[
    "file_name",
    "model_name",
    "file_path",
    "size",
    "modified",
    "sha256",
    "base_model",
    "preview_url",
    "tags",
    "notes",
    "civitai",
    "files",
    "hashes",
    "SHA256",
    "AutoV3",
    "images",
    "url",
    "primary",
    "name",
    "id",
    "modelId",
    "model",
    "trainedWords",
    "usage_tips",
    "favorite",
    "exclude",
    "preview_nsfw_level",
    "modelDescription",
    "hash_status",
    "autov3",
    "license_flags",
    "allowCommercialUse",
    "metadata_source",
    "last_checked_at",
    "hf_url",
    "edited_fields",
    "creator",
];

#[test]
fn any_header_of_a_weight_file_is_read_or_refused() {
    const KEYS: &[&str] = &[
        "__metadata__",
        "dtype",
        "shape",
        "data_offsets",
        "F16",
        "F32",
        "ss_base_model_version",
        "sshs_model_hash",
        "modelspec.hash_sha256",
        "lora_unet_down.weight",
        "a.attn.weight",
    ];
    let interest = Interest::new(&["ss_base_model_version".into()], &["attn".into()]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let tensor = (0..64u64, 0..64u64, prop::collection::vec(any::<u64>(), 0..4)).prop_map(
        |(from, to, shape)| serde_json::json!({ "dtype": "F16", "shape": shape, "data_offsets": [from, to] }),
    );
    let tensors = prop::collection::btree_map(".{0,6}", tensor, 0..6).prop_map(|map| serde_json::json!(map));
    let text = prop_oneof![json(KEYS), tensors].prop_map(|value| value.to_string().into_bytes());
    let text = prop_oneof![4 => damaged(text), 1 => prop::collection::vec(any::<u8>(), 0..64)];
    let length = prop_oneof![4 => Just(None), 1 => any::<u64>().prop_map(Some), 1 => (0..200u64).prop_map(Some)];
    fuzz(&(text, length, 0..64usize), |(text, length, data)| {
        if let Ok((header, _)) = safetensors::parse(&text, &interest) {
            prop_assert!(header.tensors.len() <= header.tensor_count as usize);
        }
        let mut bytes = length.unwrap_or(text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(&text);
        bytes.resize(bytes.len() + data, 0);
        std::fs::write(&path, bytes).unwrap();
        if let Err(error) = safetensors::read(&path, &interest) {
            prop_assert!(!error.to_string().is_empty());
        }
        Ok(())
    });
}

#[test]
fn any_metadata_file_is_read_or_refused_and_survives_being_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.metadata.json");
    // One that has what it must have, so that it gets further than that check.
    let whole = json(SIDECAR).prop_map(|value| {
        let mut object = value.as_object().cloned().unwrap_or_default();
        for key in &SIDECAR[..8] {
            object.entry(*key).or_insert(Value::from(""));
        }
        Value::Object(object)
    });
    let text = prop_oneof![2 => whole.boxed(), 1 => json(SIDECAR).boxed()];
    let text = text.prop_map(|value| value.to_string().into_bytes()).boxed();
    fuzz(&prop_oneof![3 => text.clone(), 1 => damaged(text)], |text| {
        std::fs::write(&path, &text).unwrap();
        let Ok(Some(mut sidecar)) = Sidecar::read(&path) else {
            return Ok(());
        };
        let mut record = snapshot_tests::record(1, 0);
        metadata::fill(&mut record, &sidecar);
        metadata::is_anothers(&record, &sidecar);
        metadata::repair(&record, &mut sidecar);
        metadata::untyped(&sidecar);
        let content = sidecar.content();
        std::fs::write(&path, &content).unwrap();
        let again = Sidecar::read(&path).unwrap().unwrap();
        prop_assert_eq!(again.content(), content);
        Ok(())
    });
}

#[test]
fn any_version_that_another_program_noted_is_adopted_or_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.civitai.info");
    let text = json(SIDECAR).prop_map(|value| value.to_string().into_bytes()).boxed();
    fuzz(&prop_oneof![3 => text.clone(), 1 => damaged(text)], |text| {
        std::fs::write(&path, &text).unwrap();
        if let Ok(Some(version)) = sidecar::read_object(&path) {
            metadata::primary_file(&version);
            for is_new in [false, true] {
                let mut own = Sidecar::default();
                metadata::adopt_version(&mut own, &version, is_new);
                metadata::fill(&mut snapshot_tests::record(1, 0), &own);
            }
        }
        Ok(())
    });
}

#[test]
fn any_yaml_of_folders_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("extra_model_paths.yaml");
    let line = prop_oneof![
        "(comfyui|a1111|[a-z]{1,4}):( &x| \\*x)?",
        "    (base_path|checkpoints|loras|is_default|<<): ?(\\||>|\\*x|~|~/m|/a|\\$HOME/m|\\$\\{HOME\\}|%A%|true|\\[a, b\\])?",
        "        (models/[a-z]{1,4}|\\.\\./x|~|\\*)",
        "- .{0,8}",
        ".{0,16}",
    ];
    let text = prop::collection::vec(line, 0..12)
        .prop_map(|lines| lines.join("\n").into_bytes())
        .boxed();
    fuzz(&prop_oneof![3 => text.clone(), 1 => damaged(text)], |text| {
        std::fs::write(&path, &text).unwrap();
        if let Err(error) = add_comfyui(folder.path(), &mut RootSources::default(), &mut Vec::new()) {
            prop_assert!(error.to_string().contains("extra_model_paths.yaml"), "{}", error);
        }
        Ok(())
    });
    // A few bytes that name each other in each other many times over.
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (outer, inner) in ('b'..='k').zip('a'..) {
        let list = vec![format!("*{inner}"); 9].join(", ");
        bomb.push_str(&format!("{outer}: &{outer} [{list}]\n"));
    }
    std::fs::write(&path, bomb).unwrap();
    let _ = add_comfyui(folder.path(), &mut RootSources::default(), &mut Vec::new());
    std::fs::write(&path, "[".repeat(100_000)).unwrap();
    assert!(add_comfyui(folder.path(), &mut RootSources::default(), &mut Vec::new()).is_err());
}

/// Status, `Content-Range` and body of the answer to a range.
async fn part_of(path: &Path, range: &str) -> (u16, Option<String>, Vec<u8>) {
    let request = Request::builder()
        .header(header::RANGE, range)
        .body(Body::empty())
        .unwrap();
    let answer = ServedFile::new(path).answer(request).await.unwrap();
    let range = answer.headers().get(header::CONTENT_RANGE);
    let range = range.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, range, body.to_vec())
}

#[test]
fn any_range_gets_bytes_of_the_file_or_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    let content: Vec<u8> = (0..=255).collect();
    std::fs::write(&path, &content).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let number = prop_oneof![
        (0..300u64).prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        "[0-9]{0,25}"
    ];
    let pair = (number.clone(), number).prop_map(|(from, to)| format!("{from}-{to}"));
    let list = prop::collection::vec(pair, 0..4).prop_map(|pairs| format!("bytes={}", pairs.join(",")));
    let header = prop_oneof![
        list.boxed(),
        "[ -~]{0,24}".boxed(),
        "[bB]ytes ?=? ?[0-9,\\- ]{0,16}".boxed()
    ];
    fuzz(&header, |header| {
        let (status, range, body) = runtime.block_on(part_of(&path, &header));
        match status {
            200 => prop_assert_eq!(body, content.clone()),
            206 => {
                let range = range.unwrap_or_default();
                let own = range.strip_prefix("bytes ").and_then(|text| text.strip_suffix("/256"));
                let (from, to) = own.and_then(|text| text.split_once('-')).unwrap_or_default();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                prop_assert_eq!(Some(body.as_slice()), content.get(from..=to));
            }
            status => prop_assert!((400..500).contains(&status), "{}", status),
        }
        Ok(())
    });
}

#[test]
fn no_way_of_writing_a_private_address_is_let_through() {
    let private = prop_oneof![
        (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(b, c, d)| [127, b, c, d]),
        (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(b, c, d)| [10, b, c, d]),
        (16..32u8, any::<u8>(), any::<u8>()).prop_map(|(b, c, d)| [172, b, c, d]),
        (any::<u8>(), any::<u8>()).prop_map(|(c, d)| [192, 168, c, d]),
        (any::<u8>(), any::<u8>()).prop_map(|(c, d)| [169, 254, c, d]),
    ];
    let written = (private, 0..8u8).prop_map(|([a, b, c, d], form)| {
        let number = u32::from_be_bytes([a, b, c, d]);
        match form {
            0 => format!("{a}.{b}.{c}.{d}"),
            1 => number.to_string(),
            2 => format!("0x{number:x}"),
            3 => format!("0{number:o}"),
            4 => format!("0x{a:x}.0{b:o}.{c}.{d}"),
            5 => format!("{a}.{}", number & 0x00ff_ffff),
            6 => format!("[::ffff:{a}.{b}.{c}.{d}]"),
            _ => format!("{a}.{b}.{c}.{d}."),
        }
    });
    let guard = Guard { private: false };
    let around = ("(http|https)", "(|u@|u:p@|%20@)", "(|:80|:65535)", "(|/|/x?y#z|\\\\x)");
    fuzz(&(written, around), |(host, (scheme, user, port, rest))| {
        let text = format!("{scheme}://{user}{host}{port}{rest}");
        if let Ok(url) = reqwest::Url::parse(&text) {
            prop_assert!(guard.check(&url).is_err(), "{} was let through as {}", text, url);
        }
        Ok(())
    });
    fuzz(&"[ -~]{0,40}|https?://[^ ]{0,40}", |text| {
        if let Ok(url) = reqwest::Url::parse(&text) {
            let _ = guard.check(&url);
        }
        for is_video in [false, true] {
            let _ = crate::web_media::rendition(&text, is_video);
        }
        Ok(())
    });
}
