//! Weight files: valid ones, and each way in which a file can be broken.

use serde_json::{Map, Value, json};

/// A valid safetensors file: metadata, and tensors as (name, element type, dimensions). The data is a repeated byte,
/// different for each seed, so that two seeds never give equal files.
pub fn safetensors(metadata: &[(String, String)], tensors: &[(String, String, Vec<u64>)], seed: u64) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let pairs = metadata
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        header.insert("__metadata__".into(), Value::Object(pairs.collect()));
    }
    let mut end = 0;
    let seed_tensor = ("seed".to_owned(), "U8".to_owned(), vec![8]);
    for (name, dtype, shape) in tensors.iter().chain([&seed_tensor]) {
        let start = end;
        end += shape.iter().product::<u64>() * element_size(dtype);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}),
        );
    }
    let mut file = with_header(Value::Object(header).to_string().as_bytes());
    let data_start = file.len();
    file.resize(data_start + end as usize - 8, 0);
    file.extend_from_slice(&seed.to_le_bytes());
    file
}

fn element_size(dtype: &str) -> u64 {
    match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        _ => 1,
    }
}

/// A header with its length before it and the padding that the format asks for.
fn with_header(text: &[u8]) -> Vec<u8> {
    let mut padded = text.to_vec();
    padded.resize(text.len().next_multiple_of(8), b' ');
    framed(&padded)
}

fn framed(text: &[u8]) -> Vec<u8> {
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text);
    file
}

fn claiming(length: u64, text: &[u8]) -> Vec<u8> {
    let mut file = length.to_le_bytes().to_vec();
    file.extend_from_slice(text);
    file
}

/// Broken files by what is wrong with them.
pub fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let tensor = |offsets: &str| format!(r#"{{"t":{{"dtype":"F32","shape":[9],"data_offsets":{offsets}}}}}"#);
    let deep = format!(r#"{{"__metadata__":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    vec![
        ("zero_bytes", Vec::new()),
        ("seven_bytes", vec![1, 0, 0, 0, 0, 0, 0]),
        ("length_only", 64u64.to_le_bytes().to_vec()),
        ("length_2_63", claiming(1 << 63, b"{}")),
        ("length_all_ones", claiming(u64::MAX, b"{}")),
        ("length_100_mb", claiming(100_000_000, b"{}")),
        ("cut_header", claiming(400, br#"{"a":{"dtype":"F32""#)),
        ("not_json", framed(b"not json")),
        ("not_utf8", framed(b"{\"\xff\xfe\"}")),
        ("array_header", framed(b"[1,2,3] ")),
        ("duplicate_keys", framed(br#"{"__metadata__":{},"__metadata__":{}}"#)),
        ("offsets_past_the_end", framed(tensor("[0,99999]").as_bytes())),
        (
            "html_error_page",
            b"<!DOCTYPE html><html><body>403 Forbidden</body></html>".to_vec(),
        ),
        ("deep_json", framed(deep.as_bytes())),
    ]
}

/// A PNG of one grey pixel, told apart by its last bytes, which decoders ignore.
pub fn png(seed: u32) -> Vec<u8> {
    const PIXEL: &[u8] = b"\x89PNG\x0d\x0a\x1a\x0a\x00\x00\x00\x0dIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU\x00\x00\x00\x0aIDATx\x9cch\x00\x00\x00\x82\x00\x81w\xcdr\xb6\x00\x00\x00\x00IEND\xaeB`\x82";
    let mut bytes = PIXEL.to_vec();
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_as_long_as_its_header_says() {
        let tensors = [("w".to_owned(), "F16".to_owned(), vec![4, 8])];
        let file = safetensors(&[("a".into(), "b".into())], &tensors, 7);
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        assert_eq!(header["seed"]["data_offsets"][1], file.len() - 8 - length);
        assert_ne!(file, safetensors(&[("a".into(), "b".into())], &tensors, 8));
    }
}
