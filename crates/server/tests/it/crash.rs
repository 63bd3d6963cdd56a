//! Kill -9 in the middle of a call: what a client was told is stored, and the call goes on after a restart.

use std::time::Duration;

use kallglot_core::session::Speaker;
use kallglot_testkit::client::{Client, ServerMessage, Transcript, TranscriptMessage};
use kallglot_testkit::{Call, next_matching, soon, voice_mulaw};
use tokio::time::{MissedTickBehavior, interval};

use crate::process::{Folder, Server};

/// Kills in one call.
const KILLS: u64 = 4;

/// Numbers that are the same in every run with one seed (SplitMix64).
fn random(seed: u64) -> u64 {
    let n = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33
}

/// Lets both parties talk, each in short utterances, for so many frames of 20 ms, while everything that comes is read.
/// Ends early when the stream does. The final texts that came are added to `finals`.
async fn talk(mut call: Call, frames: usize, finals: &mut Vec<TranscriptMessage>) -> Call {
    let turn = [voice_mulaw(500), vec![0xff; 450 * 8]].concat();
    let frame = |number: usize| turn.chunks_exact(160).nth(number % (turn.len() / 160)).unwrap().to_vec();
    let mut clock = interval(Duration::from_millis(20));
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..frames {
        loop {
            tokio::select! {
                biased;
                message = call.stream.next() => match message {
                    Some(ServerMessage::Final(text)) => finals.push(text),
                    Some(_) => {}
                    None => return call,
                },
                _ = clock.tick() => break,
            }
        }
        // The agent is half a turn behind, so that something is said and something is stored at any time.
        for (speaker, behind) in [(Speaker::Customer, 0), (Speaker::Agent, 23)] {
            if call.stream.send_audio(speaker, &frame(number + behind)).await.is_err() {
                return call;
            }
        }
    }
    call
}

/// All that was told is stored, in an unbroken count.
fn check(transcript: &Transcript, finals: &[TranscriptMessage], what: &str) {
    for told in finals {
        let turn = transcript.turns.iter().find(|turn| turn.id == told.id);
        let turn = turn.unwrap_or_else(|| panic!("{what}: {told:?} was told and is not stored: {transcript:?}"));
        assert_eq!((&turn.text, &turn.translation), (&told.text, &told.translation), "{what}");
        assert_eq!(turn.speaker, told.speaker.as_str(), "{what}");
    }
    let sequences: Vec<u32> = transcript.turns.iter().map(|turn| turn.sequence).collect();
    assert_eq!(sequences, (1..=transcript.turns.len() as u32).collect::<Vec<_>>(), "{what}");
}

async fn rejoin(client: &Client, id: &str) -> Call {
    let session = client.get_session(id).await.unwrap();
    assert_eq!(session.status, "active", "a crash does not end a call");
    let stream = Call::join(&session, None).await;
    Call { session, stream }
}

async fn survives(seed: u64) {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let mut server = Server::start(&folder).await;
    let address = server.address.to_string();
    let client = server.client(&secret);
    let mut call = Call::start(&client).await;
    let id = call.session.id.clone();
    let mut finals = Vec::new();
    for kill in 0..KILLS {
        // 1.2 to 4 s: about when an utterance of either party ends.
        let frames = 60 + (random(seed * 100 + kill) % 140) as usize;
        let what = format!("seed {seed}, kill {kill} after {frames} frames");
        call = talk(call, frames, &mut finals).await;
        server.kill().await;
        // What was under way still counts: it has been told.
        while let Some(message) = soon("the stream breaks", call.stream.next()).await {
            if let ServerMessage::Final(text) = message {
                finals.push(text);
            }
        }
        server = Server::start_at(&folder, &address).await;
        let before = client.transcript(&id).await.unwrap();
        check(&before, &finals, &what);

        call = rejoin(&client, &id).await;
        call.say(Speaker::Agent, 600).await;
        let told = call.next_final().await;
        let after = client.transcript(&id).await.unwrap();
        let turn = after.turns.iter().find(|turn| turn.id == told.id).unwrap();
        assert!(turn.sequence as usize > before.turns.len(), "{what}: the count goes on");
        assert!(
            before.turns.last().is_none_or(|last| last.start_ms <= turn.start_ms),
            "{what}: so does the call's time: {after:?}"
        );
        assert_eq!(after.turns[..before.turns.len()], before.turns, "{what}: what was stored stays as it was");
        finals.push(told);
        check(&after, &finals, &what);
    }
    call.stream.end().await.unwrap();
    next_matching(&mut call.stream, "session.ended", |message| matches!(message, ServerMessage::Ended { .. })).await;
    assert_eq!(soon("a close", call.stream.wait_closed()).await.code, Some(1000));
    assert!(finals.len() as u64 > KILLS, "something was said before the kills, too");
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn what_was_told_survives_kill_9_and_the_call_goes_on() {
    survives(1).await;
}

#[tokio::test]
async fn it_does_so_at_other_moments() {
    survives(2).await;
}
