//! A key's life: made, used, rotated and revoked in the browser, while a client uses it.

use kallglot_browser::{Browser, Setup};
use kallglot_core::person::Role;
use kallglot_testkit::{Call, TestServer};

use crate::example::{address, sign_in};

/// The secret that the page shows.
async fn shown(browser: &Browser) -> String {
    browser.until("a secret is shown", "/sk_test_[A-Za-z0-9_]{20}/.test(document.body.innerText)").await;
    let found = browser.run("return document.body.innerText.match(/sk_test_[A-Za-z0-9_]{20,}/)[0];", &[]).await;
    found.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_key_is_made_used_rotated_and_revoked_while_a_client_uses_it() {
    let server = TestServer::start().await;
    let team = server.team("Harbour Clinic").await;
    let developer = server.member(&team, Role::Developer).await;
    server.confirm(&developer).await;
    let mut browser = Browser::start(Setup::default()).await;
    sign_in(&mut browser, &server, &developer).await;

    browser.open(&address(&server, &team.at("test", "/keys/new"))).await;
    browser.fill("Name", "Reception desk").await;
    browser.press_first("main button.primary").await;
    let first = shown(&browser).await;
    let old = server.client_with(&first);
    let mut call = Call::start(&old).await;
    assert_eq!(old.get("/v1/sessions").await.unwrap().status, 200);

    browser.open(&address(&server, &team.at("test", "/keys"))).await;
    assert!(!browser.html().await.contains(&first), "it is shown once");
    browser.press("Reception desk").await;
    browser.press("Rotate").await;
    browser.press_first("main button.primary").await;
    let second = shown(&browser).await;
    assert_ne!(first, second);
    let new = server.client_with(&second);
    assert_eq!(new.get("/v1/sessions").await.unwrap().status, 200);
    assert_eq!(old.get("/v1/sessions").await.unwrap().status, 200, "for a while the old one works too");

    browser.open(&address(&server, &team.at("test", "/keys"))).await;
    browser.press("Reception desk").await;
    browser.press("Revoke").await;
    browser.press_first("input[name=close_streams]").await;
    browser.press_first("main button.danger").await;
    browser.see("Revoked").await;
    for client in [&old, &new] {
        assert_eq!(client.get("/v1/sessions").await.unwrap().status, 401, "nobody gets in with it any more");
    }
    let closed = kallglot_testkit::soon("the stream ends", call.stream.wait_closed()).await;
    assert!(closed.code.is_some(), "who was connected with it is told");
    browser.close().await;
    server.finish().await;
}
