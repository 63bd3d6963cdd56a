//! Single sign-on: there and back with a provider that signs its word; and what it is worth when something about it is wrong.

use std::sync::Arc;

use jiff::SignedDuration;
use kallglot_app::people::SingleSignOn;
use kallglot_core::clock::Clock as _;
use kallglot_core::id::OrganizationId;
use kallglot_core::person::{Invitation, Role};
use kallglot_oidc::Provider;
use kallglot_storage::{CodeHash, Invite};
use kallglot_testkit::backing::Backing;
use kallglot_testkit::{FakeClock, FakeFetch, FakeProvider, ServerBuilder, Sight, Signing, TestServer, Visitor};
use serde_json::{Value, json};

/// A server whose people sign in at a provider: only those of `domains`, and who is new joins `join`.
async fn server(domains: &[&str], join: Option<(OrganizationId, Role)>) -> (TestServer, Arc<FakeProvider>) {
    let clock = Arc::new(FakeClock::default());
    let provider = FakeProvider::new(Arc::clone(&clock));
    let domains: Vec<_> = domains.iter().map(|domain| (*domain).to_owned()).collect();
    let fake = Arc::clone(&provider);
    let builder = ServerBuilder::default().single_sign_on(move || SingleSignOn {
        name: "Example Login".into(),
        provider: Provider::new(fake.config(), Arc::new(FakeFetch(Arc::clone(&fake)))),
        email_domains: domains.clone(),
        join,
    });
    (builder.start_on(Backing::of_environment().await, clock, 1).await, provider)
}

fn ann() -> Value {
    json!({ "sub": "ann-1", "email": "Ann@Example.com", "email_verified": true, "name": "Ann" })
}

/// Goes to the provider, signs in there as these claims say, and comes back: the path of the return.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn there(browser: &mut Visitor, provider: &FakeProvider, claims: Value) -> String {
    let away = browser.get("/portal/sso?next=/portal/account").await;
    assert_eq!(away.status, 303, "{away:?}");
    let (state, code) = provider.sign_in(away.location().unwrap(), claims);
    format!("/portal/sso/return?state={state}&code={code}")
}

async fn sign_in(browser: &mut Visitor, provider: &FakeProvider, claims: Value) -> Sight {
    let back = there(browser, provider, claims).await;
    browser.get(&back).await
}

#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn invite(server: &TestServer, email: &str) {
    let team = server.team("Example").await;
    let invitation = Invitation {
        id: kallglot_core::id::PortalLinkId::from_bits(99),
        organization: team.id,
        organization_name: String::new(),
        role: Role::Developer,
        email: email.into(),
        made_by: team.owner,
        created_at: server.clock.now(),
        expires_at: server.clock.now() + SignedDuration::from_hours(24),
    };
    let invited = server.app.storage.invite(&invitation, &CodeHash([9; 32]), &server.change()).await;
    assert_eq!(invited.unwrap(), Invite::Made);
}

#[tokio::test]
async fn who_was_invited_gets_an_account_and_comes_back_to_it() {
    let (server, provider) = server(&[], None).await;
    let mut browser = server.visitor();
    server.operator().await;
    assert!(browser.get("/portal/sign-in").await.has("Sign in with Example Login"));
    let refused = sign_in(&mut browser, &provider, ann()).await;
    assert_eq!(refused.status, 403);
    assert!(refused.has("There is no account for you yet"), "{}", refused.html);

    invite(&server, "ann@example.com").await;
    for signing in [Signing::Rsa, Signing::Ecdsa] {
        provider.signs(signing);
        let mut browser = server.visitor();
        let answer = sign_in(&mut browser, &provider, ann()).await;
        assert_eq!((answer.status, answer.location()), (303, Some("/portal/account")), "{signing:?}: {answer:?}");
        let account = browser.get("/portal/account").await;
        assert!(account.has("ann@example.com") && account.has("Your account"), "{}", account.html);
    }
    // They are known by what the provider calls them, also under another address, and without one.
    let moved = json!({ "sub": "ann-1", "email": "other@example.com", "email_verified": false });
    let mut browser = server.visitor();
    assert_eq!(sign_in(&mut browser, &provider, moved).await.status, 303);
    assert!(browser.get("/portal/account").await.has("ann@example.com"));
    server.finish().await;
}

#[tokio::test]
async fn an_address_ties_somebody_to_their_account_only_when_the_provider_has_verified_it() {
    let (server, provider) = server(&[], None).await;
    let team = server.team("Example").await;
    let email = server.app.storage.person(team.owner).await.unwrap().unwrap().email;
    for unverified in [json!(false), json!("false"), json!(null), json!(1)] {
        let thief = json!({ "sub": "thief", "email": email, "email_verified": unverified });
        let refused = sign_in(&mut server.visitor(), &provider, thief).await;
        assert_eq!(refused.status, 403, "{unverified}");
        assert!(refused.has("has verified"), "{}", refused.html);
    }
    let owner = json!({ "sub": "owner", "email": email, "email_verified": true });
    let mut browser = server.visitor();
    assert_eq!(sign_in(&mut browser, &provider, owner).await.status, 303);
    let account = browser.get("/portal/account").await;
    assert!(account.has("Nora Owner") && account.has("Example Login"), "{}", account.html);
    assert_eq!(server.app.storage.identities(team.owner).await.unwrap().len(), 1);
    server.finish().await;
}

#[tokio::test]
async fn the_settings_say_whose_addresses_are_let_in() {
    let (server, provider) = server(&["example.com"], None).await;
    invite(&server, "eve@example.com.evil.example").await;
    let eve = json!({ "sub": "eve", "email": "eve@example.com.evil.example", "email_verified": true });
    let refused = sign_in(&mut server.visitor(), &provider, eve).await;
    assert_eq!(refused.status, 403);
    assert!(refused.has("of this domain"), "{}", refused.html);
    server.finish().await;
}

#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_lets_nobody_in() {
    let (server, provider) = server(&[], None).await;
    invite(&server, "ann@example.com").await;
    let now = 1_800_000_000;
    type Change = Box<dyn Fn(&mut Value) + Send + Sync>;
    let wrong: Vec<(&str, Change)> = vec![
        ("another request's", Box::new(|it| it["nonce"] = json!("other"))),
        ("no request's", Box::new(|it| it["nonce"] = json!(null))),
        ("for another client", Box::new(|it| it["aud"] = json!("other"))),
        (
            "for several that another has asked for",
            Box::new(|it| {
                it["aud"] = json!(["kallglot", "other"]);
                it["azp"] = json!("other");
            }),
        ),
        ("for several without saying who has asked", Box::new(|it| it["aud"] = json!(["kallglot", "other"]))),
        ("of another provider", Box::new(|it| it["iss"] = json!("https://login.example.com/other"))),
        ("of a provider with a slash more", Box::new(|it| it["iss"] = json!("https://login.example.com/realm/"))),
        ("expired", Box::new(move |it| it["exp"] = json!(now - 61))),
        ("of the future", Box::new(move |it| it["iat"] = json!(now + 120))),
        ("not valid yet", Box::new(move |it| it["nbf"] = json!(now + 120))),
        ("old", Box::new(move |it| it["iat"] = json!(now - 3600))),
        ("without an end", Box::new(|it| it["exp"] = json!(null))),
        ("of nobody", Box::new(|it| it["sub"] = json!(""))),
        ("of a time that there is not", Box::new(|it| it["exp"] = json!(1e300))),
    ];
    for (what, change) in wrong {
        provider.is_honest();
        provider.changes_claims(change);
        let mut browser = server.visitor();
        let refused = sign_in(&mut browser, &provider, ann()).await;
        assert_eq!(refused.status, 403, "{what}");
        assert_eq!(browser.get("/portal/account").await.status, 303, "{what}");
    }
    for signing in [Signing::OtherKey, Signing::Nothing, Signing::SharedSecret] {
        provider.is_honest();
        provider.signs(signing);
        assert_eq!(sign_in(&mut server.visitor(), &provider, ann()).await.status, 403, "{signing:?}");
    }
    provider.is_honest();
    assert_eq!(sign_in(&mut server.visitor(), &provider, ann()).await.status, 303, "and a genuine one does");
    server.finish().await;
}

#[tokio::test]
async fn an_answer_is_for_the_browser_that_asked_once_and_for_ten_minutes() {
    let (server, provider) = server(&[], None).await;
    invite(&server, "ann@example.com").await;
    let mut browser = server.visitor();
    let back = there(&mut browser, &provider, ann()).await;
    // Somebody is led to another's answer: it is not of their browser.
    let mut victim = server.visitor();
    assert_eq!(victim.get(&back).await.status, 403);
    let _ = there(&mut victim, &provider, ann()).await;
    assert_eq!(victim.get(&back).await.status, 403, "nor though they have asked themselves");
    let cookies = browser.cookies.clone();
    assert_eq!(browser.get(&back).await.status, 303);

    // Once more, with the same cookie.
    let mut again = server.visitor();
    again.cookies = cookies;
    assert_eq!(again.get(&back).await.status, 403);
    // Another's code under the own state: the verifier is another one.
    let mut thief = server.visitor();
    let stolen = there(&mut browser, &provider, ann()).await;
    let own = there(&mut thief, &provider, ann()).await;
    let state = own.split_once("&code=").unwrap().0;
    let code = stolen.split_once("&code=").unwrap().1;
    assert_eq!(thief.get(&format!("{state}&code={code}")).await.status, 403);

    let mut late = server.visitor();
    let back = there(&mut late, &provider, ann()).await;
    server.clock.advance(SignedDuration::from_mins(10));
    assert_eq!(late.get(&back).await.status, 403);
    let cancelled = late.get("/portal/sso/return?error=access_denied&state=x").await;
    assert!(cancelled.status == 403 && cancelled.has("did not sign you in"), "{}", cancelled.html);
    server.finish().await;
}

#[tokio::test]
async fn who_signs_in_so_confirms_so_by_signing_in_there_once_more() {
    let (server, provider) = server(&[], None).await;
    invite(&server, "ann@example.com").await;
    let mut browser = server.visitor();
    sign_in(&mut browser, &provider, ann()).await;
    server.clock.advance(SignedDuration::from_mins(11));
    let sensitive = "/portal/account/passkeys/new";
    assert_eq!(browser.get(sensitive).await.status, 303);
    assert!(browser.get(&format!("/portal/confirm?next={sensitive}")).await.has("Confirm with Example Login"));

    let confirm = async |browser: &mut Visitor, claims: Value| {
        let away = browser.get(&format!("/portal/confirm/sso?next={sensitive}")).await;
        let url = away.location().unwrap().to_owned();
        assert!(url.contains("prompt=login") && url.contains("max_age=0"), "{url}");
        let (state, code) = provider.sign_in(&url, claims);
        browser.get(&format!("/portal/sso/return?state={state}&code={code}")).await
    };
    let other = json!({ "sub": "eve", "email": "eve@example.com", "email_verified": true });
    assert_eq!(confirm(&mut browser, other).await.status, 403, "somebody else");
    let mut long_ago = ann();
    long_ago["auth_time"] = json!(1_800_000_000);
    assert_eq!(confirm(&mut browser, long_ago).await.status, 403, "they did not sign in again");
    assert_eq!(browser.get(sensitive).await.status, 303);
    let answer = confirm(&mut browser, ann()).await;
    assert_eq!(answer.location(), Some(sensitive), "{answer:?}");
    assert_eq!(browser.get(sensitive).await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn a_provider_that_is_away_is_said_to_be_and_comes_back() {
    let (server, provider) = server(&[], None).await;
    invite(&server, "ann@example.com").await;
    provider.is_away(true);
    let mut browser = server.visitor();
    let sight = browser.get("/portal/sso").await;
    assert!(
        sight.status == 502 && sight.has("can&#39;t be reached") || sight.has("can't be reached"),
        "{}",
        sight.html
    );
    provider.is_away(false);
    // For a moment it is not asked again, so that nobody waits behind others.
    assert_eq!(browser.get("/portal/sso").await.status, 502);
    server.clock.advance(SignedDuration::from_secs(5));
    assert_eq!(sign_in(&mut browser, &provider, ann()).await.status, 303);
    server.finish().await;
}
