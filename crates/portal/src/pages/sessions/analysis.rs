//! Analyses of a call: asked for with a button, shown part by part. Whatever is quoted leads to its turn.

use axum::extract::{Path, State};
use axum::response::Redirect;
use kallglot_analysis::{ComplianceStatus, FlagKind, Label, PartySentiment, Severity, Trend};
use kallglot_app::analysis::CreateAnalysis;
use kallglot_app::analysis::document::{Document, SummaryMethod};
use kallglot_core::analysis::{Analysis, AnalysisState, ComplianceProfile, Part};
use kallglot_core::person::Act;
use kallglot_core::session::{Environment, Session, Speaker};
use kallglot_storage::StorageError;
use maud::{Markup, html};

use super::turns::party_name;
use super::{Place, clock, find, url_of};
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, badge, form as form_of, nothing, properties, table, time};
use crate::form::Form;
use crate::guard::Member;
use crate::refusal::Refusal;

/// Asks for an analysis of what was said.
pub(super) async fn create(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, session)): Place,
    form: Form,
) -> Result<Redirect, Refusal> {
    let session = find(&state, &member, &session).await?;
    let profile = form.given("profile").map(str::to_owned);
    let asked = CreateAnalysis { include: Part::ALL.to_vec(), profile };
    let key = state.app.portal_key(member.tenant, &member.change(&state)).await?;
    let request = member.visitor.arrival.request;
    // The answer's body is the API's; a page says it by itself.
    state.app.create_analysis(&key, request, &session, asked, None, |_| Vec::new()).await?;
    Ok(Redirect::to(&url_of(&member, &session, "?done=requested#analysis")))
}

/// The section of a session's page.
pub(super) fn section(
    member: &Member,
    session: &Session,
    analyses: &[Analysis],
    profiles: &[ComplianceProfile],
    something_was_said: bool,
) -> Result<Markup, Refusal> {
    let shown = analyses.first().map(one).transpose()?;
    Ok(html! {
        h2 id="analysis" { "Analysis" }
        @match shown {
            Some(shown) => (shown),
            None if something_was_said => { p { "Nobody has asked for one yet. An analysis sums the call up, reads its mood, checks what had to be said and measures how it went." } }
            None => { p.quiet { "Nothing was said, so there is nothing to analyse." } }
        }
        @if something_was_said && member.may(Act::RunSessions) { (request(member, session, profiles, !analyses.is_empty())) }
    })
}

fn request(member: &Member, session: &Session, profiles: &[ComplianceProfile], again: bool) -> Markup {
    let none = [(String::new(), "No profile".to_owned())];
    let named = profiles.iter().map(|profile| (profile.id.to_string(), profile.name.clone()));
    let options: Vec<_> = none.into_iter().chain(named).collect();
    let mistakes = Mistakes::default();
    form_of(
        &member.visitor,
        &url_of(member, session, "/analyses"),
        html! {
            @if !profiles.is_empty() {
                (Field::new("profile", "Judge by the compliance profile", &mistakes).select(&options, ""))
            }
            div.buttons {
                button type="submit" { @if again { "Analyse again" } @else { "Analyse this call" } }
                @if member.tenant.environment == Environment::Live { span.quiet { "Costs one credit." } }
            }
        },
    )
}

fn one(analysis: &Analysis) -> Result<Markup, Refusal> {
    Ok(match &analysis.state {
        AnalysisState::Processing => html! {
            p { (badge(Tone::Busy, "Being made")) " Asked for at " (time(analysis.created_at)) "." }
        },
        AnalysisState::Failed { message, .. } => html! { p { (badge(Tone::Bad, "Failed")) " " (message) } },
        AnalysisState::Completed { at, result } => {
            let document: Document = serde_json::from_str(result).map_err(|_| StorageError::Corrupt {
                table: "analyses",
                column: "result",
                id: analysis.id.to_string(),
            })?;
            html! {
                p { (badge(Tone::Good, "Done")) " " (time(*at))
                    @if !document.transcript.complete { ". The call was still going on: " (document.transcript.turns) " turns were read." } }
                (parts(&document, analysis.profile.as_ref().map(|profile| profile.name.as_str())))
            }
        }
    })
}

fn parts(document: &Document, profile: Option<&str>) -> Markup {
    html! {
        @if let Some(summary) = &document.summary {
            section.panel {
                h3 { "Summary" }
                p lang=[document.summary_language.as_deref()] { (summary) }
                p.more.quiet {
                    @if document.summary_method == Some(SummaryMethod::Abstractive) { "Written by the language model that is connected." }
                    @else { "Made of the call's own sentences." }
                }
                @if let Some(items) = &document.action_items {
                    @if !items.is_empty() {
                        h3 { "To be done" }
                        ul { @for item in items { li { (item.text) @if let Some(owner) = item.owner { span.quiet { " (" (party_name(owner.into())) ")" } } } } }
                    }
                }
            }
        }
        div.halves {
            @if let Some(sentiment) = &document.sentiment {
                section.panel {
                    h3 { "Mood" }
                    (properties(&[
                        ("Customer", mood(sentiment.customer.as_ref())),
                        ("Agent", mood(sentiment.agent.as_ref())),
                    ]))
                }
            }
            @if let Some(keywords) = &document.keywords {
                section.panel {
                    h3 { "Keywords" }
                    @if keywords.is_empty() { p.quiet { "None stood out." } }
                    ul.words { @for keyword in keywords.iter().take(20) { li { (keyword.text) " " span.quiet { (keyword.count) "×" } } } }
                }
            }
        }
        @if let Some(compliance) = &document.compliance {
            section.panel {
                h3 { "Compliance" @if let Some(profile) = profile { span.quiet { " by " (profile) } } }
                @match compliance.status {
                    ComplianceStatus::Passed => { p { (badge(Tone::Good, "Passed")) " Every rule that could be judged was kept." } }
                    ComplianceStatus::Failed => { p { (badge(Tone::Bad, "Failed")) " " (compliance.flags.len()) " of " (compliance.rules.len()) " rules." } }
                    ComplianceStatus::NotApplicable => { p { (badge(Tone::Plain, "Not judged")) @if profile.is_none() { " No profile was named." } } }
                }
                @if !compliance.flags.is_empty() {
                    (table("Rules that were not kept", &["Rule", "What is wrong", "How bad", "Where"], html! {
                        @for flag in &compliance.flags {
                            tr {
                                th scope="row" { (flag.name) }
                                td { (flag_name(flag.kind)) }
                                td { (severity_name(flag.severity)) }
                                td { @match &flag.place {
                                    Some(place) => { a href={ "#" (place.turn) } { (clock(place.start_ms / 1000)) } " “" (place.quote) "”" }
                                    None => { "–" }
                                } }
                            }
                        }
                    }))
                }
            }
        }
        @if let Some(performance) = &document.performance {
            section.panel {
                h3 { "How it went" }
                (properties(&[
                    ("Score", html! { b { (performance.score) } " of 100" }),
                    ("Talking", html! { "customer " (percent(performance.talk_ratio.customer)) ", agent " (percent(performance.talk_ratio.agent)) }),
                    ("Interruptions", html! { "by the customer " (performance.interruptions.customer) ", by the agent " (performance.interruptions.agent) }),
                    ("Silence", html! { (performance.dead_air.count) " pauses, " (seconds(performance.dead_air.total_ms)) " in all" }),
                    ("The agent answers after", match &performance.response_time.agent {
                        Some(times) => html! { (seconds(times.median_ms)) " (median)" },
                        None => html! { "–" },
                    }),
                    ("Translation follows after", html! {
                        @for (speaker, lag) in [(Speaker::Customer, &performance.translation_lag.customer), (Speaker::Agent, &performance.translation_lag.agent)] {
                            @if let Some(lag) = lag { (party_name(speaker)) " " (seconds(lag.median_ms)) " " }
                        }
                    }),
                ]))
            }
        }
        @if document.errors.is_empty() { (nothing()) } @else {
            h3 { "What is missing" }
            ul { @for problem in &document.errors { li { (problem.part) ": " (problem.message) } } }
        }
    }
}

fn mood(party: Option<&PartySentiment>) -> Markup {
    let Some(party) = party else { return html! { span.quiet { "nothing that could be read" } } };
    let (tone, label) = match party.label {
        Label::Positive => (Tone::Good, "Positive"),
        Label::Neutral => (Tone::Plain, "Neutral"),
        Label::Negative => (Tone::Bad, "Negative"),
    };
    let trend = match party.trend {
        Some(Trend::Improving) => ", getting better",
        Some(Trend::Steady) => ", steady",
        Some(Trend::Worsening) => ", getting worse",
        None => "",
    };
    html! { (badge(tone, label)) " " (format!("{:+.2}", party.score)) (trend) span.quiet { ", of " (party.turns_read) " turns" } }
}

const fn flag_name(kind: FlagKind) -> &'static str {
    match kind {
        FlagKind::Missing => "Was not said",
        FlagKind::Forbidden => "Was said",
        FlagKind::OutOfOrder => "Was said too early or too late",
    }
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "Low",
        Severity::Medium => "Medium",
        Severity::High => "High",
        Severity::Critical => "Critical",
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

pub(super) fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}
