//! How the fake host selects and orders models.

use core::cmp::Ordering;

use crate::library::{Order, Selection, TagLogic};
use crate::{Initial, Model, NamePatterns};

const NO_CREDIT_NEEDED: u32 = 1;
const IMAGES_MAY_BE_SOLD: u32 = 2;

pub(super) fn is_selected(model: &Model, which: &Selection) -> bool {
    let any_or_empty =
        |wanted: &[String], fits: &dyn Fn(&str) -> bool| wanted.is_empty() || wanted.iter().any(|text| fits(text));
    let has_tag = |tag: &str| model.tags.iter().any(|own| own.to_lowercase() == tag.to_lowercase());
    let tags_fit = match which.tag_logic {
        TagLogic::Any => any_or_empty(&which.tags_include, &has_tag),
        TagLogic::All => which.tags_include.iter().all(|tag| has_tag(tag)),
    };
    let search = which.search.to_lowercase();

    any_or_empty(&which.base_models, &|name| model.base_model == name)
        && any_or_empty(&which.sub_types, &|name| model.sub_type.eq_ignore_ascii_case(name))
        && tags_fit
        && !which.tags_exclude.iter().any(|tag| has_tag(tag))
        && any_or_empty(&which.folder_prefixes_include, &|prefix| {
            model.folder.starts_with(prefix)
        })
        && !which
            .folder_prefixes_exclude
            .iter()
            .any(|prefix| model.folder.starts_with(prefix))
        && which.root_key.as_ref().is_none_or(|key| model.root_key == *key)
        && (!which.favorites_only || model.favorite)
        && which
            .credit_required
            .is_none_or(|required| (model.license_flags & NO_CREDIT_NEEDED == 0) == required)
        && which
            .selling_allowed
            .is_none_or(|allowed| (model.license_flags & IMAGES_MAY_BE_SOLD != 0) == allowed)
        && which
            .initial
            .is_none_or(|initial| has_initial(&model.model_name, initial))
        && names_fit(model, &which.names)
        && (model.model_name.to_lowercase().contains(&search) || model.file_name.to_lowercase().contains(&search))
}

fn names_fit(model: &Model, patterns: &NamePatterns) -> bool {
    let one = |pattern: &String| {
        let expression = regex::RegexBuilder::new(pattern).case_insensitive(true).build();
        [&model.model_name, &model.file_name]
            .into_iter()
            .any(|name| match &expression {
                Ok(expression) if patterns.regex => expression.is_match(name),
                _ => name.to_lowercase().contains(&pattern.to_lowercase()),
            })
    };
    (patterns.include.is_empty() || patterns.include.iter().any(one)) && !patterns.exclude.iter().any(one)
}

fn is_cjk(character: char) -> bool {
    matches!(u32::from(character),
        0x1100..=0x11FF | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3040..=0x318F | 0x31A0..=0x31BF | 0x31F0..=0x31FF
        | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xAC00..=0xD7AF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF)
}

fn has_initial(name: &str, initial: Initial) -> bool {
    let Some(first) = name.chars().next() else {
        return false;
    };
    match initial {
        Initial::Letter(letter) => first.to_lowercase().eq(letter.to_lowercase()),
        Initial::Digit => first.is_numeric(),
        Initial::Symbol => !first.is_alphanumeric(),
        Initial::Cjk => is_cjk(first),
    }
}

/// The class of a name in counts: `#`, `A` to `Z`, `@` or `漢`; other alphabets have none.
pub(super) fn initial_label(name: &str) -> Option<String> {
    let first = name.chars().next()?;
    if first.is_ascii_alphabetic() {
        Some(first.to_ascii_uppercase().to_string())
    } else if is_cjk(first) {
        Some("漢".to_owned())
    } else if first.is_numeric() {
        Some("#".to_owned())
    } else {
        (!first.is_alphanumeric()).then(|| "@".to_owned())
    }
}

pub(super) fn with_folder(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

pub(super) fn compare(a: &Model, b: &Model, order: Order) -> Ordering {
    let ordering = match order {
        Order::Name => natural(&a.model_name, &b.model_name),
        Order::FileName => natural(&a.file_name, &b.file_name),
        Order::RelativePath => a.relative_path.cmp(&b.relative_path),
        Order::Newest => b.modified.total_cmp(&a.modified),
    };
    ordering.then_with(|| a.file_path.cmp(&b.file_path))
}

/// Lower-cased, with runs of digits as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let (mut a, mut b) = (a.as_str(), b.as_str());
    loop {
        let (Some(first_a), Some(first_b)) = (a.chars().next(), b.chars().next()) else {
            return a.len().cmp(&b.len());
        };
        if first_a.is_ascii_digit() && first_b.is_ascii_digit() {
            let (number_a, rest_a) = leading_digits(a);
            let (number_b, rest_b) = leading_digits(b);
            let ordering = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
            if ordering.is_ne() {
                return ordering;
            }
            (a, b) = (rest_a, rest_b);
        } else {
            if first_a != first_b {
                return first_a.cmp(&first_b);
            }
            (a, b) = (&a[first_a.len_utf8()..], &b[first_b.len_utf8()..]);
        }
    }
}

fn leading_digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].trim_start_matches('0'), &text[end..])
}
