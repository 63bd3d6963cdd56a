//! Apertium's stream format, as far as plain text needs it.
//!
//! What must stay true: a text framed here makes every program of a pipeline answer with exactly one zero byte; an answer is taken
//! only for the text whose number it bears, so that one of another text, or what is left when a program dies, is never taken for it.

/// Characters that mean something in the stream format.
const SPECIAL: [char; 11] = ['\\', '^', '$', '/', '<', '>', '{', '}', '[', ']', '@'];
/// Ends a sentence without being part of it: the full stop is what the programs wait for; what is in brackets is formatting to them,
/// which they pass on as it is.
fn end(number: u64) -> String {
    format!(".[{number}]")
}

/// The bytes to send for a text: escaped, ended by its number, with its zero byte.
pub(super) fn frame(text: &str, number: u64) -> Vec<u8> {
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
    framed.push_str(&end(number));
    framed.push('\0');
    framed.into_bytes()
}

/// The text of an answer (without its zero byte): our end taken off, unescaped, without marks, blanks made single. None when it is not
/// the answer to the text of that number.
pub(super) fn unframe(answer: &str, number: u64) -> Option<String> {
    let end = end(number);
    let answer = answer.trim_end();
    let answer = answer.strip_suffix(&end).or_else(|| answer.strip_suffix(&end[1..]))?;
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
    Some(tidy)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_framed_text_has_one_zero_byte_and_only_escaped_specials(text in any::<String>()) {
            let framed = String::from_utf8(frame(&text, 7)).unwrap();
            let body = framed.strip_suffix(".[7]\0").unwrap();
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
            let framed = frame(&text, 7);
            let answer = std::str::from_utf8(&framed[..framed.len() - 1]).unwrap();
            let mut marks: String = text.clone();
            marks.retain(|c| !matches!(c, '*' | '#' | '~' | '+' | '_') && !c.is_whitespace() && !c.is_control());
            let mut back = unframe(answer, 7).unwrap();
            back.retain(|c| !c.is_whitespace());
            prop_assert_eq!(back, marks);
        }

        #[test]
        fn any_answer_is_read(answer in any::<String>()) {
            unframe(&answer, 7);
            unframe(&format!("{answer}.[7]"), 7);
        }
    }

    #[test]
    fn marks_of_unknown_words_are_taken_off() {
        for (answer, text) in [
            ("Llamaré *Kallglot  #mañana @casa .[1]", "Llamaré Kallglot mañana casa"),
            ("¿Cómo está ?.[1]", "¿Cómo está?"),
            (r"un \[mensaje\] a \@ana.[1]", "un [mensaje] a @ana"),
        ] {
            assert_eq!(unframe(answer, 1).as_deref(), Some(text));
        }
    }

    #[test]
    fn the_answer_to_another_text_or_to_none_is_refused() {
        for answer in ["", "casa", "casa.[2]", "casa.[11]", "casa.[]", "casa.[1] otra"] {
            assert_eq!(unframe(answer, 1), None, "{answer}");
        }
    }
}
