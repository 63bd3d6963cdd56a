//! Apertium's stream format, as far as plain text needs it.
//!
//! What must stay true: a text framed here makes every program of a pipeline answer with exactly one zero byte.

/// Characters that mean something in the stream format.
const SPECIAL: [char; 11] = ['\\', '^', '$', '/', '<', '>', '{', '}', '[', ']', '@'];
/// Ends a sentence without being part of it: the full stop is what the programs wait for, and the empty bracket marks it as ours.
const END: &str = ".[]";

/// The bytes to send for a text: escaped, ended, with its zero byte.
pub(super) fn frame(text: &str) -> Vec<u8> {
    let mut framed = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            // Marks of the output (unknown word, failed generation, joined words): they could not be told from the text's own.
            '*' | '#' | '~' | '+' => framed.push(' '),
            control if control.is_control() || control.is_whitespace() => framed.push(' '),
            special if SPECIAL.contains(&special) => {
                framed.push('\\');
                framed.push(special);
            }
            other => framed.push(other),
        }
    }
    framed.push_str(END);
    framed.push('\0');
    framed.into_bytes()
}

/// The text of an answer (without its zero byte): our end taken off, unescaped, without marks, blanks made single.
pub(super) fn unframe(answer: &str) -> String {
    let answer = answer.trim_end();
    let answer = answer.strip_suffix(END).or_else(|| answer.strip_suffix("[]")).unwrap_or(answer);
    let mut text = String::with_capacity(answer.len());
    let mut characters = answer.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            '*' | '#' | '@' => {}
            // A lemma with an underscore stands for several words.
            '_' => text.push(' '),
            other => text.push(other),
        }
    }
    let mut tidy = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        let closes = word.chars().all(|character| matches!(character, '.' | ',' | ';' | ':' | '!' | '?'));
        if !tidy.is_empty() && !closes {
            tidy.push(' ');
        }
        tidy.push_str(word);
    }
    tidy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_framed_text_has_one_zero_byte_and_only_escaped_specials(text in any::<String>()) {
            let framed = String::from_utf8(frame(&text)).unwrap();
            let body = framed.strip_suffix(".[]\0").unwrap();
            let mut characters = body.chars();
            while let Some(character) = characters.next() {
                if character == '\\' {
                    prop_assert!(SPECIAL.contains(&characters.next().unwrap()));
                } else {
                    prop_assert!(!SPECIAL.contains(&character) && !character.is_control());
                }
            }
        }

        #[test]
        fn what_is_framed_comes_back_but_for_marks_and_blanks(text in any::<String>()) {
            let framed = frame(&text);
            let answer = std::str::from_utf8(&framed[..framed.len() - 1]).unwrap();
            let mut marks: String = text.clone();
            marks.retain(|c| !matches!(c, '*' | '#' | '~' | '+' | '_') && !c.is_whitespace() && !c.is_control());
            let mut back = unframe(answer);
            back.retain(|c| !c.is_whitespace());
            prop_assert_eq!(back, marks);
        }

        #[test]
        fn any_answer_is_read(answer in any::<String>()) {
            unframe(&answer);
        }
    }

    #[test]
    fn marks_of_unknown_words_are_taken_off() {
        assert_eq!(unframe("Llamaré *Kallglot  #mañana @casa .[]"), "Llamaré Kallglot mañana casa");
        assert_eq!(unframe("¿Cómo está ?.[]"), "¿Cómo está?");
        assert_eq!(unframe(r"un \[mensaje\] a \@ana.[]"), "un [mensaje] a @ana");
    }
}
