//! A passkey in a real browser, by its virtual authenticator: made, used to sign in without a password, used to confirm.

use kallglot_browser::{Browser, Setup};
use kallglot_core::person::Role;
use kallglot_testkit::TestServer;

use crate::example::{address, sign_in};

#[tokio::test]
async fn somebody_adds_a_passkey_signs_in_with_it_alone_and_confirms_with_it() {
    let server = TestServer::start().await;
    let team = server.team("Harbour Clinic").await;
    let member = server.member(&team, Role::Developer).await;
    server.confirm(&member).await;

    let mut browser = Browser::start(Setup::default()).await;
    let device = browser.authenticator().await;
    sign_in(&mut browser, &server, &member).await;
    browser.open(&address(&server, "/portal/account/passkeys/new")).await;
    browser.fill("Name", "This computer").await;
    browser.press("Add the passkey").await;
    browser.until("the account's page says so", "location.pathname === '/portal/account'").await;
    assert_eq!(browser.passkeys(&device).await.len(), 1);
    let name = "[...document.querySelectorAll('input[name=name]')].some((it) => it.value === 'This computer')";
    browser.until("it is listed by its name", name).await;
    // A device makes no second one for the same account.
    browser.open(&address(&server, "/portal/account/passkeys/new")).await;
    browser.fill("Name", "Once more").await;
    browser.press("Add the passkey").await;
    browser.see("This device has a passkey for your account already.").await;

    // Signed out; then in again without a password.
    browser.forget_cookies().await;
    browser.open(&address(&server, "/portal/sign-in?next=/portal/account")).await;
    // Somebody whom the device does not recognize comes no further.
    browser.recognize(&device, false).await;
    browser.press("Sign in with a passkey").await;
    browser.see("It was cancelled, or took too long. Try again.").await;
    browser.recognize(&device, true).await;
    browser.press("Sign in with a passkey").await;
    browser.until("they are signed in", "location.pathname === '/portal/account'").await;
    browser.see("Your account").await;

    // Ten minutes later a sensitive page asks for it once more.
    server.clock.advance(jiff::SignedDuration::from_mins(11));
    browser.open(&address(&server, "/portal/account/authenticator")).await;
    browser.see("Is it you?").await;
    browser.press("Confirm with a passkey").await;
    browser.until("they go on", "location.pathname === '/portal/account/authenticator'").await;
    browser.see("Scan this with an authenticator app").await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.close().await;
    server.finish().await;
}
