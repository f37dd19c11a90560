//! A model type that breaks every limit when it is asked to.
//!
//! Each route is one way to break; `ok` proves that the others only ended their own call. Rules break in versions in which a
//! test has put `wrong` where a switch says `sound`.

use std::hint::black_box;

use modelshelf_plugin_sdk::{
    Derived, Descriptor, FileFacts, Json, MergeInput, Model, ModelType, Request, Response, Result, Route,
    export_model_type, routes, rules::merge,
};

struct Faulty;

/// Whether the format of this version is as it should be.
const FORMAT: &str = "format-is-sound";
/// Whether what a person typed stays in this version.
const MERGE: &str = "merge-is-sound";

/// The switch as it stands in the component, which the compiler must not know.
fn is_sound(switch: &'static str) -> bool {
    black_box(switch).ends_with("sound")
}

impl ModelType for Faulty {
    fn describe() -> Descriptor {
        Descriptor::new("faulty", "faulties", "Faulties")
            .extensions([".faulty"])
            .root("faulties", ["faulties"], "default_faulty_root")
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/ok" => ok,
            GET "/api/lm/{prefix}/trap" => trap,
            GET "/api/lm/{prefix}/spin" => spin,
            GET "/api/lm/{prefix}/hog" => hog,
            GET "/api/lm/{prefix}/deep" => deep,
            GET "/api/lm/{prefix}/huge" => huge,
            GET "/api/lm/{prefix}/large" => large,
        }
    }

    fn derive_one(file: &FileFacts) -> Derived {
        assert!(
            !file.file_name.contains("trap-me"),
            "asked to trap by the name of a file"
        );
        let mut turns = 0_u64;
        while file.file_name.contains("spin-me") {
            turns = black_box(turns.wrapping_add(1));
        }
        Derived::default()
    }

    fn format_one(model: &Model) -> Json {
        assert!(is_sound(FORMAT), "asked to trap by the version");
        model.fields.clone()
    }

    fn merge_remote_one(input: &MergeInput) -> Result<Json> {
        if is_sound(MERGE) {
            return merge::merge_remote(input);
        }
        Ok(r#"{"civitai":{"trainedWords":["one","two"]}}"#.to_owned())
    }
}

fn ok(_request: &Request) -> Result<Response> {
    Ok(Response::json_text(r#"{"success":true}"#.to_owned()))
}

/// A panic, which is a trap.
fn trap(_request: &Request) -> Result<Response> {
    panic!("asked to trap")
}

/// A loop without an end.
fn spin(_request: &Request) -> Result<Response> {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// 4 GiB, 16 MiB at a time, every page of it touched.
fn hog(_request: &Request) -> Result<Response> {
    const BLOCK: usize = 16 * 1024 * 1024;
    let mut blocks = Vec::new();
    for _ in 0..256 {
        blocks.push(black_box(vec![1_u8; BLOCK]));
    }
    Ok(Response::json_text(format!(r#"{{"blocks":{}}}"#, blocks.len())))
}

/// Calls that never return.
fn deep(_request: &Request) -> Result<Response> {
    let depth = descend(0);
    Ok(Response::json_text(format!(r#"{{"depth":{depth}}}"#)))
}

#[allow(unconditional_recursion)]
fn descend(depth: u64) -> u64 {
    // Used after the call, so that it can't become a loop.
    let here = black_box([depth; 8]);
    descend(depth + 1) + black_box(here)[7]
}

/// A body of 64 MiB: more than a host takes, and more than the memory that a call has unless set.
fn huge(_request: &Request) -> Result<Response> {
    Ok(Response::with_body(
        "application/octet-stream",
        vec![b'x'; 64 * 1024 * 1024],
    ))
}

/// A body of 24 MiB, which fits into the memory that a call has unless set, but not into its output.
fn large(_request: &Request) -> Result<Response> {
    Ok(Response::with_body(
        "application/octet-stream",
        vec![b'x'; 24 * 1024 * 1024],
    ))
}

export_model_type!(Faulty);
