//! How each party felt, by what it said: words with weights, turned around by negations and made stronger or weaker by the words before them.
//!
//! A text's score is `sum / sqrt(sum² + 12)` of its words' weights, so -1 to 1: one strong word is 0.65, two are 0.87. A party's score is the mean of
//! its turns that feel like something, thinned out by those that don't: `sum of scores / (turns with feeling + 0.1 × turns without)`.

use kallglot_core::session::Speaker;
use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::lexicon::{Lexicon, Role};
use crate::round;
use crate::text::Word;
use crate::transcript::Transcript;

/// How far back a negation, an intensifier or a softener works, in words.
const REACH_WORDS: usize = 3;
/// What a negation leaves of a word, the other way round: "not good" is less than bad.
const NEGATED: f64 = -0.7;
const INTENSIFIED: f64 = 1.35;
const SOFTENED: f64 = 0.6;
/// "The room is nice, but …": what comes before counts half, what comes after half as much again.
const BEFORE_CONTRAST: f64 = 0.5;
const AFTER_CONTRAST: f64 = 1.5;
/// How fast a text's score goes to 1.
const NORMAL: f64 = 12.0;
/// From this score on a party is positive, and from its negative on negative.
const LABEL_FROM: f64 = 0.2;
/// From this change on a party's feeling has changed.
const TREND_FROM: f64 = 0.2;
/// How much a turn without any feeling counts.
const NEUTRAL_TURN: f64 = 0.1;
/// Fewer turns than this have no beginning and end.
const TREND_TURNS_MIN: usize = 4;

/// A feeling, roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Score 0.2 or more.
    Positive,
    /// Between.
    Neutral,
    /// Score -0.2 or less.
    Negative,
}

/// How a feeling changed from a call's first third to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// By 0.2 or more upwards.
    Improving,
    /// By less than 0.2.
    Steady,
    /// By 0.2 or more downwards.
    Worsening,
}

/// The feeling of one turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnSentiment {
    /// The turn's place in the transcript.
    pub sequence: u32,
    /// -1 to 1.
    pub score: f64,
    /// Whether the translation was read, since what was said can't be.
    pub translated: bool,
}

/// How one party felt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartySentiment {
    /// Roughly.
    pub label: Label,
    /// -1 to 1.
    pub score: f64,
    /// The score of the first third of its turns; none with fewer than four.
    pub beginning: Option<f64>,
    /// The score of the last third of its turns; none with fewer than four.
    pub end: Option<f64>,
    /// How it changed between them.
    pub trend: Option<Trend>,
    /// How many turns were read.
    pub turns_read: usize,
    /// The turns that feel like something, in their order.
    pub turns: Vec<TurnSentiment>,
}

/// How both parties felt; none for one of whom nothing could be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// Party A.
    pub customer: Option<PartySentiment>,
    /// Party B.
    pub agent: Option<PartySentiment>,
}

/// What the words before a place in the same clause do to it: how many negations (0 to 2), and a factor.
fn surroundings(words: &[Word], at: usize, lexicon: &Lexicon) -> f64 {
    let mut factor = 1.0;
    let mut negated = false;
    for back in 1..=REACH_WORDS {
        let Some(word) = at.checked_sub(back).and_then(|place| words.get(place)) else { break };
        if word.clause != words[at].clause {
            break;
        }
        match lexicon.role(word) {
            Some(Role::Negation) => negated = true,
            Some(Role::Intensifier) if back <= 2 => factor *= INTENSIFIED,
            Some(Role::Softener) if back <= 2 => factor *= SOFTENED,
            Some(Role::Contrast) => break,
            _ => {}
        }
    }
    if negated { factor * NEGATED } else { factor }
}

/// A text's score, -1 to 1; none for a text without any feeling.
pub(crate) fn score(words: &[Word], language: Language) -> Option<f64> {
    let lexicon = Lexicon::of(language);
    let contrast = words.iter().rposition(|word| lexicon.role(word) == Some(Role::Contrast));
    let (mut sum, mut found, mut at) = (0.0, false, 0);
    while at < words.len() {
        let Some((weight, length)) = lexicon.weight(words, at) else {
            at += 1;
            continue;
        };
        // In "super nice" and "fairly good" the first word only works on the second.
        let only_works_on_the_next = matches!(lexicon.role(&words[at]), Some(Role::Intensifier | Role::Softener))
            && words.get(at + 1).is_some_and(|next| next.clause == words[at].clause)
            && lexicon.weight(words, at + 1).is_some();
        if weight == 0 || (length == 1 && only_works_on_the_next) {
            at += length;
            continue;
        }
        let side = match contrast {
            Some(place) if at < place => BEFORE_CONTRAST,
            Some(place) if at > place => AFTER_CONTRAST,
            _ => 1.0,
        };
        sum += f64::from(weight) * surroundings(words, at, lexicon) * side;
        found = true;
        at += length;
    }
    found.then(|| sum / (sum * sum + NORMAL).sqrt())
}

/// The mean of these turns' scores, as this module's first lines say.
fn overall(scores: &[Option<f64>]) -> f64 {
    let felt = scores.iter().flatten().count() as f64;
    let rest = scores.len() as f64 - felt;
    let sum: f64 = scores.iter().flatten().sum();
    let weight = felt + NEUTRAL_TURN * rest;
    if weight > 0.0 { sum / weight } else { 0.0 }
}

fn label(score: f64) -> Label {
    if score >= LABEL_FROM {
        Label::Positive
    } else if score <= -LABEL_FROM {
        Label::Negative
    } else {
        Label::Neutral
    }
}

fn party(transcript: &Transcript<'_>, speaker: Speaker) -> Option<PartySentiment> {
    let mut scores = Vec::new();
    let mut turns = Vec::new();
    for said in transcript.by(speaker) {
        let Some((language, reading)) = said.readable().filter(|(_, reading)| !reading.words.is_empty()) else {
            continue;
        };
        let score = score(&reading.words, language);
        scores.push(score);
        turns.extend(score.map(|score| TurnSentiment {
            sequence: said.turn.sequence,
            score: round(score),
            translated: reading.translated,
        }));
    }
    if scores.is_empty() {
        return None;
    }
    let third = scores.len() / 3;
    let (beginning, end) = if scores.len() < TREND_TURNS_MIN {
        (None, None)
    } else {
        (Some(overall(&scores[..third])), Some(overall(&scores[scores.len() - third..])))
    };
    let trend = beginning.zip(end).map(|(beginning, end)| match end - beginning {
        change if change >= TREND_FROM => Trend::Improving,
        change if change <= -TREND_FROM => Trend::Worsening,
        _ => Trend::Steady,
    });
    let score = overall(&scores);
    Some(PartySentiment {
        label: label(score),
        score: round(score),
        beginning: beginning.map(round),
        end: end.map(round),
        trend,
        turns_read: scores.len(),
        turns,
    })
}

/// How both parties felt.
pub(crate) fn of(transcript: &Transcript<'_>) -> Sentiment {
    Sentiment { customer: party(transcript, Speaker::Customer), agent: party(transcript, Speaker::Agent) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::words;
    use proptest::prelude::*;

    fn felt(language: Language, text: &str) -> f64 {
        score(&words(text, Some(language)), language).unwrap_or(0.0)
    }

    #[test]
    fn sentences_feel_as_people_mean_them() {
        use Language::{De, En, Es, Fr};
        for (language, text) in [
            (En, "Thank you so much, that was really helpful."),
            (En, "No problem at all, I'm glad it worked."),
            (En, "I was worried first, but now everything is perfect."),
            (Es, "Muchas gracias, el servicio fue excelente."),
            (Es, "Estoy muy contenta con la habitación."),
            (De, "Das ist wunderbar, vielen Dank für Ihre Hilfe."),
            (De, "Ich bin sehr zufrieden."),
            (Fr, "C'est parfait, merci beaucoup."),
            (Fr, "Nous sommes très satisfaits de votre accueil."),
        ] {
            assert!(felt(language, text) > 0.2, "{text}: {}", felt(language, text));
        }
        for (language, text) in [
            (En, "This is not helpful and the room was dirty."),
            (En, "The staff is friendly, but the heating is broken and nobody cares."),
            (En, "I'm very disappointed."),
            (Es, "El servicio no fue bueno y la habitación estaba sucia."),
            (Es, "Es una vergüenza, quiero poner una queja."),
            (De, "Ich bin nicht zufrieden."),
            (De, "Das ist eine Unverschämtheit, die Heizung ist kaputt."),
            (Fr, "Ce n'est pas acceptable, la chambre est sale."),
            (Fr, "Je suis très déçu de votre service."),
        ] {
            assert!(felt(language, text) < -0.2, "{text}: {}", felt(language, text));
        }
        for (language, text) in [
            (En, "The train leaves at nine from platform four."),
            (Es, "El tren sale a las nueve del andén cuatro."),
            (De, "Der Zug fährt um neun von Gleis vier."),
            (Fr, "Le train part à neuf heures du quai quatre."),
        ] {
            assert!(felt(language, text).abs() < 0.2, "{text}: {}", felt(language, text));
        }
    }

    #[test]
    fn intensifiers_make_it_stronger_and_softeners_weaker() {
        let plain = felt(Language::En, "it is good");
        assert!(felt(Language::En, "it is extremely good") > plain);
        assert!(felt(Language::En, "it is fairly good") < plain);
        assert!(felt(Language::En, "it is not good") < 0.0);
    }

    proptest! {
        #[test]
        fn any_text_scores_between_its_bounds(text in "([a-z]{1,9}|not|very|good|terrible|but|[^a-z]{1,3})( ([a-z]{1,9}|not|very|good|terrible|but)){0,40}") {
            for language in Language::ALL {
                let score = felt(language, &text);
                prop_assert!((-1.0..=1.0).contains(&score));
            }
        }
    }
}
