//! Transcripts for people and players: plain text, SubRip (SRT) and WebVTT (<https://www.w3.org/TR/webvtt1/>).

use std::fmt::Write as _;

use kallglot_core::session::{Speaker, Turn};

/// Shortest time that a subtitle is shown.
const CUE_MS_MIN: u64 = 500;

fn name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Customer => "Customer",
        Speaker::Agent => "Agent",
    }
}

/// One line per turn with its time, and one below it with its translation.
pub(crate) fn plain(turns: &[Turn]) -> String {
    let mut text = String::new();
    for turn in turns {
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
pub(crate) fn srt(turns: &[Turn]) -> String {
    let mut text = String::new();
    for (index, turn) in turns.iter().enumerate() {
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
pub(crate) fn vtt(turns: &[Turn]) -> String {
    let mut text = String::from("WEBVTT\n\n");
    for turn in turns {
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
    use super::*;
    use kallglot_core::Timestamp;
    use kallglot_core::id::SegmentId;
    use kallglot_core::session::Translation;

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

    #[test]
    fn text_is_for_people() {
        insta::assert_snapshot!(plain(&turns()), @r"
        [00:00:00] Customer (en): Is 2 < 3 & 4?
                   → es: ¿Es 2 < 3 & 4?
        [01:02:03] Agent (es): Sí. Claro.
                   → en: Yes. Of course.
        ");
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
