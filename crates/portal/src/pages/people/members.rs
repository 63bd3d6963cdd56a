//! The members of an organization and who is invited to it.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Redirect, Response};
use kallglot_app::people::{LinkError, Sent};
use kallglot_core::id::PersonId;
use kallglot_core::person::{Act, Invitation, Member as Colleague, Role};
use kallglot_storage::{ChangeMember, Invite};
use maud::{Markup, html};

use super::link::mistakes_of;
use super::{again, visit};
use crate::PortalState;
use crate::components::{Field, Mistakes, Tone, act, badge, code, form, properties, table, time, time_or};
use crate::form::Form;
use crate::guard::Member;
use crate::layout::{Area, Page, page};
use crate::refusal::Refusal;
use crate::route::{Access, Route};

const SEE: Access = Access::Member(Act::View);
const MANAGE: Access = Access::Member(Act::ManageMembers);

type Place = Path<(String, String, String)>;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/{organization}/{environment}/members", SEE, list),
        Route::get("/{organization}/{environment}/members/invite", MANAGE, invite_page).fresh(),
        Route::post("/{organization}/{environment}/members/invite", MANAGE, invite).fresh(),
        Route::post("/{organization}/{environment}/members/invitations/{invitation}/withdraw", MANAGE, withdraw),
        Route::get("/{organization}/{environment}/members/leave", SEE, leave_page).fresh(),
        Route::post("/{organization}/{environment}/members/leave", SEE, leave).fresh(),
        Route::get("/{organization}/{environment}/members/{person}", MANAGE, change_page).fresh(),
        Route::post("/{organization}/{environment}/members/{person}", MANAGE, change).fresh(),
        Route::post("/{organization}/{environment}/members/{person}/remove", MANAGE, remove).fresh(),
    ]
}

/// What a role may do, in a sentence.
const fn meaning(role: Role) -> &'static str {
    match role {
        Role::Owner => "Everything, also making and removing owners.",
        Role::Admin => {
            "Everything but what concerns owners: members, settings, the audit log, and all that developers may."
        }
        Role::Developer => "API keys, webhooks, sessions, alerts. No people and no settings.",
        Role::ReadOnly => "Sees what developers see, and changes nothing.",
    }
}

/// The roles that this member may give.
fn roles_of(member: &Member) -> Vec<(String, String, String)> {
    let given = Role::ALL.iter().filter(|role| **role != Role::Owner || member.may(Act::ManageOwners));
    given.map(|role| (role.as_str().into(), role.title().into(), meaning(*role).into())).collect()
}

/// Whether this member may change that one.
fn may_touch(member: &Member, other: &Colleague) -> bool {
    member.may(if other.role == Role::Owner { Act::ManageOwners } else { Act::ManageMembers })
}

async fn list(State(state): State<PortalState>, member: Member) -> Result<Page, Refusal> {
    let organization = member.tenant.organization;
    let members = state.app.storage.members(organization).await?;
    let manages = member.may(Act::ManageMembers);
    let invitations = match manages {
        true => state.app.storage.invitations(organization, state.app.clock.now()).await?,
        false => Vec::new(),
    };
    let rows = html! {
        @for one in &members {
            tr {
                th scope="row" {
                    (one.person.name)
                    @if one.person.id == member.known.person.id { " " (badge(Tone::Plain, "You")) }
                    br;
                    small { (one.person.email) }
                }
                td { (one.role.title()) }
                td { (time(one.since)) }
                td { (time_or(one.seen_at, "Not signed in")) }
                td {
                    @if may_touch(&member, one) {
                        a href=(member.url(&format!("/members/{}", one.person.id))) {
                            "Change" span.unseen { " " (one.person.name) }
                        }
                    }
                }
            }
        }
    };
    let body = html! {
        p { "Members see and do in both environments what their role allows." }
        div.row {
            @if manages { a.button.primary href=(member.url("/members/invite")) { "Invite somebody" } }
            a.button.push href=(member.url("/members/leave")) { "Leave the organization" }
        }
        (table("Members", &["Name", "Role", "Since", "Last seen", "Action"], rows))
        @if !invitations.is_empty() { (waiting(&member, &invitations, &members)) }
        section aria-labelledby="roles-heading" {
            h2 #roles-heading { "What roles may do" }
            @let roles: Vec<(&str, Markup)> =
                Role::ALL.iter().map(|role| (role.title(), html! { (meaning(*role)) })).collect();
            (properties(&roles))
        }
    };
    Ok(page(&member, Area::Members, "Members", body))
}

/// The invitations that nobody has accepted yet.
fn waiting(member: &Member, invitations: &[Invitation], members: &[Colleague]) -> Markup {
    let name = |id: PersonId| members.iter().find(|one| one.person.id == id).map(|one| one.person.name.clone());
    let rows = html! {
        @for one in invitations {
            tr {
                th scope="row" { (one.email) }
                td { (one.role.title()) }
                td { (name(one.made_by).unwrap_or_else(|| one.made_by.to_string())) }
                td { (time(one.expires_at)) }
                td {
                    @let to = member.url(&format!("/members/invitations/{}/withdraw", one.id));
                    (act(&member.visitor, &to, "Take back", "small"))
                }
            }
        }
    };
    html! {
        section aria-labelledby="invitations-heading" {
            h2 #invitations-heading { "Invited" }
            (table("Invitations", &["Address", "Role", "By", "Until", "Action"], rows))
        }
    }
}

fn invite_form(member: &Member, email: &str, role: &str, mails: bool, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        @if mails { p { "They get a mail with a link that works once, for 7 days." } }
        @else { p { "This server sends no mail: you are shown a link, which you pass on yourself. It works once, for 7 days." } }
        (form(&member.visitor, &member.url("/members/invite"), html! {
            (Field::new("email", "E-mail address", mistakes)
                .hint("Only an account of this address can accept.").input("email", email, "off", true))
            (Field::new("role", "Role", mistakes).radios(&roles_of(member), role))
            div.buttons { button.primary type="submit" { "Invite" } a.button href=(member.url("/members")) { "Cancel" } }
        }))
    };
    page(member, Area::Members, "Invite somebody", body)
}

async fn invite_page(State(state): State<PortalState>, member: Member) -> Page {
    invite_form(&member, "", Role::Developer.as_str(), state.app.mails.is_configured(), &Mistakes::default())
}

async fn invite(
    State(state): State<PortalState>,
    member: Member,
    headers: HeaderMap,
    form: Form,
) -> Result<Response, Refusal> {
    let email = form.text("email");
    let asked = form.text("role");
    let retry =
        |mistakes: &Mistakes| again(invite_form(&member, email, asked, state.app.mails.is_configured(), mistakes));
    let Some(role) = Role::parse(asked) else { return Ok(retry(&Mistakes::one("role", "Choose a role."))) };
    let visit = visit(&member.visitor, &headers);
    match state.app.invite(&member.known, member.tenant.organization, email, role, &visit).await {
        Ok(Ok(Sent::Mailed)) => Ok(Redirect::to(&member.url("/members?done=invited")).into_response()),
        Ok(Ok(Sent::Show(link))) => {
            let body = html! {
                p { "Give this link to " b { (email) } ". It works once, for 7 days, and is not shown again." }
                (code("invitation-link", "The invitation's link", &link))
                p { a.button href=(member.url("/members")) { "Done" } }
            };
            Ok(page(&member, Area::Members, "Pass the link on", body).into_response())
        }
        Ok(Err(Invite::Member)) => Ok(retry(&Mistakes::one("email", "Somebody of this address is a member already."))),
        Ok(Err(Invite::TooMany)) => Ok(retry(&Mistakes::one(
            "",
            "There are as many members or invitations as there can be. Take some back first.",
        ))),
        Ok(Err(_)) => Err(Refusal::forbidden("Only an owner can make an owner.")),
        Err(LinkError::Failed(error)) => Err(error.into()),
        Err(error) => Ok(retry(&mistakes_of(&error))),
    }
}

async fn withdraw(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Place,
) -> Result<Redirect, Refusal> {
    let id = id.parse().map_err(|_| Refusal::not_found())?;
    let change = member.change(&state);
    match state.app.storage.withdraw_invitation(member.tenant.organization, id, &change).await? {
        true => Ok(Redirect::to(&member.url("/members?done=removed"))),
        false => Err(Refusal::not_found()),
    }
}

/// A member of the organization in the path.
async fn find(state: &PortalState, member: &Member, id: &str) -> Result<Colleague, Refusal> {
    let id: PersonId = id.parse().map_err(|_| Refusal::not_found())?;
    let members = state.app.storage.members(member.tenant.organization).await?;
    members.into_iter().find(|one| one.person.id == id).ok_or_else(Refusal::not_found)
}

fn change_form(member: &Member, other: &Colleague, chosen: &str, mistakes: &Mistakes) -> Page {
    let here = member.url(&format!("/members/{}", other.person.id));
    let body = html! {
        (mistakes.summary())
        (properties(&[
            ("E-mail address", html! { (other.person.email) }),
            ("Member since", time(other.since)),
            ("Last seen", time_or(other.seen_at, "Not signed in")),
        ]))
        @if may_touch(member, other) {
            section.panel aria-labelledby="role-heading" {
                h2 #role-heading { "Role" }
                (form(&member.visitor, &here, html! {
                    (Field::new("role", "What they may do", mistakes).radios(&roles_of(member), chosen))
                    div.buttons { button.primary type="submit" { "Save" } a.button href=(member.url("/members")) { "Cancel" } }
                }))
            }
            section.panel.danger aria-labelledby="remove-heading" {
                h2 #remove-heading { "Remove" }
                p {
                    (other.person.name) " can't see or do anything here any more, at once. Invitations by them are taken back. API keys that they made \
                    go on working: look through them."
                }
                (act(&member.visitor, &format!("{here}/remove"), "Remove from the organization", "danger"))
            }
        } @else {
            p { "Only an owner can change an owner." }
        }
    };
    page(member, Area::Members, &other.person.name, body)
}

async fn change_page(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Place,
) -> Result<Page, Refusal> {
    let other = find(&state, &member, &id).await?;
    Ok(change_form(&member, &other, other.role.as_str(), &Mistakes::default()))
}

const LAST_OWNER: &str = "An organization keeps at least one owner. Make somebody else an owner first.";

/// On to the members, or what was refused; `page` renders the form again.
fn answer(
    member: &Member,
    changed: &ChangeMember,
    done: &str,
    page: impl FnOnce(&Mistakes) -> Page,
) -> Result<Response, Refusal> {
    match changed {
        ChangeMember::Done(_) => Ok(Redirect::to(&member.url(&format!("/members?done={done}"))).into_response()),
        ChangeMember::LastOwner => Ok(again(page(&Mistakes::one("", LAST_OWNER)))),
        ChangeMember::Forbidden => Err(Refusal::forbidden("Only an owner can change or make an owner.")),
        ChangeMember::NotFound => Err(Refusal::not_found()),
    }
}

async fn change(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Place,
    form: Form,
) -> Result<Response, Refusal> {
    let other = find(&state, &member, &id).await?;
    let asked = form.text("role");
    let Some(role) = Role::parse(asked) else {
        return Ok(again(change_form(&member, &other, asked, &Mistakes::one("role", "Choose a role."))));
    };
    let (organization, by) = (member.tenant.organization, member.known.person.id);
    let change = member.change(&state);
    let changed = state.app.storage.change_role(organization, other.person.id, role, by, &change).await?;
    answer(&member, &changed, "saved", |mistakes| change_form(&member, &other, asked, mistakes))
}

async fn remove(
    State(state): State<PortalState>,
    member: Member,
    Path((_, _, id)): Place,
) -> Result<Response, Refusal> {
    let other = find(&state, &member, &id).await?;
    let (organization, by) = (member.tenant.organization, member.known.person.id);
    let changed = state.app.storage.remove_member(organization, other.person.id, by, &member.change(&state)).await?;
    if changed != ChangeMember::LastOwner && other.person.id == by {
        return Ok(Redirect::to("/portal").into_response());
    }
    answer(&member, &changed, "removed", |mistakes| change_form(&member, &other, other.role.as_str(), mistakes))
}

fn leave_form(member: &Member, mistakes: &Mistakes) -> Page {
    let body = html! {
        (mistakes.summary())
        p { "You can't see or do anything in " b { (member.membership.organization_name) } " any more. To come back, you have to be invited." }
        div.row {
            (act(&member.visitor, &member.url("/members/leave"), "Leave", "danger"))
            a.button href=(member.url("/members")) { "Stay" }
        }
    };
    page(member, Area::Members, "Leave the organization", body)
}

async fn leave_page(member: Member) -> Page {
    leave_form(&member, &Mistakes::default())
}

async fn leave(State(state): State<PortalState>, member: Member) -> Result<Response, Refusal> {
    let (organization, own) = (member.tenant.organization, member.known.person.id);
    match state.app.storage.remove_member(organization, own, own, &member.change(&state)).await? {
        ChangeMember::LastOwner => Ok(again(leave_form(&member, &Mistakes::one("", LAST_OWNER)))),
        _ => Ok(Redirect::to("/portal").into_response()),
    }
}
