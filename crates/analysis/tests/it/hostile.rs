//! Whatever was recognised, however it lies in time: an analysis, within its bounds.

use kallglot_analysis::{Analysis, Part, Profile};
use kallglot_core::session::Speaker;
use proptest::prelude::*;
use serde_json::json;

use crate::calls::Script;

fn profile() -> Profile {
    Profile::parse(&json!([
        {"id": "a", "kind": "must_say", "phrases": ["a", "not a b", "🙂 ok"], "gap_words": 5},
        {"id": "b", "kind": "must_not_say", "phrases": [{"text": "b b b", "language": "en"}], "after": "a", "within_first_seconds": 3},
        {"id": "c", "kind": "must_say", "phrases": ["שלום"], "by": "agent", "within_last_seconds": 1},
    ]))
    .unwrap()
}

fn check(analysis: &Analysis) {
    let json = serde_json::to_string(analysis).unwrap();
    let back: Analysis = serde_json::from_str(&json).unwrap();
    assert_eq!(back, *analysis, "what is stored is what is read");
    if let Some(summary) = &analysis.summary {
        assert!(summary.text.chars().count() <= 2_000, "{}", summary.text.len());
    }
    let sentiment = analysis.sentiment.clone().unwrap_or_default();
    for party in [sentiment.customer, sentiment.agent].into_iter().flatten() {
        assert!((-1.0..=1.0).contains(&party.score));
    }
    assert!(analysis.keywords.as_ref().is_none_or(|keywords| keywords.len() <= 15));
    let compliance = analysis.compliance.as_ref().unwrap();
    assert!(compliance.flags.len() <= 60 && compliance.rules.len() == 3);
    if let Some(performance) = &analysis.performance {
        assert!(performance.score <= 100);
        let ratio = performance.talk_ratio;
        assert!((0.0..=1.0).contains(&ratio.agent) && (0.0..=1.0).contains(&ratio.customer));
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,120}",
        "([ab]( |, |\\. )){0,40}",
        "(not|very|good|but|terrible|a|b|[0-9]{1,4}|\\.|!|\\?| ){0,60}",
        "[\u{590}-\u{5ff}\u{600}-\u{6ff} \u{202e}\u{200f}]{0,60}",
        "[🙂👩‍👩‍👧🇩🇪\u{fe0f}\u{20e3} a]{0,40}",
        "[A-Za-zÀ-ÿß'’]{0,300}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_call_has_an_analysis(
        turns in prop::collection::vec(
            (any::<bool>(), prop::sample::select(vec!["en", "es-MX", "de", "fr", "ar", "zh", "xx"]), text(), prop::option::of(text()), prop_oneof![0..100_000u64, any::<u64>()], prop_oneof![0..100_000u64, any::<u64>()]),
            0..30,
        )
    ) {
        let mut call = Script::default();
        for (agent, language, text, translation, start, end) in &turns {
            let speaker = if *agent { Speaker::Agent } else { Speaker::Customer };
            let translation = translation.as_deref().map(|text| ("en", text));
            call = call.says_at(speaker, language, text, translation, *start, *end);
        }
        check(&call.analysed(Part::ALL, Some(&profile())));
    }
}

#[test]
fn a_call_where_one_word_is_said_for_hours_is_analysed_too() {
    let long = "a b ".repeat(2_000);
    let mut call = Script::default();
    for _ in 0..40 {
        call = call.says(Speaker::Customer, "en", &long, None);
    }
    check(&call.analysed(Part::ALL, Some(&profile())));
}

#[test]
fn a_call_without_words_has_no_more_than_times() {
    let call = Script::default().says(Speaker::Agent, "en", "… !?", None);
    let analysis = call.analysed(Part::ALL, Some(&profile()));
    check(&analysis);
    assert!(analysis.summary.is_none());
    assert!(!analysis.problems.is_empty());
}
