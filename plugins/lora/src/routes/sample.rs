//! `POST random-sample`: LoRAs drawn from a pool, with random strengths.

use core::ops::RangeInclusive;

use modelshelf_plugin_sdk::{Model, PluginError, Request, Response, Result, library};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::folder_name;
use crate::fields::{Recommended, usage_tips};
use crate::pool;

const COUNTS: RangeInclusive<i64> = 1..=100;
const STRENGTHS: RangeInclusive<f64> = -10.0..=10.0;
/// From here on a person sees two strengths instead of one.
const SAME_STRENGTH: f64 = 0.001;

/// What a client asks for. Read by hand, so that each refusal names its field.
struct Order {
    count: RangeInclusive<u32>,
    model: (f64, f64),
    clip: (f64, f64),
    same_clip: bool,
    /// The range that a recommended strength is multiplied from; none when recommendations don't count.
    recommended_scale: Option<(f64, f64)>,
    locked: Vec<Value>,
    pool: library::Selection,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Drawn {
    name: String,
    strength: f64,
    clip_strength: f64,
    active: bool,
    expanded: bool,
    locked: bool,
}

/// Draws as many LoRAs as were asked for. Locked ones count, are not drawn again, and stand at the end as given; of more
/// locked ones than were asked for the first stay.
pub fn random_sample(request: &Request) -> Result<Response> {
    let mut order = Order::read(&request.json()?)?;
    let mut random = fastrand::Rng::with_seed(request.seed());
    let count = random.u32(order.count.clone()) as usize;
    order.locked.truncate(count);

    let taken: Vec<&str> = order
        .locked
        .iter()
        .filter_map(|locked| locked.get("name")?.as_str())
        .collect();
    let wanted = count.saturating_sub(order.locked.len());
    // The library can't leave models out by name, so that as many more are drawn as may have to be dropped.
    let drawn = u32::try_from(wanted + taken.len()).unwrap_or(u32::MAX);
    let models = if wanted == 0 {
        Vec::new()
    } else {
        library::random_sample(&order.pool, drawn, random.u64(..))?
    };

    let is_free = |model: &&Model| {
        !taken
            .iter()
            .any(|name| *name == model.file_name || *name == folder_name(model))
    };
    let free = models.iter().filter(is_free).take(wanted);
    let mut loras = Vec::with_capacity(count);
    for model in free {
        loras.push(serde_json::to_value(draw(model, &order, &mut random))?);
    }
    loras.extend(order.locked);
    Response::success(json!({"count": loras.len(), "loras": loras}))
}

fn draw(model: &Model, order: &Order, random: &mut fastrand::Rng) -> Drawn {
    let recommended = match order.recommended_scale {
        Some(_) => Recommended::read(&usage_tips(&model.fields)),
        None => Recommended::default(),
    };
    let mut strength = |recommended: Option<f64>, range: (f64, f64)| {
        let strength = match (recommended, order.recommended_scale) {
            (Some(recommended), Some(scale)) => recommended * between(scale, random),
            _ => between(range, random),
        };
        rounded(strength)
    };
    let model_strength = strength(recommended.strength, order.model);
    let clip_strength = if order.same_clip {
        model_strength
    } else {
        strength(recommended.clip_strength, order.clip)
    };
    Drawn {
        name: folder_name(model),
        strength: model_strength,
        clip_strength,
        active: true,
        expanded: (model_strength - clip_strength).abs() > SAME_STRENGTH,
        locked: false,
    }
}

/// A number between both bounds, whichever is the lower one.
fn between((a, b): (f64, f64), random: &mut fastrand::Rng) -> f64 {
    a + (b - a) * random.f64()
}

/// To two decimals, and never `-0`.
fn rounded(strength: f64) -> f64 {
    (strength * 100.0).round() / 100.0 + 0.0
}

impl Order {
    fn read(body: &Map<String, Value>) -> Result<Self> {
        let fields = Fields(body);
        let count = match (fields.whole("count_min")?, fields.whole("count_max")?) {
            (Some(min), Some(max)) if min <= max => min..=max,
            (Some(_), Some(_)) => {
                return Err(PluginError::invalid("`count_min` is above `count_max`"));
            }
            _ => {
                let count = fields.whole("count")?.unwrap_or(5);
                count..=count
            }
        };
        let range = |min: &str, max: &str, default: (f64, f64)| -> Result<(f64, f64)> {
            Ok((fields.strength(min, default.0)?, fields.strength(max, default.1)?))
        };
        let scale = range(
            "recommended_strength_scale_min",
            "recommended_strength_scale_max",
            (0.5, 1.0),
        )?;
        let locked = match body.get("locked_loras") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(locked)) => locked.clone(),
            Some(_) => return Err(PluginError::invalid("`locked_loras` must be a list")),
        };
        Ok(Self {
            count,
            model: range("model_strength_min", "model_strength_max", (0.0, 1.0))?,
            clip: range("clip_strength_min", "clip_strength_max", (0.0, 1.0))?,
            same_clip: fields.flag("use_same_clip_strength", true)?,
            recommended_scale: fields.flag("use_recommended_strength", false)?.then_some(scale),
            locked,
            pool: pool::selection(body.get("pool_config"))?,
        })
    }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    /// A number, or a text of one, as some nodes send it.
    fn number(&self, name: &str, must: &str) -> Result<Option<f64>> {
        let number = match self.0.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(PluginError::invalid(format!("`{name}` must be {must}"))),
        }
    }

    fn whole(&self, name: &str) -> Result<Option<u32>> {
        const MUST: &str = "a whole number from 1 to 100";
        let Some(number) = self.number(name, MUST)? else {
            return Ok(None);
        };
        let whole = number.trunc() as i64;
        if !COUNTS.contains(&whole) {
            // Clients of LoraManager match this text.
            return Err(PluginError::invalid("Count must be between 1 and 100"));
        }
        Ok(u32::try_from(whole).ok())
    }

    fn strength(&self, name: &str, default: f64) -> Result<f64> {
        const MUST: &str = "a number from -10 to 10";
        let strength = self.number(name, MUST)?.unwrap_or(default);
        if STRENGTHS.contains(&strength) {
            return Ok(strength);
        }
        Err(PluginError::invalid(match name {
            // Clients of LoraManager match this text.
            "model_strength_min" | "model_strength_max" => "Model strength must be between -10 and 10".to_owned(),
            _ => format!("`{name}` must be {MUST}"),
        }))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(PluginError::invalid(format!("`{name}` must be true or false"))),
        }
    }
}
