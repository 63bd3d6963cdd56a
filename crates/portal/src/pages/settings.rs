//! An organization's settings: what all its keys and sessions go by unless they say otherwise.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_core::edition::Edition;
use kallglot_core::organization::{LeakPolicy, NAME_CHARS_MAX, Organization, valid_name};
use kallglot_core::person::Act;
use kallglot_core::recording::KEPT_DAYS_MAX;
use kallglot_storage::{GateChange, OrganizationUpdate};
use maud::{Markup, html};

use super::keys::organization;
use crate::PortalState;
use crate::components::{Field, Mistakes, count, form, mono, properties, time};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const MANAGE: Access = Access::Member(Act::ManageOrganization);

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/settings", Access::Member(Act::View), show),
        Route::get("/{organization}/{environment}/settings/edit", MANAGE, edit_page).fresh(),
        Route::post("/{organization}/{environment}/settings/edit", MANAGE, save).fresh(),
    ]
}

/// What a policy does, in a sentence.
const fn policy_meaning(policy: LeakPolicy) -> &'static str {
    match policy {
        LeakPolicy::Revoke => "The key is revoked and the streams of its sessions are closed.",
        LeakPolicy::Quarantine => "The key may only read until somebody lifts the quarantine.",
        LeakPolicy::Notify => "Nothing happens to the key; there is an event and an entry in the audit log.",
    }
}

const fn policy_name(policy: LeakPolicy) -> &'static str {
    match policy {
        LeakPolicy::Revoke => "Revoke it",
        LeakPolicy::Quarantine => "Quarantine it",
        LeakPolicy::Notify => "Only tell us",
    }
}

async fn show(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let organization = organization(&state, &member).await?;
    let recording = if organization.recording {
        "Recorded unless its creation says otherwise"
    } else {
        "Not recorded unless its creation asks for it"
    };
    let body = html! {
        @if member.may(Act::ManageOrganization) {
            div.row { a.button href=(member.url("/settings/edit")) { "Change" } }
        } @else {
            p.quiet { "Admins and owners can change these." }
        }
        section.panel aria-labelledby="organization" {
            h2 #organization { "Organization" }
            (properties(&[
                ("Name", html! { (organization.name) }),
                ("Id", mono(organization.id)),
                ("Since", time(organization.created_at)),
                ("Members", html! { a href=(member.url("/members")) { "Members and invitations" } }),
            ]))
        }
        section.panel aria-labelledby="api" {
            h2 #api { "API" }
            (properties(&[
                ("Edition", html! { (organization.edition) ", for keys that are not pinned to one" }),
                ("A leaked key", html! { (policy_name(organization.leak_policy)) br; small { (policy_meaning(organization.leak_policy)) } }),
                ("Low credits", html! { "An event " code { "credits.low" } " at " (count(organization.low_credits_threshold.into())) " or fewer" }),
            ]))
        }
        section.panel aria-labelledby="sessions" {
            h2 #sessions { "Sessions" }
            (properties(&[
                ("A new session is", html! { (recording) }),
                ("Recordings are kept", html! { (organization.recordings_kept_days) " days" }),
                ("Speech engine", match &organization.engine {
                    Some(engine) => mono(engine),
                    None => html! { "The server's default" },
                }),
            ]))
            p.quiet { "The speech engine is chosen by the server's operator." }
            h3 { "Vocabulary" }
            (vocabulary(&organization))
        }
    };
    Ok(page(&member, Area::Settings, "Settings", body))
}

fn vocabulary(organization: &Organization) -> Markup {
    let languages = &organization.vocabulary.languages;
    html! {
        @if languages.is_empty() {
            p { "No phrases or words are expected. Sessions can bring their own." }
        } @else {
            p { "What recognizers expect in every session; set with " code { "kallglot org set-vocabulary" } "." }
            @for (language, expectation) in languages {
                details {
                    summary { code { (language) } ": " (expectation.phrases.len()) " phrases, " (expectation.words.len()) " words" @if expectation.phrases_only { ", nothing else" } }
                    ul {
                        @for phrase in expectation.phrases.iter().chain(&expectation.words).take(VOCABULARY_SHOWN) { li lang=(language) { (phrase) } }
                    }
                    @if expectation.phrases.len() + expectation.words.len() > VOCABULARY_SHOWN { p.quiet { "And more." } }
                }
            }
        }
    }
}

/// Phrases and words of a language that are shown.
const VOCABULARY_SHOWN: usize = 200;

/// What the form's fields hold, as typed.
struct Entries {
    name: String,
    edition: String,
    leak_policy: String,
    low_credits_threshold: String,
    recording: bool,
    recordings_kept_days: String,
}

impl Entries {
    fn of(organization: &Organization) -> Self {
        Self {
            name: organization.name.clone(),
            edition: organization.edition.to_string(),
            leak_policy: organization.leak_policy.to_string(),
            low_credits_threshold: organization.low_credits_threshold.to_string(),
            recording: organization.recording,
            recordings_kept_days: organization.recordings_kept_days.to_string(),
        }
    }

    fn sent(form: &Form) -> Self {
        Self {
            name: form.text("name").to_owned(),
            edition: form.text("edition").to_owned(),
            leak_policy: form.text("leak_policy").to_owned(),
            low_credits_threshold: form.text("low_credits_threshold").to_owned(),
            recording: form.is_checked("recording"),
            recordings_kept_days: form.text("recordings_kept_days").to_owned(),
        }
    }

    fn read(&self) -> Result<OrganizationUpdate, Mistakes> {
        let mut mistakes = Mistakes::default();
        if !valid_name(&self.name) {
            mistakes.add("name", format!("Give it a name of 1 to {NAME_CHARS_MAX} characters."));
        }
        let edition = self.edition.parse::<Edition>().ok();
        if edition.is_none() {
            mistakes.add("edition", "Choose one of the editions.");
        }
        let leak_policy = LeakPolicy::parse(&self.leak_policy);
        if leak_policy.is_none() {
            mistakes.add("leak_policy", "Choose what happens to a leaked key.");
        }
        let threshold = self.low_credits_threshold.parse::<u32>().ok();
        if threshold.is_none() {
            mistakes.add("low_credits_threshold", "A whole number of credits; 0 for when none are left.");
        }
        let days = self.recordings_kept_days.parse::<u32>().ok().filter(|days| (1..=KEPT_DAYS_MAX).contains(days));
        if days.is_none() {
            mistakes.add("recordings_kept_days", format!("A whole number of days, 1 to {KEPT_DAYS_MAX}."));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(OrganizationUpdate {
            name: Some(self.name.clone()),
            edition,
            leak_policy,
            low_credits_threshold: threshold,
            recording: Some(self.recording),
            recordings_kept_days: days,
            ..OrganizationUpdate::default()
        })
    }
}

fn form_page(member: &Member, entries: &Entries, mistakes: &Mistakes) -> Page {
    let editions: Vec<_> = Edition::ALL.iter().map(|of| (of.to_string(), format!("Edition {of}"))).collect();
    let policies: Vec<_> = LeakPolicy::ALL
        .iter()
        .map(|of| (of.to_string(), policy_name(*of).to_owned(), policy_meaning(*of).to_owned()))
        .collect();
    let fields = html! {
        (Field::new("name", "Name", mistakes).input("text", &entries.name, "organization", true))
        (Field::new("edition", "Edition of the API", mistakes)
            .hint("Keys that are not pinned to an edition change with it: look at what differs before you change it.")
            .select(&editions, &entries.edition))
        (Field::new("leak_policy", "When somebody reports a key of yours as leaked", mistakes).radios(&policies, &entries.leak_policy))
        (Field::new("low_credits_threshold", "Low credits", mistakes)
            .hint("When a spend brings the credits down to this many, the event credits.low is sent.")
            .input("number", &entries.low_credits_threshold, "off", true))
        label.choice {
            input type="checkbox" name="recording" value="yes" checked[entries.recording];
            span { b { "Record sessions" } small { "Whose creation does not say whether to. Both parties must know that they are recorded." } }
        }
        (Field::new("recordings_kept_days", "Keep recordings for", mistakes)
            .hint("Days. Recordings that are there already keep what they had.")
            .input("number", &entries.recordings_kept_days, "off", true))
        div.buttons {
            button.primary type="submit" { "Save" }
            a.button href=(member.url("/settings")) { "Cancel" }
        }
    };
    let body = html! {
        p { "These hold for the whole organization, in both environments." }
        (mistakes.summary())
        (form(&member.visitor, &member.url("/settings/edit"), fields))
    };
    page(member, Area::Settings, "Change the settings", body)
}

async fn edit_page(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let organization = organization(&state, &member).await?;
    Ok(form_page(&member, &Entries::of(&organization), &Mistakes::default()))
}

async fn save(State(state): State<PortalState>, member: Member, form: Form) -> Result<Response, Refusal> {
    let entries = Entries::sent(&form);
    let update = match entries.read() {
        Ok(update) => update,
        Err(mistakes) => {
            return Ok((StatusCode::UNPROCESSABLE_ENTITY, form_page(&member, &entries, &mistakes)).into_response());
        }
    };
    let id = member.tenant.organization;
    let change = member.change(&state);
    state.app.storage.update_organization(id, &update, &change).await?.ok_or_else(Refusal::not_found)?;
    state.app.changed(&[GateChange::Organization(id)]).await;
    Ok(Redirect::to(&member.url("/settings?done=saved")).into_response())
}
