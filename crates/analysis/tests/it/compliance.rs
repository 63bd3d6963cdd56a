//! What has to be said and what must not be.

use kallglot_analysis::{Compliance, ComplianceStatus, FlagKind, NotJudged, Part, Profile, SpeakerName};
use kallglot_core::session::Speaker;
use serde_json::{Value, json};

use crate::calls::{Script, heating};

fn judged(call: &Script, rules: Value) -> Compliance {
    call.analysed(&[Part::Compliance], Some(&Profile::parse(&rules).unwrap())).compliance.unwrap()
}

fn kinds(compliance: &Compliance) -> Vec<(&str, FlagKind)> {
    compliance.flags.iter().map(|flag| (flag.rule.as_str(), flag.kind)).collect()
}

#[test]
fn what_had_to_be_said_is_found_however_it_was_said() {
    let compliance = judged(
        &heating(),
        json!([
            {"id": "recorded", "kind": "must_say", "by": "agent", "phrases": ["this call is recorded"], "within_first_seconds": 20},
            {"id": "name", "kind": "must_say", "by": "agent", "phrases": ["your name"], "after": "recorded"},
            {"id": "goodbye", "kind": "must_say", "by": "agent", "phrases": ["have a nice day", "have a wonderful day"], "within_last_seconds": 10},
        ]),
    );
    assert_eq!(compliance.status, ComplianceStatus::Passed, "{compliance:?}");
    let place = compliance.rules[0].place.as_ref().unwrap();
    assert_eq!((place.sequence, place.quote.as_str()), (1, "this call is being recorded"));
}

#[test]
fn a_rule_in_english_finds_what_a_spanish_speaker_said_by_its_translation() {
    let compliance = judged(
        &heating(),
        json!([
            {"id": "anger", "kind": "must_not_say", "by": "customer", "phrases": ["I am angry"], "severity": "low"},
            {"id": "enfado", "kind": "must_not_say", "by": "customer", "phrases": [{"text": "estoy enfadado", "language": "es"}], "severity": "high"},
        ]),
    );
    assert_eq!(
        kinds(&compliance),
        [("enfado", FlagKind::Forbidden), ("anger", FlagKind::Forbidden)],
        "the worst first"
    );
    let places: Vec<_> = compliance.flags.iter().map(|flag| flag.place.as_ref().unwrap()).collect();
    assert_eq!(
        (places[0].language.as_str(), places[0].translated, places[0].speaker),
        ("es", false, SpeakerName::Customer)
    );
    assert_eq!(
        (places[1].language.as_str(), places[1].translated, places[1].quote.as_str()),
        ("en", true, "I am very angry")
    );
}

#[test]
fn what_is_missing_forbidden_or_at_the_wrong_place_is_flagged() {
    let compliance = judged(
        &heating(),
        json!([
            {"id": "identify", "kind": "must_say", "by": "agent", "phrases": ["date of birth"]},
            {"id": "refund", "kind": "must_not_say", "by": "agent", "phrases": ["refund"]},
            {"id": "name_first", "kind": "must_say", "by": "agent", "phrases": ["your name"], "within_first_seconds": 5},
            {"id": "order", "kind": "must_say", "by": "agent", "phrases": ["this call is recorded"], "after": "name_first"},
            {"id": "guest_refund", "kind": "must_not_say", "by": "customer", "phrases": ["refund"]},
        ]),
    );
    assert_eq!(compliance.status, ComplianceStatus::Failed);
    assert_eq!(
        kinds(&compliance),
        [
            ("order", FlagKind::OutOfOrder),
            ("name_first", FlagKind::OutOfOrder),
            ("refund", FlagKind::Forbidden),
            ("identify", FlagKind::Missing)
        ]
    );
}

#[test]
fn a_negation_between_the_words_is_another_meaning() {
    let rules = json!([{"id": "promise", "kind": "must_not_say", "phrases": ["we guarantee"]}]);
    let call = |text: &str| Script::default().says(Speaker::Agent, "en", text, None);
    assert_eq!(judged(&call("We can't guarantee that."), rules.clone()).status, ComplianceStatus::Passed);
    assert_eq!(judged(&call("We always guaranteed that."), rules.clone()).status, ComplianceStatus::Failed);
    assert_eq!(
        judged(&call("We said so, and on that day there was no guarantee."), rules).status,
        ComplianceStatus::Passed
    );
}

#[test]
fn a_phrase_that_was_cut_into_two_turns_is_one() {
    let rules = json!([{"id": "recorded", "kind": "must_say", "phrases": ["this call is recorded"]}]);
    let cut = Script::default()
        .says_at(Speaker::Agent, "en", "This call", None, 0, 900)
        .says_at(Speaker::Customer, "es", "Sí.", None, 950, 1_100)
        .says_at(Speaker::Agent, "en", "is recorded.", None, 1_200, 2_000);
    let compliance = judged(&cut, rules.clone());
    assert_eq!(compliance.rules[0].place.as_ref().unwrap().quote, "This call … is recorded");
    let far = Script::default().says_at(Speaker::Agent, "en", "This call", None, 0, 900).says_at(
        Speaker::Agent,
        "en",
        "is recorded.",
        None,
        10_000,
        11_000,
    );
    assert_eq!(judged(&far, rules).status, ComplianceStatus::Failed);
}

#[test]
fn what_cant_be_judged_is_not_applicable() {
    let german = Script::default().says(Speaker::Agent, "de", "Guten Tag, dieses Gespräch wird aufgezeichnet.", None);
    let compliance = judged(
        &german,
        json!([
            {"id": "recorded", "kind": "must_say", "by": "agent", "phrases": [{"text": "this call is recorded", "language": "en"}]},
        ]),
    );
    assert_eq!(compliance.status, ComplianceStatus::NotApplicable);
    assert_eq!(compliance.rules[0].reason, Some(NotJudged::LanguageNotSpoken));
    let without = german.analysed(&[Part::Compliance], None).compliance.unwrap();
    assert_eq!(without.status, ComplianceStatus::NotApplicable);
}

#[test]
fn languages_that_cant_be_analysed_are_searched_word_for_word() {
    let call = Script::default().says(Speaker::Agent, "ja", "この通話は録音されます。", None).says(
        Speaker::Customer,
        "ar",
        "أُريدُ استرداد المال",
        None,
    );
    let compliance = judged(
        &call,
        json!([
            {"id": "ja", "kind": "must_say", "phrases": ["録音されます"]},
            {"id": "ar", "kind": "must_say", "phrases": ["أريد استرداد"]},
        ]),
    );
    assert_eq!(compliance.status, ComplianceStatus::Passed, "{compliance:?}");
}
