//! Licence bits of a provider's model. Source: contract section 2.5.
//!
//! Bit 0 no credit needed, bits 1 to 4 commercial use by Image, RentCivit, Rent and Sell,
//! bit 5 derivatives, bit 6 a different licence for them.

use serde_json::Value;

/// No credit needed.
pub const NO_CREDIT: u8 = 1;
/// Images may be sold.
pub const SELL_IMAGES: u8 = 1 << 1;
const COMMERCIAL: [&str; 4] = ["image", "rentcivit", "rent", "sell"];
/// What holds without licence data: CivitAI's defaults.
pub const DEFAULT: u8 = 113;

/// The bits of a provider's `model` object; missing fields have CivitAI's defaults.
pub fn flags(model: Option<&serde_json::Map<String, Value>>) -> u8 {
    let Some(model) = model else { return DEFAULT };
    let boolean = |key: &str| match model.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::Bool(value)) => *value,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let mut bits = 0;
    if boolean("allowNoCredit") {
        bits |= NO_CREDIT;
    }
    let uses: Vec<String> = match model.get("allowCommercialUse") {
        None | Some(Value::Null) => vec!["sell".into()],
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(|text| text.trim().to_lowercase())
            .collect(),
        // Some payloads carry the set as one text such as `{Image,Rent}`.
        Some(Value::String(text)) => text
            .trim_matches(['{', '}', ' '])
            .split(',')
            .map(|part| part.trim().trim_matches('"').to_lowercase())
            .collect(),
        Some(_) => Vec::new(),
    };
    for (index, name) in COMMERCIAL.iter().enumerate() {
        if uses.iter().any(|used| used == name) {
            bits |= SELL_IMAGES << index;
        }
    }
    if boolean("allowDerivatives") {
        bits |= 1 << 5;
    }
    if boolean("allowDifferentLicense") {
        bits |= 1 << 6;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> u8 {
        flags(serde_json::from_str::<Value>(json).unwrap().as_object())
    }

    #[test]
    fn absent_fields_have_the_providers_defaults() {
        assert_eq!(of("{}"), 113);
        assert_eq!(flags(None), 113);
    }

    #[test]
    fn commercial_uses_are_read_as_list_or_text_and_an_empty_list_means_none() {
        assert_eq!(of(r#"{"allowCommercialUse":["Image","Sell"]}"#), 1 + 2 + 16 + 32 + 64);
        assert_eq!(of(r#"{"allowCommercialUse":"{Image,Rent}"}"#), 1 + 2 + 8 + 32 + 64);
        assert_eq!(of(r#"{"allowCommercialUse":[]}"#), 1 + 32 + 64);
        assert_eq!(
            of(r#"{"allowNoCredit":false,"allowDerivatives":false,"allowDifferentLicense":false}"#),
            16
        );
    }
}
