//! What is done to text around translation: sentences, case and punctuation, fixed phrases, numbers. Pure.

pub(crate) mod numbers;
pub(crate) mod phrasebook;
pub(crate) mod polish;
pub(crate) mod restore;

/// The sentences of a text, trimmed, none empty.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let ends = character == '\n'
            || matches!(character, '.' | '?' | '!' | '…')
                && characters.peek().is_none_or(|(_, next)| next.is_whitespace());
        if ends {
            let end = at + character.len_utf8();
            sentences.push(text[start..end].trim());
            start = end;
        }
    }
    sentences.push(text[start..].trim());
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// Cuts a text into pieces of at most `bytes_max` bytes, after punctuation where there is some, else between words, else anywhere.
pub(crate) fn pieces(text: &str, bytes_max: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while rest.len() > bytes_max {
        let window = &rest[..rest.floor_char_boundary(bytes_max.max(4))];
        let after_punctuation =
            window.rfind([',', ';', ':', '.', '?', '!']).map(|at| at + 1).filter(|at| *at > window.len() / 3);
        let cut = after_punctuation
            .or_else(|| window.rfind(char::is_whitespace))
            .filter(|at| *at > 0)
            .unwrap_or(window.len());
        pieces.push(rest[..cut].trim());
        rest = rest[cut..].trim_start();
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The words of a text for comparison: lower case, without punctuation and accents.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        match character {
            'á' | 'à' | 'â' => plain.push('a'),
            'é' | 'è' | 'ê' => plain.push('e'),
            'í' | 'ï' => plain.push('i'),
            'ó' | 'ò' | 'ô' => plain.push('o'),
            'ú' | 'ü' => plain.push('u'),
            '’' | '\'' => plain.push('\''),
            letter if letter.is_alphanumeric() => plain.push(letter),
            _ if plain.ends_with(' ') || plain.is_empty() => {}
            _ => plain.push(' '),
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// The text with its first letter in upper case (`¿` and the like are skipped).
pub(crate) fn capitalized(text: &str) -> String {
    with_first_letter(text, |letter| letter.to_uppercase().collect())
}

/// The text with its first letter in lower case.
pub(crate) fn uncapitalized(text: &str) -> String {
    with_first_letter(text, |letter| letter.to_lowercase().collect())
}

fn with_first_letter(text: &str, change: impl Fn(char) -> String) -> String {
    match text.char_indices().find(|(_, character)| character.is_alphanumeric()) {
        Some((at, letter)) => format!("{}{}{}", &text[..at], change(letter), &text[at + letter.len_utf8()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_into_sentences() {
        assert_eq!(sentences("Hello. How are you? It is 3.5 now"), ["Hello.", "How are you?", "It is 3.5 now"]);
        assert_eq!(sentences("  \n. "), ["."]);
        assert!(sentences(" \n ").is_empty());
    }

    #[test]
    fn long_texts_are_cut_where_it_hurts_least() {
        assert_eq!(pieces("one two, three four", 12), ["one two,", "three four"]);
        assert_eq!(pieces("one two three", 9), ["one two", "three"]);
        assert_eq!(pieces("ñandúñandú", 5), ["ñand", "úña", "ndú"]);
    }

    #[test]
    fn texts_are_compared_without_case_accents_and_punctuation() {
        assert_eq!(plain("¿Cómo  está, Usted?"), "como esta usted");
        assert_eq!(plain("I’m fine."), "i'm fine");
    }

    proptest! {
        #[test]
        fn pieces_keep_every_word_and_the_bound(text in any::<String>(), bytes_max in 4usize..50) {
            let pieces = pieces(&text, bytes_max);
            prop_assert!(pieces.iter().all(|piece| piece.len() <= bytes_max && !piece.is_empty()));
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&pieces.concat()), letters(&text));
        }

        #[test]
        fn sentences_keep_every_word(text in any::<String>()) {
            let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&sentences(&text).concat()), letters(&text));
        }
    }
}
