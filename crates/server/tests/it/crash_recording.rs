//! Kill -9 in the middle of a call that is recorded: all but its last second is in the recording, and the recording goes on.

use std::time::Duration;

use kallglot_core::session::{Mode, Speaker};
use kallglot_testkit::client::{Client, NewSession, Recording};
use kallglot_testkit::{Call, soon, voice_mulaw};

use crate::process::{Folder, Server};

/// The contract's bound (section 13).
const LOST_MS_MAX: usize = 1_000;

async fn customer(client: &Client, session: &str) -> Recording {
    let made = soon("recordings are ready", async {
        let mut look = tokio::time::interval(Duration::from_millis(600));
        loop {
            look.tick().await;
            let found = client.recordings_of(session).await.unwrap();
            if let Some(found) = found.into_iter().find(|it| it.channel == "customer" && it.status != "processing") {
                return found;
            }
        }
    });
    made.await
}

#[tokio::test]
async fn kill_9_costs_a_recording_less_than_a_second() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start(&folder).await;
    let address = server.address.to_string();
    let client = server.client(&secret);
    let new = NewSession::new(Mode::BidirectionalTranslation, "en", "es").recorded(true);
    let session = client.create_session(&new).await.unwrap();
    let mut call = Call { stream: Call::join(&session, None).await, session };
    let id = call.session.id.clone();
    const SAID_MS: usize = 3_000;
    call.play(Speaker::Customer, &voice_mulaw(SAID_MS)).await;
    // What was sent has been heard.
    call.stream.ping().await.unwrap();
    server.kill().await;

    let server = Server::start_at(&folder, &address).await;
    let again = client.get_session(&id).await.unwrap();
    let mut call = Call { stream: Call::join(&again, None).await, session: again };
    call.say(Speaker::Customer, 500).await;
    client.end_session(&id, None).await.unwrap();
    let recording = customer(&client, &id).await;
    assert_eq!((recording.status.as_str(), recording.incomplete), ("ready", false), "{recording:?}");
    let wav = client.recording_audio(&recording.id, "format=wav").await.unwrap();
    let samples: Vec<i16> = wav[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    let loud = |from: usize, to: usize| {
        let part = &samples[(from * 8).min(samples.len())..(to * 8).min(samples.len())];
        part.chunks(8).filter(|ms| ms.iter().any(|sample| sample.unsigned_abs() > 500)).count()
    };
    let kept = loud(0, SAID_MS - LOST_MS_MAX);
    assert!(kept + 100 >= SAID_MS - LOST_MS_MAX, "{kept} ms of what was said more than a second before the kill");
    assert!(loud(SAID_MS, usize::MAX / 8) >= 400, "and what was said after it");
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}
