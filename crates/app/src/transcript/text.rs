//! Transcripts for people and players: plain text, SubRip (SRT) and WebVTT (<https://www.w3.org/TR/webvtt1/>).
//!
//! A transcript's own order is that in which texts became final; here it is that in which they were begun, as a listener heard them,
//! which subtitles must have (WebVTT section 4.1: no cue begins before the one above it).

use std::fmt::Write as _;

use kallglot_core::event::time;
use kallglot_core::session::{Session, Speaker, Status, Turn};

/// Shortest time that a subtitle is shown.
const CUE_MS_MIN: u64 = 500;

fn name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Customer => "Customer",
        Speaker::Agent => "Agent",
    }
}

fn as_begun(turns: &[Turn]) -> Vec<&Turn> {
    let mut turns: Vec<&Turn> = turns.iter().collect();
    turns.sort_by_key(|turn| (turn.start_ms, turn.sequence));
    turns
}

/// What call it was, in a few lines; then one line per turn with its time, and one below it with its translation.
pub(super) fn plain(session: &Session, duration_s: i64, turns: &[Turn]) -> String {
    let mut text = String::new();
    let begun = session.state.started_at().unwrap_or(session.created_at);
    let (minutes, seconds) = (duration_s / 60, duration_s % 60);
    let so_far = if session.state.status() == Status::Ended { "" } else { " so far; the call is still going on" };
    let _ = writeln!(text, "Call {} of {}, {minutes} min {seconds} s{so_far}", session.id, time(begun));
    for (speaker, language) in
        [(Speaker::Customer, &session.source_language), (Speaker::Agent, &session.target_language)]
    {
        let language = language.as_ref().map_or("was detected", |tag| tag.as_str());
        let _ = writeln!(text, "{} language: {language}", name(speaker));
    }
    text.push('\n');
    for turn in as_begun(turns) {
        let seconds = turn.start_ms / 1000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let label = format!("[{hours:02}:{minutes:02}:{seconds:02}] {} ({})", name(turn.speaker), turn.language);
        let _ = writeln!(text, "{label}: {}", one_line(&turn.text));
        if let Some(translation) = &turn.translation {
            let _ = writeln!(text, "           → {}: {}", translation.language, one_line(&translation.text));
        }
    }
    text
}

/// SubRip: a number, the times with commas, the lines, an empty line.
pub(super) fn srt(turns: &[Turn]) -> String {
    let mut text = String::new();
    for (index, turn) in as_begun(turns).into_iter().enumerate() {
        let _ = writeln!(text, "{}", index + 1);
        let _ = writeln!(text, "{} --> {}", clock(turn.start_ms, ','), clock(end(turn), ','));
        let _ = writeln!(text, "{}: {}", name(turn.speaker), one_line(&turn.text));
        if let Some(translation) = &turn.translation {
            let _ = writeln!(text, "{}", one_line(&translation.text));
        }
        text.push('\n');
    }
    text
}

/// WebVTT: a header, then cues with a voice tag.
pub(super) fn vtt(turns: &[Turn]) -> String {
    let mut text = String::from("WEBVTT\n\n");
    for turn in as_begun(turns) {
        let _ = writeln!(text, "{}", turn.id);
        let _ = writeln!(text, "{} --> {}", clock(turn.start_ms, '.'), clock(end(turn), '.'));
        let _ = writeln!(text, "<v {}><lang {}>{}</lang>", name(turn.speaker), turn.language, escaped(&turn.text));
        if let Some(translation) = &turn.translation {
            let _ = writeln!(text, "<lang {}>{}</lang>", translation.language, escaped(&translation.text));
        }
        text.push('\n');
    }
    text
}

fn end(turn: &Turn) -> u64 {
    turn.end_ms.max(turn.start_ms + CUE_MS_MIN)
}

fn clock(ms: u64, point: char) -> String {
    format!("{:02}:{:02}:{:02}{point}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// A line break would end the turn's place in the file.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn escaped(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use kallglot_core::Timestamp;
    use kallglot_core::id::{ApiKeyId, OrganizationId, SegmentId, SessionId};
    use kallglot_core::session::{EndReason, Environment, Mode, SessionState, Tenant, Translation};
    use kallglot_core::vocabulary::Vocabulary;

    fn turns() -> Vec<Turn> {
        let turn = |sequence, speaker, language: &str, text: &str, other: &str, translated: &str, start_ms| Turn {
            sequence,
            id: SegmentId::from_bits(u128::from(sequence)),
            speaker,
            language: language.parse().unwrap(),
            text: text.into(),
            translation: Some(Translation { language: other.parse().unwrap(), text: translated.into() }),
            timestamp: Timestamp::UNIX_EPOCH,
            start_ms,
            end_ms: start_ms + 1_250,
            confidence: 0.9,
        };
        vec![
            turn(1, Speaker::Customer, "en", "Is 2 < 3 & 4?", "es", "¿Es 2 < 3 & 4?", 480),
            turn(2, Speaker::Agent, "es", "Sí.\n\nClaro.", "en", "Yes. Of course.", 3_723_000),
        ]
    }

    fn session(state: SessionState) -> Session {
        Session {
            id: SessionId::from_bits(7),
            tenant: Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live },
            created_by: ApiKeyId::from_bits(1),
            mode: Mode::BidirectionalTranslation,
            source_language: Some("en".parse().unwrap()),
            target_language: Some("es".parse().unwrap()),
            voice: None,
            vocabulary: Vocabulary::default(),
            recording: Default::default(),
            metadata: BTreeMap::new(),
            created_at: Timestamp::UNIX_EPOCH,
            last_activity_at: Timestamp::UNIX_EPOCH,
            joinable_until: Timestamp::UNIX_EPOCH,
            state,
        }
    }

    #[test]
    fn text_says_what_call_it_was_and_who_said_what() {
        let started_at = Some(Timestamp::from_second(60).unwrap());
        let ended_at = Timestamp::from_second(3_785).unwrap();
        let ended = session(SessionState::Ended { started_at, ended_at, reason: EndReason::Completed });
        insta::assert_snapshot!(plain(&ended, 3_725, &turns()), @r"
        Call sess_0000000000000000000007 of 1970-01-01T00:01:00.000Z, 62 min 5 s
        Customer language: en
        Agent language: es

        [00:00:00] Customer (en): Is 2 < 3 & 4?
                   → es: ¿Es 2 < 3 & 4?
        [01:02:03] Agent (es): Sí. Claro.
                   → en: Yes. Of course.
        ");
        let first = plain(&session(SessionState::Active { started_at }), 9, &[]);
        let expected = "Call sess_0000000000000000000007 of 1970-01-01T00:01:00.000Z, 0 min 9 s so far; the call is still going on";
        assert_eq!(first.lines().next(), Some(expected));
    }

    #[test]
    fn who_began_first_comes_first_though_his_text_was_final_later() {
        let [first, second] = <[Turn; 2]>::try_from(turns()).unwrap();
        let turns = [Turn { sequence: 1, ..second }, Turn { sequence: 2, ..first }];
        let begins = |text: String| text.find("00:00:00").unwrap() < text.find("01:02:03").unwrap();
        assert!(begins(plain(&session(SessionState::Created), 0, &turns)));
        assert!(begins(srt(&turns)));
        assert!(begins(vtt(&turns)));
    }

    #[test]
    fn srt_has_numbers_and_commas() {
        insta::assert_snapshot!(srt(&turns()), @r"
        1
        00:00:00,480 --> 00:00:01,730
        Customer: Is 2 < 3 & 4?
        ¿Es 2 < 3 & 4?

        2
        01:02:03,000 --> 01:02:04,250
        Agent: Sí. Claro.
        Yes. Of course.
        ");
    }

    #[test]
    fn vtt_escapes_what_would_be_a_tag() {
        insta::assert_snapshot!(vtt(&turns()), @r"
        WEBVTT

        seg_0000000000000000000001
        00:00:00.480 --> 00:00:01.730
        <v Customer><lang en>Is 2 &lt; 3 &amp; 4?</lang>
        <lang es>¿Es 2 &lt; 3 &amp; 4?</lang>

        seg_0000000000000000000002
        01:02:03.000 --> 01:02:04.250
        <v Agent><lang es>Sí. Claro.</lang>
        <lang en>Yes. Of course.</lang>
        ");
    }
}
