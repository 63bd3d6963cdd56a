//! Utterances that are nothing but numbers: digits one by one ("five five five one two"), amounts ("three hundred and five"), years
//! as they are said ("nineteen eighty four"). English and Spanish, 0 to 999,999.

const ENGLISH_SMALL: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const ENGLISH_TENS: [&str; 10] = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
const SPANISH_SMALL: [&str; 30] = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const SPANISH_TENS: [&str; 10] =
    ["", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const SPANISH_HUNDREDS: [&str; 10] = [
    "",
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
];

/// Reads the number that words begin with, and says how many of them it takes.
type Read = fn(&[&str]) -> Option<(u32, usize)>;

/// The numbers of a text in plain words (see [`super::plain`]) in the other language; none when it has any other word.
pub(crate) fn translate(plain: &str, from: &str, to: &str) -> Option<String> {
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let (read, write): (Read, fn(u32) -> String) = match (from, to) {
        ("en", "es") => (read_english, spanish),
        ("es", "en") => (read_spanish, english),
        _ => return None,
    };
    let mut rest = &words[..];
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (number, taken) = read(rest)?;
        numbers.push(write(number));
        rest = &rest[taken..];
    }
    (!numbers.is_empty()).then(|| numbers.join(" "))
}

/// The number that the words begin with, and how many of them it takes.
fn read_english(words: &[&str]) -> Option<(u32, usize)> {
    let (mut value, mut taken) = english_below_thousand(words)?;
    if value > 0 && words.get(taken) == Some(&"thousand") {
        value *= 1_000;
        taken += 1;
        let and = usize::from(words.get(taken) == Some(&"and"));
        if let Some((rest, more)) = english_below_thousand(&words[taken + and..]).filter(|(rest, _)| *rest > 0) {
            value += rest;
            taken += and + more;
        }
    }
    Some((value, taken))
}

fn english_below_thousand(words: &[&str]) -> Option<(u32, usize)> {
    let (value, taken) = english_below_hundred(words)?;
    if !(1..=9).contains(&value) || words.get(taken) != Some(&"hundred") {
        return Some((value, taken));
    }
    let (value, taken) = (value * 100, taken + 1);
    let and = usize::from(words.get(taken) == Some(&"and"));
    match english_below_hundred(&words[taken + and..]) {
        Some((rest, more)) if rest > 0 => Some((value + rest, taken + and + more)),
        _ => Some((value, taken)),
    }
}

fn english_below_hundred(words: &[&str]) -> Option<(u32, usize)> {
    let first = *words.first()?;
    if first == "oh" {
        return Some((0, 1));
    }
    if let Some(small) = position(&ENGLISH_SMALL, first) {
        return Some((small, 1));
    }
    let tens = position(&ENGLISH_TENS, first)? * 10;
    match words.get(1).and_then(|word| position(&ENGLISH_SMALL, word)).filter(|unit| (1..=9).contains(unit)) {
        Some(unit) => Some((tens + unit, 2)),
        None => Some((tens, 1)),
    }
}

fn read_spanish(words: &[&str]) -> Option<(u32, usize)> {
    let (mut value, mut taken) = match words.first()? {
        &"mil" => (1, 0),
        _ => spanish_below_thousand(words)?,
    };
    if value > 0 && words.get(taken) == Some(&"mil") {
        value *= 1_000;
        taken += 1;
        if let Some((rest, more)) = spanish_below_thousand(&words[taken..]).filter(|(rest, _)| *rest > 0) {
            value += rest;
            taken += more;
        }
    }
    Some((value, taken))
}

fn spanish_below_thousand(words: &[&str]) -> Option<(u32, usize)> {
    let first = *words.first()?;
    if first == "cien" {
        return Some((100, 1));
    }
    let Some(hundreds) = position(&SPANISH_HUNDREDS, first) else { return spanish_below_hundred(words) };
    match spanish_below_hundred(&words[1..]) {
        Some((rest, more)) if rest > 0 => Some((hundreds * 100 + rest, 1 + more)),
        _ => Some((hundreds * 100, 1)),
    }
}

fn spanish_below_hundred(words: &[&str]) -> Option<(u32, usize)> {
    // "uno" changes before what it counts: "un mil", "una".
    let small = |word: &str| match word {
        "un" | "una" => Some(1),
        "veintiun" => Some(21),
        _ => position(&SPANISH_SMALL, word),
    };
    let first = *words.first()?;
    if let Some(small) = small(first) {
        return Some((small, 1));
    }
    let tens = position(&SPANISH_TENS, first)? * 10;
    match words.get(2).and_then(|word| small(word)).filter(|unit| (1..=9).contains(unit)) {
        Some(unit) if words.get(1) == Some(&"y") => Some((tens + unit, 3)),
        _ => Some((tens, 1)),
    }
}

fn position(names: &[&str], word: &str) -> Option<u32> {
    if word.is_empty() {
        return None;
    }
    // Words are compared without accents ("dieciseis").
    names
        .iter()
        .position(|name| *name == word || super::plain(name) == word)
        .and_then(|index| u32::try_from(index).ok())
}

fn english(number: u32) -> String {
    let below_hundred = |number: u32| match number {
        0..20 => ENGLISH_SMALL[number as usize].to_owned(),
        _ if number.is_multiple_of(10) => ENGLISH_TENS[number as usize / 10].to_owned(),
        _ => format!("{}-{}", ENGLISH_TENS[number as usize / 10], ENGLISH_SMALL[number as usize % 10]),
    };
    let below_thousand = |number: u32| match (number / 100, number % 100) {
        (0, rest) => below_hundred(rest),
        (hundreds, 0) => format!("{} hundred", ENGLISH_SMALL[hundreds as usize]),
        (hundreds, rest) => format!("{} hundred and {}", ENGLISH_SMALL[hundreds as usize], below_hundred(rest)),
    };
    match (number / 1_000, number % 1_000) {
        (0, rest) => below_thousand(rest),
        (thousands, 0) => format!("{} thousand", below_thousand(thousands)),
        (thousands, rest @ 1..100) => format!("{} thousand and {}", below_thousand(thousands), below_hundred(rest)),
        (thousands, rest) => format!("{} thousand {}", below_thousand(thousands), below_thousand(rest)),
    }
}

fn spanish(number: u32) -> String {
    let below_hundred = |number: u32| match number {
        0..30 => SPANISH_SMALL[number as usize].to_owned(),
        _ if number.is_multiple_of(10) => SPANISH_TENS[number as usize / 10].to_owned(),
        _ => format!("{} y {}", SPANISH_TENS[number as usize / 10], SPANISH_SMALL[number as usize % 10]),
    };
    let below_thousand = |number: u32| match (number / 100, number % 100) {
        (0, rest) => below_hundred(rest),
        (1, 0) => "cien".to_owned(),
        (hundreds, 0) => SPANISH_HUNDREDS[hundreds as usize].to_owned(),
        (hundreds, rest) => format!("{} {}", SPANISH_HUNDREDS[hundreds as usize], below_hundred(rest)),
    };
    // Before "mil", "uno" loses its end: "veintiún mil", "treinta y un mil".
    let thousands_of = |thousands: u32| {
        let words = below_thousand(thousands);
        match words.strip_suffix("veintiuno") {
            Some(before) => format!("{before}veintiún"),
            None => words.strip_suffix("uno").map_or(words.clone(), |before| format!("{before}un")),
        }
    };
    match (number / 1_000, number % 1_000) {
        (0, rest) => below_thousand(rest),
        (1, 0) => "mil".to_owned(),
        (1, rest) => format!("mil {}", below_thousand(rest)),
        (thousands, 0) => format!("{} mil", thousands_of(thousands)),
        (thousands, rest) => format!("{} mil {}", thousands_of(thousands), below_thousand(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn numbers_are_translated_as_they_are_said() {
        for (said, expected) in [
            ("five five five oh one two", "cinco cinco cinco cero uno dos"),
            ("nineteen eighty four", "diecinueve ochenta y cuatro"),
            ("three hundred and five", "trescientos cinco"),
            ("twenty one thousand one hundred", "veintiún mil cien"),
            ("seven", "siete"),
        ] {
            assert_eq!(translate(said, "en", "es").as_deref(), Some(expected));
        }
        assert_eq!(
            translate("mil novecientos ochenta y cuatro", "es", "en").as_deref(),
            Some("one thousand nine hundred and eighty-four")
        );
    }

    #[test]
    fn other_words_and_languages_are_left_to_the_translator() {
        for text in ["press one", "hundred", "and", "", "one hundred people"] {
            assert_eq!(translate(text, "en", "es"), None, "{text}");
        }
        assert_eq!(translate("one", "en", "ca"), None);
    }

    #[test]
    fn every_number_that_is_written_can_be_read() {
        for number in (0..2_100).chain([10_000, 21_000, 31_031, 100_000, 101_001, 512_321, 999_999]) {
            let (there, words) = (spanish(number), plain(&english(number)));
            assert_eq!(translate(&words, "en", "es"), Some(there.clone()), "{words}");
            assert_eq!(translate(&plain(&there), "es", "en").map(|text| plain(&text)), Some(words), "{there}");
        }
    }
}
