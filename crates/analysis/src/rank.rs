//! Which sentences carry a text: LexRank (Erkan and Radev, 2004), continuous, over TF-IDF; and a choice among them that does not say
//! the same twice: maximal marginal relevance (Carbonell and Goldstein, 1998).

use std::collections::{BTreeMap, HashMap};

/// How much of a sentence's rank comes from those that resemble it.
const DAMPING: f64 = 0.85;
const ROUNDS_MAX: usize = 40;
const SETTLED: f64 = 1e-6;
/// Sentences that resemble each other less than this don't vote for each other.
const SIMILAR_FROM: f64 = 0.08;

/// A sentence as a vector of unit length: what its words weigh, by word.
pub(crate) type Vector = BTreeMap<usize, f64>;

/// The sentences' vectors, by TF-IDF of their words' keys.
pub(crate) fn vectors(sentences: &[Vec<&str>]) -> Vec<Vector> {
    let mut numbers: HashMap<&str, usize> = HashMap::new();
    let mut containing: Vec<f64> = Vec::new();
    let mut counted: Vec<BTreeMap<usize, f64>> = Vec::with_capacity(sentences.len());
    for sentence in sentences {
        let mut counts = BTreeMap::new();
        for word in sentence {
            let number = *numbers.entry(word).or_insert_with(|| {
                containing.push(0.0);
                containing.len() - 1
            });
            *counts.entry(number).or_insert(0.0) += 1.0;
        }
        for number in counts.keys() {
            containing[*number] += 1.0;
        }
        counted.push(counts);
    }
    let total = sentences.len() as f64;
    for vector in &mut counted {
        for (number, weight) in vector.iter_mut() {
            *weight *= (1.0 + total / containing[*number]).ln();
        }
        let length = vector.values().map(|weight| weight * weight).sum::<f64>().sqrt();
        if length > 0.0 {
            vector.values_mut().for_each(|weight| *weight /= length);
        }
    }
    counted
}

/// The cosine of the angle between two unit vectors: 0 to 1.
pub(crate) fn similarity(one: &Vector, other: &Vector) -> f64 {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    short.iter().filter_map(|(number, weight)| long.get(number).map(|other| weight * other)).sum()
}

/// How central each sentence is, 0 to 1, the most central one 1.
pub(crate) fn centrality(vectors: &[Vector]) -> Vec<f64> {
    let count = vectors.len();
    let mut holders: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for (place, vector) in vectors.iter().enumerate() {
        for (word, weight) in vector {
            holders.entry(*word).or_default().push((place, *weight));
        }
    }
    // Only sentences that share a word can resemble each other.
    let mut edges: Vec<Vec<(usize, f64)>> = Vec::with_capacity(count);
    let mut row = vec![0.0; count];
    for (place, vector) in vectors.iter().enumerate() {
        for (word, weight) in vector {
            for (other, other_weight) in &holders[word] {
                row[*other] += weight * other_weight;
            }
        }
        row[place] = 0.0;
        let similar: Vec<(usize, f64)> =
            row.iter().enumerate().filter(|(_, s)| **s >= SIMILAR_FROM).map(|(other, s)| (other, *s)).collect();
        let sum: f64 = similar.iter().map(|(_, s)| s).sum();
        edges.push(similar.into_iter().map(|(other, s)| (other, s / sum)).collect());
        row.fill(0.0);
    }
    let mut rank = vec![1.0; count];
    for _ in 0..ROUNDS_MAX {
        let mut next = vec![1.0 - DAMPING; count];
        for (place, similar) in edges.iter().enumerate() {
            for (other, share) in similar {
                next[*other] += DAMPING * rank[place] * share;
            }
        }
        let moved = rank.iter().zip(&next).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
        rank = next;
        if moved < SETTLED {
            break;
        }
    }
    let most = rank.iter().copied().fold(0.0, f64::max);
    if most > 0.0 {
        rank.iter_mut().for_each(|rank| *rank /= most);
    }
    rank
}

/// Chooses among sentences by weight, and less those that resemble what is chosen already, as long as `fits` takes them. Answers with
/// their places in the order of the choice; of two that are equal the earlier one is taken.
pub(crate) fn choose(
    vectors: &[Vector],
    weights: &[f64],
    new: f64,
    mut fits: impl FnMut(usize) -> bool,
    most: usize,
) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut resembling = vec![0.0f64; vectors.len()];
    let mut open = vec![true; vectors.len()];
    while chosen.len() < most {
        let worth = |place: usize| new * weights[place] - (1.0 - new) * resembling[place];
        let best = (0..vectors.len())
            .filter(|place| open[*place] && weights[*place] > 0.0)
            .max_by(|one, other| worth(*one).total_cmp(&worth(*other)).then(other.cmp(one)));
        let Some(best) = best else { break };
        open[best] = false;
        if !fits(best) {
            continue;
        }
        chosen.push(best);
        for (place, vector) in vectors.iter().enumerate().filter(|(place, _)| open[*place]) {
            resembling[place] = resembling[place].max(similarity(vector, &vectors[best]));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_that_shares_most_with_the_others_is_central() {
        let sentences =
            [vec!["room", "heating"], vec!["heating", "broken", "room"], vec!["weather"], vec!["broken", "lamp"]];
        let rank = centrality(&vectors(&sentences));
        assert!((rank[1] - 1.0).abs() < 1e-9 && rank[2] < rank[0], "{rank:?}");
    }

    #[test]
    fn the_same_is_not_chosen_twice() {
        let sentences = [vec!["heating", "broken"], vec!["heating", "broken"], vec!["late", "checkout"]];
        let vectors = vectors(&sentences);
        assert_eq!(choose(&vectors, &[1.0, 0.99, 0.5], 0.6, |_| true, 2), [0, 2]);
    }
}
