//! Grammars and language models made of phrases.
//!
//! What must stay true: a grammar accepts each phrase and nothing that isn't made of phrases; a language model's probabilities after
//! any history add up to one (a test adds them), and every listed word has one.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A state of a grammar: where each word leads, and how many phrases go there.
type State<'a> = BTreeMap<&'a str, Branch>;

/// Where a word leads: on to a state of its own, or to the end of a phrase, or both.
#[derive(Default)]
struct Branch {
    next: Option<usize>,
    through: usize,
    ending: usize,
}

/// A finite-state grammar, in the library's own format, of one phrase or of several in a row. Phrases with the same beginning share
/// it, and a word's other pronunciations are ways of their own: so 2,000 long phrases are loaded in a second or two. The library's own
/// ways (JSGF, adding pronunciations by itself) take minutes for them.
pub(super) fn grammar(phrases: &[Vec<String>], pronunciations: impl Fn(&str) -> usize) -> String {
    let mut states: Vec<State<'_>> = vec![State::new()];
    let mut distinct: Vec<&Vec<String>> = phrases.iter().filter(|phrase| !phrase.is_empty()).collect();
    distinct.sort();
    distinct.dedup();
    for phrase in distinct {
        let mut at = 0;
        for (index, word) in phrase.iter().enumerate() {
            let fresh = states.len();
            let branch = states[at].entry(word).or_default();
            if index + 1 == phrase.len() {
                branch.ending += 1;
                break;
            }
            branch.through += 1;
            at = *branch.next.get_or_insert(fresh);
            if at == fresh {
                states.push(State::new());
            }
        }
    }
    let end = states.len();
    let mut text = format!("FSG_BEGIN phrases\nNUM_STATES {}\nSTART_STATE 0\nFINAL_STATE {end}\n", end + 1);
    // Writing to a string can't fail.
    _ = writeln!(text, "TRANSITION {end} 0 1.0");
    for (from, state) in states.iter().enumerate() {
        let all: usize = state.values().map(|branch| branch.through + branch.ending).sum();
        let share = |count: usize| count as f64 / all as f64;
        for (word, branch) in state {
            for (to, count) in [(branch.next.unwrap_or(end), branch.through), (end, branch.ending)] {
                if count > 0 {
                    _ = writeln!(text, "TRANSITION {from} {to} {:.9} {word}", share(count));
                    for other in 2..=pronunciations(word) {
                        _ = writeln!(text, "TRANSITION {from} {to} {:.9} {word}({other})", share(count));
                    }
                }
            }
        }
    }
    text.push_str("FSG_END\n");
    text
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
    fn a_grammar_shares_beginnings() {
        let twice = [phrases(), phrases()].concat();
        let expected = "FSG_BEGIN phrases\nNUM_STATES 4\nSTART_STATE 0\nFINAL_STATE 3\nTRANSITION 3 0 1.0\n\
            TRANSITION 0 1 0.333333333 one\nTRANSITION 0 2 0.666666667 press\nTRANSITION 1 3 1.000000000 moment\n\
            TRANSITION 2 3 0.500000000 one\nTRANSITION 2 3 0.500000000 two\nTRANSITION 2 3 0.500000000 two(2)\nFSG_END\n";
        assert_eq!(grammar(&twice, |word| if word == "two" { 2 } else { 1 }), expected);
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
