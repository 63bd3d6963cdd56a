//! From a server that nobody knows yet to the first translated words, as somebody new does it.

use std::path::{Path, PathBuf};

use kallglot_app::people::setup_link;
use kallglot_audio::fake_voice::voice;
use kallglot_browser::{Browser, Setup};
use kallglot_client::ServerMessage;
use kallglot_core::session::Speaker;
use kallglot_testkit::{Call, Script, ServerBuilder, next_matching};

const PASSWORD: &str = "seven quiet lanterns drift";

/// Somebody says something and then says nothing for a while, over and over: 8 kHz, 16 bits.
fn recording(folder: &Path) -> PathBuf {
    let samples = [voice(1500), vec![0; 8000 * 2]].concat();
    let file = folder.join("voice.wav");
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut wav = Vec::new();
    wav.extend(b"RIFF");
    wav.extend((36 + u32::try_from(bytes.len()).unwrap()).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    // PCM, one channel, 8 kHz.
    wav.extend([1_u16, 1].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend([8000_u32, 16_000].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend([2_u16, 16].iter().flat_map(|number| number.to_le_bytes()));
    wav.extend(b"data");
    wav.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    wav.extend(bytes);
    std::fs::write(&file, wav).unwrap();
    file
}

#[tokio::test]
async fn somebody_new_comes_from_the_first_link_to_the_first_translated_words() {
    let folder = tempfile::tempdir().unwrap();
    let said = ["Good morning, can you hear me?".to_owned()];
    let script = Script { utterances: [("en".to_owned(), said.to_vec())].into(), ..Script::default() };
    let server = ServerBuilder::default().script(script).start().await;
    let app = &server.app;
    let link = setup_link(app.storage.as_ref(), &app.portal_url(), app.random.as_ref(), &server.change()).await;
    let link = link.unwrap().expect("nobody is there yet");
    assert!(link.starts_with("http://localhost:") && link.contains("/portal/link#"), "{link}");

    let mut browser = Browser::start(Setup::default().microphone(&recording(folder.path()))).await;
    browser.open(&link).await;
    browser.until("the code is in no address any more", "!location.hash").await;
    if browser.url().await.ends_with("/portal/link") {
        browser.press("Go on").await;
    }
    browser.fill("Your name", "Ana Ruiz").await;
    browser.fill("E-mail address", "ana@harbour.example").await;
    browser.fill("Name of your organization", "Harbour Clinic").await;
    browser.fill("Password", PASSWORD).await;
    browser.press_first("main button.primary").await;
    browser.until("the portal is open", "location.pathname.includes('/org_')").await;
    let portal = browser.url().await;
    let home = portal.split("/quickstart").next().unwrap().split('?').next().unwrap().trim_end_matches('/').to_owned();

    // Three steps, each of which turns green by itself.
    browser.open(&format!("{home}/quickstart")).await;
    browser.press("Make a test key").await;
    browser
        .until(
            "the key is shown",
            "document.body.innerText.includes('sk_test_') && !document.body.innerText.includes('sk_test_…')",
        )
        .await;
    let page = browser.text().await;
    let secret = page
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .find(|word| word.starts_with("sk_test_") && word.len() > 20);
    let api = server.client_with(secret.expect("the person's own key is in the snippets"));
    browser.press("See whether it arrives").await;
    browser
        .until("the first step is done", "document.querySelector('[data-step=key]')?.innerText.includes('Done')")
        .await;
    let mut call = Call::start(&api).await;
    call.say(Speaker::Customer, 800).await;
    let heard = next_matching(&mut call.stream, "words", |message| matches!(message, ServerMessage::Final(_))).await;
    assert!(matches!(heard, ServerMessage::Final(text) if text.text.starts_with("Good morning")));
    browser
        .until(
            "all steps turn green",
            "[...document.querySelectorAll('[data-step]')].every((step) => step.innerText.includes('Done'))",
        )
        .await;

    // And with the own voice, without code.
    browser.open(&format!("{home}/try")).await;
    browser.choose("The customer speaks", "English").await;
    browser.choose("The agent speaks", "Spanish").await;
    browser.press("Start a call").await;
    browser.press("Start the microphone").await;
    browser.see("Good morning, can you hear me?").await;
    browser.see("[es] Good morning, can you hear me?").await;
    browser.close().await;
    server.finish().await;
}
