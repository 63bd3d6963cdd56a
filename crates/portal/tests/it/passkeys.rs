//! Passkeys: made, used to sign in, after the password and to confirm; and what somebody who wants to get in without one may try.

use kallglot_core::person::Role;
use kallglot_testkit::{FakeAuthenticator, Sight, TestServer, Visitor};
use serde_json::Value;

const SIGN_IN: &str = "/portal/sign-in/passkey";
const ADD: &str = "/portal/account/passkeys";
const CONFIRM: &str = "/portal/confirm/passkey";

/// What a browser is asked, and what is to come back with its answer.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn options(visitor: &mut Visitor, of: &str) -> (Value, String) {
    let sight = visitor.post(&format!("{of}/options"), &[]).await;
    assert_eq!(sight.status, 200, "{sight:?}");
    let json: Value = serde_json::from_str(&sight.html).unwrap();
    (json["options"].clone(), json["ceremony"].as_str().unwrap().to_owned())
}

/// Adds a passkey of this device to the account of who is signed in and has confirmed it.
async fn add(visitor: &mut Visitor, device: &mut FakeAuthenticator, name: &str) -> Sight {
    visitor.get("/portal/account/passkeys/new").await;
    let (options, ceremony) = options(visitor, ADD).await;
    let answer = device.create(&options).to_string();
    visitor.post(ADD, &[("name", name), ("ceremony", &ceremony), ("answer", &answer)]).await
}

/// Signs in with the newest passkey of this device.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn sign_in(visitor: &mut Visitor, device: &mut FakeAuthenticator) -> Sight {
    visitor.get("/portal/sign-in").await;
    let (options, ceremony) = options(visitor, SIGN_IN).await;
    let answer = device.get(&options).unwrap().to_string();
    visitor.post(SIGN_IN, &[("ceremony", &ceremony), ("answer", &answer), ("next", "/portal/account")]).await
}

#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
fn device(server: &TestServer) -> FakeAuthenticator {
    FakeAuthenticator::new(server.app.relying_party().unwrap().origin())
}

/// A member with a passkey on a device.
async fn member_with_passkey(server: &TestServer) -> (Visitor, FakeAuthenticator) {
    let team = server.team("Example").await;
    let mut member = server.member(&team, Role::Developer).await;
    server.confirm(&member).await;
    let mut device = device(server);
    let added = add(&mut member, &mut device, "Phone").await;
    assert_eq!(added.location(), Some("/portal/account?done=saved"), "{added:?}");
    (member, device)
}

#[tokio::test]
async fn somebody_adds_a_passkey_and_signs_in_with_it_alone() {
    let server = TestServer::start().await;
    let (mut member, mut phone) = member_with_passkey(&server).await;
    let account = member.get("/portal/account").await;
    assert!(account.has("value=\"Phone\"") && account.has("never"), "{}", account.html);

    let mut browser = server.visitor();
    let page = browser.get("/portal/sign-in").await;
    assert!(page.has("Sign in with a passkey") && page.has("passkey.js"), "{}", page.html);
    let answer = sign_in(&mut browser, &mut phone).await;
    assert_eq!((answer.status, answer.location()), (303, Some("/portal/account")), "{answer:?}");
    let account = browser.get("/portal/account").await;
    assert_eq!(account.status, 200);
    assert!(!account.has("never"), "it is noted that it was used");
    // Who has just signed in has shown who they are.
    assert_eq!(browser.get("/portal/account/passkeys/new").await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn passkeys_have_names_and_are_removed() {
    let server = TestServer::start().await;
    let (mut member, mut phone) = member_with_passkey(&server).await;
    let mut tablet = device(&server);
    add(&mut member, &mut tablet, "Tablet").await;
    // A device that has one for this account makes no second one: the browser is told which there are.
    member.get("/portal/account/passkeys/new").await;
    let (options, _) = options(&mut member, ADD).await;
    assert_eq!(options["excludeCredentials"].as_array().unwrap().len(), 2);
    assert_eq!(options["authenticatorSelection"]["userVerification"], "required");
    assert_eq!(options["rp"]["id"], "localhost");

    let person = member.person.unwrap();
    let ids: Vec<_> = server.app.storage.passkeys(person).await.unwrap().iter().map(|one| one.id.to_string()).collect();
    let renamed = member
        .post_and_follow("/portal/account/passkeys/rename", &[("passkey", &ids[1]), ("name", "Old <phone>")])
        .await;
    assert!(renamed.has("value=\"Old &lt;phone&gt;\"") && renamed.has("Tablet"), "{}", renamed.html);
    let nameless = member.post("/portal/account/passkeys/rename", &[("passkey", &ids[1]), ("name", " ")]).await;
    assert_eq!(nameless.status, 400);

    let ask = member.get(&format!("/portal/account/passkeys/remove?passkey={}", ids[1])).await;
    assert!(ask.has("Old &lt;phone&gt;"), "{}", ask.html);
    let left = member.post_and_follow("/portal/account/passkeys/remove", &[("passkey", &ids[1])]).await;
    assert!(!left.has("Old &lt;phone&gt;") && left.has("Tablet"), "{}", left.html);
    // It is worth nothing from now on.
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 422);
    assert_eq!(sign_in(&mut server.visitor(), &mut tablet).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn nobody_signs_in_by_an_answer_that_is_wrong_in_any_way() {
    let server = TestServer::start().await;
    let (_, mut phone) = member_with_passkey(&server).await;
    let origin = phone.origin.clone();

    type Change = fn(&mut FakeAuthenticator);
    let wrong: [(&str, Change); 5] = [
        ("made on another site", |it| it.origin = "http://localhost.evil.example".into()),
        ("made in another site's frame", |it| it.cross_origin = true),
        ("for another site", |it| it.relying_party = Some("evil.example".into())),
        ("without verifying who it is", |it| it.verifies_user = false),
        ("without anybody there", |it| it.asks_for_presence = false),
    ];
    for (what, change) in wrong {
        change(&mut phone);
        let mut browser = server.visitor();
        let answer = sign_in(&mut browser, &mut phone).await;
        assert_eq!(answer.status, 422, "{what}");
        assert!(answer.has("does not let you in") && browser.get("/portal/account").await.status == 303, "{what}");
        phone.origin.clone_from(&origin);
        (phone.cross_origin, phone.relying_party) = (false, None);
        (phone.verifies_user, phone.asks_for_presence) = (true, true);
    }
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 303, "and a right one is still good");

    // A device that the account does not know, though it claims to be of that person.
    let mut browser = server.visitor();
    browser.get("/portal/sign-in").await;
    let (options, ceremony) = options(&mut browser, SIGN_IN).await;
    let mut stranger = device(&server);
    let known = &phone.credentials[0];
    let mut make = serde_json::json!({ "rp": { "id": "localhost" }, "user": {}, "challenge": options["challenge"] });
    make["user"]["id"] = serde_json::json!(base64url(&known.user_handle));
    stranger.create(&make);
    // Under its own name, and under that of the one that is known.
    for id in [None, Some(known.id.clone())] {
        if let Some(id) = id {
            stranger.credentials[0].id = id;
        }
        let answer = stranger.get(&options).unwrap().to_string();
        let refused = browser.post(SIGN_IN, &[("ceremony", &ceremony), ("answer", &answer)]).await;
        assert_eq!(refused.status, 422);
    }
    for (ceremony, answer) in [("", ""), (ceremony.as_str(), "{}"), ("AAAA", "{}"), (ceremony.as_str(), "[[[[[")] {
        let refused = browser.post(SIGN_IN, &[("ceremony", ceremony), ("answer", answer)]).await;
        assert_eq!(refused.status, 422);
    }
    server.finish().await;
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn an_answer_is_good_once_for_five_minutes_and_for_what_it_was_asked() {
    let server = TestServer::start().await;
    let (mut member, mut phone) = member_with_passkey(&server).await;
    // An authenticator that does not count: only the challenge tells that it is an old answer.
    phone.counts = false;
    let mut browser = server.visitor();
    browser.get("/portal/sign-in").await;
    let (asked, ceremony) = options(&mut browser, SIGN_IN).await;
    let answer = phone.get(&asked).unwrap().to_string();
    let fields = [("ceremony", ceremony.as_str()), ("answer", answer.as_str())];
    // Not for something else: to confirm, of somebody who is signed in.
    member.get("/portal/account").await;
    assert_eq!(member.post(CONFIRM, &fields).await.status, 422);
    assert_eq!(browser.post(SIGN_IN, &fields).await.status, 303);
    let mut thief = server.visitor();
    thief.get("/portal/sign-in").await;
    assert_eq!(thief.post(SIGN_IN, &fields).await.status, 422, "it was used");

    // The answer to one challenge is none to another.
    let (_, other) = options(&mut thief, SIGN_IN).await;
    assert_eq!(thief.post(SIGN_IN, &[("ceremony", &other), ("answer", &answer)]).await.status, 422);

    let (asked, ceremony) = options(&mut thief, SIGN_IN).await;
    let answer = phone.get(&asked).unwrap().to_string();
    server.clock.advance(jiff::SignedDuration::from_mins(5));
    let late = thief.post(SIGN_IN, &[("ceremony", &ceremony), ("answer", &answer)]).await;
    assert_eq!(late.status, 422);
    server.finish().await;
}

#[tokio::test]
async fn a_copied_authenticator_does_not_let_in() {
    let server = TestServer::start().await;
    let (_, mut phone) = member_with_passkey(&server).await;
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 303);
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 303);
    // The copy was made before the second use: it counts what was counted.
    phone.credentials[0].sign_count = 1;
    let refused = sign_in(&mut server.visitor(), &mut phone).await;
    assert_eq!(refused.status, 422);
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 303, "the genuine one is further");
    server.finish().await;
}

#[tokio::test]
async fn a_passkey_confirms_its_owner_and_nobody_else() {
    let server = TestServer::start().await;
    let (member, mut phone) = member_with_passkey(&server).await;
    let person = member.person.unwrap();
    let mut browser = server.signed_in(person).await;
    let page = browser.get("/portal/account/passkeys/new").await;
    assert_eq!(page.location(), Some("/portal/confirm?next=%2Fportal%2Faccount%2Fpasskeys%2Fnew"));
    let confirm = browser.get("/portal/confirm?next=/portal/account/passkeys/new").await;
    assert!(confirm.has("Confirm with a passkey"), "{}", confirm.html);
    let (asked, ceremony) = options(&mut browser, CONFIRM).await;
    assert_eq!(asked["allowCredentials"].as_array().unwrap().len(), 1);
    let answer = phone.get(&asked).unwrap().to_string();
    let fields = [("ceremony", ceremony.as_str()), ("answer", &answer), ("next", "/portal/account/passkeys/new")];

    // Neither in another browser of the same person, nor in somebody else's.
    let mut second = server.signed_in(person).await;
    second.get("/portal/account").await;
    assert_eq!(second.post(CONFIRM, &fields).await.status, 422);
    let team = server.team("Elsewhere").await;
    let mut stranger = server.signed_in(team.owner).await;
    stranger.get("/portal/account").await;
    let (mut theirs, ceremony) = options(&mut stranger, CONFIRM).await;
    theirs["allowCredentials"] = asked["allowCredentials"].clone();
    let foreign = phone.get(&theirs).unwrap().to_string();
    let refused = stranger.post(CONFIRM, &[("ceremony", &ceremony), ("answer", &foreign)]).await;
    assert_eq!(refused.status, 422, "another person's passkey");

    let confirmed = browser.post(CONFIRM, &fields).await;
    assert_eq!(confirmed.location(), Some("/portal/account/passkeys/new"), "{confirmed:?}");
    assert_eq!(browser.get("/portal/account/passkeys/new").await.status, 200);
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_tries_too_often_has_to_wait() {
    let server = TestServer::start().await;
    let (_, mut phone) = member_with_passkey(&server).await;
    let mut thief = server.visitor();
    thief.get("/portal/sign-in").await;
    let mut statuses = Vec::new();
    for _ in 0..31 {
        statuses.push(thief.post(SIGN_IN, &[("ceremony", "x"), ("answer", "{}")]).await.status);
    }
    assert_eq!((statuses[29], statuses[30]), (422, 429));
    // The account itself is not locked: nobody can keep its owner out so.
    server.clock.advance(jiff::SignedDuration::from_mins(1));
    assert_eq!(sign_in(&mut server.visitor(), &mut phone).await.status, 303);
    server.finish().await;
}
