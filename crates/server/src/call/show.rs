//! Shows a call as it goes on: rewritten in place in a terminal, as plain lines elsewhere, or as JSON for machines.
//!
//! What must stay true: a final is shown once, in order, with the lag of its speech when there is any (it is held back a moment for
//! that); JSON is never held back. A terminal is left as it was found.

use std::io::{self, Write};

use kallglot_client::Session;
use serde_json::{Value, json};

use super::mouth::Mouth;
use super::report::Report;
use super::tally::{Happened, Tally, Turn};
use super::view::{Style, clean, parties};

/// How long a final waits for its speech before it is shown without.
const HOLD_MS: u64 = 1_500;
/// How fast a meter falls, in dB per redraw.
const METER_FALL_DB: f32 = 4.0;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Rewritten in place.
    Live,
    /// One line for each thing that is final.
    Plain,
    /// One JSON object for each thing that happens.
    Json,
}

/// Where and how a call is shown.
pub(crate) struct Show {
    form: Form,
    color: bool,
    out: Box<dyn Write + Send>,
    languages: [String; 2],
    hint: &'static str,
    /// How many turns have been shown.
    shown_turns: usize,
    /// The lines at the bottom as they were drawn last.
    drawn: Vec<String>,
    says_dbfs: [f32; 2],
    hears_dbfs: [f32; 2],
}

impl Show {
    /// Shows on standard output: live when it is a terminal that can do it.
    pub(crate) fn on_stdout(json: bool, color: bool) -> Self {
        let terminal =
            io::IsTerminal::is_terminal(&io::stdout()) && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let form = if json {
            Form::Json
        } else if terminal {
            Form::Live
        } else {
            Form::Plain
        };
        let color = color && terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::new(form, color, Box::new(io::stdout()))
    }

    pub(crate) fn new(form: Form, color: bool, out: Box<dyn Write + Send>) -> Self {
        Self {
            form,
            color,
            out,
            languages: Default::default(),
            hint: "Ctrl-C ends the call",
            shown_turns: 0,
            drawn: Vec::new(),
            says_dbfs: [-96.0; 2],
            hears_dbfs: [-96.0; 2],
        }
    }

    /// Whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    fn style(&self) -> Style {
        let width = match self.form {
            Form::Live => Some(terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0).max(20))),
            Form::Plain | Form::Json => None,
        };
        let language_columns = self.languages.iter().map(|tag| tag.chars().count()).max().unwrap_or(2);
        Style { width, color: self.color, language_columns }
    }

    /// The session is there.
    pub(crate) fn started(&mut self, session: &Session) {
        let language = |tag: &Option<String>| tag.clone().unwrap_or_else(|| "any".into());
        self.languages = [language(&session.source_language), language(&session.target_language)];
        if self.is_json() {
            let (from, to) = (&session.source_language, &session.target_language);
            self.json(&json!({"event": "session", "id": session.id, "mode": session.mode, "source_language": from, "target_language": to}));
            return;
        }
        let [customer, agent] = self.languages.clone();
        let text = format!("{}: customer speaks {customer}, agent speaks {agent} ({})", session.id, session.mode);
        self.line(&clean(&text));
    }

    /// A line of its own, above what is rewritten. Not for machines.
    pub(crate) fn line(&mut self, text: &str) {
        if !self.is_json() {
            self.above(&format!("{text}\n"));
        }
    }

    /// A sentence, wrapped at words in a terminal. Not for machines.
    pub(crate) fn prose(&mut self, text: &str) {
        let lines = self.style().wrapped(text);
        self.line(&lines);
    }

    /// A line that stands out. Not for machines.
    pub(crate) fn heading(&mut self, text: &str) {
        let text = self.style().bold(text);
        self.line(&text);
    }

    /// One JSON object, for machines only.
    pub(crate) fn json(&mut self, value: &Value) {
        if self.is_json() {
            self.write(&format!("{value}\n"));
        }
    }

    /// Something that went wrong and does not end the call.
    pub(crate) fn warn(&mut self, code: &str, message: &str) {
        if self.is_json() {
            self.json(&json!({"event": "warning", "code": code, "message": message}));
        } else {
            let text = self.style().warning(&format!("! {message}"));
            self.line(&text);
        }
    }

    /// Something has happened.
    pub(crate) fn happened(&mut self, happened: &Happened, now_ms: u64, tally: &Tally) {
        if self.is_json() {
            self.happened_json(happened, tally);
        } else if let Happened::Error { code, message, .. } = happened {
            self.warn(code, message);
        }
        self.show_turns(now_ms, tally, false);
    }

    fn happened_json(&mut self, happened: &Happened, tally: &Tally) {
        let value = match happened {
            Happened::Nothing => return,
            Happened::Partial(segment) => {
                json!({"event": "partial", "id": segment.id, "speaker": segment.speaker.as_str(),
                "language": segment.language, "text": segment.text})
            }
            Happened::Turn(index) => turn_json(&tally.turns[*index]),
            Happened::Audible(index) => {
                let turn = &tally.turns[*index];
                json!({"event": "audible", "id": turn.id, "speaker": turn.speaker.as_str(), "lag_ms": turn.audio_lag_ms})
            }
            Happened::Error { code, message, fatal } => {
                json!({"event": "error", "code": code, "message": message, "fatal": fatal})
            }
            Happened::Ended { reason } => json!({"event": "ended", "reason": reason}),
        };
        self.json(&value);
    }

    /// Redraws what is rewritten in place.
    pub(crate) fn tick(&mut self, now_ms: u64, tally: &Tally, mouths: &[Mouth; 2]) {
        self.show_turns(now_ms, tally, false);
        if self.form != Form::Live {
            return;
        }
        let fall = |shown: f32, now: f32| now.max(shown - METER_FALL_DB).max(-96.0);
        for (party, mouth) in mouths.iter().enumerate() {
            self.says_dbfs[party] = fall(self.says_dbfs[party], mouth.level_dbfs());
            self.hears_dbfs[party] = fall(self.hears_dbfs[party], tally.ears[party].level_dbfs(now_ms));
        }
        // A final that waits for its speech stays where it grew.
        let held = |party: usize| tally.turns[self.shown_turns..].iter().rfind(|turn| turn.speaker.index() == party);
        let text = |party: usize| match (&tally.open[party], held(party)) {
            (Some(open), _) => open.text.as_str(),
            (None, Some(turn)) => turn.text.as_str(),
            (None, None) => "",
        };
        let languages = [self.languages[0].as_str(), self.languages[1].as_str()];
        let parties = parties(languages, [text(0), text(1)], self.says_dbfs, self.hears_dbfs);
        let lines = self.style().live(now_ms, &parties, self.hint);
        if lines != self.drawn {
            let drawing = format!("{}{}", self.erasure(), drawing(&lines));
            self.write(&drawing);
            self.drawn = lines;
        }
    }

    /// What the last line says from now on.
    pub(crate) fn hint(&mut self, hint: &'static str) {
        self.hint = hint;
    }

    /// The call is over: what was held back is shown, what is rewritten goes.
    pub(crate) fn finish(&mut self, now_ms: u64, tally: &Tally) {
        self.show_turns(now_ms, tally, true);
        self.clear();
    }

    /// The summary.
    pub(crate) fn report(&mut self, report: &Report, with_places: bool) {
        if self.is_json() {
            self.json(&report.json());
        } else {
            let text = report.text(self.style(), with_places);
            self.line(&format!("\n{text}"));
        }
    }

    fn clear(&mut self) {
        let erasure = self.erasure();
        self.drawn.clear();
        if !erasure.is_empty() {
            self.write(&format!("{erasure}\x1b[?25h"));
        }
    }

    fn show_turns(&mut self, now_ms: u64, tally: &Tally, all: bool) {
        if self.is_json() {
            return;
        }
        while let Some(turn) = tally.turns.get(self.shown_turns) {
            if !all && turn.spoken && turn.audio_lag_ms.is_none() && now_ms < turn.arrived_ms + HOLD_MS {
                return;
            }
            self.shown_turns += 1;
            let text = self.style().turn(turn);
            self.line(&text);
        }
    }

    fn above(&mut self, text: &str) {
        let drawn = drawing(&self.drawn);
        let text = format!("{}{text}{drawn}", self.erasure());
        self.write(&text);
    }

    /// Moves the cursor to where the rewritten lines begin and clears them.
    fn erasure(&self) -> String {
        if self.drawn.is_empty() { String::new() } else { format!("\x1b[{}A\r\x1b[J", self.drawn.len()) }
    }

    fn write(&mut self, text: &str) {
        // A reader that went away (`| head`) must not end the call: its files are still to be written.
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The lines with the cursor hidden, for it would flicker from one to the other.
fn drawing(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\x1b[?25l{}\n", lines.join("\n")) }
}

/// A final utterance for machines.
pub(crate) fn turn_json(turn: &Turn) -> Value {
    let translation = turn.translation.as_ref().map(|text| json!({"language": text.language, "text": text.text}));
    json!({"event": "final", "id": turn.id, "speaker": turn.speaker.as_str(), "language": turn.language, "text": turn.text,
        "translation": translation, "start_ms": turn.start_ms, "end_ms": turn.end_ms, "confidence": turn.confidence,
        "lag_ms": turn.final_lag_ms})
}
