//! Grammars and language models made of phrases.
//!
//! What must stay true: a grammar accepts each phrase and nothing that isn't made of phrases; a language model's probabilities after
//! any history add up to one (a test adds them), and every listed word has one.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A JSGF grammar of one phrase, or of several in a row.
pub(super) fn grammar(phrases: &[Vec<String>]) -> String {
    let mut alternatives: Vec<String> =
        phrases.iter().filter(|phrase| !phrase.is_empty()).map(|phrase| phrase.join(" ")).collect();
    alternatives.sort();
    alternatives.dedup();
    format!(
        "#JSGF V1.0;\ngrammar phrases;\n<phrase> = {};\npublic <utterance> = <phrase>+;\n",
        alternatives.join("\n | ")
    )
}

/// Longest word sequence that is counted.
const ORDER: usize = 3;
const START: &str = "<s>";
const END: &str = "</s>";

type Counts<'a> = BTreeMap<Vec<&'a str>, BTreeMap<&'a str, f64>>;

/// A trigram model in ARPA format, of the phrases and single words (as utterances of their own and anywhere in a sentence). Witten and
/// Bell's estimate: the share of what follows a history only rarely goes to the shorter history.
pub(super) fn trigrams(phrases: &[Vec<String>], words: &[String]) -> String {
    let mut counts: Counts<'_> = BTreeMap::new();
    let singles: Vec<[&str; 1]> = words.iter().map(|word| [word.as_str()]).collect();
    let sentences = phrases
        .iter()
        .map(|phrase| phrase.iter().map(String::as_str).collect::<Vec<_>>())
        .chain(singles.iter().map(|word| word.to_vec()))
        .filter(|sentence| !sentence.is_empty());
    for sentence in sentences {
        let mut padded = vec![START];
        padded.extend(sentence);
        padded.push(END);
        for end in 1..padded.len() {
            for length in 0..ORDER.min(end + 1) {
                let history = padded[end - length..end].to_vec();
                *counts.entry(history).or_default().entry(padded[end]).or_default() += 1.0;
            }
        }
    }
    arpa(&counts)
}

/// What was counted after `history`, of all that was counted, and how much is left for shorter histories.
fn probability(counts: &Counts<'_>, history: &[&str], word: &str) -> f64 {
    let Some(seen) = counts.get(history) else { return probability(counts, &history[1..], word) };
    let total: f64 = seen.values().sum();
    let kinds = seen.len() as f64;
    let count = seen.get(word).copied().unwrap_or(0.0);
    if history.is_empty() {
        return count / total;
    }
    // Interpolated, so that the backed-off probability of an unseen word is `left` times the shorter history's.
    let left = kinds / (total + kinds);
    count / (total + kinds) + left * probability(counts, &history[1..], word)
}

fn arpa(counts: &Counts<'_>) -> String {
    let mut sections = vec![String::new(); ORDER];
    let mut sizes = [0usize; ORDER];
    let back_off = |gram: &[&str]| {
        counts.get(gram).map(|seen| {
            let kinds = seen.len() as f64;
            (kinds / (seen.values().sum::<f64>() + kinds)).log10()
        })
    };
    let mut line = |gram: &[&str], log: f64| {
        let order = gram.len() - 1;
        sizes[order] += 1;
        let text = gram.join(" ");
        // Writing to a string can't fail.
        _ = match back_off(gram).filter(|_| gram.len() < ORDER) {
            Some(back_off) => writeln!(sections[order], "{log:.5} {text} {back_off:.5}"),
            None if gram.len() < ORDER => writeln!(sections[order], "{log:.5} {text} 0"),
            None => writeln!(sections[order], "{log:.5} {text}"),
        };
    };
    line(&[START], -99.0);
    for (history, seen) in counts {
        for word in seen.keys() {
            let mut gram = history.clone();
            gram.push(word);
            line(&gram, probability(counts, history, word).log10());
        }
    }
    let mut text = String::from("\\data\\\n");
    for (order, size) in sizes.iter().enumerate() {
        _ = writeln!(text, "ngram {}={size}", order + 1);
    }
    for (order, section) in sections.iter().enumerate() {
        _ = write!(text, "\n\\{}-grams:\n{section}", order + 1);
    }
    text.push_str("\n\\end\\\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases() -> Vec<Vec<String>> {
        [&["press", "one"][..], &["press", "two"], &["one", "moment"]]
            .iter()
            .map(|phrase| phrase.iter().map(|word| (*word).to_owned()).collect())
            .collect()
    }

    #[test]
    fn a_grammar_lists_each_phrase_once() {
        let twice = [phrases(), phrases()].concat();
        assert!(grammar(&twice).contains("<phrase> = one moment\n | press one\n | press two;"), "{}", grammar(&twice));
    }

    #[test]
    fn probabilities_add_up() {
        let text = trigrams(&phrases(), &["kallglot".into()]);
        let after_press: f64 = text
            .lines()
            .skip_while(|line| *line != "\\2-grams:")
            .take_while(|line| *line != "\\3-grams:")
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, gram)| gram.starts_with("press "))
            .map(|(log, _)| 10f64.powf(log.parse().unwrap()))
            .sum();
        // "one" and "two" were seen twice in all, of two kinds: half is theirs, and their share of the other half.
        assert!((0.5..1.0).contains(&after_press), "{text}");
        let single: f64 = text
            .lines()
            .skip_while(|line| *line != "\\1-grams:")
            .take_while(|line| *line != "\\2-grams:")
            .filter_map(|line| line.split(' ').next()?.parse::<f64>().ok())
            .map(|log| 10f64.powf(log))
            .sum();
        assert!((single - 1.0).abs() < 1e-3, "{single} in {text}");
    }
}
