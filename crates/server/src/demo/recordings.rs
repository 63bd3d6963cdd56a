//! The recordings that the demo plays, and what is said in them.
//!
//! Voices of a person from Debian's asterisk-core-sounds (recorded by Allison Smith in both languages, CC-BY-SA-3.0): telephone
//! prompts, put together here to a conversation. The sound comes from the installed packages; only the texts are here, for the
//! phrase list.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use kallglot_core::session::Speaker;
use kallglot_core::vocabulary::Vocabulary;

/// Where the packages put the recordings.
pub(crate) const SOUNDS: &str = "/usr/share/asterisk/sounds";
/// Silence between two prompts that one party says in a row.
pub(crate) const BETWEEN_MS: usize = 700;

/// What one party says before the other answers.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) speaker: Speaker,
    /// Recordings, without folder and ending, with their texts.
    pub(crate) prompts: &'static [(&'static str, &'static str)],
}

/// The conversation: an English-speaking customer and a Spanish-speaking agent.
pub(crate) const LINES: &[Line] = &[
    Line {
        speaker: Speaker::Customer,
        prompts: &[("hello", "Hello."), ("tt-somethingwrong", "Something is terribly wrong.")],
    },
    Line {
        speaker: Speaker::Agent,
        prompts: &[("vm-nonumber", "Lo siento, pero no sé quién ha enviado este mensaje.")],
    },
    Line {
        speaker: Speaker::Customer,
        prompts: &[("im-sorry", "I'm sorry."), ("one-moment-please", "One moment, please.")],
    },
    Line {
        speaker: Speaker::Agent,
        prompts: &[("tt-weasels", "Las comadrejas se han comido nuestro sistema telefónico.")],
    },
    Line {
        speaker: Speaker::Customer,
        prompts: &[("feature-not-avail-line", "That feature is not available on this line.")],
    },
    Line { speaker: Speaker::Agent, prompts: &[("vm-marked-urgent", "Este mensaje ha sido marcado como urgente.")] },
    Line {
        speaker: Speaker::Customer,
        prompts: &[("queue-thankyou", "Thank you for your patience."), ("goodbye", "Goodbye.")],
    },
];

/// The language of a party's recordings.
pub(crate) const fn language(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Customer => "en",
        Speaker::Agent => "es",
    }
}

/// A recording's file.
pub(crate) fn path(sounds: &Path, speaker: Speaker, prompt: &str) -> PathBuf {
    sounds.join(language(speaker)).join(format!("{prompt}.wav"))
}

/// The packages whose recordings are missing.
pub(crate) fn missing_packages(sounds: &Path) -> BTreeSet<&'static str> {
    let missing = |line: &&Line| line.prompts.iter().any(|(prompt, _)| !path(sounds, line.speaker, prompt).is_file());
    let package = |line: &Line| match line.speaker {
        Speaker::Customer => "asterisk-core-sounds-en-wav",
        Speaker::Agent => "asterisk-core-sounds-es-wav",
    };
    LINES.iter().filter(missing).map(package).collect()
}

/// The phrase list of a party's language: what is said in the demo, and the texts of all other prompts that are installed, so that
/// the recognizer has to choose.
pub(crate) fn phrases(speaker: Speaker) -> Vec<String> {
    let language = language(speaker);
    let file = format!("/usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz");
    let others = decompress(Path::new(&file)).unwrap_or_default();
    phrase_list(speaker, &others)
}

fn phrase_list(speaker: Speaker, others: &str) -> Vec<String> {
    let own = LINES.iter().filter(|line| line.speaker == speaker).flat_map(|line| line.prompts);
    let (names, mut phrases): (BTreeSet<&str>, Vec<String>) =
        own.map(|(name, text)| (*name, (*text).to_owned())).unzip();
    for line in others.lines() {
        // `name: text`; a text in brackets is a sound, one that begins or ends with dots is a part of a sentence.
        let Some((name, text)) = line.split_once(':') else { continue };
        let text = text.trim();
        let is_sentence =
            text.split_whitespace().count() >= 3 && !text.contains(['[', '(', '<', '*', '#']) && !text.contains("...");
        if is_sentence && !names.contains(name.trim()) && text.chars().count() <= Vocabulary::PHRASE_CHARS_MAX {
            // One phrase for each sentence.
            let sentences =
                text.split(['.', '?', '!']).map(str::trim).filter(|sentence| sentence.split_whitespace().count() >= 2);
            phrases.extend(sentences.map(str::to_owned));
        }
    }
    let mut seen = BTreeSet::new();
    phrases.retain(|phrase| seen.insert(phrase.to_lowercase()));
    phrases.truncate(Vocabulary::PHRASES_MAX);
    phrases
}

/// The text of a gzip file, through the program that every Debian has; none when it can't be read.
fn decompress(path: &Path) -> Option<String> {
    let mut child = std::process::Command::new("gzip")
        .args(["-dc", "--"])
        .arg(path)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let mut bytes = Vec::new();
    let read = child.stdout.take()?.take(1 << 20).read_to_end(&mut bytes);
    let done = child.wait().ok()?;
    (read.is_ok() && done.success()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversation_alternates() {
        assert!(LINES.windows(2).all(|pair| pair[0].speaker != pair[1].speaker));
    }

    #[test]
    fn missing_recordings_are_named_by_their_packages() {
        let folder = tempfile::tempdir().unwrap();
        let packages = |folder: &Path| missing_packages(folder).into_iter().collect::<Vec<_>>();
        assert_eq!(packages(folder.path()), ["asterisk-core-sounds-en-wav", "asterisk-core-sounds-es-wav"]);
        for line in LINES.iter().filter(|line| line.speaker == Speaker::Customer) {
            for (prompt, _) in line.prompts {
                let path = path(folder.path(), line.speaker, prompt);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "").unwrap();
            }
        }
        assert_eq!(packages(folder.path()), ["asterisk-core-sounds-es-wav"]);
    }

    #[test]
    fn phrases_are_sentences_each_once() {
        let own = phrase_list(Speaker::Agent, "");
        let others = "; comment\nbeep: [tono simple]\nvm-goodbye: hasta pronto.\ntt-weasels: Las comadrejas se han comido nuestro sistema telefonico.\n\
            a: Numero invalido de conferencia. Por favor intente de nuevo.\nb: por favor intente de nuevo!\nc: ...para salir del menu.\nd: uno dos";
        let all = phrase_list(Speaker::Agent, others);
        assert_eq!(all[..own.len()], own);
        assert_eq!(all[own.len()..], ["Numero invalido de conferencia", "Por favor intente de nuevo"]);
    }
}
