//! What is known of one model of a provider.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::providers::{Object, id_of, objects, sha256_of};

/// A model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tracked {
    /// When the provider was asked last, in seconds since 1970-01-01 UTC.
    pub checked_at: Option<f64>,
    /// Whether the person does not want to hear of it, or the provider has deleted it.
    pub ignored: bool,
    /// Its versions in the provider's order, newest first.
    pub versions: Vec<TrackedVersion>,
}

/// A version.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackedVersion {
    /// Its id.
    pub id: u64,
    /// Its name; none while only a local file tells of it.
    pub name: Option<String>,
    /// The provider's base model.
    pub base_model: Option<String>,
    /// When it came out, as the provider writes it.
    pub released_at: Option<String>,
    /// Size of its main file.
    pub size_bytes: Option<u64>,
    /// The image that stands for it.
    pub preview_url: Option<String>,
    /// Whether the person does not want to hear of it.
    pub ignored: bool,
    /// Until when it must be bought, as the provider writes it.
    pub early_access_ends_at: Option<String>,
    /// Whether the provider calls it early access.
    pub early_access: bool,
    /// Such as `Download`.
    pub usage_control: Option<String>,
    /// How it is paid for.
    pub paid_access: Option<Value>,
}

impl Tracked {
    /// Takes over what the provider says of the model; what the person ignores stays so. `picture` chooses the image that
    /// stands for a version.
    pub fn learn(&mut self, model: &Object, at: f64, picture: impl Fn(&Object) -> Option<String>) {
        let before = std::mem::take(&mut self.versions);
        let old = |id: u64| before.iter().find(|own| own.id == id);
        self.versions = objects(model.get("modelVersions"))
            .filter_map(|version| {
                let id = id_of(version.get("id"))?;
                let mut own = TrackedVersion::of(id, version);
                own.preview_url = picture(version);
                own.ignored = old(id).is_some_and(|old| old.ignored);
                Some(own)
            })
            .collect();
        // A person may have chosen to ignore a version that is hidden now and comes back.
        let gone = before
            .iter()
            .filter(|old| old.ignored && !self.versions.iter().any(|own| own.id == old.id));
        let gone: Vec<_> = gone.cloned().collect();
        self.versions.extend(gone);
        self.checked_at = Some(at);
    }

    /// Takes over what is known of a version that was downloaded. One that the provider told of stays as it was.
    pub fn arrived(&mut self, id: u64, version: &Object, picture: Option<String>) {
        let own = self.version_mut(id);
        if own.name.is_none() {
            *own = TrackedVersion {
                ignored: own.ignored,
                preview_url: picture,
                ..TrackedVersion::of(id, version)
            };
        }
    }

    /// The version with this id, which is added when it is new.
    pub fn version_mut(&mut self, id: u64) -> &mut TrackedVersion {
        let place = self.versions.iter().position(|own| own.id == id).unwrap_or_else(|| {
            self.versions.push(TrackedVersion {
                id,
                ..TrackedVersion::default()
            });
            self.versions.len() - 1
        });
        &mut self.versions[place]
    }
}

impl TrackedVersion {
    fn of(id: u64, version: &Object) -> Self {
        let mut own = Self {
            id,
            name: text(version, "name"),
            base_model: text(version, "baseModel"),
            released_at: text(version, "publishedAt").or_else(|| text(version, "createdAt")),
            size_bytes: main_file(version)
                .and_then(|file| file.get("sizeKB")?.as_f64())
                .map(|kib| (kib * 1024.0) as u64),
            ..Self::default()
        };
        own.learn_access(version);
        own
    }

    /// Takes over who may have it.
    pub fn learn_access(&mut self, version: &Map<String, Value>) {
        if version.contains_key("availability") {
            self.early_access = text(version, "availability").as_deref() == Some("EarlyAccess");
        }
        if version.contains_key("earlyAccessEndsAt") {
            self.early_access_ends_at = text(version, "earlyAccessEndsAt");
        }
        if let Some(control) = text(version, "usageControl") {
            self.usage_control = Some(control);
        }
        if let Some(paid) = version.get("paidAccess") {
            // Some answers have it as text.
            let parsed = paid.as_str().and_then(|text| serde_json::from_str(text).ok());
            self.paid_access = Some(parsed.unwrap_or_else(|| paid.clone())).filter(Value::is_object);
        }
    }

    /// Whether it can only be had for money, for good.
    pub fn is_paid(&self) -> bool {
        let paid = self.paid_access.as_ref();
        paid.is_some_and(|paid| paid.get("permanent") == Some(&Value::Bool(true)))
    }

    /// Whether it must be bought until some day that has not come. A day that can't be read has not.
    pub fn in_early_access(&self, now: f64) -> bool {
        let of_payment = self.paid_access.as_ref().and_then(|paid| paid.get("endsAt")?.as_str());
        let end = self.early_access_ends_at.as_deref().or(of_payment);
        match end {
            Some(end) => seconds_of(end).is_none_or(|end| end > now),
            None => self.early_access && !self.is_paid(),
        }
    }

    /// Whether its files can be downloaded at all.
    pub fn is_downloadable(&self) -> bool {
        self.usage_control
            .as_deref()
            .is_none_or(|control| control == "Download")
    }
}

/// SHA-256 of a version's main file.
pub fn main_hash(version: &Object) -> Option<String> {
    sha256_of(main_file(version)?)
}

fn main_file(version: &Object) -> Option<&Object> {
    let is_model = |file: &&Object| file.get("type").and_then(Value::as_str) == Some("Model");
    let is_primary = |file: &&Object| file.get("primary") == Some(&Value::Bool(true));
    let files = || objects(version.get("files"));
    files()
        .filter(is_primary)
        .find(is_model)
        .or_else(|| files().find(is_primary))
        .or_else(|| files().find(is_model))
        .or_else(|| files().next())
}

fn text(object: &Object, key: &str) -> Option<String> {
    object
        .get(key)?
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// A moment such as `2025-01-02T03:04:05.000Z` in seconds since 1970-01-01 UTC.
fn seconds_of(text: &str) -> Option<f64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (hour, minute, second) = (
        number(11, 13).unwrap_or(0),
        number(14, 16).unwrap_or(0),
        number(17, 19).unwrap_or(0),
    );
    // Days from the civil date, by Howard Hinnant's `days_from_civil`.
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(seconds_of("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(seconds_of("2025-01-02T03:04:05.678Z"), Some(1_735_787_045.0));
        assert_eq!(seconds_of("2024-02-29"), Some(1_709_164_800.0));
        assert_eq!(seconds_of("soon"), None);
    }

    #[test]
    fn early_access_ends_and_what_is_ignored_stays_so() {
        let model = |ends: &str| {
            json!({"modelVersions": [{"id": 2, "name": "b", "availability": "EarlyAccess", "earlyAccessEndsAt": ends,
                "files": [{"type": "Model", "primary": true, "sizeKB": 2.0}], "publishedAt": "2025"}]})
        };
        let mut tracked = Tracked::default();
        tracked.version_mut(2).ignored = true;
        tracked.version_mut(1).ignored = true;
        tracked.learn(model("2999-01-01T00:00:00Z").as_object().unwrap(), 5.0, |_| None);
        let version = tracked.versions[0].clone();
        assert!(version.ignored && version.in_early_access(1.8e9) && version.is_downloadable());
        assert_eq!(
            (version.size_bytes, tracked.checked_at, tracked.versions.len()),
            (Some(2048), Some(5.0), 2)
        );
        tracked.learn(model("2000-01-01T00:00:00Z").as_object().unwrap(), 6.0, |_| None);
        assert!(!tracked.versions[0].in_early_access(1.8e9));
        tracked.learn(model("unknown").as_object().unwrap(), 6.0, |_| None);
        assert!(tracked.versions[0].in_early_access(1.8e9));
    }
}
