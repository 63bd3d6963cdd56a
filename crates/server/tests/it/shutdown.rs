//! SIGTERM: streams are told, what is being said becomes a turn, and the program ends well.

use kallglot_core::session::Speaker;
use kallglot_testkit::client::ServerMessage;
use kallglot_testkit::{Call, soon, voice_mulaw};

use crate::process::{Folder, Server};

#[tokio::test]
async fn sigterm_closes_streams_with_1001_and_loses_nothing() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start(&folder).await;
    let address = server.address.to_string();
    let client = server.client(&secret);
    let mut call = Call::start(&client).await;
    let silent = Call::start(&client).await;
    // In the middle of a sentence: no silence follows.
    call.play(Speaker::Customer, &voice_mulaw(900)).await;
    server.terminate();
    let mut told = None;
    while let Some(message) = soon("the stream closes", call.stream.next()).await {
        if let ServerMessage::Final(text) = message {
            told = Some(text);
        }
    }
    assert_eq!(call.stream.closed().and_then(|close| close.code), Some(1001));
    let told = told.expect("what was being said became a final text");
    let mut silent = silent.stream;
    assert_eq!(soon("a close", silent.wait_closed()).await.code, Some(1001));
    let log = std::sync::Arc::clone(&server.log);
    assert_eq!(server.wait().await, Some(0));
    let log = log.lock().unwrap().clone();
    assert!(!log.contains("took too long") && !log.contains("ERROR"), "{log}");

    let server = Server::start_at(&folder, &address).await;
    let transcript = client.transcript(&call.session.id).await.unwrap();
    assert_eq!(transcript.turns.iter().map(|turn| &turn.id).collect::<Vec<_>>(), [&told.id]);
    assert_eq!(transcript.status, "in_progress", "the call is not over");
    let session = client.get_session(&call.session.id).await.unwrap();
    assert_eq!(session.status, "active");
    let mut again = Call { stream: Call::join(&session, None).await, session };
    again.say(Speaker::Customer, 600).await;
    again.next_final().await;
    drop(again);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_answer_can_not_hold_it_up() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start_with(&folder, &[("KALLGLOT_SHUTDOWN_MAX_S", "1")]).await;
    // Its close is never read, so never answered.
    let deaf = Call::start(&server.client(&secret)).await;
    let log = std::sync::Arc::clone(&server.log);
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
    assert!(log.lock().unwrap().contains("took too long"), "it was waited for");
    drop(deaf);
}

#[tokio::test]
async fn a_server_that_drains_is_not_ready_but_still_serves() {
    let folder = Folder::new();
    let (_, secret) = folder.key(&folder.organization().await).await;
    let server = Server::start_with(&folder, &[("KALLGLOT_DRAIN_S", "600")]).await;
    let client = server.client(&secret);
    assert_eq!(client.get("/readyz").await.unwrap().status, 200);
    server.terminate();
    soon("it is not ready any more", async {
        while client.get("/readyz").await.unwrap().status != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.get("/readyz").await.unwrap().text(), "stopping\n");
    assert_eq!(client.get("/v1/whoami").await.unwrap().status, 200);
    Call::start(&client).await;
    // Who does not want to wait for the end of it says so again.
    server.terminate();
    assert_eq!(server.wait().await, Some(0));
}
