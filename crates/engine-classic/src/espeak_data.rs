//! Which voices espeak-ng has, read from its data files: the server knows what it can speak without loading the library.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kallglot_core::language::LanguageTag;

/// Where Debian and others put libraries; the data folder is next to the library or under `/usr/share`.
const LIBRARY_FOLDERS: [&str; 8] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/arm-linux-gnueabihf",
    "/usr/lib/riscv64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
];
const DATA_FOLDER: &str = "espeak-ng-data";
const LIBRARY_FILE: &str = "libespeak-ng.so.1";
/// Largest voice file that is read; they have a few hundred bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Names that BCP 47 and espeak-ng give differently.
const ALIASES: [(&str, &str); 4] = [("zh", "cmn"), ("no", "nb"), ("nn", "nb"), ("tl", "fil")];
/// The accent for a language without a region. English: American, which most phone systems speak.
const PREFERRED: [(&str, &str); 1] = [("en", "en-us")];

/// What is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EspeakData {
    /// Names of voices, by each language that they are for, all in lower case: `es-mx` → `es-419`.
    voices: BTreeMap<String, String>,
    /// Ways to change a voice, such as `f2`.
    variants: BTreeSet<String>,
}

impl EspeakData {
    /// Looks in the usual places. Empty when the library or its data are missing.
    pub(crate) fn installed() -> Self {
        if !library_installed() {
            return Self::default();
        }
        data_folder().map(|folder| Self::read(&folder)).unwrap_or_default()
    }

    fn read(folder: &Path) -> Self {
        let mut data = Self::default();
        let mut by_priority: BTreeMap<String, (u32, String)> = BTreeMap::new();
        for file in files(&folder.join("lang")) {
            if file.metadata().is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
                continue;
            }
            let Ok(text) = std::fs::read_to_string(&file) else { continue };
            let languages: Vec<(String, u32)> = text.lines().filter_map(language_line).collect();
            // The library finds a voice by its file's name, whatever the case.
            let Some(name) = file.file_name().and_then(|name| name.to_str()).map(str::to_ascii_lowercase) else {
                continue;
            };
            for (language, priority) in languages {
                // A lower number comes first, as in the library.
                if by_priority.get(&language).is_none_or(|(known, _)| priority < *known) {
                    by_priority.insert(language, (priority, name.clone()));
                }
            }
        }
        data.voices = by_priority.into_iter().map(|(language, (_, name))| (language, name)).collect();
        let variants = files(&folder.join("voices/!v"));
        data.variants = variants.iter().filter_map(|file| file.file_name()?.to_str().map(str::to_owned)).collect();
        data
    }

    /// Primary languages that have a voice, in BCP 47's names.
    pub(crate) fn languages(&self) -> BTreeSet<String> {
        let primary = |language: &String| language.split('-').next().unwrap_or_default().to_owned();
        let mut languages: BTreeSet<String> = self.voices.keys().map(primary).collect();
        for (tag, voice) in ALIASES {
            if languages.contains(voice) {
                languages.insert(tag.to_owned());
            }
        }
        languages
    }

    /// The espeak-ng voice for a language, changed as asked for. `wanted` may be a voice of the same language (`es-419`), a variant
    /// (`f2`, `+f2`) or both (`es-419+f2`); what does not exist is ignored.
    pub(crate) fn voice(&self, language: &LanguageTag, wanted: Option<&str>) -> Option<String> {
        let default = self.default_voice(language)?;
        let Some(wanted) = wanted.filter(|wanted| valid_voice(wanted)) else { return Some(default) };
        let (base, variant) = wanted.split_once('+').unwrap_or((wanted, ""));
        let primary = default.split('-').next();
        let voice = match self.voices.get(base) {
            Some(voice) if voice.split('-').next() == primary => voice.clone(),
            _ => default,
        };
        let variant = if variant.is_empty() { base } else { variant };
        Some(if self.variants.contains(variant) { format!("{voice}+{variant}") } else { voice })
    }

    fn default_voice(&self, language: &LanguageTag) -> Option<String> {
        let tag = language.as_str().to_ascii_lowercase();
        let alias = |name: &str| ALIASES.iter().find(|(from, _)| *from == name).map(|(_, to)| (*to).to_owned());
        let preferred = PREFERRED.iter().find(|(from, _)| *from == tag).map(|(_, to)| (*to).to_owned());
        let primary = language.primary().to_owned();
        let names = [preferred, Some(tag.clone()), alias(&tag), Some(primary.clone()), alias(&primary)];
        let known = names.into_iter().flatten().find_map(|name| self.voices.get(&name).cloned());
        // Some languages have only voices with a region.
        known.or_else(|| {
            self.voices
                .iter()
                .find(|(name, _)| name.split('-').next() == Some(&primary))
                .map(|(_, voice)| voice.clone())
        })
    }
}

/// Whether a caller's voice parameter can be the name of an espeak-ng voice: 1 to 40 of `a-z0-9+-`.
pub(crate) fn valid_voice(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'+' || b == b'-')
}

/// Whether espeak-ng's library is installed.
pub(crate) fn library_installed() -> bool {
    library_exists(LIBRARY_FILE)
}

/// Whether a library's file is where the loader looks.
pub(crate) fn library_exists(file: &str) -> bool {
    LIBRARY_FOLDERS.iter().any(|folder| Path::new(folder).join(file).exists())
}

fn data_folder() -> Option<PathBuf> {
    LIBRARY_FOLDERS
        .iter()
        .chain(&["/usr/share"])
        .map(|folder| Path::new(folder).join(DATA_FOLDER))
        .find(|folder| folder.is_dir())
}

/// The files in a folder and one level below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files = Vec::new();
    for path in entries(folder) {
        if path.is_dir() { files.extend(entries(&path).filter(|path| path.is_file())) } else { files.push(path) }
    }
    files.sort();
    files
}

/// `language es-mx 6` → (`es-mx`, 6); the priority is 5 unless given.
fn language_line(line: &str) -> Option<(String, u32)> {
    let mut words = line.split_whitespace();
    if words.next() != Some("language") {
        return None;
    }
    let language = words.next()?.to_ascii_lowercase();
    Some((language, words.next().and_then(|priority| priority.parse().ok()).unwrap_or(5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (tempfile::TempDir, EspeakData) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("lang/roa/es", "name Spanish\nlanguage es\n");
        write("lang/roa/es-419", "language es-419\nlanguage es-mx 6\nlanguage es 6\n");
        write("lang/roa/pt-BR", "language pt-br\nlanguage pt 6\n");
        write("lang/gmw/en", "language en-gb 2\nlanguage en 2\n");
        write("lang/gmw/en-US", "language en-us 2\nlanguage en 3\n");
        write("lang/sit/cmn", "language cmn\n");
        write("voices/!v/f2", "");
        let data = EspeakData::read(folder.path());
        (folder, data)
    }

    #[test]
    fn a_language_has_the_voice_of_its_region_or_its_own() {
        let (_folder, data) = data();
        for (tag, voice) in [
            ("es", "es"),
            ("es-MX", "es-419"),
            ("es-AR", "es"),
            ("pt", "pt-br"),
            ("en", "en-us"),
            ("en-GB", "en"),
            ("zh", "cmn"),
        ] {
            assert_eq!(data.voice(&tag.parse().unwrap(), None).as_deref(), Some(voice), "{tag}");
        }
        assert_eq!(data.voice(&"de".parse().unwrap(), None), None);
        assert!(data.languages().contains("zh") && !data.languages().contains("de"));
    }

    #[test]
    fn a_voice_that_is_asked_for_is_used_when_it_exists_and_speaks_the_language() {
        let (_folder, data) = data();
        for (wanted, voice) in [
            ("es-419", "es-419"),
            ("f2", "es+f2"),
            ("+f2", "es+f2"),
            ("es-mx+f2", "es-419+f2"),
            ("es+f9", "es"),
            ("en-us", "es"),
            ("../../etc/passwd", "es"),
            ("ES", "es"),
            ("", "es"),
        ] {
            assert_eq!(data.voice(&"es".parse().unwrap(), Some(wanted)).as_deref(), Some(voice), "{wanted}");
        }
    }
}
