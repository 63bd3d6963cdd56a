//! What was said, both texts side by side: the customer's language left, the agent's right, whoever spoke.

use kallglot_core::session::{Session, Speaker, Turn};
use maud::{Markup, html};

use super::{clock, language};

/// Most turns on a page; the others are in the downloads.
pub(super) const TURNS_MAX: usize = 2_000;

pub(crate) const fn party_name(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Customer => "Customer",
        Speaker::Agent => "Agent",
    }
}

/// The turns in the order in which they were begun. With `audio`, each one's time is a link to that place of it, which works without JavaScript too.
pub(crate) fn list(session: &Session, turns: &[Turn], audio: Option<&str>, is_live: bool) -> Markup {
    let mut sorted: Vec<&Turn> = turns.iter().collect();
    sorted.sort_by_key(|turn| (turn.start_ms, turn.sequence));
    html! {
        div.turns-head aria-hidden="true" {
            span {} span { "Customer, " (language(session.source_language.as_ref())) } span { "Agent, " (language(session.target_language.as_ref())) }
        }
        ol.turns #turns aria-live=[is_live.then_some("polite")] aria-label="What was said" {
            @for turn in sorted.into_iter().take(TURNS_MAX) {
                (one(Some(turn), audio))
            }
        }
        @if is_live {
            // What a script fills in when something is said.
            template #turn { (one(None, None)) }
        }
    }
}

/// One turn, or the empty form of one.
fn one(turn: Option<&Turn>, audio: Option<&str>) -> Markup {
    let start_ms = turn.map_or(0, |turn| turn.start_ms);
    let end_ms = turn.map(|turn| turn.end_ms);
    let at = clock(start_ms / 1000);
    let speaker = turn.map(|turn| turn.speaker);
    let translation = turn.and_then(|turn| turn.translation.as_ref());
    html! {
        li.turn .agent[speaker == Some(Speaker::Agent)] id=[turn.map(|turn| turn.id)] data-start=[turn.map(|_| start_ms)] data-end=[end_ms] {
            p.meta {
                @match audio {
                    Some(audio) => { a.at href={ (audio) "#t=" (start_ms as f64 / 1000.0) } aria-label={ "Play from " (at) } { (at) } }
                    None => { span.at { (at) } }
                }
                span.who { (speaker.map_or("", party_name)) }
            }
            p.original lang=[turn.map(|turn| turn.language.as_str())] { (turn.map_or("", |turn| turn.text.as_str())) }
            p.translation lang=[translation.map(|it| it.language.as_str())] {
                @match (turn, translation) {
                    (_, Some(translation)) => { (translation.text) }
                    (Some(_), None) => { span.quiet { "not translated" } }
                    (None, None) => {}
                }
            }
        }
    }
}

/// How loud it is at a party: a meter for what it says and one for what it hears. A script moves them.
pub(crate) fn meters(session: &Session, speaker: Speaker) -> Markup {
    let tag = if speaker == Speaker::Customer { &session.source_language } else { &session.target_language };
    html! {
        section.panel.party data-party=(speaker) aria-label=(party_name(speaker)) {
            h2 { (party_name(speaker)) " " span.quiet { (language(tag.as_ref())) } }
            p.speaks data-speaks { "Not heard yet" }
            label { "Says" meter min="0" max="100" value="0" data-says { "0" } }
            label { "Hears translated" meter min="0" max="100" value="0" data-hears { "0" } }
            p.more { "Lag: " span data-lag { "–" } }
        }
    }
}
