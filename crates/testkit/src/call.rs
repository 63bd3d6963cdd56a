//! A call on the server under test: a session with a stream, and audio to put into it.
#![allow(clippy::expect_used, reason = "a test that can't be set up must fail at once")]

use std::time::Duration;

use kallglot_audio::fake_voice::voice;
use kallglot_audio::g711;
use kallglot_client::{Client, NewSession, ServerMessage, Session, Stream, TokenPlacement};
use kallglot_core::session::{Mode, Speaker};
use tokio::time::{MissedTickBehavior, interval};

use crate::soon;

/// A session and one stream on it.
pub struct Call {
    /// The session as created.
    pub session: Session,
    /// The stream.
    pub stream: Stream,
}

/// Mu-law audio that is taken for voice, `duration_ms` long.
pub fn voice_mulaw(duration_ms: usize) -> Vec<u8> {
    let mut mulaw = Vec::new();
    g711::encode_mulaw_into(&voice(duration_ms), &mut mulaw);
    mulaw
}

/// The next message for which `wanted` is true; the others are passed over.
///
/// # Panics
/// When the stream ends first or it takes too long.
pub async fn next_matching(stream: &mut Stream, what: &str, wanted: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
    soon(what, async {
        loop {
            match stream.next().await {
                Some(message) if wanted(&message) => return message,
                Some(_) => {}
                None => panic!("the stream ended while waiting for {what}: {:?}", stream.closed()),
            }
        }
    })
    .await
}

impl Call {
    /// A bidirectional session from English to Spanish with one stream for both parties.
    pub async fn start(api: &Client) -> Self {
        Self::start_with(api, Mode::BidirectionalTranslation, None).await
    }

    /// A session of this mode, with a stream for this speaker or both.
    pub async fn start_with(api: &Client, mode: Mode, speaker: Option<Speaker>) -> Self {
        let session = api.create_session(&NewSession::new(mode, "en", "es")).await.expect("a session");
        let stream = Self::join(&session, speaker).await;
        Self { session, stream }
    }

    /// Another stream on a session.
    pub async fn join(session: &Session, speaker: Option<Speaker>) -> Stream {
        let stream = session.stream.as_ref().expect("a stream");
        let token = stream.token.as_ref().expect("a token");
        let mut stream =
            Stream::connect(&stream.url, token.reveal(), TokenPlacement::Bearer, speaker).await.expect("a stream");
        next_matching(&mut stream, "session.ready", |message| matches!(message, ServerMessage::Ready { .. })).await;
        stream
    }

    /// Says something: `voice_ms` of voice and enough silence that it ends, at the speed of speech.
    pub async fn say(&mut self, speaker: Speaker, voice_ms: usize) {
        let audio = [voice_mulaw(voice_ms), vec![g711::MULAW_SILENCE; 800 * 8]].concat();
        self.play(speaker, &audio).await;
    }

    /// Sends audio in frames of 20 ms at the speed of speech.
    pub async fn play(&mut self, speaker: Speaker, mulaw: &[u8]) {
        let mut clock = interval(Duration::from_millis(20));
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for frame in mulaw.chunks(160) {
            clock.tick().await;
            self.stream.send_audio(speaker, frame).await.expect("audio is taken");
        }
    }

    /// The next final text.
    pub async fn next_final(&mut self) -> kallglot_client::TranscriptMessage {
        let wanted = |message: &ServerMessage| matches!(message, ServerMessage::Final(_));
        match next_matching(&mut self.stream, "transcript.final", wanted).await {
            ServerMessage::Final(text) => text,
            other => unreachable!("{other:?}"),
        }
    }

    /// The next error.
    pub async fn next_error(&mut self) -> (String, bool) {
        let wanted = |message: &ServerMessage| matches!(message, ServerMessage::Error { .. });
        match next_matching(&mut self.stream, "session.error", wanted).await {
            ServerMessage::Error { code, fatal, .. } => (code, fatal),
            other => unreachable!("{other:?}"),
        }
    }
}
