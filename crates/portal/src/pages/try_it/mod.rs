//! Try it: a test session that is called from the browser's microphone, so that the product can be heard without writing code.
//!
//! What must stay true: the session is made by the same function as the API's, in the test environment whichever one the page is opened in; the
//! token to take part with goes to who may run sessions, by an answer that no cache keeps, never into an address or a page.

mod phrases;

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::Error;
use kallglot_app::languages::Pair;
use kallglot_app::sessions::{CreateSession, Created};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::language::LanguageTag;
use kallglot_core::organization::Organization;
use kallglot_core::person::Act;
use kallglot_core::session::{Environment, Mode, Session, SessionState, Speaker, Tenant};
use kallglot_core::vocabulary::{Expectation, Vocabulary};
use maud::{Markup, html};
use serde_json::json;

use super::sessions::turns::{self, party_name};
use super::sessions::{Place, end_button, find, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, empty, form as form_of};
use crate::form::Form;
use crate::guard::Member;
use crate::language;
use crate::layout::{Area, Page, page, page_with};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const RUN: Access = Access::Member(Act::RunSessions);
/// Sentences that somebody may name for a language.
const SENTENCES_MAX: usize = 200;
/// How long a token to take part is valid. It is asked for right before it is used.
const TOKEN_S: u32 = 60;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/try", RUN, start),
        Route::post("/{organization}/{environment}/try", RUN, create),
        Route::get("/{organization}/{environment}/try/{session}", RUN, call),
        Route::get("/{organization}/{environment}/try/{session}/token", RUN, token),
    ]
}

async fn organization(state: &PortalState, member: &Member) -> Result<Organization, Refusal> {
    let found = state.app.storage.organization(member.tenant.organization).await?;
    found.ok_or_else(Refusal::not_found)
}

/// What somebody has filled in, or what stands there at first.
struct Filled {
    customer: String,
    agent: String,
    sentences: String,
    record: bool,
}

impl Filled {
    fn first(pairs: &[Pair]) -> Self {
        let english = pairs.iter().find(|pair| pair.customer == "en" && pair.agent == "es");
        let pair = english.or_else(|| pairs.first());
        let (customer, agent) = pair.map_or(("", ""), |pair| (pair.customer.as_str(), pair.agent.as_str()));
        Self { customer: customer.into(), agent: agent.into(), sentences: String::new(), record: true }
    }

    fn of(form: &Form) -> Self {
        Self {
            customer: form.text("customer").into(),
            agent: form.text("agent").into(),
            sentences: form.text("sentences").into(),
            record: form.is_checked("record"),
        }
    }
}

async fn start(State(state): State<PortalState>, member: Member) -> Result<Response, Refusal> {
    // Live sessions cost credits and are customers': nobody tries anything there.
    if member.tenant.environment == Environment::Live {
        let test = format!("/portal/{}/{}/try", member.tenant.organization, Environment::Test);
        return Ok(Redirect::to(&test).into_response());
    }
    let organization = organization(&state, &member).await?;
    let pairs = state.app.language_pairs(organization.engine.as_deref(), &language::named());
    let filled = Filled::first(&pairs);
    Ok(form_page(&state, &member, &pairs, &filled, &Mistakes::default()).into_response())
}

fn form_page(state: &PortalState, member: &Member, pairs: &[Pair], filled: &Filled, mistakes: &Mistakes) -> Page {
    let mut languages: Vec<(String, String)> =
        pairs.iter().map(|pair| (pair.customer.clone(), language::name(&pair.customer))).collect();
    languages.sort_by(|one, other| one.1.cmp(&other.1));
    languages.dedup();
    let by_list: std::collections::BTreeSet<&str> =
        pairs.iter().filter(|pair| pair.to_agent.needs_phrases).map(|pair| pair.customer.as_str()).collect();
    let possible = state.app.recordings.are_possible();
    let body = html! {
        (mistakes.summary())
        p { "Talk to yourself in two languages: speak as the customer, hear what the agent would hear, and answer. It is a test session like one of the API, so it costs nothing." }
        @if pairs.is_empty() {
            (empty("No speech engine of this server translates between two languages in both directions right now. Ask whoever runs it.", None))
        } @else {
            (form_of(&member.visitor, &member.url("/try"), html! {
                (Field::new("customer", "The customer speaks", mistakes).select(&languages, &filled.customer))
                (Field::new("agent", "The agent speaks", mistakes).select(&languages, &filled.agent))
                @if !by_list.is_empty() {
                    @let names = by_list.iter().map(|tag| language::name(tag)).collect::<Vec<_>>().join(", ");
                    (Field::new("sentences", "Sentences that will be said", mistakes)
                        .hint(&format!("This server's engine understands {names} only by a list of sentences, one per line. Leave it empty for a few that are usual."))
                        .textarea(&filled.sentences, 4))
                }
                @if possible {
                    label.choice {
                        input type="checkbox" name="record" value="yes" checked[filled.record];
                        span { b { "Record it" } small { "Then you can hear it again, with the transcript beside it." } }
                    }
                }
                div.buttons { button.primary type="submit" { "Start a call" } }
            }))
            details {
                summary { "Which languages go together" }
                (table_of(pairs))
            }
        }
    };
    page(member, Area::TryIt, "Try it", body)
}

fn table_of(pairs: &[Pair]) -> Markup {
    let mut customers: Vec<&str> = pairs.iter().map(|pair| pair.customer.as_str()).collect();
    customers.dedup();
    crate::components::table(
        "Languages that go together",
        &["Language", "With"],
        html! {
            @for customer in customers {
                tr {
                    th scope="row" { (language::name(customer)) }
                    td { (pairs.iter().filter(|pair| pair.customer == customer).map(|pair| language::name(&pair.agent)).collect::<Vec<_>>().join(", ")) }
                }
            }
        },
    )
}

/// What is wrong with what was filled in, or the session that is asked for.
fn read(pairs: &[Pair], filled: &Filled, may_record: bool) -> Result<CreateSession, Mistakes> {
    let Filled { customer, agent, sentences, record } = filled;
    let pair = pairs.iter().find(|pair| pair.customer == *customer && pair.agent == *agent);
    let tags = (customer.parse::<LanguageTag>(), agent.parse::<LanguageTag>());
    let (Some(pair), (Ok(source), Ok(target))) = (pair, tags) else {
        let with: Vec<_> =
            pairs.iter().filter(|pair| pair.customer == *customer).map(|pair| language::name(&pair.agent)).collect();
        let message = if with.is_empty() {
            "Choose a language from the list.".to_owned()
        } else {
            format!("{} goes together with {}. Choose one of these.", language::name(customer), with.join(", "))
        };
        return Err(Mistakes::one("agent", message));
    };
    let mut vocabulary = Vocabulary::default();
    let named: Vec<String> =
        sentences.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if named.len() > SENTENCES_MAX {
        return Err(Mistakes::one(
            "sentences",
            format!("These are more than {SENTENCES_MAX} sentences. Shorten the list."),
        ));
    }
    for (direction, spoken) in [(pair.to_agent, &source), (pair.to_customer, &target)] {
        if direction.needs_phrases {
            let phrases = if named.is_empty() { phrases::usual(spoken.as_str()) } else { named.clone() };
            if phrases.is_empty() {
                let name = language::name(spoken.as_str());
                return Err(Mistakes::one("sentences", format!("Write down what will be said in {name}.")));
            }
            vocabulary.languages.insert(spoken.clone(), Expectation { phrases, words: Vec::new(), phrases_only: true });
        }
    }
    if let Err(error) = vocabulary.validate() {
        return Err(Mistakes::one("sentences", format!("The sentences can't be used: {error}.")));
    }
    Ok(CreateSession {
        mode: Mode::BidirectionalTranslation,
        source_language: Some(source),
        target_language: Some(target),
        voice: None,
        recording: Some(*record && may_record),
        routing: None,
        vocabulary,
        metadata: BTreeMap::from([("made_by".to_owned(), "portal".to_owned())]),
    })
}

async fn create(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    let organization = organization(&state, &member).await?;
    let app = &state.app;
    let pairs = app.language_pairs(organization.engine.as_deref(), &language::named());
    let filled = Filled::of(&form);
    let asked = match read(&pairs, &filled, app.recordings.are_possible()) {
        Ok(asked) => asked,
        Err(mistakes) => {
            let page = form_page(&state, &member, &pairs, &filled, &mistakes);
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
        }
    };
    let test = Tenant { environment: Environment::Test, ..member.tenant };
    let key = app.portal_key(test, &member.change(&state)).await?;
    // The answer's body is the API's; a page says it by itself.
    let request = member.visitor.arrival.request;
    match app.create_session(&key, request, asked, None, TOKEN_S, |_, _| Vec::new()).await {
        // What was filled in can be sent again when a call has ended.
        Err(Error::Public(public)) if public.code == ErrorCode::ConcurrentSessionLimitExceeded => {
            let page = form_page(&state, &member, &pairs, &filled, &Mistakes::one("", public.message));
            Ok((StatusCode::TOO_MANY_REQUESTS, page).into_response())
        }
        Err(error) => Err(error.into()),
        Ok(Created::New { session, .. }) => {
            let path = format!("/portal/{}/{}/try/{}", test.organization, test.environment, session.id);
            Ok(Redirect::to(&path).into_response())
        }
        Ok(Created::Replay(_)) => Err(Refusal::internal("a session without an idempotency key was a repetition")),
    }
}

/// The token to take part with.
async fn token(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
) -> Result<Response, Refusal> {
    let session = tried(&state, &member, &session).await?;
    let token = match session.state {
        SessionState::Ended { .. } => None,
        _ => Some(state.app.stream_token(session.id, session.tenant.environment, TOKEN_S).token),
    };
    Ok(Json(json!({ "status": session.state.status().as_str(), "token": token })).into_response())
}

/// A session that the portal has made: nobody takes part in other ones from here.
async fn tried(state: &PortalState, member: &Member, id: &str) -> Result<Session, Refusal> {
    let session = find(state, member, id).await?;
    let ours = kallglot_app::keys::portal::is_portal_key(session.tenant, session.created_by);
    if ours && session.tenant.environment == Environment::Test { Ok(session) } else { Err(Refusal::not_found()) }
}

/// The call: who one is, the microphone, and both texts. `?side=agent` begins on the other side, for a second device.
async fn call(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
    form: Form,
) -> Result<Response, Refusal> {
    let session = tried(&state, &member, &session).await?;
    if matches!(session.state, SessionState::Ended { .. }) {
        return Ok(Redirect::to(&url_of(&member, &session, "")).into_response());
    }
    let side = form.given("side").and_then(Speaker::parse);
    let turns = state.app.turns(member.tenant, session.id).await?;
    let here = member.url(&format!("/try/{}", session.id));
    let tag = |speaker: Speaker| {
        let tag = if speaker == Speaker::Customer { &session.source_language } else { &session.target_language };
        tag.as_ref().map_or_else(String::new, |tag| language::name(tag.as_str()))
    };
    let chosen = side.unwrap_or(Speaker::Customer);
    let body = html! {
        div data-try data-session=(session.id) data-token=(format!("{here}/token")) data-after=(url_of(&member, &session, "")) {
            noscript { p.note { "This page needs JavaScript, since only a script can send what the microphone hears." } }
            p.note role="status" data-status hidden {}
            p.note.bad role="alert" data-problem hidden {}
            div.halves {
                section.panel {
                    h2 { "Who speaks" }
                    fieldset {
                        legend { "I speak as" }
                        @for speaker in [Speaker::Customer, Speaker::Agent] {
                            label.choice {
                                input type="radio" name="side" value=(speaker) checked[speaker == chosen];
                                span { b { (party_name(speaker)) } small { "in " (tag(speaker)) } }
                            }
                        }
                    }
                    label.choice {
                        input type="checkbox" data-only checked[side.is_some()];
                        span { b { "The other side is elsewhere" } small { "Then you hear only what is meant for you." } }
                    }
                    p { "The other side in " a target="_blank" rel="noopener" href={ (here) "?side=" (chosen.other()) } data-other { "another tab" } ", or on a phone that is signed in here: open the same address." }
                }
                section.panel {
                    h2 { "Sound" }
                    p.hint { "Use headphones: else the microphone hears the translation, and it is translated once more." }
                    div.buttons {
                        button.primary type="button" data-start disabled { "Start the microphone" }
                        button type="button" data-stop hidden { "Stop the microphone" }
                    }
                    div.field {
                        label for="file" { "Or send a sound file" }
                        input type="file" id="file" accept="audio/*" data-file disabled;
                    }
                    label.choice {
                        input type="checkbox" data-pause checked;
                        span { b { "Pause me while a translation is played" } small { "For talking without headphones." } }
                    }
                    label { "Your level" meter min="0" max="100" value="0" data-level { "0" } }
                }
            }
            @for (spoken, expectation) in &session.vocabulary.languages {
                @if expectation.phrases_only {
                    details open {
                        summary { "What is understood in " (language::name(spoken.as_str())) }
                        p { "This server's engine knows " (language::name(spoken.as_str())) " only by these sentences." }
                        ul { @for phrase in &expectation.phrases { li lang=(spoken.as_str()) { (phrase) } } }
                    }
                }
            }
            h2 { "What is said" }
            (turns::list(&session, &turns, None, true))
            div.row { (end_button(&member, &session)) a href=(url_of(&member, &session, "")) { "Watch this session" } }
        }
    };
    Ok(page_with(&member, Area::TryIt, "Try it", &["try.js"], body).into_response())
}
