//! Which pairs are installed, and what a `.mode` file says about how to run one.
//!
//! A mode file is one line of shell: programs joined by `|`, arguments in single quotes, `$1` for the generator's options and `$2`
//! for the tagger's. What must stay true: a pair is offered only when each of its programs is one that is known to answer a zero
//! byte at once (else texts and answers would get out of step) and is installed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use kallglot_core::language::LanguageTag;

/// Programs that flush at a zero byte when given `-z`.
const FLUSHING: [&str; 12] = [
    "apertium-anaphora",
    "apertium-interchunk",
    "apertium-postchunk",
    "apertium-posttransfer",
    "apertium-pretransfer",
    "apertium-tagger",
    "apertium-transfer",
    "cg-proc",
    "hfst-proc",
    "lrx-proc",
    "lsx-proc",
    "lt-proc",
];
/// Largest mode file that is read.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// Languages to go through when there is no direct pair, in order of preference.
const PIVOTS: [&str; 4] = ["es", "en", "ca", "fr"];

/// Apertium's three-letter names (ISO 639-3) of what ISO 639-1 has two letters for. Names of two letters stand for themselves.
const TWO_LETTERS: [(&str, &str); 40] = [
    ("afr", "af"),
    ("arg", "an"),
    ("bel", "be"),
    ("bos", "bs"),
    ("bre", "br"),
    ("bul", "bg"),
    ("cat", "ca"),
    ("cym", "cy"),
    ("dan", "da"),
    ("deu", "de"),
    ("eng", "en"),
    ("epo", "eo"),
    ("eus", "eu"),
    ("fra", "fr"),
    ("glg", "gl"),
    ("hin", "hi"),
    ("hrv", "hr"),
    ("ind", "id"),
    ("isl", "is"),
    ("ita", "it"),
    ("kaz", "kk"),
    ("mkd", "mk"),
    ("mlt", "mt"),
    ("nld", "nl"),
    ("nno", "nn"),
    ("nob", "nb"),
    ("oci", "oc"),
    ("pol", "pl"),
    ("por", "pt"),
    ("ron", "ro"),
    ("rus", "ru"),
    ("slv", "sl"),
    ("spa", "es"),
    ("srd", "sc"),
    ("srp", "sr"),
    ("swe", "sv"),
    ("tat", "tt"),
    ("ukr", "uk"),
    ("urd", "ur"),
    ("zlm", "ms"),
];

/// One stage of a pipeline: a program and its arguments.
pub(super) type Stage = Vec<String>;

/// One way to translate from one language to another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// The file's name without `.mode`, such as `spa-eng_US`.
    pub name: String,
    /// Primary language of what goes in; the first one where the file stands for several.
    pub from: String,
    /// Of what comes out.
    pub to: String,
    /// In lower case: `us`, `valencia`; empty for the plain one.
    variant: String,
    pub stages: Vec<Stage>,
}

/// The pairs of one folder of mode files.
#[derive(Debug)]
pub(super) struct Modes {
    folder: PathBuf,
    changed: Option<SystemTime>,
    pairs: BTreeMap<(String, String), Vec<Arc<Mode>>>,
}

impl Modes {
    /// Reads a folder; a folder that is not there has no pairs.
    pub(super) fn read(folder: &Path) -> Self {
        let mut pairs: BTreeMap<(String, String), Vec<Arc<Mode>>> = BTreeMap::new();
        let changed = changed(folder);
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = file.path();
            let Some(name) =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".mode"))
            else {
                continue;
            };
            let Some((from, to, variant)) = languages(name) else { continue };
            if file.metadata().is_ok_and(|metadata| metadata.len() > FILE_BYTES_MAX) {
                continue;
            }
            let Some(stages) = std::fs::read_to_string(&path).ok().as_deref().and_then(parse) else { continue };
            let (first, second) = (from[0].clone(), to[0].clone());
            let mode = Arc::new(Mode { name: name.to_owned(), from: first, to: second, variant, stages });
            for pair in from.iter().flat_map(|from| to.iter().map(move |to| (from.clone(), to.clone()))) {
                pairs.entry(pair).or_default().push(Arc::clone(&mode));
            }
        }
        for modes in pairs.values_mut() {
            modes.sort_by(|a, b| a.variant.cmp(&b.variant));
        }
        Self { folder: folder.to_owned(), changed, pairs }
    }

    /// Reads the folder again when packages have come or gone.
    pub(super) fn refresh(&mut self) {
        if changed(&self.folder) != self.changed {
            *self = Self::read(&self.folder);
        }
    }

    /// Every pair that [`route`](Self::route) finds a way for, direct or through a third language.
    pub(super) fn pairs(&self) -> Vec<(String, String)> {
        let mut pairs: Vec<_> = self.pairs.keys().cloned().collect();
        for (from, middle) in self.pairs.keys() {
            for (_, to) in self.pairs.keys().filter(|(second, _)| second == middle) {
                if from != to {
                    pairs.push((from.clone(), to.clone()));
                }
            }
        }
        pairs.sort();
        pairs.dedup();
        pairs
    }

    /// The modes to go through, one or two.
    pub(super) fn route(&self, from: &LanguageTag, to: &LanguageTag) -> Option<Vec<Arc<Mode>>> {
        let variants = variants(to);
        if let Some(direct) = self.direct(from.primary(), to.primary(), &variants) {
            return Some(vec![direct]);
        }
        let reachable =
            self.pairs.keys().filter(|(first, _)| first == from.primary()).map(|(_, middle)| middle.as_str());
        PIVOTS.into_iter().chain(reachable).find_map(|middle| {
            Some(vec![self.direct(from.primary(), middle, &[])?, self.direct(middle, to.primary(), &variants)?])
        })
    }

    fn direct(&self, from: &str, to: &str, variants: &[String]) -> Option<Arc<Mode>> {
        let modes = self.pairs.get(&(from.to_owned(), to.to_owned()))?;
        let asked_for = variants.iter().find_map(|variant| modes.iter().find(|mode| mode.variant == *variant));
        // Sorted: the plain one comes first.
        asked_for.or(modes.first()).cloned()
    }
}

fn changed(folder: &Path) -> Option<SystemTime> {
    folder.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// `us` of `en-US`, `valencia` of `ca-valencia`.
fn variants(tag: &LanguageTag) -> Vec<String> {
    tag.as_str().split('-').skip(1).map(str::to_ascii_lowercase).collect()
}

/// The languages that a mode's name stands for, and the variant of the second: (`en`, `es`) of `eng-spa`. None for modes that
/// are parts of a translation, such as `eng-spa-tagger`.
fn languages(name: &str) -> Option<(Vec<String>, Vec<String>, String)> {
    let (from, to) = name.split_once('-')?;
    let (to, variant) = to.split_once('_').unwrap_or((to, ""));
    if from.contains('_') || to.contains('-') || variant.contains('-') {
        return None;
    }
    let variant = variant.to_ascii_lowercase();
    Some((codes(from, "")?, codes(to, &variant)?, variant))
}

fn codes(name: &str, variant: &str) -> Option<Vec<String>> {
    if !(2..=3).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let code = match (name, variant) {
        // One pair for what are three languages to their speakers.
        ("hbs" | "sh", "hr" | "bs" | "sr") => variant,
        ("hbs" | "sh", _) => return Some(["bs", "hr", "sr"].map(str::to_owned).to_vec()),
        _ => TWO_LETTERS.iter().find(|(three, _)| *three == name).map_or(name, |(_, two)| two),
    };
    Some(vec![code.to_owned()])
}

/// The stages of a mode file, ready to be started. None when one of them can't be kept in step, or is not installed.
fn parse(file: &str) -> Option<Vec<Stage>> {
    let stages: Vec<Stage> = split(file)?.into_iter().map(ready).collect::<Option<_>>()?;
    (!stages.is_empty()).then_some(stages)
}

fn ready(words: Vec<String>) -> Option<Stage> {
    let program = words.first()?;
    if !FLUSHING.contains(&program.as_str()) || !installed(program) {
        return None;
    }
    let mut stage = vec![program.clone(), "-z".to_owned()];
    for word in &words[1..] {
        match word.as_str() {
            // Unknown words without a mark, and nothing in place of the options that show more of the analysis.
            "$1" => stage.push("-n".to_owned()),
            "$2" | "-z" => {}
            _ => stage.push(word.clone()),
        }
    }
    Some(stage)
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Splits a line of shell into its piped commands' words. Knows single quotes, double quotes and backslashes and nothing else.
fn split(line: &str) -> Option<Vec<Vec<String>>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut characters = line.trim().chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        end if end == character => break,
                        inside => word.push(inside),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            '|' => {
                commands.last_mut()?.extend(word.take());
                commands.push(Vec::new());
            }
            // What would need a real shell.
            ';' | '&' | '<' | '>' | '`' | '(' | ')' | '\n' => return None,
            blank if blank.is_whitespace() => commands.last_mut()?.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    commands.last_mut()?.extend(word.take());
    Some(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(text: &str) -> LanguageTag {
        text.parse().unwrap()
    }

    /// A folder of mode files that only name installed programs.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::write(folder.path().join(format!("{name}.mode")), "lt-proc 'a.bin' | lt-proc $1 'b.bin'\n")
                .unwrap();
        }
        folder
    }

    fn route(modes: &Modes, from: &str, to: &str) -> Vec<String> {
        modes.route(&tag(from), &tag(to)).unwrap_or_default().iter().map(|mode| mode.name.clone()).collect()
    }

    #[test]
    fn a_mode_file_becomes_commands_that_flush_at_a_zero_byte() {
        let file = "lt-proc -w '/a b/x.bin' | apertium-tagger -g $2 'y.prob'| lt-proc $1 'z.bin' ";
        let words = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            parse(file),
            Some(vec![
                words("lt-proc,-z,-w,/a b/x.bin"),
                words("apertium-tagger,-z,-g,y.prob"),
                words("lt-proc,-z,-n,z.bin")
            ])
        );
    }

    #[test]
    fn a_mode_that_could_get_out_of_step_or_needs_a_shell_is_not_offered() {
        for file in [
            "",
            "lt-proc 'a.bin' | sed s/a/b/",
            "lt-proc a; rm b",
            "lt-proc 'a",
            "not-installed-anywhere x",
            "| lt-proc a",
        ] {
            assert_eq!(parse(file), None, "{file}");
        }
    }

    #[test]
    fn names_of_parts_of_a_translation_are_no_pairs() {
        assert_eq!(languages("eng-spa"), Some((vec!["en".into()], vec!["es".into()], String::new())));
        assert_eq!(languages("es-pt_BR"), Some((vec!["es".into()], vec!["pt".into()], "br".into())));
        assert_eq!(languages("mkd-hbs_SR").map(|(_, to, _)| to), Some(vec!["sr".into()]));
        for name in ["eng-spa-tagger", "eng", "README", "spa_x-eng", "a-b", "english-spanish"] {
            assert_eq!(languages(name), None, "{name}");
        }
    }

    #[test]
    fn a_pair_that_is_not_there_goes_through_a_third_language() {
        let folder = folder(&["eng-spa", "spa-eng", "spa-por", "eng-cat", "cat-por"]);
        let modes = Modes::read(folder.path());
        assert_eq!(route(&modes, "en", "es"), ["eng-spa"]);
        assert_eq!(route(&modes, "en-US", "pt-BR"), ["eng-spa", "spa-por"]);
        assert_eq!(route(&modes, "en", "de"), [""; 0]);
        assert_eq!(route(&modes, "pt", "en"), [""; 0]);
        let pairs = modes.pairs();
        for (from, to) in &pairs {
            assert!(modes.route(&tag(from), &tag(to)).is_some(), "{from} to {to}");
        }
        assert!(pairs.contains(&("en".into(), "pt".into())) && !pairs.contains(&("en".into(), "en".into())));
    }

    #[test]
    fn a_region_gets_its_own_variant_where_there_is_one() {
        let folder = folder(&["spa-eng", "spa-eng_US", "eng-cat_valencia", "eng-cat"]);
        let modes = Modes::read(folder.path());
        assert_eq!(route(&modes, "es", "en-US"), ["spa-eng_US"]);
        assert_eq!(route(&modes, "es", "en-GB"), ["spa-eng"]);
        assert_eq!(route(&modes, "en", "ca"), ["eng-cat"]);
        assert_eq!(route(&modes, "en", "ca-valencia"), ["eng-cat_valencia"]);
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_pairs() {
        assert_eq!(Modes::read(Path::new("/nowhere/at/all")).pairs(), Vec::new());
    }
}
