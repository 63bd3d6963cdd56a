//! Analyses and compliance profiles.

use kallglot_analysis::{
    GAP_WORDS, GAP_WORDS_MAX, PHRASE_CHARS_MAX, PHRASES_MAX, RULE_ID_CHARS_MAX, RULE_NAME_CHARS_MAX, RULES_MAX,
    SECONDS_MAX,
};
use kallglot_core::analysis::{AnalysisFailure, AnalysisStatus, ComplianceProfile, Part};
use kallglot_core::edition::Edition;
use serde_json::{Value, json};

use super::transcript::speaker;
use super::{
    NOT_BLANK, Schemas, answer, count, flag, ids, kind, language, language_or_null, list, one_of, part, part_or_null,
    part_with, reference, request, text, text_or_null, time, time_or_null,
};
use crate::openapi::node::{Node, object};

const EXAMPLE: &str = r#"{
  "id": "anl_02kcvxLD3mcqFX1EhuPLpS",
  "object": "analysis",
  "session_id": "sess_02kcvxLD3mcqFX1EhuPLpS",
  "status": "completed",
  "include": ["summary", "sentiment", "compliance", "keywords"],
  "profile": { "id": "cpr_02kcvxLD3mcqFX1EhuPLpS", "name": "Hotel" },
  "progress": { "attempts": 1, "parts_done": 4, "parts_total": 4 },
  "summary": "Customer: The heating of room 214 has not worked since last night.\nAgent: I will send a technician to repair the heating within twenty minutes.",
  "summary_language": "en",
  "summary_method": "extractive",
  "highlights": [
    { "sequence": 2, "speaker": "customer", "start_ms": 5400, "text": "The heating of room 214 has not worked since last night.", "language": "en", "translated": true }
  ],
  "action_items": null,
  "sentiment": {
    "customer": {
      "label": "positive", "score": 0.31, "beginning": -0.62, "end": 0.8, "trend": "improving", "turns_read": 6,
      "turns": [{ "sequence": 3, "score": -0.62, "translated": false }]
    },
    "agent": null
  },
  "compliance": {
    "status": "failed",
    "flags": [
      {
        "rule": "recorded", "name": "Announce the recording", "severity": "high", "kind": "out_of_order",
        "place": {
          "sequence": 7, "turn": "seg_02kcvxLD3mcqFX1EhuPLpS", "start_ms": 61200, "speaker": "agent",
          "quote": "this call is being recorded", "phrase": "this call is recorded", "language": "en", "translated": false
        }
      }
    ],
    "rules": [{ "rule": "recorded", "status": "failed", "reason": null, "found": 1, "place": null }]
  },
  "keywords": [{ "text": "heating", "count": 3, "by": { "customer": 2, "agent": 1 }, "score": 2.5 }],
  "performance": null,
  "errors": [],
  "transcript": { "turns": 12, "complete": true },
  "error": null,
  "created_at": "2026-11-22T09:30:00.000Z",
  "completed_at": "2026-11-22T09:30:01.200Z"
}"#;

const PROFILE_EXAMPLE: &str = r#"{
  "id": "cpr_02kcvxLD3mcqFX1EhuPLpS",
  "object": "compliance_profile",
  "name": "Hotel",
  "rules": [
    {
      "id": "recorded", "name": "Announce the recording", "kind": "must_say", "by": "agent", "severity": "high", "gap_words": 2,
      "phrases": [{ "text": "this call is recorded" }, { "text": "esta llamada se graba", "language": "es" }],
      "within_first_seconds": 30
    }
  ],
  "created_at": "2026-11-22T09:00:00.000Z",
  "updated_at": "2026-11-22T09:00:00.000Z"
}"#;

pub(super) fn schemas() -> Schemas {
    vec![
        ("CreateAnalysisRequest", create()),
        (
            "Analysis",
            answer(
                "An analysis of a session. Parts that were not asked for, could not be made, or are not made yet are null.",
                analysis(),
                EXAMPLE,
            ),
        ),
        ("AnalysisList", analysis_list()),
        ("PartySentiment", party_sentiment()),
        ("Compliance", compliance()),
        ("CompliancePlace", place()),
        ("Performance", performance()),
        ("Durations", durations()),
        (
            "CreateComplianceProfileRequest",
            request("A new compliance profile.", &["name", "rules"], profile_changes(false)),
        ),
        (
            "UpdateComplianceProfileRequest",
            request("What is to be changed of a compliance profile.", &[], profile_changes(true)),
        ),
        ("ComplianceRule", rule()),
        ("CompliancePhrase", phrase()),
        ("ComplianceProfile", answer("What an organization wants said and not said.", profile(), PROFILE_EXAMPLE)),
        ("ComplianceProfileList", list("ComplianceProfile", "/v1/compliance_profiles", PROFILE_EXAMPLE)),
    ]
}

/// What a hotel's agents have to say.
pub(crate) fn create_profile_example(_: Edition) -> Node {
    json!({
        "name": "Hotel",
        "rules": [
            {
                "id": "recorded", "name": "Announce the recording", "kind": "must_say", "by": "agent", "severity": "high",
                "phrases": ["this call is recorded", { "text": "esta llamada se graba", "language": "es" }], "within_first_seconds": 30,
            },
            { "id": "name", "kind": "must_say", "by": "agent", "phrases": ["your name"], "after": "recorded" },
            { "id": "promises", "kind": "must_not_say", "by": "agent", "phrases": ["I guarantee", "I promise you a refund"] },
        ],
    })
    .into()
}

fn or_null(name: &str) -> Value {
    json!({ "anyOf": [{ "$ref": format!("#/components/schemas/{name}") }, { "type": "null" }] })
}

fn number(description: &str, least: f64, most: f64) -> Value {
    json!({ "type": "number", "minimum": least, "maximum": most, "description": description })
}

fn number_or_null(description: &str) -> Value {
    json!({ "type": ["number", "null"], "description": description })
}

fn names<T: Copy>(all: &[T], as_str: impl Fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|value| as_str(*value)).collect()
}

fn create() -> Node {
    let parts = names(Part::ALL, Part::as_str);
    request(
        "What is to be analysed.",
        &[],
        object! {
            "include" => json!({
                "type": ["array", "null"], "items": { "type": "string", "enum": parts }, "minItems": 1,
                "description": "Which parts to make; all, unless some are named.",
            }),
            "profile" => json!({
                "type": ["string", "null"], "minLength": 1, "maxLength": ComplianceProfile::NAME_CHARS_MAX, "pattern": NOT_BLANK,
                "description": "The compliance profile to judge by: its id or its name. Without one, `compliance` is `not_applicable`.",
            }),
        },
    )
}

fn array(description: &str, items: impl Into<Node>) -> Node {
    object! { "type" => "array", "description" => description, "items" => items.into() }
}

fn array_or_null(description: &str, items: impl Into<Node>) -> Node {
    object! { "type" => json!(["array", "null"]), "description" => description, "items" => items.into() }
}

fn analysis() -> Node {
    let statuses = names(AnalysisStatus::ALL, AnalysisStatus::as_str);
    let failures = names(AnalysisFailure::ALL, AnalysisFailure::as_str);
    object! {
        "id" => ids::analysis(),
        "object" => kind("analysis"),
        "session_id" => ids::session(),
        "status" => one_of(&statuses, "Where it stands."),
        "include" => array("The parts that were asked for.", one_of(&names(Part::ALL, Part::as_str), "A part.")),
        "profile" => part_or_null("The profile that it is judged by, as it was when it was asked for.", object! {
            "id" => ids::compliance_profile(),
            "name" => text("Its name then."),
        }),
        "progress" => part("How far it is.", object! {
            "attempts" => count("How often it was begun."),
            "parts_done" => count("How many parts are made."),
            "parts_total" => count("How many there are to be made."),
        }),
        "summary" => text_or_null("The summary, for somebody who was not there."),
        "summary_language" => language_or_null("Its language: the one in which most of the call can be read, the agent's if there are two."),
        "summary_method" => json!({
            "enum": ["extractive", "abstractive", null],
            "description": "`extractive`: made of the call's own sentences, on the server itself. `abstractive`: written by the language model that the server's operator has connected.",
        }),
        "highlights" => array_or_null("The sentences that matter most, in the order of the call.", part("A sentence of the call.", object! {
            "sequence" => count("The turn's place in the transcript."),
            "speaker" => speaker("Who said it."),
            "start_ms" => count("When the turn began, in ms after the session's first audio."),
            "text" => text("The sentence."),
            "language" => language("The language that it is given in."),
            "translated" => flag("Whether it is from the translation."),
        })),
        "action_items" => array_or_null("What is to be done after the call; only where a language model is connected.", part("Something to be done.", object! {
            "text" => text("What."),
            "owner" => json!({ "enum": ["customer", "agent", null], "description": "By whom, where that was said." }),
        })),
        "sentiment" => part_or_null("How each party felt, by what it said; null for one of whom nothing could be read.", object! {
            "customer" => or_null("PartySentiment"),
            "agent" => or_null("PartySentiment"),
        }),
        "compliance" => or_null("Compliance"),
        "keywords" => array_or_null("What it was about, the most important first.", part("A word or phrase.", object! {
            "text" => text("As it was said most often, in lower case."),
            "count" => count("How often it was said."),
            "by" => part("By whom.", object! { "customer" => count("How often the customer said it."), "agent" => count("How often the agent said it.") }),
            "score" => json!({ "type": "number", "description": "The higher the more the call is about it. For comparing within one analysis." }),
        })),
        "performance" => or_null("Performance"),
        "errors" => array("What is missing or not whole though it was asked for, and why.", part_with("Something that is missing.", object! {
            "part" => text("Which part; `action_items` is one too."),
            "code" => one_of(&["unsupported_language", "nothing_said", "too_long", "endpoint_failed"], "Why."),
            "message" => text("The same as a sentence."),
        }, object! {
            "languages" => json!({
                "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 },
                "description": "The languages that could not be read, with how many turns are in each.",
            }),
        })),
        "transcript" => part_or_null("Of what it was made.", object! {
            "turns" => count("How many turns there were."),
            "complete" => flag("Whether the session had ended."),
        }),
        "error" => part_or_null("Why it failed, if it did.", object! {
            "code" => one_of(&failures, "Why."),
            "message" => text("The same as a sentence."),
        }),
        "created_at" => time("When it was asked for."),
        "completed_at" => time_or_null("When it was over."),
    }
}

fn analysis_list() -> Node {
    let page = object! {
        "object" => "list", "data" => vec![Node::Json(EXAMPLE)], "has_more" => false,
        "url" => "/v1/sessions/sess_02kcvxLD3mcqFX1EhuPLpS/analyses",
    };
    let fields = object! {
        "object" => kind("list"),
        "data" => array("The analyses, newest first.", reference("Analysis")),
        "has_more" => flag("Whether there are more items in the direction that was asked for."),
        "url" => text("The list's address."),
    };
    part("A page of a session's analyses.", fields).with("examples", vec![page])
}

fn party_sentiment() -> Node {
    part(
        "How one party felt.",
        object! {
            "label" => one_of(&["positive", "neutral", "negative"], "Roughly: from a score of 0.2 on positive, from -0.2 on negative."),
            "score" => number("From -1 to 1.", -1.0, 1.0),
            "beginning" => number_or_null("The score of the first third of its turns; null with fewer than four."),
            "end" => number_or_null("The score of the last third of its turns; null with fewer than four."),
            "trend" => json!({ "enum": ["improving", "steady", "worsening", null], "description": "How it changed, by 0.2 or more." }),
            "turns_read" => count("How many turns could be read."),
            "turns" => array("The turns that feel like something.", part("One turn.", object! {
                "sequence" => count("Its place in the transcript."),
                "score" => number("From -1 to 1.", -1.0, 1.0),
                "translated" => flag("Whether its translation was read, since what was said can't be."),
            })),
        },
    )
}

const STATUSES: &[&str] = &["passed", "failed", "not_applicable"];
const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];

fn compliance() -> Node {
    part(
        "How the session stands to a compliance profile.",
        object! {
            "status" => one_of(STATUSES, "`failed`: there is a flag. `not_applicable`: no rule could be judged, or there is no profile."),
            "flags" => array("What is wrong, the worst first.", part("Something that is wrong.", object! {
                "rule" => text("The rule's id."),
                "name" => text("The rule's name."),
                "severity" => one_of(SEVERITIES, "The rule's severity."),
                "kind" => one_of(&["missing", "forbidden", "out_of_order"], "`out_of_order`: it was said, but not where it had to be."),
                "place" => or_null("CompliancePlace"),
            })),
            "rules" => array("What became of each rule.", part("A rule's outcome.", object! {
                "rule" => text("The rule's id."),
                "status" => one_of(STATUSES, "How the session stands to it."),
                "reason" => json!({
                    "enum": ["language_not_spoken", "not_ended", null],
                    "description": "Why it could not be judged. `language_not_spoken`: its phrases are in languages in which there is nothing. `not_ended`: it is about the end of a session that runs.",
                }),
                "found" => count("In how many turns one of its phrases was said, wherever."),
                "place" => or_null("CompliancePlace"),
            })),
        },
    )
}

fn place() -> Node {
    part(
        "Where a phrase was said.",
        object! {
            "sequence" => count("The turn's place in the transcript."),
            "turn" => ids::segment(),
            "start_ms" => count("When the turn began, in ms after the session's first audio."),
            "speaker" => speaker("Who said it."),
            "quote" => text("What was said, as in the text that was searched."),
            "phrase" => text("The phrase that was looked for."),
            "language" => language("The text's language."),
            "translated" => flag("Whether it was found in the translation."),
        },
    )
}

fn each(description: &str, of: impl Fn() -> Value) -> Node {
    part(description, object! { "customer" => of(), "agent" => of() })
}

fn performance() -> Node {
    part(
        "How the call went, by the clock.",
        object! {
            "score" => json!({
                "type": "integer", "minimum": 0, "maximum": 100,
                "description": "100, less up to 30 for dead air, 20 for the agent's interruptions, 20 for its response time, 15 for uneven talking, 15 for the translation lag.",
            }),
            "spoken_span_ms" => count("From the first word to the last."),
            "talk_ms" => each("How long each party spoke.", || count("In ms.")),
            "talk_ratio" => each("Each party's share of what both spoke.", || number("0 to 1.", 0.0, 1.0)),
            "overlap_ms" => count("How long both spoke at once."),
            "interruptions" => each("How often each party interrupted the other. Listening noises interrupt nobody.", || count("How often.")),
            "response_time" => each("How long each party let the other wait. In a translated call it holds the time that the translation takes.", || or_null("Durations")),
            "dead_air" => part("Gaps of more than 5 s in which nobody spoke.", object! {
                "count" => count("How many."),
                "total_ms" => count("Their sum."),
                "longest_ms" => count("The longest."),
            }),
            "translation_lag" => each("From the end of what a party said to the first sound of its translation.", || or_null("Durations")),
            "words_per_minute" => each("How fast each party spoke; null for who did not, and for languages written without spaces.", || number_or_null("Words a minute.")),
            "longest_monologue_ms" => each("How long each party spoke at most before the other said something.", || count("In ms.")),
        },
    )
}

fn durations() -> Node {
    part(
        "Some durations, in ms.",
        object! {
            "count" => count("How many."),
            "median_ms" => count("Half of them are at most this long."),
            "p90_ms" => count("Nine tenths of them are at most this long."),
            "longest_ms" => count("The longest."),
        },
    )
}

fn profile_changes(optional: bool) -> Node {
    let kind = |name: &str| if optional { json!([name, "null"]) } else { json!(name) };
    object! {
        "name" => json!({
            "type": kind("string"), "minLength": 1, "maxLength": ComplianceProfile::NAME_CHARS_MAX, "pattern": NOT_BLANK,
            "description": "What it is called; no two profiles have the same name. It does not begin with `cpr_`.",
        }),
        "rules" => object! {
            "type" => kind("array"), "minItems" => json!(1), "maxItems" => json!(RULES_MAX), "description" => "The rules, all of them.",
            "items" => reference("ComplianceRule"),
        },
    }
}

fn short(description: &str, chars_max: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": chars_max, "pattern": NOT_BLANK, "description": description })
}

fn short_or_null(description: &str, chars_max: usize) -> Value {
    let mut schema = short(description, chars_max);
    schema["type"] = json!(["string", "null"]);
    schema
}

fn seconds_or_null(description: &str) -> Value {
    json!({ "type": ["integer", "null"], "minimum": 1, "maximum": SECONDS_MAX, "description": description })
}

fn rule() -> Node {
    let choice = |names: &[&str], description: &str| {
        let names: Vec<Value> = names.iter().map(|name| json!(name)).chain([Value::Null]).collect();
        json!({ "enum": names, "description": description })
    };
    let mut id = short("What flags and other rules call it: letters, digits, `_`, `-` and `.`.", RULE_ID_CHARS_MAX);
    id["pattern"] = json!(r"^\s*[0-9A-Za-z_.-]+\s*$");
    request(
        "What must or must not be said.",
        &["id", "kind", "phrases"],
        object! {
            "id" => id,
            "name" => short_or_null("What people call it; its id, unless given.", RULE_NAME_CHARS_MAX),
            "kind" => one_of(&["must_say", "must_not_say"], "Whether its phrases are wanted."),
            "phrases" => object! {
                "type" => "array", "minItems" => json!(1), "maxItems" => json!(PHRASES_MAX), "description" => "What is looked for: any of them.",
                "items" => object! { "anyOf" => vec![Node::from(short("The words.", PHRASE_CHARS_MAX)), reference("CompliancePhrase")] },
            },
            "by" => choice(&["customer", "agent", "any"], "Whose words count; anybody's, unless given."),
            "severity" => choice(SEVERITIES, "How bad a breach is; `medium`, unless given."),
            "gap_words" => json!({
                "type": ["integer", "null"], "minimum": 0, "maximum": GAP_WORDS_MAX, "default": GAP_WORDS,
                "description": "How many other words may stand between two words of a phrase. A negation never may.",
            }),
            "after" => short_or_null("The id of another rule: counts only after one of that rule's phrases was said.", RULE_ID_CHARS_MAX),
            "within_first_seconds" => seconds_or_null("Counts only in turns that begin in the first so many seconds."),
            "within_last_seconds" => seconds_or_null("Counts only in turns that end in the last so many seconds of an ended session."),
        },
    )
}

fn phrase() -> Node {
    request(
        "Some words to look for.",
        &["text"],
        object! {
            "text" => short("The words.", PHRASE_CHARS_MAX),
            "language" => json!({
                "type": ["string", "null"], "maxLength": 35, "pattern": r"^\s*[A-Za-z]{2,3}(-[0-9A-Za-z]{1,8})*\s*$",
                "description": "The language they are in: then only texts in that language are searched.",
            }),
        },
    )
}

fn profile() -> Node {
    object! {
        "id" => ids::compliance_profile(),
        "object" => kind("compliance_profile"),
        "name" => text("What it is called."),
        "rules" => array("The rules.", reference("ComplianceRule")),
        "created_at" => time("When it was made."),
        "updated_at" => time("When it was last changed."),
    }
}
