//! Every route as everybody: who gets in is what the table says, and nobody else does.

use jiff::SignedDuration;
use kallglot_client::Body;
use kallglot_core::person::Role;
use kallglot_portal::{Access, Entry, Verb};
use kallglot_testkit::{Sight, Team, TestServer, Visitor};

/// The route with an id in every place: of the team's organization, and of other objects that there are not.
fn path_of(entry: Entry, team: &Team) -> String {
    let path = entry.path.replace("{organization}", &team.id.to_string()).replace("{environment}", "test");
    let mut filled = String::from("/portal");
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        filled.push('/');
        filled.push_str(if segment.starts_with('{') { "0" } else { segment });
    }
    filled
}

/// Asks for a route: of a form, it is sent as its page would send it, empty.
async fn take(visitor: &mut Visitor, entry: Entry, path: &str) -> Sight {
    match entry.verb {
        Verb::Get => visitor.get(path).await,
        Verb::Post => visitor.post(path, &[]).await,
    }
}

/// Whether the guard has let somebody in: then the handler answers, with whatever it says to an empty form or an id that there is not.
fn is_refused(sight: &Sight) -> bool {
    let elsewhere = |to: &str| to.starts_with("/portal/sign-in") || to.starts_with("/portal/confirm?next=");
    sight.status == 403 || sight.location().is_some_and(elsewhere)
}

fn all() -> Vec<Entry> {
    let all = kallglot_portal::table();
    assert!(all.len() > 10, "the table is there");
    all
}

/// Routes of which taking them once changes what taking others answers: signing out, among them.
fn ends_the_session(entry: Entry) -> bool {
    entry.verb == Verb::Post && (entry.path == "/sign-out" || entry.path.starts_with("/account/sessions"))
}

#[tokio::test]
async fn who_is_not_signed_in_is_led_to_the_sign_in_by_everything_that_is_not_for_anybody() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    for entry in all().into_iter().filter(|entry| entry.access != Access::Anybody) {
        let mut nobody = server.visitor();
        let path = path_of(entry, &team);
        let sight = take(&mut nobody, entry, &path).await;
        assert_eq!(sight.status, 303, "{entry:?}");
        assert!(sight.location().unwrap().starts_with("/portal/sign-in"), "{entry:?}: {:?}", sight.location());
        assert!(!sight.has(&team.id.to_string()), "nothing but the way is said: {entry:?}");
    }
    server.finish().await;
}

#[tokio::test]
async fn members_do_what_their_role_may_and_nothing_else() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    for role in Role::ALL {
        for entry in all() {
            let Access::Member(act) = entry.access else { continue };
            // A member of their own for each route: what one does (leaving, for one) must not be in the way of the next.
            let mut member = server.member(&team, *role).await;
            server.confirm(&member).await;
            let path = path_of(entry, &team);
            member.get(&team.at("test", "/webhooks")).await;
            let sight = take(&mut member, entry, &path).await;
            if role.may(act) {
                assert!(
                    !is_refused(&sight),
                    "{role} may {act}: {entry:?} gave {} {:?}",
                    sight.status,
                    sight.location()
                );
            } else {
                assert_eq!(sight.status, 403, "{role} may not {act}: {entry:?}");
                assert!(sight.has(act.lowest_role().title()), "and is told what it takes: {entry:?}");
            }
            assert_ne!(sight.status, 500, "{entry:?} as {role}");
            let person = member.person.unwrap();
            let _ = server.app.storage.remove_member(team.id, person, team.owner, &server.change()).await;
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn strangers_and_operators_find_nothing_in_an_organization_that_is_not_theirs() {
    let server = TestServer::start().await;
    let (team, theirs) = (server.team("Example").await, server.team("Elsewhere").await);
    let operator = server.operator().await;
    for person in [theirs.owner, operator] {
        for entry in all() {
            let Access::Member(_) = entry.access else { continue };
            let mut stranger = server.signed_in(person).await;
            server.confirm(&stranger).await;
            let home = if person == operator { "/portal/choose".to_owned() } else { theirs.at("test", "/webhooks") };
            stranger.get(&home).await;
            let path = path_of(entry, &team);
            let sight = take(&mut stranger, entry, &path).await;
            assert_eq!(sight.status, 404, "{entry:?}");
            // The same answer as for an organization that there is not.
            let nowhere = path.replace(&team.id.to_string(), "org_0000000000000000000000");
            let same = take(&mut stranger, entry, &nowhere).await;
            assert_eq!((same.status, same.html), (sight.status, sight.html), "{entry:?}");
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn only_operators_look_after_the_server() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    for entry in all().into_iter().filter(|entry| entry.access == Access::Operator) {
        for person in [team.owner, server.operator().await] {
            let mut visitor = server.signed_in(person).await;
            server.confirm(&visitor).await;
            visitor.get("/portal/account").await;
            let sight = take(&mut visitor, entry, &path_of(entry, &team)).await;
            if person == team.owner {
                assert_eq!(sight.status, 404, "an owner is told nothing of {entry:?}");
            } else {
                assert!(!is_refused(&sight) && sight.status != 500, "{entry:?} gave {}", sight.status);
            }
        }
    }
    server.finish().await;
}

#[tokio::test]
async fn what_is_sensitive_asks_for_a_confirmation_first() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let operator = server.operator().await;
    let sensitive: Vec<_> = all().into_iter().filter(|entry| entry.fresh).collect();
    assert!(!sensitive.is_empty());
    for entry in sensitive {
        let person = if entry.access == Access::Operator { operator } else { team.owner };
        let mut visitor = server.signed_in(person).await;
        visitor.get("/portal/account").await;
        let path = path_of(entry, &team);
        let sight = take(&mut visitor, entry, &path).await;
        assert_eq!(sight.status, 303, "{entry:?}");
        assert!(
            sight.location().unwrap().starts_with("/portal/confirm?next=%2Fportal"),
            "{entry:?}: {:?}",
            sight.location()
        );
        // Ten minutes later one is asked again.
        server.confirm(&visitor).await;
        assert!(!is_refused(&take(&mut visitor, entry, &path).await) || ends_the_session(entry), "{entry:?}");
    }
    server.finish().await;
}

#[tokio::test]
async fn no_form_is_taken_that_is_not_of_a_page_of_ours() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    let operator = server.operator().await;
    let origin = server.base_url();
    let host = origin.strip_prefix("http://").unwrap();
    for entry in all().into_iter().filter(|entry| entry.verb == Verb::Post) {
        // A person has a bounded number of sessions: of these the oldest go, if any is older.
        server.clock.advance(jiff::SignedDuration::from_secs(1));
        let person = if entry.access == Access::Operator { operator } else { team.owner };
        // A person has so many sessions and no more: the one that was used least recently ends.
        server.clock.advance(SignedDuration::from_secs(1));
        let mut visitor = server.signed_in(person).await;
        server.confirm(&visitor).await;
        visitor.get("/portal/account").await;
        let token = visitor.token.clone().expect("a page has a token");
        let path = path_of(entry, &team);
        let mut other = server.signed_in(person).await;
        other.get("/portal/account").await;
        let foreign = other.token.clone().unwrap();
        assert_ne!(token, foreign, "each session has its own");

        for wrong in [&[][..], &[("csrf", "")], &[("csrf", "0123")], &[("csrf", foreign.as_str())]] {
            let sight = visitor.send(&path, wrong).await;
            assert_eq!(sight.status, 403, "{entry:?} with {wrong:?}");
        }
        let body = || Body::Raw(format!("csrf={token}").into_bytes());
        let form = ("content-type", "application/x-www-form-urlencoded");
        for header in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
        ] {
            let sight = visitor.ask("POST", &path, &[form, header], body()).await;
            assert_eq!(sight.status, 403, "{entry:?} with {header:?}");
        }
        // The same form from our own page is taken, whichever way the browser says so.
        let right = ("origin", format!("http://{host}"));
        let sight = visitor.ask("POST", &path, &[form, (right.0, &right.1)], body()).await;
        assert_ne!(sight.status, 403, "{entry:?}");
    }
    server.finish().await;
}

/// What every answer has.
fn assert_guarded(sight: &Sight, what: &str) {
    let header = |name: &str| sight.header(name).unwrap_or_else(|| panic!("{what} has no {name}"));
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ] {
        assert!(policy.split("; ").any(|one| one.trim() == part), "{what}: {part} is missing in {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http:") && !policy.contains('*'), "{what}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("x-frame-options"), "DENY", "{what}");
    assert!(["same-origin", "no-referrer"].contains(&header("referrer-policy")), "{what}");
    assert_eq!(header("cross-origin-opener-policy"), "same-origin", "{what}");
    assert_eq!(header("cross-origin-resource-policy"), "same-origin", "{what}");
    assert!(header("permissions-policy").contains("camera=()"), "{what}");
    // A page holds what is not to be seen after signing out; a file that is the same for everybody does not.
    if sight.header("content-type").is_none_or(|kind| kind.starts_with("text/html")) {
        assert!(header("cache-control").contains("no-store"), "{what}");
    }
    for cookie in sight.headers.iter().filter(|(name, _)| name == "set-cookie") {
        for part in ["HttpOnly", "SameSite=", "Path=/"] {
            assert!(cookie.1.contains(part), "{what}: {part} is missing in {}", cookie.1);
        }
    }
    // No script, no style and no handler within a page.
    for within in ["<script>", "<style", " style=\"", " onclick", " onload", " onsubmit", "javascript:"] {
        assert!(!sight.has(within), "{what} has {within}");
    }
}

#[tokio::test]
async fn every_answer_is_guarded_also_errors_and_files_and_what_is_not_there() {
    let server = TestServer::start().await;
    let team = server.team("Example").await;
    for entry in all() {
        let path = path_of(entry, &team);
        assert_guarded(&take(&mut server.visitor(), entry, &path).await, &format!("{path} for nobody"));
        let mut owner = server.signed_in(team.owner).await;
        server.confirm(&owner).await;
        owner.get("/portal/account").await;
        assert_guarded(&take(&mut owner, entry, &path).await, &format!("{path} for the owner"));
        assert_guarded(&owner.send(&path, &[]).await, &format!("{path} without a token"));
        let wrong = owner.ask("PUT", &path, &[], Body::Empty).await;
        assert_guarded(&wrong, &format!("PUT {path}"));
        assert!([303, 403, 404, 405].contains(&wrong.status), "PUT {path} gave {}", wrong.status);
    }
    let mut visitor = server.visitor();
    let page = visitor.get("/portal/nowhere/at/all").await;
    assert_eq!(page.status, 404);
    assert_guarded(&page, "/portal/nowhere");
    let style = page.attribute("rel=\"stylesheet\" href").or_else(|| {
        let (_, rest) = page.html.split_once("href=\"/portal/assets/")?;
        Some(rest)
    });
    assert!(style.is_some(), "errors are pages too: {}", page.html);
    for (start, name) in [("href=\"", "portal.css"), ("src=\"", "portal.js"), ("href=\"", "icon.svg")] {
        let path = page.html.split(start).find_map(|rest| {
            let path = rest.split('"').next()?;
            path.ends_with(name).then_some(path)
        });
        let path = path.unwrap_or_else(|| panic!("the page names {name}")).to_owned();
        let asset = visitor.get(&path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_guarded(&asset, &path);
        assert!(asset.header("cache-control").unwrap().contains("immutable"), "{path}");
        let head = visitor.ask("HEAD", &path, &[], Body::Empty).await;
        assert_eq!((head.status, head.html.as_str()), (200, ""), "HEAD {path}");
    }
    let head = visitor.ask("HEAD", "/portal", &[], Body::Empty).await;
    assert_guarded(&head, "HEAD /portal");
    assert_eq!((head.status, head.html.as_str()), (303, ""));
    server.finish().await;
}

#[tokio::test]
async fn files_are_the_same_for_everybody_and_set_no_cookie() {
    let server = TestServer::start().await;
    let page = server.visitor().get("/portal/sign-in").await;
    assert!(page.header("set-cookie").is_some(), "a page with a form ties it to its visitor");
    let style = page.attribute("rel=\"stylesheet\" href").unwrap().to_owned();
    let file = server.visitor().get(&style).await;
    assert_eq!((file.status, file.header("set-cookie")), (200, None));
    assert!(file.header("cache-control").unwrap().contains("immutable"));
    server.finish().await;
}
