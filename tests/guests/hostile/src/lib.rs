//! A model type that does harm in one way: the one that its mode says. A test makes a component for each mode by writing
//! another text of the same length over it.

use std::hint::black_box;

use modelshelf_plugin_sdk::{
    Derived, Descriptor, FileFacts, Json, Method, Model, ModelType, Pair, QueryFilter, Registrar, Request, Response,
    Result, Route, events, export_model_type, kv, log, routes,
};

struct Hostile;

static MODE: &str = "hostile-mode:none.......";

fn is(mode: &str) -> bool {
    // Not known when it is compiled, so that each way stays in the component.
    black_box(MODE)["hostile-mode:".len()..].trim_end_matches('.') == mode
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn descend(depth: u64) -> u64 {
    // Used after the call, so that it can't become a loop.
    let here = black_box([depth; 8]);
    if depth == u64::MAX {
        return 0;
    }
    descend(depth + 1) + black_box(here)[7]
}

fn huge(bytes: usize) -> String {
    "x".repeat(bytes)
}

impl ModelType for Hostile {
    fn describe() -> Descriptor {
        if is("describe") {
            spin();
        }
        let name = if is("name") {
            huge(3 << 19)
        } else {
            "Hostiles".to_owned()
        };
        Descriptor::new("hostile", "hostiles", &name)
            .extensions([".hostile"])
            .root("hostiles", ["hostiles"], "default_hostile_root")
            .query_parameters(["hostile"])
            .wants_events(["hostile_event"])
            .wants_kv()
    }

    fn routes() -> &'static [Route] {
        routes! {
            GET "/api/lm/{prefix}/harm" => harm,
        }
    }

    fn setup_specific_routes(registrar: &Registrar<'_>) -> Result<()> {
        if is("setup") {
            spin();
        }
        registrar.add_routes(Self::routes())?;
        let template = match () {
            () if is("path") => "/api/lm/../../healthz",
            () if is("catch-all") => "/api/lm/{prefix}/{*rest}",
            () if is("clash") => "/api/lm/{prefix}/list",
            () => return Ok(()),
        };
        registrar.add_route(Method::Get, template, "harm")
    }

    fn derive_one(_: &FileFacts) -> Derived {
        if is("derive") {
            spin();
        }
        Derived {
            fields: if is("json") { "7".to_owned() } else { "{}".to_owned() },
            problem: is("text").then(|| huge(100 << 10)),
            ..Derived::default()
        }
    }

    fn format_one(_: &Model) -> Json {
        match () {
            () if is("format") => spin(),
            () if is("json") => r#"{"a": 1], "file_path": "/etc/passwd""#.to_owned(),
            () => r#"{"file_path": "/etc/passwd", "own": 1}"#.to_owned(),
        }
    }

    fn format(models: &[Model]) -> Vec<Json> {
        if is("length") {
            return Vec::new();
        }
        models.iter().map(Self::format_one).collect()
    }

    fn parse_query(_: &[Pair]) -> Result<QueryFilter> {
        if is("parse-query") {
            spin();
        }
        let mut filter = QueryFilter::default();
        if is("filter") {
            filter.hashes = vec![huge(16); 1 << 17];
        }
        Ok(filter)
    }
}

fn harm(_: &Request) -> Result<Response> {
    let answer = Response::json_text(r#"{"success":true}"#.to_owned());
    match () {
        () if is("handle") => spin(),
        () if is("trap") => panic!("asked to trap"),
        () if is("deep") => drop(black_box(descend(0))),
        () if is("memory") => {
            let mut blocks = Vec::new();
            loop {
                blocks.push(black_box(vec![1_u8; 4 << 20]));
            }
        }
        () if is("answer") => return Ok(Response::with_body("text/plain", vec![b'x'; 3 << 19])),
        () if is("header") => {
            let content_type = "text/html\r\nSet-Cookie: stolen=1";
            return Ok(Response::with_body(content_type, b"<script>alert(1)</script>".to_vec()));
        }
        () if is("status") => return Ok(answer.with_status(99)),
        () if is("log") => (0..10_000).for_each(|line| log::info(&format!("flood {line} {}", huge(5_000)))),
        () if is("events") => {
            for _ in 0..1_000 {
                events::broadcast("hostile_event", &1_u8).ok();
                events::broadcast("models_changed", &())?;
            }
        }
        () if is("kv") => {
            for key in 0..1_000 {
                kv::set(&format!("key {key}"), &[0; 64 << 10])?;
            }
        }
        () => {}
    }
    Ok(answer)
}

export_model_type!(Hostile);
