//! Calls in a real browser: one that is begun from a page with a microphone that hears a recording of a person, followed until it is heard again;
//! and one that is watched.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail at once")]

use std::path::{Path, PathBuf};

use kallglot_audio::wav::{self, Channel};
use kallglot_browser::{Browser, Setup};
use kallglot_core::person::Role;
use kallglot_core::session::{Environment, Speaker};
use kallglot_testkit::{Call, Script, ServerBuilder, TestServer};

use crate::example::{address, sign_in};

/// What is said in both languages, as the engine of tests hears it.
fn script() -> Script {
    let heard = [("en", "Thanks for trying the demo"), ("es", "Gracias a usted")];
    let utterances = heard.map(|(language, text)| (language.to_owned(), vec![text.to_owned()]));
    Script { utterances: utterances.into(), ..Script::default() }
}

/// A person who says a sentence and is then quiet for a while, from Debian's package `asterisk-core-sounds-en-wav`.
fn recording(folder: &Path) -> PathBuf {
    let person = std::fs::read("/usr/share/asterisk/sounds/en_US_f_Allison/demo-thanks.wav").unwrap();
    let mut samples = wav::read(&person, Channel::Mix).unwrap();
    samples.resize(samples.len() + 2 * 8_000, 0);
    let file = folder.join("person.wav");
    std::fs::write(&file, wav::mono_file(&samples, 8_000)).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_into_the_microphone_reads_the_translation_and_hears_the_call_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerBuilder::default().script(script()).start().await;
    let team = server.team("Example").await;
    let dev = server.member(&team, Role::Developer).await;
    let mut browser = Browser::start(Setup::default().microphone(&recording(folder.path()))).await;
    sign_in(&mut browser, &server, &dev).await;
    browser.open(&address(&server, &team.at("test", "/try"))).await;
    browser.choose("The customer speaks", "English").await;
    browser.choose("The agent speaks", "Spanish").await;
    browser.press("Start a call").await;

    browser.press("Start the microphone").await;
    browser.see("Connected.").await;
    browser.until("the level moves", "document.querySelector('[data-level]').value > 20").await;
    browser.see("Thanks for trying the demo").await;
    browser.see("[es] Thanks for trying the demo").await;

    // The same voice, now on the other side.
    browser.find("input[name=side][value=agent]").await.click().await;
    browser.see("[en] Gracias a usted").await;
    browser.press("Stop the microphone").await;
    browser.see("The microphone is off.").await;
    browser.press("End the call").await;

    // The page of the call comes with its recording as soon as that is made; a time plays it from there.
    browser.see("What was said").await;
    browser.until("the recording is there", "document.querySelector('audio')?.readyState > 0").await;
    browser.run("document.querySelector('#turns a.at').click()", &[]).await;
    browser.until("it plays", "document.querySelector('audio').currentTime > 0").await;
    browser.until("what is heard is marked", "document.querySelector('#turns > [aria-current=true]') !== null").await;
    browser.close().await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_call_is_followed_on_its_page() {
    let server: TestServer = ServerBuilder::default().script(script()).start().await;
    let team = server.team("Example").await;
    let (_, secret) = server.key_with(&team.organization(), Environment::Test, |_| {}).await;
    let api = server.client_with(&secret);
    let mut call = Call::start(&api).await;
    let reader = server.member(&team, Role::ReadOnly).await;
    let mut browser = Browser::start(Setup::default()).await;
    sign_in(&mut browser, &server, &reader).await;
    browser.open(&address(&server, &team.at("test", &format!("/sessions/{}", call.session.id)))).await;
    browser.see("Live: what is said appears here").await;

    let levels = "document.querySelector('[data-party=customer] [data-says]').value > 20 \
        && document.querySelector('[data-party=customer]').classList.contains('speaking')";
    tokio::join!(call.say(Speaker::Customer, 2_500), browser.until("the customer's level moves", levels));
    browser.see("[es] Thanks for trying the demo").await;
    call.say(Speaker::Agent, 700).await;
    browser.see("[en] Gracias a usted").await;
    browser.see("text after").await;

    // Its end turns the page into that of a call that is over.
    api.end_session(&call.session.id, None).await.unwrap();
    browser.see("Completed").await;
    browser.close().await;
    server.finish().await;
}
