//! How a call looks in a terminal: pure text, so that it can be tested as text.
//!
//! What must stay true: no line that is rewritten in place is wider than the terminal; what a server sends is printed without its
//! control characters.

use kallglot_core::session::Speaker;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::tally::Turn;

/// Columns of a party's name with the gap after it.
const NAME_COLUMNS: usize = 10;
/// Cells of a level meter.
const METER_CELLS: usize = 8;
/// What the meter's left end stands for.
const METER_FLOOR_DBFS: f32 = -54.0;

/// One party's place in the view.
#[derive(Debug, Clone)]
pub(crate) struct Party<'a> {
    pub(crate) speaker: Speaker,
    pub(crate) language: &'a str,
    /// How loud it speaks.
    pub(crate) says_dbfs: f32,
    /// How loud is what it hears.
    pub(crate) hears_dbfs: f32,
    /// The text that is growing.
    pub(crate) partial: &'a str,
}

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Columns to fill; none for lines of any length.
    pub(crate) width: Option<usize>,
    /// Whether to colour.
    pub(crate) color: bool,
    /// Columns of the longest language tag.
    pub(crate) language_columns: usize,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn party(self, speaker: Speaker, text: &str) -> String {
        self.paint(if speaker == Speaker::Customer { "36" } else { "35" }, text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Text that stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// Lines that fit, broken at words.
    pub(crate) fn wrapped(self, text: &str) -> String {
        self.width.map_or_else(|| text.to_owned(), |width| wrap(text, width).join("\n"))
    }

    /// A warning.
    pub(crate) fn warning(self, text: &str) -> String {
        self.paint("33", &clean(text))
    }

    fn name(self, speaker: Speaker, language: &str) -> String {
        let language = pad(&clean(language), self.indent() - NAME_COLUMNS);
        format!("{}  {language}", self.party(speaker, &format!("{:<8}", speaker.as_str())))
    }

    /// Where text stands that belongs to a party: after its name and language.
    fn indent(self) -> usize {
        NAME_COLUMNS + self.language_columns + 2
    }

    /// A final utterance: who, what, what it means, how long it took.
    pub(crate) fn turn(self, turn: &Turn) -> String {
        let said = format!("«{}»", clean(&turn.text));
        let means =
            turn.translation.as_ref().map(|translation| (clean(&translation.language), clean(&translation.text)));
        let lag_ms = turn.audio_lag_ms.unwrap_or(turn.final_lag_ms);
        let lag = format!("lag {}", seconds(lag_ms))
            + if turn.spoken && turn.audio_lag_ms.is_none() { " (text)" } else { "" };
        let arrow = means.as_ref().map(|(language, text)| format!("→ {language} «{text}»")).unwrap_or_default();
        let length = self.indent() + said.width() + 2 + arrow.width() + 3 + lag.width();
        let name = self.name(turn.speaker, &turn.language);
        let translated = |text: &str| match text.split_once('«') {
            Some((head, tail)) => format!("{head}{}", self.bold(&format!("«{tail}"))),
            None => text.to_owned(),
        };
        let Some(width) = self.width.filter(|&width| width < length) else {
            let gap = if arrow.is_empty() { "" } else { "  " };
            return format!("{name}{said}{gap}{}   {}", translated(&arrow), self.dim(&lag));
        };
        // Too long for one line: what was said, then what it means, each wrapped under its beginning.
        let mut lines = wrap(&said, width.saturating_sub(self.indent()));
        let mut text = format!("{name}{}", lines.remove(0));
        let under = |line: &str| format!("\n{}{line}", " ".repeat(self.indent()));
        lines.iter().for_each(|line| text.push_str(&under(line)));
        let tail = if arrow.is_empty() { lag.clone() } else { format!("{arrow}   {lag}") };
        for (index, line) in wrap(&tail, width.saturating_sub(self.indent())).iter().enumerate() {
            let line = match line.strip_suffix(&lag) {
                Some(rest) => {
                    format!("{}{}", if index == 0 { translated(rest) } else { self.bold(rest) }, self.dim(&lag))
                }
                None if index == 0 => translated(line),
                None => self.bold(line),
            };
            text.push_str(&under(&line));
        }
        text
    }

    /// The lines at the bottom that are rewritten as the call goes on.
    pub(crate) fn live(self, now_ms: u64, parties: &[Party<'_>], hint: &str) -> Vec<String> {
        // The last column stays free: some terminals wrap when it is written.
        let width = self.width.unwrap_or(100).saturating_sub(1);
        let mut lines: Vec<String> = parties.iter().map(|party| self.party_line(party, width)).collect();
        let clock = format!("{:02}:{:02}", now_ms / 60_000, now_ms / 1_000 % 60);
        lines.push(self.dim(&fit_head(&format!("{clock}  {hint}"), width)));
        lines
    }

    fn party_line(self, party: &Party<'_>, width: usize) -> String {
        let mut line = String::new();
        let mut used = 0;
        if width >= self.indent() {
            line.push_str(&self.name(party.speaker, party.language));
            used = self.indent();
        }
        for (label, dbfs, needed) in [("says", party.says_dbfs, 44), ("hears", party.hears_dbfs, 68)] {
            if width >= needed {
                line.push_str(&format!("{} {} ", self.dim(label), self.party(party.speaker, &meter(dbfs))));
                used += label.width() + METER_CELLS + 2;
            }
        }
        line.push_str(&fit_tail(&clean(party.partial), width.saturating_sub(used)));
        line
    }
}

/// Both parties' places, from what is known of each: customer first.
pub(crate) fn parties<'a>(
    languages: [&'a str; 2],
    texts: [&'a str; 2],
    says_dbfs: [f32; 2],
    hears_dbfs: [f32; 2],
) -> [Party<'a>; 2] {
    [Speaker::Customer, Speaker::Agent].map(|speaker| {
        let party = speaker.index();
        Party {
            speaker,
            language: languages[party],
            says_dbfs: says_dbfs[party],
            hears_dbfs: hears_dbfs[party],
            partial: texts[party],
        }
    })
}

/// A level as a bar of eighths.
fn meter(dbfs: f32) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let filled =
        ((1.0 - dbfs.clamp(METER_FLOOR_DBFS, 0.0) / METER_FLOOR_DBFS) * (METER_CELLS * 8) as f32).round() as usize;
    let mut bar: String = "█".repeat(filled / 8);
    if filled / 8 < METER_CELLS {
        bar.push(EIGHTHS[filled % 8]);
        bar.push_str(&" ".repeat(METER_CELLS - filled / 8 - 1));
    }
    bar
}

/// Milliseconds as seconds, for people.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10)
}

/// Text without control characters (a terminal obeys them) and line breaks.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn pad(text: &str, columns: usize) -> String {
    let text = fit_head(text, columns.saturating_sub(1));
    let missing = columns.saturating_sub(text.width());
    text + &" ".repeat(missing)
}

/// The beginning of `text` that fits.
fn fit_head(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let head: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect();
    if columns == 0 { String::new() } else { head + "…" }
}

/// The end of `text` that fits: what grows is seen growing.
fn fit_tail(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    if columns == 0 {
        return String::new();
    }
    let mut used = 1;
    let mut begin = text.len();
    for (at, c) in text.char_indices().rev() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        begin = at;
    }
    // A mark that belongs to a character that was cut off goes with it.
    let tail = text[begin..].trim_start_matches(|c: char| c.width() == Some(0));
    format!("…{tail}")
}

/// Lines of at most `columns`, broken at blanks where there are any.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let mut line_width = lines.last().map_or(0, |line| line.width());
        if line_width > 0 && line_width + word.trim_end().width() > columns {
            lines.push(String::new());
            line_width = 0;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if line_width + wide > columns && c != ' ' {
                lines.push(String::new());
                line_width = 0;
            }
            line_width += wide;
            if let Some(line) = lines.last_mut() {
                line.push(c);
            }
        }
    }
    let count = lines.len();
    lines
        .into_iter()
        .enumerate()
        .map(|(at, line)| if at + 1 < count { line.trim_end().to_owned() } else { line })
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use kallglot_client::TranslatedText;

    use super::*;

    fn turn(text: &str, translation: &str) -> Turn {
        Turn {
            id: "seg_1".into(),
            speaker: Speaker::Customer,
            language: "en".into(),
            text: text.into(),
            translation: Some(TranslatedText { language: "es".into(), text: translation.into() }),
            start_ms: 100,
            end_ms: 900,
            said_ms: 900,
            confidence: 0.9,
            arrived_ms: 1_210,
            final_lag_ms: 310,
            audio_lag_ms: Some(520),
            spoken: true,
        }
    }

    fn plain(width: Option<usize>) -> Style {
        Style { width, color: false, language_columns: 2 }
    }

    #[test]
    fn a_final_is_one_line_where_it_fits() {
        assert_snapshot!(plain(Some(80)).turn(&turn("hello world", "hola mundo")), @"customer  en  «hello world»  → es «hola mundo»   lag 0.52 s");
        let unspoken = Turn { audio_lag_ms: None, ..turn("hello", "hola") };
        assert_snapshot!(plain(None).turn(&unspoken), @"customer  en  «hello»  → es «hola»   lag 0.31 s (text)");
        let untranslated = Turn { translation: None, spoken: false, speaker: Speaker::Agent, ..unspoken };
        assert_snapshot!(plain(None).turn(&untranslated), @"agent     en  «hello»   lag 0.31 s");
    }

    #[test]
    fn a_long_final_is_wrapped_under_its_beginning() {
        let long = turn(
            "please wait while I connect your call to the next representative",
            "por favor espere mientras enlazo su llamada",
        );
        assert_snapshot!(plain(Some(50)).turn(&long), @"
        customer  en  «please wait while I connect your
                      call to the next representative»
                      → es «por favor espere mientras
                      enlazo su llamada»   lag 0.52 s
        ");
    }

    #[test]
    fn live_lines_fill_the_width_and_show_the_end_of_what_grows() {
        let parties =
            parties(["en", "es"], ["the quick brown fox jumps over the lazy dog", ""], [-20.0, -96.0], [-96.0, 0.0]);
        for (width, expected_columns) in [(100, 99), (60, 59), (40, 39)] {
            for line in plain(Some(width)).live(75_250, &parties, "Ctrl-C ends the call") {
                assert!(line.width() <= expected_columns, "{line}");
            }
        }
        assert_snapshot!(plain(Some(80)).live(75_250, &parties, "Ctrl-C ends the call").join("\n"), @"
        customer  en  says █████    hears          …k brown fox jumps over the lazy dog
        agent     es  says          hears ████████ 
        01:15  Ctrl-C ends the call
        ");
        assert_snapshot!(plain(Some(30)).live(5_000, &parties[..1], "").join("\n"), @"
        customer  en  …r the lazy dog
        00:05  
        ");
    }

    #[test]
    fn wide_characters_and_marks_take_the_columns_that_they_take() {
        assert_eq!(fit_tail("日本語のテキスト", 7), "…キスト");
        assert_eq!(fit_tail("日本語のテキスト", 6), "…スト");
        assert_eq!(fit_head("日本語", 4), "日…");
        assert_eq!(fit_tail("aaae\u{301}x", 2), "…x");
        for columns in 0..20 {
            assert!(fit_tail("日本 語のe\u{301} text", columns).width() <= columns);
            assert!(fit_head("日本 語のe\u{301} text", columns).width() <= columns);
        }
        for line in wrap("日本語のテキストです and a word that-is-too-long-for-any-line", 10) {
            assert!(line.trim_end().width() <= 10, "{line}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        let evil = turn("a\x1b[2Jb\nc", "\u{9b}31m\r");
        let line = plain(None).turn(&evil);
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }

    #[test]
    fn a_meter_grows_with_the_level() {
        assert_eq!(meter(-96.0), "        ");
        assert_eq!(meter(0.0), "████████");
        assert_eq!(meter(-27.0), "████    ");
        assert!((-60..=3).all(|dbfs| meter(dbfs as f32).chars().count() == METER_CELLS));
    }
}
