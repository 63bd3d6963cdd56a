//! The recordings: Debian's `asterisk-core-sounds-*`, human voices at 8 kHz (WAV) and 16 kHz (G.722), with transcripts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::g722;
use crate::score;

/// Where Debian puts the recordings.
const SOUNDS: &str = "/usr/share/asterisk/sounds";
/// Shortest transcript that is measured, in words: below it are single letters, digits and names, no utterances.
const WORDS_MIN: usize = 3;

/// A recording and what is said in it.
#[derive(Debug, Clone)]
pub(crate) struct Prompt {
    /// Its name below the language's folder, without extension.
    pub(crate) name: String,
    /// What is said, as transcribed.
    pub(crate) text: String,
    folder: PathBuf,
}

/// The folder of a language's recordings.
fn folder(language: &str) -> Option<PathBuf> {
    let name = match language {
        "en" => "en_US_f_Allison",
        "es" => "es_MX_f_Allison",
        "fr" => "fr_CA_f_June",
        "it" => "it_IT_m_Carlo",
        "ru" => "ru_RU_f_IvrvoiceRU",
        _ => return None,
    };
    Some(Path::new(SOUNDS).join(name))
}

/// The prompts of a language that are utterances of speech, sorted by name.
pub(crate) fn load(language: &str) -> Result<Vec<Prompt>, String> {
    let folder = folder(language).ok_or_else(|| format!("no recordings of `{language}` are known"))?;
    let transcripts = format!("/usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz");
    let output = Command::new("gzip").args(["-dc", &transcripts]).output().map_err(|error| format!("gzip: {error}"))?;
    if !output.status.success() {
        return Err(format!("{transcripts} is missing: apt-get install asterisk-core-sounds-{language}-wav"));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut prompts: Vec<Prompt> = text
        .lines()
        .filter(|line| !line.starts_with(';'))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, text)| Prompt { name: name.trim().into(), text: text.trim().into(), folder: folder.clone() })
        // Brackets mark what isn't speech: tones, beeps, monkeys.
        .filter(|prompt| !prompt.text.contains(['[', '(']))
        .filter(|prompt| score::words(language, &prompt.text).len() >= WORDS_MIN)
        .filter(|prompt| prompt.file("wav").exists())
        .collect();
    prompts.sort_by(|a, b| a.name.cmp(&b.name));
    prompts.dedup_by(|a, b| a.name == b.name);
    Ok(prompts)
}

/// All recordings of a language that exist at both rates, whether or not they are transcribed.
pub(crate) fn pairs(language: &str) -> Vec<Prompt> {
    let Some(root) = folder(language) else { return Vec::new() };
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "g722")
                && let Ok(name) = path.strip_prefix(&root)
            {
                let name = name.with_extension("").to_string_lossy().into_owned();
                found.push(Prompt { name, text: String::new(), folder: root.clone() });
            }
        }
    }
    found.retain(|prompt| prompt.file("wav").exists());
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

impl Prompt {
    fn file(&self, extension: &str) -> PathBuf {
        // Not `with_extension`: names may hold dots.
        self.folder.join(format!("{}.{extension}", self.name))
    }

    /// The recording at 8 kHz as a telephone line gives it: through mu-law.
    pub(crate) fn telephone(&self) -> Result<Vec<i16>, String> {
        let path = self.file("wav");
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let samples = kallglot_audio::wav::read(&bytes, kallglot_audio::wav::Channel::Mix)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(samples
            .into_iter()
            .map(|sample| kallglot_audio::g711::mulaw_to_linear(kallglot_audio::g711::linear_to_mulaw(sample)))
            .collect())
    }

    /// The recording at 16 kHz.
    pub(crate) fn wide(&self) -> Result<Vec<i16>, String> {
        let path = self.file("g722");
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(g722::decode(&bytes))
    }
}
