//! What is around a page's content: head, navigation, the organization and environment that one is in.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use kallglot_core::person::Act;
use kallglot_core::session::Environment;
use maud::{DOCTYPE, Markup, html};

use crate::assets;
use crate::components::csrf_field;
use crate::guard::{Member, SignedIn};

/// A rendered page.
pub(crate) struct Page(Markup);

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        ([(header::CONTENT_TYPE, html)], self.0.into_string()).into_response()
    }
}

/// The parts of the portal that have a place in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    Overview,
    Quickstart,
    Keys,
    Sessions,
    TryIt,
    Usage,
    Requests,
    Alerts,
    Webhooks,
    Credits,
    Settings,
    Members,
    AuditLog,
}

impl Area {
    /// In the navigation's order, in its groups.
    const GROUPS: &'static [(&'static str, &'static [Self])] = &[
        ("Start", &[Self::Overview, Self::Quickstart, Self::TryIt]),
        ("Build", &[Self::Keys, Self::Webhooks]),
        ("Watch", &[Self::Sessions, Self::Usage, Self::Requests, Self::Alerts]),
        ("Organization", &[Self::Credits, Self::Members, Self::Settings, Self::AuditLog]),
    ];

    /// Its path below organization and environment, and what it is called.
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("", "Overview"),
            Self::Quickstart => ("/quickstart", "Quickstart"),
            Self::Keys => ("/keys", "API keys"),
            Self::Sessions => ("/sessions", "Sessions"),
            Self::TryIt => ("/try", "Try it"),
            Self::Usage => ("/usage", "Usage"),
            Self::Requests => ("/requests", "Request log"),
            Self::Alerts => ("/alerts", "Alerts"),
            Self::Webhooks => ("/webhooks", "Webhooks"),
            Self::Credits => ("/credits", "Credits and plan"),
            Self::Settings => ("/settings", "Settings"),
            Self::Members => ("/members", "Members"),
            Self::AuditLog => ("/audit", "Audit log"),
        }
    }

    /// What somebody must be allowed to see it in the navigation.
    const fn act(self) -> Act {
        match self {
            Self::AuditLog => Act::ViewAudit,
            Self::TryIt => Act::RunSessions,
            _ => Act::View,
        }
    }
}

fn document(title: &str, scripts: &[&str], body: Markup) -> Page {
    Page(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Kallglot" }
                link rel="icon" href=(assets::url("icon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(assets::url("portal.css"));
                script type="module" src=(assets::url("portal.js")) {}
                @for script in scripts {
                    script type="module" src=(assets::url(script)) {}
                }
            }
            body { (body) }
        }
    })
}

fn brand(href: &str) -> Markup {
    html! {
        a.brand href=(href) {
            img src=(assets::url("icon.svg")) alt="" width="24" height="24";
            span { "Kallglot" }
        }
    }
}

/// A page for one thing, in the middle: signing in, errors.
pub(crate) fn card(title: &str, body: Markup) -> Page {
    card_with(title, &[], body)
}

/// As [`card`], with scripts of its own.
pub(crate) fn card_with(title: &str, scripts: &[&str], body: Markup) -> Page {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top { (brand("/portal")) }
        main.card #main {
            h1 { (title) }
            (body)
        }
    };
    document(title, scripts, body)
}

fn account_menu(signed_in: &SignedIn) -> Markup {
    let person = &signed_in.known.person;
    html! {
        nav.account aria-label="Account" {
            @if person.is_operator { a href="/portal/organizations" { "Organizations" } }
            a href="/portal/account" { (person.name) }
            form method="post" action="/portal/sign-out" {
                (csrf_field(&signed_in.visitor))
                button.link type="submit" { "Sign out" }
            }
        }
    }
}

/// A page of who is signed in that belongs to no organization.
pub(crate) fn own_page(signed_in: &SignedIn, title: &str, body: Markup) -> Page {
    own_page_with(signed_in, title, &[], body)
}

/// As [`own_page`], with scripts of its own.
pub(crate) fn own_page_with(signed_in: &SignedIn, title: &str, scripts: &[&str], body: Markup) -> Page {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top { (brand("/portal")) (account_menu(signed_in)) }
        main.own #main {
            h1 { (title) }
            (done(&signed_in.visitor.here))
            (body)
        }
    };
    document(title, scripts, body)
}

/// A page of an organization's environment.
pub(crate) fn page(member: &Member, area: Area, title: &str, body: Markup) -> Page {
    page_with(member, area, title, &[], body)
}

/// As [`page`], with scripts of its own.
pub(crate) fn page_with(member: &Member, area: Area, title: &str, scripts: &[&str], body: Markup) -> Page {
    let environment = member.tenant.environment;
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top {
            (brand(&member.url("")))
            div.where {
                @if member.known.memberships.len() > 1 || member.known.person.is_operator {
                    a.organization href="/portal/choose" { (member.membership.organization_name) }
                } @else {
                    span.organization { (member.membership.organization_name) }
                }
                (environments(member, area))
            }
            (account_menu(member))
        }
        @if environment == Environment::Test {
            aside.environment-note aria-label="Environment, note" { "Test environment: nothing here costs credits, and nothing of it is seen in the live environment." }
        }
        div.columns {
            (navigation(member, area))
            main #main {
                h1 { (title) }
                (done(&member.visitor.here))
                (body)
            }
        }
    };
    document(&format!("{title} · {}", member.membership.organization_name), scripts, body)
}

/// The switch between both environments: the same area in the other one.
fn environments(member: &Member, area: Area) -> Markup {
    let (path, _) = area.row();
    html! {
        nav.environments aria-label="Environment" {
            @for environment in [Environment::Live, Environment::Test] {
                @let href = format!("/portal/{}/{environment}{path}", member.tenant.organization);
                @let current = (environment == member.tenant.environment).then_some("true");
                a href=(href) aria-current=[current] { (if environment == Environment::Live { "Live" } else { "Test" }) }
            }
        }
    }
}

/// On a narrow window it is folded: `details` needs no script for that.
fn navigation(member: &Member, active: Area) -> Markup {
    let list = html! {
        @for (group, areas) in Area::GROUPS {
            div.group {
                p { (group) }
                ul {
                    @for area in areas.iter().filter(|area| member.may(area.act())) {
                        @let (path, name) = area.row();
                        li { a href=(member.url(path)) aria-current=[(*area == active).then_some("page")] { (name) } }
                    }
                }
            }
        }
        div.group {
            p { "Read" }
            ul {
                li { a href="/docs" { "API reference" } }
                li { a href="/docs/errors" { "Errors" } }
            }
        }
    };
    html! {
        nav.side aria-label="Main" { (list) }
        details.side-narrow {
            summary { "Menu" }
            nav aria-label="Main, narrow" { (list) }
        }
    }
}

/// What was just done, after the redirection of a form: `?done=…`, one of a fixed list, so that nobody can make a page say something else.
const DONE: &[(&str, &str)] = &[
    ("saved", "Saved."),
    ("once", "This form was sent before. Nothing was done a second time; a secret is shown only once."),
    ("created", "Created."),
    ("deleted", "Deleted."),
    ("revoked", "Revoked. Requests with it are refused from now on."),
    ("removed", "Removed."),
    ("invited", "Invited."),
    ("sent", "Sent."),
    ("ended", "Ended."),
    ("granted", "The credits were granted."),
    ("enabled", "Switched on."),
    ("disabled", "Switched off."),
    ("requested", "Requested. The result appears here when it is there."),
];

fn done(here: &str) -> Markup {
    let query = here.split_once('?').map_or("", |(_, query)| query);
    let value = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "done").map(|(_, value)| value);
    let text = value.and_then(|value| DONE.iter().find(|(name, _)| *name == value).map(|(_, text)| *text));
    html! {
        @if let Some(text) = text {
            p.note.good role="status" { (text) }
        }
    }
}

/// Whether a path can be gone on to: a page of the portal, not another site and not a file.
pub(crate) fn is_page_of_ours(path: &str) -> bool {
    let rest = path.strip_prefix("/portal");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        && !path.contains("//")
        && !path.contains('\\')
        && !path.contains("/../")
        && !path.chars().any(char::is_control)
}

/// Where to go on after signing in or confirming: `next` if it is a page of ours, else the portal's start.
pub(crate) fn next_page(next: &str) -> &str {
    if is_page_of_ours(next) { next } else { "/portal" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_to_another_site() {
        assert_eq!(next_page("/portal/org_1/test/keys?x=1"), "/portal/org_1/test/keys?x=1");
        for other in [
            "https://evil.example",
            "//evil.example",
            "/portal//evil.example",
            "/portal\\evil",
            "/portalevil",
            "/v1",
            "",
            "/portal/../v1",
        ] {
            assert_eq!(next_page(other), "/portal", "{other}");
        }
    }

    #[test]
    fn a_page_says_only_what_it_knows() {
        assert!(done("/portal/x?done=saved").into_string().contains("Saved."));
        assert_eq!(done("/portal/x?done=<b>you won</b>").into_string(), "");
    }
}
