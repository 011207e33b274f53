//! Deserializers for the engine's JSON that lose only the field that cannot be read.
//!
//! Engines, their versions and proxies send values of unexpected types. A strict parser would then
//! reject a whole list or sample.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Deserializes a value, or the default if its type or range is wrong. Any valid JSON is accepted,
/// `null` too.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(raw.get()).unwrap_or_default())
}

/// A field that can be missing (or `null`) or invalid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Field<T> {
    #[default]
    Missing,
    Invalid,
    Value(T),
}

impl<T> Field<T> {
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Invalid => None,
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Ok(match serde_json::from_str(raw.get()) {
            Ok(Some(value)) => Self::Value(value),
            Ok(None) => Self::Missing,
            Err(_) => Self::Invalid,
        })
    }
}

/// A whole number from 0 on, which may be written as `1.5e3`. One that exceeds a `u64` is
/// [`u64::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        parse_count(raw.get()).map(Self).ok_or_else(|| D::Error::custom("not a whole number"))
    }
}

fn parse_count(number: &str) -> Option<u64> {
    if let Ok(count) = number.parse() {
        return Some(count);
    }
    // JSON has no words that `f64` parses, such as `inf`.
    let float: f64 = number.parse().ok()?;
    let is_whole = float >= 0.0 && (float.fract() == 0.0 || float.is_infinite());
    // The cast saturates.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    is_whole.then_some(float as u64)
}

/// Maximum length of a text of a container, in bytes: far more than names, images and states have.
/// The rest is cut off, because every client would receive it.
const MAX_TEXT: usize = 1_024;

/// Deserializes a string as [`or_default`] does, and cuts it.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    or_default(deserializer).map(cut)
}

/// Deserializes an optional string as [`or_default`] does, and cuts it.
pub(crate) fn optional_text<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    let text: Option<String> = or_default(deserializer)?;
    Ok(text.map(cut))
}

/// The first [`MAX_TEXT`] bytes, down to a whole character.
pub(crate) fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.shrink_to_fit();
    }
    text
}

/// Deserializes the first `MAX` elements of an array that can be read. Anything else is an empty
/// list.
pub(crate) fn elements<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    let mut elements = Vec::new();
    // Fails only if it is not an array.
    let _ = for_each_element(&mut serde_json::Deserializer::from_str(raw.get()), |element| {
        if elements.len() < MAX {
            elements.extend(serde_json::from_str(element).ok());
        }
    });
    Ok(elements)
}

/// Calls `each` with the text of each element of an array. Nothing is stored: three bytes suffice for
/// an element that takes hundreds of bytes of memory.
///
/// # Errors
/// If the value is not an array.
pub(crate) fn for_each_element<'de, D, F>(deserializer: D, each: F) -> Result<(), D::Error>
where
    D: Deserializer<'de>,
    F: FnMut(&'de str),
{
    deserializer.deserialize_seq(ElementVisitor(each))
}

struct ElementVisitor<F>(F);

impl<'de, F: FnMut(&'de str)> Visitor<'de> for ElementVisitor<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            (self.0)(element.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_numbers() {
        for (number, count) in [
            ("7", Some(7)),
            ("1.5e3", Some(1500)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709552000", Some(u64::MAX)),
            ("1e400", Some(u64::MAX)),
            ("0.5", None),
            ("-1", None),
            ("null", None),
            ("\"7\"", None),
            ("[7]", None),
        ] {
            assert_eq!(parse_count(number), count, "{number}");
            let field: Field<Count> = serde_json::from_str(number).unwrap();
            assert_eq!(field.value(), count.map(Count), "{number}");
        }
        assert_eq!(serde_json::from_str::<Field<Count>>("null").unwrap(), Field::Missing);
        assert_eq!(serde_json::from_str::<Field<Count>>("{}").unwrap(), Field::Invalid);
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        assert_eq!(cut("web".to_owned()), "web");
        for (character, bytes) in [("x", 1_024), ("é", 1_024), ("€", 1_023)] {
            assert_eq!(cut(character.repeat(MAX_TEXT)).len(), bytes);
            assert_eq!(cut(character.repeat(MAX_TEXT)).replace(character, ""), "");
        }
    }

    #[test]
    fn only_the_first_elements_are_kept() {
        let first = |json| {
            let mut json = serde_json::Deserializer::from_str(json);
            elements::<_, u8, 2>(&mut json).unwrap()
        };
        assert_eq!(first("[null,1,{},2,3]"), [1, 2]);
        for json in ["[]", "{}", "null", "7"] {
            assert!(first(json).is_empty(), "{json}");
        }
    }
}
