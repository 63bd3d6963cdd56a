//! From the International Phonetic Alphabet to the 39 phones of the `en-us` acoustic model.
//!
//! What must stay true: every answer is made of the model's phones only, whatever comes in; a sound that English lacks becomes the
//! nearest English one, by ear and by measurement (`benches/speech/README.md`).

/// Pairs of sound and phones. A longer sound wins over its beginning.
const SOUNDS: &[(&str, &str)] = &[
    // Consonants
    ("p", "P"),
    ("b", "B"),
    ("t", "T"),
    ("d", "D"),
    ("k", "K"),
    ("c", "K"),
    ("q", "K"),
    ("ɡ", "G"),
    ("g", "G"),
    ("ɟ", "G"),
    ("f", "F"),
    ("v", "V"),
    ("θ", "TH"),
    ("ð", "DH"),
    ("s", "S"),
    ("z", "Z"),
    ("ʃ", "SH"),
    ("ʒ", "ZH"),
    ("ʂ", "SH"),
    ("ʐ", "ZH"),
    ("ɕ", "SH"),
    ("ʑ", "ZH"),
    ("ç", "HH"),
    ("x", "HH"),
    ("χ", "HH"),
    ("h", "HH"),
    ("ɦ", "HH"),
    ("ɸ", "F"),
    ("β", "B"),
    ("ɣ", "G"),
    ("m", "M"),
    ("ɱ", "M"),
    ("n", "N"),
    ("ŋ", "NG"),
    ("ɲ", "N Y"),
    ("l", "L"),
    ("ɫ", "L"),
    ("ɭ", "L"),
    ("ʎ", "Y"),
    ("r", "R"),
    ("ɹ", "R"),
    ("ɾ", "R"),
    ("ʁ", "R"),
    ("ʀ", "R"),
    ("ɻ", "R"),
    ("j", "Y"),
    ("ʝ", "Y"),
    ("w", "W"),
    ("ɥ", "W"),
    ("ʋ", "V"),
    ("tʃ", "CH"),
    ("tɕ", "CH"),
    ("ts", "T S"),
    ("dʒ", "JH"),
    ("dʑ", "JH"),
    ("dz", "D Z"),
    // Vowels
    ("a", "AA"),
    ("ɑ", "AA"),
    ("ɒ", "AA"),
    ("æ", "AE"),
    ("ɐ", "AH"),
    ("ʌ", "AH"),
    ("ə", "AH"),
    ("ɘ", "AH"),
    ("ɵ", "AH"),
    ("ɚ", "ER"),
    ("ɜ", "ER"),
    ("ɝ", "ER"),
    ("ɛ", "EH"),
    ("e", "EH"),
    ("ɪ", "IH"),
    ("ᵻ", "IH"),
    ("ɨ", "IH"),
    ("i", "IY"),
    ("ʊ", "UH"),
    ("u", "UW"),
    ("ʉ", "UW"),
    ("y", "UW"),
    ("ʏ", "UH"),
    ("ɯ", "UH"),
    ("ø", "ER"),
    ("œ", "ER"),
    ("ɔ", "AO"),
    ("o", "OW"),
    ("eɪ", "EY"),
    ("ei", "EY"),
    ("aɪ", "AY"),
    ("ai", "AY"),
    ("aʊ", "AW"),
    ("au", "AW"),
    ("ɔɪ", "OY"),
    ("oi", "OY"),
    ("oʊ", "OW"),
    ("əʊ", "OW"),
    ("iə", "IY AH"),
    ("eʊ", "EH UW"),
    ("eu", "EH UW"),
    ("ɪɹ", "IH R"),
    ("oːɹ", "AO R"),
    ("əl", "AH L"),
    ("ɑ̃", "AA N"),
    ("ɔ̃", "AO N"),
    ("ɛ̃", "AE N"),
    ("œ̃", "AH N"),
];

/// The phones of phonemes in the alphabet, separated by spaces; empty when nothing in them is a sound. Stress, length and whatever is not
/// known are left out.
pub(super) fn phones(phonemes: &str) -> String {
    let mut phones: Vec<&str> = Vec::new();
    for phoneme in phonemes.split(|c: char| c == '_' || c.is_whitespace()) {
        let plain: String =
            phoneme.chars().filter(|c| !matches!(c, 'ˈ' | 'ˌ' | 'ʲ' | 'ʰ' | '\u{329}' | '-' | '\'')).collect();
        // Length tells "oːɹ" from "oɹ" and nothing else.
        let mut rest = plain.as_str();
        while let Some(first) = rest.chars().next() {
            let found = SOUNDS.iter().filter(|(sound, _)| rest.starts_with(sound)).max_by_key(|(sound, _)| sound.len());
            match found {
                Some((sound, answer)) => {
                    phones.extend(answer.split(' '));
                    rest = &rest[sound.len()..];
                }
                None => rest = &rest[first.len_utf8()..],
            }
        }
    }
    phones.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_gets_english_phones() {
        assert_eq!(phones("k_ˈæ_l_ɡ_l_ɑː_t"), "K AE L G L AA T");
        assert_eq!(phones("h_ə_l_ˈoʊ"), "HH AH L OW");
    }

    #[test]
    fn sounds_that_english_lacks_become_near_ones() {
        assert_eq!(phones("n_ˈi_ɲ_o"), "N IY N Y OW");
        assert_eq!(phones("ɛ_k_s_t_ˌɛ_n_s_j_ˈo_n"), "EH K S T EH N S Y OW N");
    }

    proptest! {
        #[test]
        fn only_phones_come_out(text in "\\PC{0,40}") {
            let known: Vec<&str> = SOUNDS.iter().flat_map(|(_, answer)| answer.split(' ')).collect();
            prop_assert!(phones(&text).split_whitespace().all(|phone| known.contains(&phone)));
        }
    }
}
