//! `random-sample`.

use super::*;

fn sample(host: &FakeHost, body: Value) -> Value {
    let answer = host.post("/api/lm/loras/random-sample", &body);
    assert_eq!(answer.status, 200, "{body}");
    answer.json()
}

fn many() -> FakeHost {
    FakeHost::new::<Lora>().with_models((0..40).map(|number| model(&format!("f/{number}.safetensors"))))
}

fn names(answer: &Value) -> Vec<&str> {
    answer["loras"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|lora| lora["name"].as_str())
        .collect()
}

#[test]
fn five_different_ones_with_strengths_between_0_and_1_unless_asked_otherwise() {
    let answer = sample(&many(), json!({}));
    assert_eq!((&answer["success"], &answer["count"]), (&json!(true), &json!(5)));
    let mut drawn = names(&answer);
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 5);
    for lora in answer["loras"].as_array().expect("a list") {
        let keys: Vec<&str> = lora
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            keys,
            ["name", "strength", "clipStrength", "active", "expanded", "locked"]
        );
        let strength = lora["strength"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&strength));
        assert!(
            ((strength * 100.0).round() - strength * 100.0).abs() < 1e-9,
            "two decimals: {strength}"
        );
        assert_eq!(lora["clipStrength"], lora["strength"]);
        assert_eq!(
            (&lora["active"], &lora["expanded"], &lora["locked"]),
            (&json!(true), &json!(false), &json!(false))
        );
    }
}

#[test]
fn a_seed_repeats_an_answer_and_requests_without_one_differ() {
    let host = many();
    let seeded = json!({"seed": 12345, "use_same_clip_strength": false});
    assert_eq!(sample(&host, seeded.clone()), sample(&host, seeded));
    drop(host);
    let first = sample(&many().with_seed(1), json!({}));
    assert_ne!(first, sample(&many().with_seed(2), json!({})));
}

#[test]
fn a_range_of_counts_is_kept() {
    for seed in 0..30 {
        let answer = sample(
            &many().with_seed(seed),
            json!({"count_min": 2, "count_max": 4, "count": 50}),
        );
        let count = answer["count"].as_u64().expect("a number");
        assert!((2..=4).contains(&count));
        assert_eq!(names(&answer).len() as u64, count);
    }
    assert_eq!(
        sample(&many(), json!({"count": 100}))["count"],
        40,
        "no more than there are"
    );
}

#[test]
fn locked_ones_count_stay_and_are_not_drawn_again() {
    let locked = json!([{"name": "f/3", "strength": 0.4, "mine": 1}, {"name": "7"}]);
    for seed in 0..10 {
        let answer = sample(&many().with_seed(seed), json!({"count": 40, "locked_loras": locked}));
        let drawn = names(&answer);
        assert_eq!(drawn.len(), 40);
        assert_eq!(answer["loras"][38], locked[0]);
        assert_eq!(answer["loras"][39], locked[1]);
        assert!(!drawn[..38].contains(&"f/3") && !drawn[..38].contains(&"f/7"));
    }
    let more = sample(&many(), json!({"count": 1, "locked_loras": locked}));
    assert_eq!(more["loras"], json!([locked[0]]), "the first of too many stay");
}

#[test]
fn own_clip_strengths_show_when_they_differ() {
    let body = json!({"count": 20, "use_same_clip_strength": false, "model_strength_min": 1, "model_strength_max": 1,
        "clip_strength_min": "-2", "clip_strength_max": -1});
    for lora in sample(&many(), body)["loras"].as_array().expect("a list") {
        assert_eq!(lora["strength"], 1.0);
        assert!((-2.0..=-1.0).contains(&lora["clipStrength"].as_f64().expect("a number")));
        assert_eq!(lora["expanded"], true);
    }
}

#[test]
fn recommended_strengths_are_scaled() {
    let tips = |tips: Value| json!({"usage_tips": tips.to_string()}).to_string();
    let host = FakeHost::new::<Lora>().with_models([
        Model {
            fields: tips(json!({"strength": 0.8, "clipStrength": 0.4})),
            ..model("both.safetensors")
        },
        Model {
            fields: tips(json!({})),
            ..model("none.safetensors")
        },
    ]);
    let body = json!({"count": 2, "use_recommended_strength": true, "use_same_clip_strength": false,
        "recommended_strength_scale_min": 0.5, "recommended_strength_scale_max": 0.5,
        "model_strength_min": 2, "model_strength_max": 2, "clip_strength_min": 3, "clip_strength_max": 3});
    let answer = sample(&host, body);
    for lora in answer["loras"].as_array().expect("a list") {
        let strengths = (lora["strength"].as_f64(), lora["clipStrength"].as_f64());
        let expected = if lora["name"] == "both" {
            (Some(0.4), Some(0.2))
        } else {
            (Some(2.0), Some(3.0))
        };
        assert_eq!(strengths, expected, "{lora}");
    }
}

#[test]
fn the_pool_limits_what_is_drawn() {
    let answer = sample(
        &library(),
        json!({"count": 10, "pool_config": {"tags": {"include": ["STYLE"]}}}),
    );
    assert_eq!(names(&answer), ["styles/aqua"]);
}

#[test]
fn bad_numbers_are_refused_by_name() {
    let cases = [
        ("count", json!("many")),
        ("count", json!([])),
        ("model_strength_max", json!("x")),
        ("clip_strength_min", json!(11)),
        ("clip_strength_max", json!({})),
        ("recommended_strength_scale_max", json!(1e300)),
        ("use_same_clip_strength", json!("yes")),
        ("locked_loras", json!({})),
        ("pool_config", json!("all")),
    ];
    let host = many();
    for (field, value) in cases {
        let answer = host.post("/api/lm/loras/random-sample", &json!({field: value}));
        assert_eq!(answer.status, 400, "{field}: {value}");
        let body = answer.json();
        assert_eq!(body["success"], false);
        assert!(
            body["error"].as_str().is_some_and(|error| error.contains(field)),
            "{body}"
        );
    }
    let texts = [
        ("count", json!(0), "Count must be between 1 and 100"),
        ("count", json!(101), "Count must be between 1 and 100"),
        (
            "model_strength_min",
            json!(-10.5),
            "Model strength must be between -10 and 10",
        ),
        (
            "model_strength_max",
            json!(11),
            "Model strength must be between -10 and 10",
        ),
    ];
    for (field, value, text) in texts {
        let answer = host.post("/api/lm/loras/random-sample", &json!({field: value}));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(text)), "{field}");
    }
    let crossed = host.post("/api/lm/loras/random-sample", &json!({"count_min": 4, "count_max": 2}));
    assert_eq!(crossed.status, 400);
    assert_eq!(
        host.send("POST", "/api/lm/loras/random-sample", b"[1]".to_vec()).status,
        400
    );
    assert_eq!(
        host.send("POST", "/api/lm/loras/random-sample", b"nope".to_vec())
            .status,
        400
    );
}
