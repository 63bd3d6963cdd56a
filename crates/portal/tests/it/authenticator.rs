//! The authenticator app: set up with a code, asked for after the password, each code once; and recovery codes.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use kallglot_core::clock::Clock as _;
use kallglot_core::person::Role;
use kallglot_testkit::{FakeAuthenticator, Sight, TestServer, Visitor};

const PASSWORD: &str = "four words that nobody guesses";

/// The code that an app with this secret shows now, by RFC 6238: written out here, so that it is not compared with itself.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
fn app_code(server: &TestServer, secret: &str) -> String {
    let letters = secret.chars().filter(|it| !it.is_whitespace());
    let bits: String =
        letters.map(|letter| format!("{:05b}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(letter).unwrap())).collect();
    let key: Vec<u8> = bits
        .as_bytes()
        .chunks_exact(8)
        .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
        .collect();
    let step = u64::try_from(server.clock.now().as_second()).unwrap() / 30;
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&key).unwrap();
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] % 16);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) % (1 << 31);
    format!("{:06}", number % 1_000_000)
}

/// Somebody with a password, who is signed in and has confirmed it; and their address.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn somebody(server: &TestServer) -> (Visitor, String) {
    let team = server.team("Example").await;
    let mut member = server.member(&team, Role::Developer).await;
    server.confirm(&member).await;
    member.get("/portal/account/password").await;
    assert_eq!(member.post("/portal/account/password", &[("password", PASSWORD)]).await.status, 303);
    let email = server.app.storage.person(member.person.unwrap()).await.unwrap().unwrap().email;
    (member, email)
}

/// Sets up an app; its secret and the recovery codes.
#[allow(clippy::unwrap_used, reason = "a test that can't go on must fail")]
async fn set_up(server: &TestServer, member: &mut Visitor) -> (String, Vec<String>) {
    let page = member.get("/portal/account/authenticator").await;
    let secret = page.text_of("secret").unwrap().to_owned();
    assert!(page.has("<svg") && !page.has("otpauth:"), "the picture says it, not the text");
    let enrolment = page.attribute("name=\"enrolment\" value").unwrap().to_owned();
    let wrong = member.post("/portal/account/authenticator", &[("enrolment", &enrolment), ("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    assert_eq!(wrong.text_of("secret"), Some(secret.as_str()), "the same secret is shown again");
    let enrolment = wrong.attribute("name=\"enrolment\" value").unwrap().to_owned();
    let code = app_code(server, &secret);
    let done = member.post("/portal/account/authenticator", &[("enrolment", &enrolment), ("code", &code)]).await;
    assert_eq!(done.status, 200, "{}", done.html);
    let codes: Vec<_> = done.text_of("recovery-codes").unwrap().lines().map(str::to_owned).collect();
    assert_eq!(codes.len(), 10);
    (secret, codes)
}

/// A new browser after the right password.
async fn after_password(server: &TestServer, email: &str) -> Visitor {
    let mut browser = server.visitor();
    browser.get("/portal/sign-in").await;
    let answer = browser.post("/portal/sign-in", &[("email", email), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), Some("/portal/second-factor?next=%2Fportal"), "{answer:?}");
    assert!(browser.get("/portal/second-factor").await.has("One more step"));
    browser
}

async fn show(browser: &mut Visitor, code: &str) -> Sight {
    browser.post("/portal/second-factor", &[("code", code), ("next", "/portal/account")]).await
}

#[tokio::test]
async fn after_the_password_a_code_is_asked_for_and_each_counts_once() {
    let server = TestServer::start().await;
    let (mut member, email) = somebody(&server).await;
    let (secret, _) = set_up(&server, &mut member).await;

    let mut browser = after_password(&server, &email).await;
    // The password alone lets nobody in.
    assert_eq!(browser.get("/portal/account").await.status, 303);
    let used = app_code(&server, &secret);
    assert_eq!(show(&mut browser, &used).await.status, 422, "the code that set it up is used");
    server.clock.advance(SignedDuration::from_secs(30));
    let code = app_code(&server, &secret);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    let answer = show(&mut browser, &spaced).await;
    assert_eq!((answer.status, answer.location()), (303, Some("/portal/account")), "{answer:?}");
    assert_eq!(browser.get("/portal/account").await.status, 200);
    // Whoever has looked over a shoulder is late.
    let mut thief = after_password(&server, &email).await;
    assert_eq!(show(&mut thief, &code).await.status, 422);
    server.finish().await;
}

#[tokio::test]
async fn a_recovery_code_stands_in_for_the_app_once() {
    let server = TestServer::start().await;
    let (mut member, email) = somebody(&server).await;
    let (_, codes) = set_up(&server, &mut member).await;
    let mut browser = after_password(&server, &email).await;
    assert_eq!(show(&mut browser, &codes[3].to_lowercase()).await.status, 303);
    assert!(browser.get("/portal/account").await.has("Recovery codes left: 9."));
    let mut again = after_password(&server, &email).await;
    assert_eq!(show(&mut again, &codes[3]).await.status, 422);

    member.get("/portal/account/recovery-codes").await;
    let new = member.post("/portal/account/recovery-codes", &[]).await;
    let new = new.text_of("recovery-codes").unwrap().lines().next().unwrap().to_owned();
    assert_eq!(show(&mut again, &codes[4]).await.status, 422, "the old ones are gone");
    assert_eq!(show(&mut again, &new).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn guessing_codes_locks_the_account_however_many_browsers_guess() {
    let server = TestServer::start().await;
    let (mut member, email) = somebody(&server).await;
    let (secret, _) = set_up(&server, &mut member).await;
    server.clock.advance(SignedDuration::from_secs(60));
    let mut browser = after_password(&server, &email).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(show(&mut browser, "123456").await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let right = app_code(&server, &secret);
    assert_eq!(show(&mut browser, &right).await.status, 429, "not even the right one");
    server.clock.advance(SignedDuration::from_mins(2));
    let right = app_code(&server, &secret);
    assert_eq!(show(&mut browser, &right).await.status, 303);
    server.finish().await;
}

#[tokio::test]
async fn a_passkey_stands_in_for_the_app_if_it_is_the_persons_own() {
    let server = TestServer::start().await;
    let (mut member, email) = somebody(&server).await;
    set_up(&server, &mut member).await;
    let mut phone = FakeAuthenticator::new(server.app.relying_party().unwrap().origin());
    let add = async |visitor: &mut Visitor, device: &mut FakeAuthenticator| {
        let asked = visitor.post("/portal/account/passkeys/options", &[]).await;
        let asked: serde_json::Value = serde_json::from_str(&asked.html).unwrap();
        let answer = device.create(&asked["options"]).to_string();
        let ceremony = asked["ceremony"].as_str().unwrap();
        let fields = [("name", "Phone"), ("ceremony", ceremony), ("answer", &answer)];
        assert_eq!(visitor.post("/portal/account/passkeys", &fields).await.status, 303);
    };
    member.get("/portal/account").await;
    add(&mut member, &mut phone).await;
    let team = server.team("Elsewhere").await;
    let mut other = server.signed_in(team.owner).await;
    server.confirm(&other).await;
    other.get("/portal/account").await;
    let mut theirs = FakeAuthenticator::new(&phone.origin);
    add(&mut other, &mut theirs).await;

    let mut browser = after_password(&server, &email).await;
    for (device, expected) in [(&mut theirs, 422), (&mut phone, 303)] {
        let asked = browser.post("/portal/second-factor/passkey/options", &[]).await;
        let mut asked: serde_json::Value = serde_json::from_str(&asked.html).unwrap();
        // A browser that asks for any passkey, not only for those that it is told.
        asked["options"]["allowCredentials"] = serde_json::json!([]);
        let answer = device.get(&asked["options"]).unwrap().to_string();
        let fields = [("ceremony", asked["ceremony"].as_str().unwrap()), ("answer", &answer)];
        assert_eq!(browser.post("/portal/second-factor/passkey", &fields).await.status, expected);
    }
    server.finish().await;
}

#[tokio::test]
async fn an_app_is_set_up_by_its_owner_in_their_session_in_time_and_removed() {
    let server = TestServer::start().await;
    let (mut member, email) = somebody(&server).await;
    let page = member.get("/portal/account/authenticator").await;
    let enrolment = page.attribute("name=\"enrolment\" value").unwrap().to_owned();
    let secret = page.text_of("secret").unwrap().to_owned();
    // Somebody else's form is worth nothing here.
    let team = server.team("Elsewhere").await;
    let mut other = server.signed_in(team.owner).await;
    server.confirm(&other).await;
    other.get("/portal/account").await;
    let code = app_code(&server, &secret);
    let fields = [("enrolment", enrolment.as_str()), ("code", &code)];
    assert_eq!(other.post("/portal/account/authenticator", &fields).await.status, 422);
    server.clock.advance(SignedDuration::from_mins(30));
    server.confirm(&member).await;
    let code = app_code(&server, &secret);
    let late = member.post("/portal/account/authenticator", &[("enrolment", &enrolment), ("code", &code)]).await;
    assert_eq!(late.status, 422);
    assert_ne!(late.text_of("secret"), Some(secret.as_str()), "a new one is begun");

    set_up(&server, &mut member).await;
    member.get("/portal/account/authenticator/remove").await;
    assert_eq!(member.post("/portal/account/authenticator/remove", &[]).await.status, 303);
    let mut browser = server.visitor();
    browser.get("/portal/sign-in").await;
    let answer = browser.post("/portal/sign-in", &[("email", &email), ("password", PASSWORD)]).await;
    assert_eq!(answer.location(), Some("/portal"), "the password is enough again");
    server.finish().await;
}
