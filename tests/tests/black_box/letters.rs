//! Composed and decomposed letters: macOS writes one form into names, people type the other.

use anyhow::Result;
use modelshelf_tests::{Library, Model, names, sorted_names};

const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

#[tokio::test]
async fn both_forms_find_each_other_in_names_tags_words_and_descriptions() -> Result<()> {
    let version = |word: &str| serde_json::json!({"id": 1, "name": "v", "trainedWords": [word]});
    let library = Library::of([
        Model::lora(DECOMPOSED).sidecar(),
        Model::lora("tagged").sidecar().tags(&[COMPOSED]),
        Model::lora("worded").sidecar().civitai(version(DECOMPOSED)),
        Model::lora("described")
            .sidecar()
            .side("modelDescription", format!("A {DECOMPOSED} in Paris")),
    ])?;
    let server = library.serve().await?;
    for text in [COMPOSED, DECOMPOSED] {
        for fuzzy in ["false", "true"] {
            let query = [
                ("search", text),
                ("fuzzy", fuzzy),
                ("search_tags", "true"),
                ("search_trigger_words", "true"),
                ("search_description", "true"),
            ];
            let found = sorted_names(&server.list("loras", &query).await?);
            for name in ["tagged", "worded", "described"] {
                assert!(found.contains(&name.to_owned()), "{text:?} {fuzzy}: {found:?}");
            }
            assert!(found.contains(&DECOMPOSED.to_owned()), "{text:?} {fuzzy}: {found:?}");
        }
        assert_eq!(
            names(&server.list("loras", &[("tag_include", text)]).await?),
            ["tagged"]
        );
        let paths = server
            .get_json("/api/lm/loras/relative-paths", &[("search", text)])
            .await?;
        assert!(paths.to_string().contains("cafe"), "{paths}");
        let tags = server.get_json("/api/lm/loras/search-tags", &[("q", text)]).await?;
        assert_eq!(tags["tags"][0]["tag"], COMPOSED, "{tags}");
    }
    Ok(())
}
