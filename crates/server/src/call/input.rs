//! What `kallglot call` is told: arguments and the files that they name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgAction;
use kallglot_audio::wav::{self, Channel};
use kallglot_client::{Expectation, Secret};
use kallglot_core::language::LanguageTag;
use kallglot_core::session::{Mode, Speaker};
use kallglot_core::vocabulary::Vocabulary;

use super::CallError;
use super::script::{Cue, When};

/// The pause between what was heard and the answer to it, with `--take-turns`.
const ANSWER_PAUSE_MS: u64 = 600;

/// Streams recordings (or the microphone) to a server in real time and shows what is understood, translated and heard.
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// An API key that may write sessions (safer in the environment than on the command line)
    #[arg(long, value_name = "KEY", env = "KALLGLOT_API_KEY", hide_env_values = true)]
    key: Option<Secret>,
    /// What the customer says: a WAV file of any rate
    #[arg(long, value_name = "WAV", conflicts_with = "microphone", required_unless_present_any = ["microphone", "agent_file"])]
    file: Option<PathBuf>,
    /// What the agent says: a WAV file of any rate
    #[arg(long, value_name = "WAV")]
    agent_file: Option<PathBuf>,
    /// Take the customer's voice from the microphone, until Ctrl-C
    #[arg(long)]
    microphone: bool,
    /// Start the agent's file this many ms after the customer's
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=86_400_000), conflicts_with = "take_turns")]
    agent_after: u64,
    /// Start the agent's file once the customer's has been translated and heard
    #[arg(long, requires = "file", requires = "agent_file")]
    take_turns: bool,
    /// The customer's language
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    from: LanguageTag,
    /// The agent's language
    #[arg(long, value_name = "LANGUAGE", default_value = "es")]
    to: LanguageTag,
    /// What the session does: bidirectional_translation or assistive_translation
    #[arg(long, value_name = "MODE", default_value = "bidirectional_translation", value_parser = mode)]
    mode: Mode,
    /// Phrases to expect in a language, one a line: `es=phrases.txt`, or a file alone for the customer's language
    #[arg(long, value_name = "[LANGUAGE=]FILE", action = ArgAction::Append)]
    phrases: Vec<String>,
    /// Nothing but the phrases will be said in the languages that have some
    #[arg(long, requires = "phrases")]
    phrases_only: bool,
    /// The voice to speak the translations with
    #[arg(long)]
    voice: Option<String>,
    /// Write what was heard: a stereo WAV file, left what the agent heard, right what the customer heard
    #[arg(long, value_name = "WAV")]
    out: Option<PathBuf>,
    /// Have the server record the call
    #[arg(long)]
    record: bool,
    /// Do not colour
    #[arg(long)]
    no_color: bool,
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| {
        let names: Vec<&str> = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// A call that can be made.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) server: String,
    pub(crate) key: Secret,
    pub(crate) mode: Mode,
    pub(crate) from: LanguageTag,
    pub(crate) to: LanguageTag,
    pub(crate) voice: Option<String>,
    pub(crate) vocabulary: BTreeMap<String, Expectation>,
    pub(crate) cues: Vec<Cue>,
    pub(crate) microphone: bool,
    /// For the session's metadata.
    pub(crate) made_by: &'static str,
    /// Whether the server is to record it.
    pub(crate) record: bool,
    pub(crate) out: Option<PathBuf>,
}

impl CallArgs {
    /// Whether colours are wanted.
    pub(crate) fn color(&self) -> bool {
        !self.no_color
    }

    /// Reads the files.
    ///
    /// # Errors
    /// Something that was given can't be used: all of it is found before a server is asked for anything.
    pub(crate) fn plan(self) -> Result<Plan, CallError> {
        let key = self.key.filter(|key| !key.reveal().is_empty()).ok_or_else(|| {
            CallError::Usage(
                "no API key: give one with --key or in KALLGLOT_API_KEY (make one with `kallglot key create --org ORG --env test`)".into(),
            )
        })?;
        let mut cues = Vec::new();
        if let Some(file) = &self.file {
            cues.push(Cue { speaker: Speaker::Customer, when: When::At(0), samples: read_wav(file)? });
        }
        if let Some(file) = &self.agent_file {
            let when =
                if self.take_turns { When::Answered { pause_ms: ANSWER_PAUSE_MS } } else { When::At(self.agent_after) };
            cues.push(Cue { speaker: Speaker::Agent, when, samples: read_wav(file)? });
        }
        let mut vocabulary = BTreeMap::new();
        for given in &self.phrases {
            let (language, expectation) = read_phrases(given, &self.from, self.phrases_only)?;
            if vocabulary.insert(language.to_string(), expectation).is_some() {
                return Err(CallError::Usage(format!(
                    "--phrases was given twice for `{language}`; put all into one file"
                )));
            }
        }
        if let Some(out) = &self.out {
            let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                return Err(CallError::Usage(format!(
                    "--out {}: the folder {} is not there",
                    out.display(),
                    folder.display()
                )));
            }
        }
        Ok(Plan {
            server: self.server,
            key,
            mode: self.mode,
            from: self.from,
            to: self.to,
            voice: self.voice,
            vocabulary,
            cues,
            microphone: self.microphone,
            made_by: "kallglot call",
            record: self.record,
            out: self.out,
        })
    }
}

/// The samples of a WAV file, its channels mixed.
pub(crate) fn read_wav(path: &Path) -> Result<Vec<i16>, CallError> {
    let usage = |reason: String| CallError::Usage(format!("{}: {reason}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| usage(error.to_string()))?;
    let samples = wav::read_from(file, Channel::Mix).map_err(|error| usage(error.to_string()))?;
    if samples.is_empty() { Err(usage("the file has no sound".into())) } else { Ok(samples) }
}

/// Reads `[LANGUAGE=]FILE`: one phrase a line, without empty lines and those that begin with `#`.
fn read_phrases(
    given: &str,
    default: &LanguageTag,
    phrases_only: bool,
) -> Result<(LanguageTag, Expectation), CallError> {
    let usage = |reason: String| CallError::Usage(format!("--phrases {given}: {reason}"));
    let (language, path) = match given.split_once('=') {
        Some((language, path)) => (language.parse().map_err(|error| usage(format!("`{language}` is {error}")))?, path),
        None => (default.clone(), given),
    };
    let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let phrases: Vec<String> = lines.map(str::to_owned).collect();
    if phrases.is_empty() {
        return Err(usage("the file has no phrases".into()));
    }
    let expectation =
        kallglot_core::vocabulary::Expectation { phrases: phrases.clone(), words: Vec::new(), phrases_only };
    Vocabulary { languages: [(language.clone(), expectation)].into() }
        .validate()
        .map_err(|error| usage(error.to_string()))?;
    Ok((language, Expectation { phrases, words: Vec::new(), phrases_only }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        call: CallArgs,
    }

    fn plan(arguments: &[&str]) -> Result<Plan, CallError> {
        let key = ["call", "--key", "sk_test_1"];
        Command::try_parse_from(key.iter().chain(arguments))
            .map_err(|error| CallError::Usage(error.to_string()))?
            .call
            .plan()
    }

    fn usage(arguments: &[&str]) -> String {
        match plan(arguments) {
            Err(CallError::Usage(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_files_at_once_after_each_other_or_in_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav").to_str().unwrap().to_owned();
        std::fs::write(&path, wav::mono_file(&[1; 80], 8_000)).unwrap();
        let when = |more: &[&str]| {
            let arguments = [&["--file", &path, "--agent-file", &path], more].concat();
            plan(&arguments).unwrap().cues.into_iter().map(|cue| (cue.speaker, cue.when)).collect::<Vec<_>>()
        };
        let agent = |when| vec![(Speaker::Customer, When::At(0)), (Speaker::Agent, when)];
        assert_eq!(when(&[]), agent(When::At(0)));
        assert_eq!(when(&["--agent-after", "1500"]), agent(When::At(1_500)));
        assert_eq!(when(&["--take-turns"]), agent(When::Answered { pause_ms: ANSWER_PAUSE_MS }));
        assert!(usage(&["--file", &path, "--take-turns"]).contains("--agent-file"));
        assert!(usage(&[]).contains("--file"));
        assert!(usage(&["--file", &path, "--microphone"]).contains("cannot be used"));
    }

    #[test]
    fn phrases_belong_to_a_language() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (spanish, english) = (file("es", "# prompts\nhola\n\n  buenos días \n"), file("en", "hello\n"));
        let given = format!("es={spanish}");
        let plan = plan(&["--microphone", "--phrases", &given, "--phrases", &english, "--phrases-only"]).unwrap();
        assert_eq!(plan.vocabulary["es"].phrases, ["hola", "buenos días"]);
        assert!(plan.vocabulary["en"].phrases_only);
        assert!(usage(&["--microphone", "--phrases", &given, "--phrases", &given]).contains("twice"));
        assert!(usage(&["--microphone", "--phrases", &format!("xx_={spanish}")]).contains("BCP 47"));
        assert!(usage(&["--microphone", "--phrases", &file("none", "# nothing\n")]).contains("no phrases"));
    }

    #[test]
    fn what_cant_be_used_is_said_before_anything_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.wav").to_str().unwrap().to_owned();
        assert!(usage(&["--file", &path]).contains("No such file"));
        std::fs::write(&path, "text").unwrap();
        assert!(usage(&["--file", &path]).contains("not a WAV file"));
        std::fs::write(&path, wav::mono_file(&[], 8_000)).unwrap();
        assert!(usage(&["--file", &path]).contains("no sound"));
        assert!(usage(&["--microphone", "--out", "/nowhere/at/all.wav"]).contains("/nowhere/at"));
        assert!(usage(&["--microphone", "--from", "english please"]).contains("BCP 47"));
        assert!(usage(&["--microphone", "--mode", "shouting"]).contains("assistive_translation"));
    }

    #[test]
    fn an_empty_key_is_none() {
        let empty = Command::try_parse_from(["call", "--key", "", "--microphone"]).unwrap().call.plan();
        assert!(matches!(empty, Err(CallError::Usage(reason)) if reason.contains("kallglot key create")));
    }

    #[test]
    fn the_key_is_not_in_the_debug_output() {
        let plan = plan(&["--microphone"]).unwrap();
        assert!(!format!("{plan:?}").contains("sk_test_1"));
    }
}
