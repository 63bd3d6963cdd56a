//! What is put right in translations because the translator is known to get it wrong, and the listener is a customer.

use super::{capitalized, plain};

/// Puts a translation right; `source` is what was translated.
pub(crate) fn polish(source: &str, translation: &str, from: &str, to: &str) -> String {
    match (from, to) {
        ("en", "es") => spanish_questions(&spanish_from_english(source, translation)),
        (_, "es") => spanish_questions(translation),
        _ => translation.to_owned(),
    }
}

/// "Please" is taken for the verb, and "your" for that of several friends.
fn spanish_from_english(source: &str, translation: &str) -> String {
    let please = plain(source).split(' ').any(|word| word == "please");
    let words: Vec<&str> = translation.split(' ').collect();
    let mut polished = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let core = word.trim_matches(|character: char| !character.is_alphanumeric());
        let better = match core.to_lowercase().as_str() {
            "complacer" if please && index == 0 && words.len() > 1 => "por favor,",
            "complacer" if please => "por favor",
            "vuestro" | "vuestra" => "su",
            "vuestros" | "vuestras" => "sus",
            _ => {
                polished.push((*word).to_owned());
                continue;
            }
        };
        let better = if core.starts_with(char::is_uppercase) { capitalized(better) } else { better.to_owned() };
        polished.push(word.replacen(core, &better, 1).replace(",,", ","));
    }
    let polished = polished.join(" ");
    // Where something is, not what it is.
    if plain(source).contains("where ") {
        polished.replace("ónde es ", "ónde está ").replace("ónde son ", "ónde están ")
    } else {
        polished
    }
}

/// A question begins with its mark, after a greeting or the like.
fn spanish_questions(translation: &str) -> String {
    let sentences = super::sentences(translation).into_iter().map(|sentence| {
        if !sentence.ends_with('?') || sentence.contains('¿') || sentence.chars().all(|c| !c.is_alphabetic()) {
            return sentence.to_owned();
        }
        let start = sentence
            .split_once(", ")
            .filter(|(first, _)| first.split(' ').count() <= 2)
            .map_or(0, |(first, _)| first.len() + 2);
        format!("{}¿{}", &sentence[..start], &sentence[start..])
    });
    sentences.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_mistakes_are_put_right() {
        for (source, translation, expected) in [
            ("Please open the door.", "Complacer abrir la puerta.", "Por favor, abrir la puerta."),
            ("I want it, please.", "Lo quiero, complacer.", "Lo quiero, por favor."),
            ("To please you.", "Complacerle.", "Complacerle."),
            ("Your call is important.", "Vuestra llamada es importante.", "Su llamada es importante."),
            ("Hello, could you help me?", "Hola, podría ayudarme?", "Hola, ¿podría ayudarme?"),
            ("What is it?", "Qué es?", "¿Qué es?"),
            ("Where is my package?", "Dónde es mi paquete?", "¿Dónde está mi paquete?"),
            ("", "?", "?"),
        ] {
            assert_eq!(polish(source, translation, "en", "es"), expected);
        }
        assert_eq!(polish("Què és?", "Què és?", "es", "ca"), "Què és?");
    }
}
