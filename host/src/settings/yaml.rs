//! YAML as other programs take it: repeated keys, merge keys and tags are no errors. Bounded in size and in what aliases
//! unfold to.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    self, Deserialize, DeserializeSeed, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Most values of a file once its aliases are unfolded.
const MAX_VALUES: usize = 100_000;
/// Key of a mapping whose members are taken over from other mappings.
const MERGE: &str = "<<";

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Yaml {
    /// `null` or nothing.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A text.
    Text(String),
    /// A number.
    Number,
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping, in its order, with repeated keys.
    Map(Vec<(String, Yaml)>),
    /// A value with a tag of some program.
    Tagged,
}

impl Yaml {
    /// Parses the one document of a text.
    ///
    /// # Errors
    /// When the text is no YAML, or unfolds to too much.
    pub fn parse(text: &str) -> Result<Self, serde_yaml_ng::Error> {
        let left = Cell::new(MAX_VALUES);
        Value(&left).deserialize(serde_yaml_ng::Deserializer::from_str(text))
    }

    /// The kind of value, for a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Flag(_) => "a truth value",
            Self::Text(_) => "a text",
            Self::Number => "a number",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Tagged => "a value with a tag",
        }
    }

    /// Whether Python takes the value for true.
    pub fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Flag(flag) => *flag,
            // YAML 1.1, which Python reads, has these words for false.
            Self::Text(text) => !["", "no", "off", "false", "n"].contains(&text.to_ascii_lowercase().as_str()),
            Self::Number | Self::Tagged => true,
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }
}

/// The members of a mapping with its merge keys resolved: own members come before those that are taken over, and of
/// repeated ones the last counts. `repeated` gets the names of repeated keys, `ignored` what can't be merged.
pub fn members(map: &[(String, Yaml)], repeated: &mut Vec<String>, ignored: &mut Vec<String>) -> Vec<(String, Yaml)> {
    let mut own: Vec<(String, Yaml)> = Vec::new();
    let mut merged: Vec<(String, Yaml)> = Vec::new();
    for (key, value) in map {
        if key == MERGE {
            let sources = match value {
                Yaml::List(list) => list.as_slice(),
                other => std::slice::from_ref(other),
            };
            for source in sources {
                match source {
                    Yaml::Map(source) => merged.extend(members(source, repeated, ignored)),
                    other => ignored.push(format!(
                        "`{MERGE}` is {}, and only mappings can be merged",
                        other.kind()
                    )),
                }
            }
            continue;
        }
        match own.iter_mut().find(|(other, _)| other == key) {
            Some(other) => {
                other.1 = value.clone();
                repeated.push(key.clone());
            }
            None => own.push((key.clone(), value.clone())),
        }
    }
    for (key, value) in merged {
        if !own.iter().any(|(other, _)| *other == key) {
            own.push((key, value));
        }
    }
    own
}

struct Value<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Yaml;

    fn deserialize<D: de::Deserializer<'de>>(self, input: D) -> Result<Yaml, D::Error> {
        match self.0.get().checked_sub(1) {
            Some(left) => self.0.set(left),
            None => {
                return Err(de::Error::custom(format_args!(
                    "more than {MAX_VALUES} values; aliases may unfold to too many"
                )));
            }
        }
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Yaml;

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Yaml, E> {
        Ok(Yaml::Flag(flag))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Yaml, E> {
        Ok(Yaml::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = input.next_element_seed(Value(self.0))? {
            list.push(value);
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Yaml, A::Error> {
        let mut map = Vec::new();
        while let Some(Key(key)) = input.next_key()? {
            map.push((key, input.next_value_seed(Value(self.0))?));
        }
        Ok(Yaml::Map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, input: A) -> Result<Yaml, A::Error> {
        let (IgnoredAny, variant) = input.variant()?;
        variant.newtype_variant::<IgnoredAny>()?;
        Ok(Yaml::Tagged)
    }
}

/// A key as text; of a key that is no scalar nothing.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: de::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Scalar;

        impl<'de> Visitor<'de> for Scalar {
            type Value = Key;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a key")
            }

            fn visit_unit<E>(self) -> Result<Key, E> {
                Ok(Key("null".into()))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Key, E> {
                Ok(Key(flag.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Key, E> {
                Ok(Key(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Key, E> {
                Ok(Key(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Key, E> {
                Ok(Key(number.to_string()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.to_owned()))
            }
        }
        input.deserialize_any(Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Yaml {
        Yaml::Text(text.into())
    }

    #[test]
    fn own_members_come_before_merged_ones_and_the_last_of_repeated_ones_counts() {
        let parsed = Yaml::parse("base: &b\n  x: 1st\n  y: 2nd\nown:\n  <<: *b\n  x: own\n  z: a\n  z: b\n").unwrap();
        let Yaml::Map(top) = parsed else { panic!("{parsed:?}") };
        let Yaml::Map(own) = &top[1].1 else { panic!("{top:?}") };
        let (mut repeated, mut ignored) = (Vec::new(), Vec::new());
        let members = members(own, &mut repeated, &mut ignored);
        let expected = [("x", "own"), ("z", "b"), ("y", "2nd")].map(|(key, value)| (key.to_owned(), text(value)));
        assert_eq!(members, expected);
        assert_eq!((repeated, ignored.len()), (vec!["z".to_owned()], 0));
    }

    #[test]
    fn aliases_that_unfold_to_too_much_are_an_error() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let error = Yaml::parse(&bomb).unwrap_err().to_string();
        assert!(error.contains("values") || error.contains("repetition"), "{error}");
    }

    #[test]
    fn tags_and_odd_keys_are_no_errors() {
        let parsed = Yaml::parse("a: !include x.yaml\n1: 2\ntrue: no\n").unwrap();
        let Yaml::Map(map) = parsed else { panic!("{parsed:?}") };
        assert_eq!(map[0].1, Yaml::Tagged);
        assert_eq!(
            (map[1].0.as_str(), map[2].0.as_str(), map[2].1.is_true()),
            ("1", "true", false)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "[-a-c:&*<>!|\\n \"{}\\[\\],0-9%]{0,60}") {
            let _ = Yaml::parse(&text);
        }
    }
}
