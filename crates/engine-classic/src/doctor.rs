//! Says which parts of the engine are installed, and what to install for the others.

use std::path::Path;

use kallglot_engine::Translator;

use crate::apertium::{Apertium, ApertiumConfig};
use crate::espeak_data::{self, EspeakData};

/// One thing that the engine needs or can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked for, and what was found.
    pub what: String,
    /// Whether it is there.
    pub ok: bool,
    /// What to do when it is not, or to get more of it. Empty when there is nothing to do.
    pub advice: String,
}

/// Looks at what is installed. Reads a few folders; loads nothing.
pub fn check() -> Vec<Check> {
    vec![recognition_library(), english_model(), translation(), synthesis()]
}

fn missing(ok: bool, package: &str) -> String {
    if ok { String::new() } else { format!("apt-get install {package}") }
}

fn recognition_library() -> Check {
    let ok = espeak_data::library_exists("libpocketsphinx.so.3") && espeak_data::library_exists("libsphinxbase.so.3");
    Check { what: "speech recognition: pocketsphinx's library".into(), ok, advice: missing(ok, "libpocketsphinx3") }
}

fn english_model() -> Check {
    let folder = Path::new("/usr/share/pocketsphinx/model/en-us");
    let ok = ["en-us/mdef", "en-us.lm.bin", "cmudict-en-us.dict"].iter().all(|file| folder.join(file).exists());
    Check {
        what: "speech recognition: the English model (also used for other languages, with phrase lists)".into(),
        ok,
        advice: missing(ok, "pocketsphinx-en-us"),
    }
}

fn translation() -> Check {
    let apertium = Apertium::new(ApertiumConfig::default());
    let pairs: Vec<String> =
        apertium.pairs().into_iter().filter_map(|(from, to)| Some(format!("{}→{}", from?, to?))).collect();
    let ok = !pairs.is_empty();
    let found = if ok { format!(": {}", pairs.join(" ")) } else { String::new() };
    let advice = if ok {
        "for more languages: apt-cache search ^apertium- and install the pairs needed".to_owned()
    } else {
        "apt-get install apertium apertium-eng-spa".to_owned()
    };
    Check { what: format!("translation: Apertium's pairs{found}"), ok, advice }
}

fn synthesis() -> Check {
    let languages = EspeakData::installed().languages().len();
    let ok = languages > 0;
    Check {
        what: format!("speech synthesis: espeak-ng, {languages} languages"),
        ok,
        advice: missing(ok, "libespeak-ng1 espeak-ng-data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_what_to_install() {
        let checks = check();
        assert_eq!(checks.len(), 4);
        for check in checks {
            assert!(check.ok || check.advice.starts_with("apt-get install "), "{check:?}");
        }
    }
}
