//! Files that are not what they seem.

use anyhow::{Context, Result};
use modelshelf_tests::weights::{broken, safetensors};
use modelshelf_tests::{Library, Model};

/// Resident memory of a process in MiB.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}

#[tokio::test]
async fn a_broken_weight_file_is_listed_with_what_is_wrong_with_it() -> Result<()> {
    let library = Library::of([Model::lora("good")])?;
    for (name, bytes) in broken() {
        library.add(&Model::new("loras", &format!("broken/{name}")).bytes(bytes))?;
    }
    let server = library.serve().await?;
    let page = server.list("loras", &[]).await?;
    assert_eq!(
        page["total"],
        broken().len() + 1,
        "{:?}",
        modelshelf_tests::names(&page)
    );
    for item in page["items"].as_array().context("items")? {
        let name = item["file_name"].as_str().unwrap_or_default();
        let problem = item["problem"].as_str().unwrap_or_default();
        assert_eq!(problem.is_empty(), name == "good", "{name}: {problem:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_header_that_claims_to_be_huge_is_not_believed() -> Result<()> {
    let huge = 100u64 << 20;
    let mut claims = huge.to_le_bytes().to_vec();
    claims.extend_from_slice(b"{\"a\":{}}");
    // The file is as long as it says, so that only the limit stands against reading it whole. It takes no disk.
    let library = Library::of([
        Model::new("loras", "header_100_mb").bytes(claims).grown_to(huge + 8),
        Model::new("loras", "fine").bytes(safetensors(&[], &[], 1)),
    ])?;
    let server = library.serve().await?;
    let item = server.item("loras", "header_100_mb").await?;
    assert!(
        item["problem"].as_str().is_some_and(|problem| !problem.is_empty()),
        "{item}"
    );
    assert!(server.item("loras", "fine").await?["problem"].is_null());
    if let Some(mebibytes) = resident(server.pid()) {
        assert!(mebibytes < 400, "peak of {mebibytes} MiB");
    }
    Ok(())
}

#[tokio::test]
async fn metadata_that_is_no_text_does_not_spoil_the_rest() -> Result<()> {
    let text = br#"{"__metadata__":{"ss_tag_frequency":{"a":1},"n":3,"modelspec.title":"T"},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#;
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text);
    let library = Library::of([Model::new("loras", "loose").bytes(bytes)])?;
    let server = library.serve().await?;
    assert_eq!(server.item("loras", "loose").await?["file_name"], "loose");
    Ok(())
}
