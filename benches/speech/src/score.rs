//! Word error rate: how texts are made comparable, and how they are compared.
//!
//! Both texts: lower case, no punctuation, hyphens and dots separate words, numbers up to 999 as words (of the language), Spanish without
//! accents (the transcripts leave out many), "e-mail" = "email", "voice mail" = "voicemail", "log in" = "login", "okay" = "ok".

/// The words that count.
pub(crate) fn words(language: &str, text: &str) -> Vec<String> {
    let plain: String = text
        .to_lowercase()
        .replace('’', "'")
        .chars()
        .map(|c| match c {
            'á' | 'à' | 'â' | 'ä' if language != "en" => 'a',
            'é' | 'è' | 'ê' | 'ë' if language != "en" => 'e',
            'í' | 'ì' | 'î' | 'ï' if language != "en" => 'i',
            'ó' | 'ò' | 'ô' | 'ö' if language != "en" => 'o',
            'ú' | 'ù' | 'û' | 'ü' if language != "en" => 'u',
            'ñ' => 'n',
            'ç' => 'c',
            c if c.is_alphanumeric() || c == '\'' => c,
            _ => ' ',
        })
        .collect();
    let mut words = Vec::new();
    for word in plain.split_whitespace() {
        let word = word.trim_matches('\'');
        match word.parse::<u32>() {
            Ok(number) if number < 1_000 => words.extend(number_words(language, number)),
            _ if word.is_empty() => {}
            _ => words.push(word.to_owned()),
        }
    }
    let mut text = format!(" {} ", words.join(" "));
    if language == "en" {
        for (from, to) in [
            (" e mail ", " email "),
            (" voice mail ", " voicemail "),
            (" log in ", " login "),
            (" okay ", " ok "),
            (" i d ", " id "),
        ] {
            text = text.replace(from, to);
        }
    }
    text.split_whitespace().map(str::to_owned).collect()
}

const ENGLISH: [&str; 20] = [
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
const SPANISH: [&str; 16] = [
    "cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce", "trece",
    "catorce", "quince",
];

fn number_words(language: &str, number: u32) -> Vec<String> {
    let at = number as usize;
    match language {
        "en" if at < 20 => vec![ENGLISH[at].into()],
        "en" if at < 100 => {
            let mut words = vec![ENGLISH_TENS[at / 10].to_owned()];
            if !at.is_multiple_of(10) {
                words.push(ENGLISH[at % 10].into());
            }
            words
        }
        "en" => {
            let mut words = vec![ENGLISH[at / 100].to_owned(), "hundred".into()];
            if !at.is_multiple_of(100) {
                words.extend(number_words(language, number % 100));
            }
            words
        }
        "es" if at < 16 => vec![SPANISH[at].into()],
        _ => vec![number.to_string()],
    }
}

/// Errors of a set of sentences.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Errors {
    /// Words substituted, deleted or inserted.
    pub(crate) wrong: usize,
    /// Words of the references.
    pub(crate) words: usize,
    /// Sentences without an error.
    pub(crate) exact: usize,
    /// Sentences.
    pub(crate) sentences: usize,
}

impl Errors {
    /// Adds one sentence, and gives its wrong words.
    pub(crate) fn add(&mut self, reference: &[String], heard: &[String]) -> usize {
        let wrong = distance(reference, heard);
        self.wrong += wrong;
        self.words += reference.len();
        self.exact += usize::from(wrong == 0);
        self.sentences += 1;
        wrong
    }

    /// Word error rate in percent.
    pub(crate) fn rate(&self) -> f64 {
        100.0 * self.wrong as f64 / self.words.max(1) as f64
    }

    /// Sentences without error, in percent.
    pub(crate) fn exact_rate(&self) -> f64 {
        100.0 * self.exact as f64 / self.sentences.max(1) as f64
    }
}

/// Fewest substitutions, deletions and insertions between the two.
fn distance(reference: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (at, word) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (other, heard_word) in heard.iter().enumerate() {
            let substituted = diagonal + usize::from(word != heard_word);
            diagonal = row[other + 1];
            row[other + 1] = substituted.min(row[other] + 1).min(diagonal + 1);
        }
    }
    row[heard.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_punctuation_do_not_count() {
        assert_eq!(words("en", "Press 1, or 162; e-mail!"), words("en", "press one or one hundred sixty two email"));
        assert_eq!(words("es", "Marque 4 después."), words("es", "marque cuatro despues"));
    }

    #[test]
    fn the_fewest_edits_are_counted() {
        let mut errors = Errors::default();
        assert_eq!(errors.add(&words("en", "press one now"), &words("en", "press on now please")), 2);
        assert_eq!((errors.words, errors.exact, errors.sentences), (3, 0, 1));
    }
}
