//! The decoder on recordings of human voices, as a telephone brings them.

use super::*;

/// A recording of Debian's `asterisk-core-sounds-*-wav`, through mu-law, with silence around it.
fn recording(name: &str) -> Vec<i16> {
    let path = format!("/usr/share/asterisk/sounds/{name}.wav");
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|_| panic!("{path}: apt-get install asterisk-core-sounds-en-wav asterisk-core-sounds-es-wav"));
    let samples = kallglot_audio::wav::read(&bytes, kallglot_audio::wav::Channel::Mix).unwrap();
    let mulaw = |sample: i16| kallglot_audio::g711::mulaw_to_linear(kallglot_audio::g711::linear_to_mulaw(sample));
    let silence = [0i16; 1_600];
    silence.into_iter().chain(samples.into_iter().map(mulaw)).chain(silence).collect()
}

fn hear(decoder: &mut Decoder, samples: &[i16]) -> (Vec<String>, Hypothesis) {
    decoder.begin();
    let mut partials = Vec::new();
    for piece in samples.chunks(160) {
        decoder.push(piece);
        if let Some(partial) = decoder.partial()
            && partials.last() != Some(&partial)
        {
            partials.push(partial);
        }
    }
    (partials, decoder.end())
}

fn english(phrases: &[&str], phrases_only: bool) -> DecoderConfig {
    let phrases = phrases.iter().map(|phrase| (*phrase).to_owned()).collect();
    DecoderConfig { language: "en".into(), phrases, phrases_only, ..DecoderConfig::default() }
}

#[test]
fn general_english_is_heard_while_it_is_spoken() {
    let mut decoder = Decoder::open(&english(&[], false)).unwrap();
    let (partials, heard) = hear(&mut decoder, &recording("en_US_f_Allison/vm-dialout"));
    assert!(partials.len() > 1, "{partials:?}");
    assert!(heard.text.contains("please") && heard.text.contains("call"), "{heard:?}");
    assert!((0.0..=1.0).contains(&heard.confidence));
}

#[test]
fn a_listed_phrase_comes_back_as_it_was_listed() {
    let listed = ["All circuits are busy now.", "Please try again later.", "Who is calling, please?"];
    let mut decoder = Decoder::open(&english(&listed, true)).unwrap();
    let (_, heard) = hear(&mut decoder, &recording("en_US_f_Allison/all-circuits-busy-now"));
    assert_eq!(heard.text, "all circuits are busy now");
    assert_eq!(heard.phrase.as_deref(), Some("All circuits are busy now."));
    assert!(heard.confidence > 0.9, "{heard:?}");
}

#[test]
fn what_is_not_listed_is_not_understood() {
    let mut decoder = Decoder::open(&english(&["Who is calling, please?", "Press one for sales."], true)).unwrap();
    let mut state = 7u32;
    let noise: Vec<i16> = (0..16_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 21) as i16 - 1_024
        })
        .collect();
    for samples in [recording("en_US_f_Allison/all-circuits-busy-now"), noise, vec![0; 16_000], Vec::new()] {
        assert_eq!(hear(&mut decoder, &samples).1, Hypothesis::default());
    }
}

#[test]
fn spanish_is_heard_from_phrases_with_their_accents() {
    let phrases = ["Adiós.", "Por favor espere mientras enlazo su llamada.", "Entrada incorrecta. ¿Buzón?"];
    let phrases = phrases.map(str::to_owned).to_vec();
    let config = DecoderConfig { language: "es".into(), phrases, ..DecoderConfig::default() };
    let mut decoder = Decoder::open(&config).unwrap();
    let (_, heard) = hear(&mut decoder, &recording("es_MX_f_Allison/vm-incorrect-mailbox"));
    assert_eq!(heard.text, "entrada incorrecta buzón");
    assert_eq!(heard.phrase.as_deref(), Some("Entrada incorrecta. ¿Buzón?"));
}

#[test]
fn every_fix_can_be_switched_off() {
    for (mean, widen) in [(false, false), (true, false), (true, true)] {
        let fixes = Fixes { mean: Some(mean), widen: Some(widen) };
        let config = DecoderConfig { fixes, ..english(&["Goodbye.", "All circuits are busy now."], true) };
        let heard = hear(&mut Decoder::open(&config).unwrap(), &recording("en_US_f_Allison/all-circuits-busy-now")).1;
        assert_eq!(heard.phrase.as_deref(), Some("All circuits are busy now."), "{fixes:?}");
    }
}

#[test]
fn new_words_are_added_to_general_english() {
    let words = vec!["Kallglot".to_owned(), "naïveté".into(), "()".into()];
    let config = DecoderConfig { words, ..english(&["Welcome to Kallglot"], false) };
    assert!(Decoder::open(&config).is_ok());
}

#[test]
fn calls_in_any_order_do_no_harm() {
    let mut decoder = Decoder::open(&english(&["Goodbye."], true)).unwrap();
    assert_eq!(decoder.end(), Hypothesis::default());
    decoder.push(&[0; 160]);
    assert_eq!(decoder.partial(), None);
    decoder.begin();
    decoder.begin();
    assert_eq!(decoder.end(), Hypothesis::default());
    assert_eq!(decoder.end(), Hypothesis::default());
}

#[test]
fn hostile_phrases_stay_words() {
    let phrases = ["</s> | ; <phrase>", "#JSGF \"quoted\" {tag} /0.5/", "w1(2) \\ *", "日本語 привет", "++NOISE++"];
    let phrases: Vec<String> = phrases.map(str::to_owned).to_vec();
    for phrases_only in [true, false] {
        let config =
            DecoderConfig { language: "en".into(), phrases: phrases.clone(), phrases_only, ..DecoderConfig::default() };
        hear(&mut Decoder::open(&config).unwrap(), &[0; 1_600]);
    }
}

#[test]
fn what_is_impossible_is_said() {
    let german = DecoderConfig { language: "de".into(), ..DecoderConfig::default() };
    assert!(matches!(Decoder::open(&german), Err(SphinxError::Language(language)) if language == "de"));
    let nothing = DecoderConfig { language: "es".into(), phrases: vec!["…".into()], ..DecoderConfig::default() };
    assert!(matches!(Decoder::open(&nothing), Err(SphinxError::NothingToRecognise)));
}

#[test]
fn what_is_installed_is_available() {
    let expected = [("en", true), ("es", false), ("fr", false), ("it", false)];
    assert_eq!(available(), expected.map(|(language, free)| (language.to_owned(), free)));
}
