//! How a call went, by the clock.

use kallglot_analysis::{Call, Durations, Part, Performance, analyse};
use kallglot_core::id::SegmentId;
use kallglot_core::session::{Speaker, UtteranceLag};

use crate::calls::{Script, heating};
use Speaker::{Agent, Customer};

fn measured(call: &Script) -> Performance {
    call.analysed(&[Part::Performance], None).performance.unwrap()
}

#[test]
fn a_calm_call_scores_high_and_a_bad_one_low() {
    assert!(measured(&heating()).score >= 95);
    let bad = Script::default()
        .says_at(Customer, "en", "I have a question about my bill and", None, 0, 10_000)
        .says_at(Agent, "en", "Your bill is right, it always is.", None, 4_000, 12_000)
        .says_at(Customer, "en", "But I was charged twice", None, 13_000, 15_000)
        .says_at(Agent, "en", "Wait a long, long, long moment.", None, 60_000, 61_000);
    let bad = measured(&bad);
    assert!(bad.score <= 60, "{bad:?}");
    assert_eq!((bad.interruptions.agent, bad.interruptions.customer, bad.overlap_ms), (1, 0, 6_000));
    assert_eq!((bad.dead_air.count, bad.dead_air.longest_ms), (1, 45_000));
    let agent = Durations { count: 2, median_ms: 0, p90_ms: 45_000, longest_ms: 45_000 };
    assert_eq!(bad.response_time.agent, Some(agent));
}

#[test]
fn listening_noises_and_late_starts_interrupt_nobody() {
    let call = Script::default()
        .says_at(Customer, "en", "So I went to the station to get my ticket", None, 0, 10_000)
        .says_at(Agent, "en", "Uh huh.", None, 3_000, 3_500)
        .says_at(Agent, "en", "And then what did you do?", None, 9_700, 11_000);
    let measured = measured(&call);
    assert_eq!(measured.interruptions.agent, 0);
    assert_eq!(measured.longest_monologue_ms.customer, 10_000);
}

#[test]
fn who_overlaps_itself_has_not_spoken_twice() {
    let call = Script::default().says_at(Customer, "en", "one two three four five six", None, 0, 60_000).says_at(
        Customer,
        "en",
        "seven eight nine ten eleven twelve",
        None,
        30_000,
        60_000,
    );
    let measured = measured(&call);
    assert_eq!((measured.talk_ms.customer, measured.overlap_ms), (60_000, 0));
    assert_eq!(measured.words_per_minute.customer, Some(12.0));
    assert_eq!(measured.talk_ratio.customer, 1.0);
}

#[test]
fn words_are_not_counted_where_they_are_not_written_apart() {
    let call = Script::default().says_at(Agent, "zh-Hant-TW", "您好，請問有什麼可以幫您？", None, 0, 3_000);
    assert_eq!(measured(&call).words_per_minute.agent, None);
}

#[test]
fn the_translation_lag_is_that_of_the_first_sound() {
    let call = heating();
    let lag = |n: u32, first_audio_ms| UtteranceLag {
        id: SegmentId::from_bits(n.into()),
        speaker: Customer,
        first_partial_ms: None,
        final_ms: 300,
        first_audio_ms,
    };
    let lags: Vec<UtteranceLag> = (1..=10).map(|n| lag(n, Some(n * 100))).chain([lag(11, None)]).collect();
    let call = Call { turns: &call.turns, lags: &lags, end_ms: None };
    let measured = analyse(&call, &[Part::Performance], None).performance.unwrap();
    let expected = Durations { count: 10, median_ms: 500, p90_ms: 900, longest_ms: 1_000 };
    assert_eq!(measured.translation_lag.customer, Some(expected));
    assert_eq!(measured.translation_lag.agent, None);
}
