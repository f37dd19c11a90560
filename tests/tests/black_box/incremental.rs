//! What a scan does not do again.

use anyhow::Result;
use modelshelf_tests::{Library, Model, Server};

async fn bytes_read(server: &Server) -> Result<u64> {
    Ok(server.status("loras").await?["content_bytes_read"]
        .as_u64()
        .unwrap_or_default())
}

fn library() -> Result<Library> {
    let library = Library::of((0..40).map(|number| Model::new("loras", &format!("f{}/m{number}", number % 4))))?;
    library.add(&Model::lora("with sidecar").preview("png"))?;
    library.add(&Model::new("checkpoints", "full").grown_to(1 << 20))?;
    // One that nothing can be made of is not tried again either.
    library.add(&Model::lora("broken"))?;
    std::fs::write(library.root("loras").join("broken.metadata.json"), "{")?;
    Ok(library)
}

#[tokio::test]
async fn a_second_scan_of_an_unchanged_library_reads_no_content() -> Result<()> {
    let library = library()?;
    let server = library.serve().await?;
    let after_the_first = bytes_read(&server).await?;
    assert!(after_the_first > 0);
    for prefix in ["loras", "checkpoints"] {
        server.scan(prefix, false).await?;
    }
    assert_eq!(bytes_read(&server).await?, after_the_first);
    // The count is alive: what changed is read.
    library.add(&Model::lora("with sidecar").tags(&["new"]))?;
    server.scan("loras", false).await?;
    assert!(bytes_read(&server).await? > after_the_first);
    Ok(())
}

#[tokio::test]
async fn a_restart_with_what_was_known_reads_no_content() -> Result<()> {
    let library = Library::of((0..40).map(|number| Model::new("loras", &format!("f{}/m{number}", number % 4))))?;
    let data = library.path().join("data");
    library.options().data_dir(&data).serve().await?.stop().await?;
    let server = library.options().data_dir(&data).serve().await?;
    server.scan("loras", false).await?;
    assert_eq!(server.list("loras", &[]).await?["total"], 40);
    assert_eq!(bytes_read(&server).await?, 0);
    Ok(())
}
