//! How the values that have no columns of their own are written into one column: JSON, the same in every backend.
//!
//! The shapes are this module's, not the domain's: a change of a domain type can't silently change what is stored.

use std::collections::BTreeMap;

use kallglot_core::vocabulary::{Expectation, Vocabulary};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The text is not what this module writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the JSON that is stored here")]
pub struct Unreadable;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredExpectation {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    phrases: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    phrases_only: bool,
}

/// A vocabulary as JSON: `{"en": {"phrases": ["…"], "words": ["…"], "phrases_only": true}}`, `{}` for the empty one.
pub fn vocabulary_to_json(vocabulary: &Vocabulary) -> String {
    if vocabulary.languages.is_empty() {
        return "{}".into();
    }
    let stored: BTreeMap<&str, StoredExpectation> = vocabulary
        .languages
        .iter()
        .map(|(tag, expectation)| {
            let Expectation { phrases, words, phrases_only } = expectation.clone();
            (tag.as_str(), StoredExpectation { phrases, words, phrases_only })
        })
        .collect();
    // Maps with text keys, texts and flags always have a JSON form.
    serde_json::to_string(&stored).unwrap_or_else(|_| "{}".into())
}

/// The vocabulary of this JSON.
///
/// # Errors
/// It is not what [`vocabulary_to_json`] writes.
pub fn vocabulary_from_json(text: &str) -> Result<Vocabulary, Unreadable> {
    if text == "{}" {
        return Ok(Vocabulary::default());
    }
    let stored: BTreeMap<String, StoredExpectation> = serde_json::from_str(text).map_err(|_| Unreadable)?;
    let languages = stored
        .into_iter()
        .map(|(tag, StoredExpectation { phrases, words, phrases_only })| {
            Ok((tag.parse().map_err(|_| Unreadable)?, Expectation { phrases, words, phrases_only }))
        })
        .collect::<Result<_, Unreadable>>()?;
    Ok(Vocabulary { languages })
}

/// Pairs of text as a JSON object.
pub fn pairs_to_json(pairs: &BTreeMap<String, String>) -> String {
    if pairs.is_empty() {
        return "{}".into();
    }
    serde_json::to_string(pairs).unwrap_or_else(|_| "{}".into())
}

/// The pairs of this JSON object.
///
/// # Errors
/// It is not one, or a value is not a text.
pub fn pairs_from_json(text: &str) -> Result<BTreeMap<String, String>, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable)
}

/// What an event tells, as a JSON object.
pub fn detail_to_json(detail: &Map<String, Value>) -> String {
    serde_json::to_string(detail).unwrap_or_else(|_| "{}".into())
}

/// What an event tells.
///
/// # Errors
/// It is not a JSON object.
pub fn detail_from_json(text: &str) -> Result<Map<String, Value>, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable)
}

/// What changed as a JSON object: `{"plan": ["starter", "pro"]}`, each before and after.
pub fn changes_to_json(changes: &BTreeMap<String, (String, String)>) -> String {
    serde_json::to_string(changes).unwrap_or_else(|_| "{}".into())
}

/// The changes of this JSON object.
///
/// # Errors
/// It is not what [`changes_to_json`] writes.
pub fn changes_from_json(text: &str) -> Result<BTreeMap<String, (String, String)>, Unreadable> {
    serde_json::from_str(text).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_vocabulary_is_written_for_people_to_read() {
        let expectation = Expectation { phrases: vec!["good morning".into()], words: vec![], phrases_only: true };
        let vocabulary = Vocabulary { languages: BTreeMap::from([("es-MX".parse().unwrap(), expectation)]) };
        let json = vocabulary_to_json(&vocabulary);
        assert_eq!(json, r#"{"es-MX":{"phrases":["good morning"],"phrases_only":true}}"#);
        assert_eq!(vocabulary_from_json(&json), Ok(vocabulary));
        assert_eq!(vocabulary_to_json(&Vocabulary::default()), "{}");
    }

    #[test]
    fn other_json_is_unreadable() {
        for text in ["", "[]", "{\"english\":{}}", "{\"en\":{\"phrase\":[]}}", "{\"en\":{\"phrases\":[1]}}"] {
            assert_eq!(vocabulary_from_json(text), Err(Unreadable), "{text}");
        }
        assert_eq!(pairs_from_json("{\"a\":1}"), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn pairs_round_trip(pairs: BTreeMap<String, String>) {
            prop_assert_eq!(pairs_from_json(&pairs_to_json(&pairs)), Ok(pairs));
        }

        #[test]
        fn changes_round_trip(changes: BTreeMap<String, (String, String)>) {
            prop_assert_eq!(changes_from_json(&changes_to_json(&changes)), Ok(changes));
        }
    }
}
