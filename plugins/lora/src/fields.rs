//! The fields that only LoRAs have.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

const SUB_TYPES: [&str; 3] = ["lora", "locon", "dora"];

/// What a LoRA's sidecar has beyond other types. Values stay as they are written, since all of them are looked at once
/// and passed on.
#[derive(Default, Deserialize)]
pub struct Sidecar<'a> {
    #[serde(borrow)]
    usage_tips: Option<&'a RawValue>,
    #[serde(borrow)]
    sub_type: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Fields<'a> {
    usage_tips: &'a RawValue,
}

#[derive(Serialize)]
struct TextFields<'a> {
    usage_tips: &'a str,
}

#[derive(Default, Deserialize)]
struct StoredFields {
    #[serde(default)]
    usage_tips: String,
}

#[derive(Serialize)]
struct Listed<'a> {
    usage_tips: &'a str,
    usage_count: u64,
}

impl<'a> Sidecar<'a> {
    /// A sidecar that can't be read counts as one without fields: the host reports broken ones.
    pub fn read(sidecar: &'a str) -> Self {
        // Most of a sidecar is the provider's version; a sidecar without these words need not be read at all.
        if ["usage_tips", "sub_type"].iter().all(|field| !sidecar.contains(field)) {
            return Self::default();
        }
        serde_json::from_str(sidecar).unwrap_or_default()
    }

    /// The sidecar's field or the provider's type, whichever names a sub-type first; else the provider's type as it is, so
    /// that a file of another type shows as what it is; `lora` without one. The older field `model_type` has no say: the
    /// original keeps it and does not show it either.
    pub fn sub_type(&self, remote_type: &str) -> String {
        let text = |raw: &RawValue| serde_json::from_str::<String>(raw.get()).ok();
        let known = |text: &str| {
            SUB_TYPES
                .into_iter()
                .find(|sub_type| sub_type.eq_ignore_ascii_case(text.trim()))
        };
        let stored = self.sub_type.and_then(text);
        stored
            .and_then(|text| known(&text))
            .map(str::to_owned)
            .or_else(|| Some(remote_type.trim().to_lowercase()).filter(|text| !text.is_empty()))
            .unwrap_or_else(|| SUB_TYPES[0].to_owned())
    }

    /// The fields to keep with the record: `usage_tips`, a text that holds JSON.
    pub fn fields(&self) -> String {
        let fields = match self.usage_tips {
            Some(raw) if raw.get().starts_with('"') => serde_json::to_string(&Fields { usage_tips: raw }),
            // Some tools write the tips as an object; clients expect a text.
            Some(raw) if raw.get().starts_with('{') => serde_json::to_string(&TextFields { usage_tips: raw.get() }),
            _ => serde_json::to_string(&TextFields { usage_tips: "{}" }),
        };
        fields.unwrap_or_else(|_| "{}".to_owned())
    }
}

/// The tips of a record's fields as they are stored; empty without any.
pub fn usage_tips(fields: &str) -> String {
    serde_json::from_str::<StoredFields>(fields)
        .unwrap_or_default()
        .usage_tips
}

/// The part of a listed item that only LoRAs have.
pub fn listed(fields: &str, usage_count: u64) -> String {
    let usage_tips = usage_tips(fields);
    serde_json::to_string(&Listed {
        usage_tips: &usage_tips,
        usage_count,
    })
    .unwrap_or_else(|_| "{}".to_owned())
}

/// The strengths that a person recommends for model and text encoder.
#[derive(Debug, Default, PartialEq)]
pub struct Recommended {
    /// For the model.
    pub strength: Option<f64>,
    /// For the text encoder.
    pub clip_strength: Option<f64>,
}

impl Recommended {
    /// Reads usage tips. Tips that are no JSON recommend nothing; so does a strength that no client would take.
    pub fn read(usage_tips: &str) -> Self {
        let tips: Value = serde_json::from_str(usage_tips).unwrap_or_default();
        let number = |name: &str| {
            let value = &tips[name];
            let number = value
                .as_f64()
                .or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
            number.filter(|number| (-10.0..=10.0).contains(number))
        };
        Self {
            strength: number("strength"),
            clip_strength: number("clipStrength").or_else(|| number("clip_strength")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sub_type_is_the_sidecar_s_then_the_provider_s_then_lora() {
        let cases = [
            (r#"{"sub_type":"LoCon","model_type":"dora"}"#, "LORA", "locon"),
            (r#"{"model_type":"DoRA"}"#, "LORA", "lora"),
            (r#"{"sub_type":""}"#, "LoCon", "locon"),
            (r#"{"sub_type":7}"#, "", "lora"),
            (r#"{"sub_type":"hypernetwork"}"#, "DORA", "dora"),
            ("{}", "Checkpoint", "checkpoint"),
            ("{}", " ", "lora"),
            ("{", "", "lora"),
        ];
        for (sidecar, remote, sub_type) in cases {
            assert_eq!(Sidecar::read(sidecar).sub_type(remote), sub_type, "{sidecar} {remote}");
        }
    }

    #[test]
    fn usage_tips_are_kept_as_stored() {
        let cases = [
            (r#"{"usage_tips":"{\"strength\": 0.8}"}"#, r#"{"strength": 0.8}"#),
            (r#"{"usage_tips":""}"#, ""),
            (r#"{"usage_tips":{"strength":1}}"#, r#"{"strength":1}"#),
            (r#"{"usage_tips":null}"#, "{}"),
            (r#"{"usage_tips":3}"#, "{}"),
            ("{}", "{}"),
        ];
        for (sidecar, tips) in cases {
            let fields = Sidecar::read(sidecar).fields();
            assert_eq!(usage_tips(&fields), tips, "{sidecar}");
        }
        assert_eq!(usage_tips("{}"), "");
        assert_eq!(usage_tips("broken"), "");
    }

    #[test]
    fn recommendations_are_numbers_or_texts_of_numbers() {
        let read = |tips: &str| {
            let tips = Recommended::read(tips);
            (tips.strength, tips.clip_strength)
        };
        assert_eq!(
            read(r#"{"strength":0.8,"clipStrength":0.5,"clip_strength":1}"#),
            (Some(0.8), Some(0.5))
        );
        assert_eq!(read(r#"{"strength":"0.7","clip_strength":1}"#), (Some(0.7), Some(1.0)));
        assert_eq!(read(r#"{"strength":400,"clipStrength":"x"}"#), (None, None));
        assert_eq!(read(""), (None, None));
    }
}
