//! Deserializers for the engine's JSON that lose only the field that cannot be read.
//!
//! Engines, their versions and proxies send values of unexpected types. A strict parser would then
//! reject a whole list or sample.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
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

/// Deserializes the elements of an array that can be read. Anything else is an empty list.
pub(crate) fn elements<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw = <&RawValue>::deserialize(deserializer)?;
    let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    Ok(elements.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect())
}

/// Deserializes an array whose elements may be invalid. Returns the others, and the number of invalid
/// ones.
///
/// # Errors
/// If the value is not an array.
pub(crate) fn array<'de, D, T>(deserializer: D) -> Result<(Vec<T>, usize), D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let raw: Vec<&RawValue> = Vec::deserialize(deserializer).map_err(D::Error::custom)?;
    let all = raw.len();
    let elements: Vec<T> =
        raw.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
    let invalid = all - elements.len();
    Ok((elements, invalid))
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
}
