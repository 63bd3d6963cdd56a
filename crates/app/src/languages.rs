//! Between which languages a call can be translated both ways.

use std::collections::BTreeSet;

use kallglot_engine::{Offer, Quality};

use crate::App;

/// One direction of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// Whether only sentences of a list are understood, which the session has to bring.
    pub needs_phrases: bool,
    /// Whether the translation is spoken, not only written.
    pub speech: bool,
}

/// Two languages that this server's engines translate into each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// What the customer speaks: a primary subtag.
    pub customer: String,
    /// What the agent speaks.
    pub agent: String,
    /// From the customer to the agent.
    pub to_agent: Direction,
    /// From the agent to the customer.
    pub to_customer: Direction,
}

/// The first offer for a direction, which is the one that a session gets.
fn direction(offers: &[Offer], source: &str, target: &str) -> Option<Direction> {
    let is = |offered: &Option<String>, language: &str| offered.as_deref().is_none_or(|offered| offered == language);
    let offer = offers.iter().find(|offer| is(&offer.source, source) && is(&offer.target, target))?;
    Some(Direction { needs_phrases: offer.recognition == Quality::PhrasesOnly, speech: offer.speech })
}

fn pairs_of<'a>(offers: &'a [Offer], known: &'a [&'a str]) -> Vec<Pair> {
    let named = offers.iter().flat_map(|offer: &'a Offer| [offer.source.as_deref(), offer.target.as_deref()]).flatten();
    let mut languages: BTreeSet<&'a str> = named.collect();
    if offers.iter().any(|offer| offer.source.is_none() || offer.target.is_none()) {
        languages.extend(known.iter().copied());
    }
    let each = |customer: &&str, agent: &&str| {
        Some(Pair {
            customer: (*customer).to_owned(),
            agent: (*agent).to_owned(),
            to_agent: direction(offers, customer, agent)?,
            to_customer: direction(offers, agent, customer)?,
        })
    };
    let all = languages.iter().flat_map(|customer| languages.iter().map(move |agent| (customer, agent)));
    all.filter(|(customer, agent)| customer != agent).filter_map(|(customer, agent)| each(customer, agent)).collect()
}

impl App {
    /// The pairs that work now, for an organization with this engine (none: with all). Engines that take any language are offered with those
    /// of `known`.
    pub fn language_pairs(&self, engine: Option<&str>, known: &[&str]) -> Vec<Pair> {
        let listed =
            self.engines.list().into_iter().filter(|listed| engine.is_none_or(|wanted| listed.engine == wanted));
        let offers: Vec<Offer> = listed.map(|listed| listed.offer).collect();
        pairs_of(&offers, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(source: Option<&str>, target: Option<&str>, recognition: Quality) -> Offer {
        Offer { source: source.map(Into::into), target: target.map(Into::into), recognition, speech: true }
    }

    #[test]
    fn a_pair_works_both_ways_or_is_none() {
        let offers = [
            offer(Some("en"), Some("es"), Quality::Basic),
            offer(Some("es"), Some("en"), Quality::PhrasesOnly),
            offer(Some("en"), Some("gl"), Quality::Basic),
        ];
        let pairs = pairs_of(&offers, &["de"]);
        let names: Vec<_> = pairs.iter().map(|pair| (pair.customer.as_str(), pair.agent.as_str())).collect();
        assert_eq!(names, [("en", "es"), ("es", "en")]);
        assert!(!pairs[0].to_agent.needs_phrases && pairs[0].to_customer.needs_phrases);
    }

    #[test]
    fn an_engine_for_any_language_is_offered_with_those_that_are_known() {
        let pairs = pairs_of(&[offer(None, None, Quality::Good)], &["de", "fr", "ja"]);
        assert_eq!(pairs.len(), 6);
        assert_eq!(pairs_of(&[], &["de", "fr"]), []);
    }

    #[test]
    fn the_first_offer_counts_as_it_does_for_a_session() {
        let offers = [offer(Some("es"), Some("en"), Quality::PhrasesOnly), offer(None, None, Quality::Good)];
        let pairs = pairs_of(&offers, &["en", "es"]);
        assert!(pairs.iter().all(|pair| pair.to_agent.needs_phrases == (pair.customer == "es")));
    }
}
