//! A call, and what is told of it.

use kallglot_analysis::{Label, Part, ProblemCode, Trend};
use kallglot_core::session::Speaker;

use crate::calls::{Script, heating};

#[test]
fn a_summary_tells_why_the_customer_called_and_what_was_agreed() {
    let summary = heating().analysed(&[Part::Summary], None).summary.unwrap();
    insta::assert_snapshot!(summary.text);
    assert_eq!(summary.language, "en", "the agent's, whose organization reads it");
    assert!(
        summary
            .highlights
            .iter()
            .all(|highlight| (highlight.speaker == kallglot_analysis::SpeakerName::Customer) == highlight.translated)
    );
}

#[test]
fn feelings_are_told_with_how_they_changed() {
    let sentiment = heating().analysed(&[Part::Sentiment], None).sentiment.unwrap();
    let customer = sentiment.customer.unwrap();
    assert_eq!(customer.trend, Some(Trend::Improving), "{customer:?}");
    assert!(customer.beginning < Some(-0.2) && customer.end > Some(0.2), "{customer:?}");
    assert_eq!(sentiment.agent.unwrap().label, Label::Positive);
}

#[test]
fn keywords_are_what_the_call_is_about_and_who_said_it() {
    let keywords = heating().analysed(&[Part::Keywords], None).keywords.unwrap();
    let lines: Vec<String> = keywords
        .iter()
        .map(|keyword| {
            format!(
                "{} ×{} (customer {}, agent {})",
                keyword.text, keyword.count, keyword.by.customer, keyword.by.agent
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_cant_be_read_itself_is_read_in_translation() {
    let call = Script::default()
        .customer("uk", "Я дуже задоволений, дякую.", ("en", "I am very satisfied, thank you."))
        .agent("en", "It was a pleasure.", ("uk", "Було приємно."));
    let analysis = call.analysed(Part::ALL, None);
    let customer = analysis.sentiment.unwrap().customer.unwrap();
    assert!(customer.label == Label::Positive && customer.turns[0].translated);
    assert_eq!(analysis.problems, []);
}

#[test]
fn a_language_that_cant_be_read_is_named_and_not_guessed_at() {
    let finnish = Script::default().says(Speaker::Customer, "fi", "Huone on kylmä ja likainen.", None);
    let analysis = finnish.analysed(Part::ALL, None);
    assert!(analysis.summary.is_none() && analysis.sentiment.is_none() && analysis.keywords.is_none());
    assert!(analysis.performance.is_some(), "the clock speaks every language");
    let parts: Vec<(&str, ProblemCode)> = analysis.problems.iter().map(|p| (p.part.as_str(), p.code)).collect();
    let unsupported = ProblemCode::UnsupportedLanguage;
    assert_eq!(parts, [("summary", unsupported), ("sentiment", unsupported), ("keywords", unsupported)]);
    assert_eq!(analysis.problems[0].languages.get("fi"), Some(&1));
    // Of a call that can be read in part, the rest is told.
    let mixed = finnish.says(Speaker::Agent, "en", "I am sorry, I do not understand you.", None);
    let analysis = mixed.analysed(&[Part::Summary], None);
    assert!(analysis.summary.is_some() && analysis.problems[0].message.contains("left out"), "{:?}", analysis.problems);
}

#[test]
fn the_same_call_gives_the_same_analysis_in_whatever_order_its_turns_come() {
    let mut call = heating();
    let one = call.analysed(Part::ALL, None);
    call.turns.reverse();
    assert_eq!(call.analysed(Part::ALL, None), one);
}
