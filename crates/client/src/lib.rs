//! A small typed client of the API: the REST requests of a call and its stream.
//!
//! `kallglot call`, the demo, the tests and the benchmarks use it, so that they see what any other client would see. It is
//! strict in what it sends and tolerant in what it reads: fields that it does not know are skipped, messages that it does not
//! know arrive as [`ServerMessage::Other`].
//!
//! What must stay true: an API key or a stream token never shows up in `Debug` output or in an error.

mod error;
mod events;
mod message;
mod rest;
mod secret;
mod stream;
mod types;
mod webhooks;

pub use error::{ApiError, ClientError, ConnectError};
pub use events::{Event, EventMessage, EventStream, Forwarder, Page};
pub use message::{Audio, AudioOutput, ServerMessage, Transcript as TranscriptMessage, TranslatedText};
pub use rest::{Answer, Body, Client, TranscriptFormat};
pub use secret::Secret;
pub use stream::{AudioFrame, Close, Stream, StreamReceiver, StreamSender, TokenPlacement};
pub use types::{
    Analysis, EndedSession, Expectation, NewSession, Recording, Session, SessionStream, Transcript, TranscriptMetadata,
    Turn,
};
pub use webhooks::{NewWebhook, Webhook, WebhookDelivery};

/// What a stream frame can be, for tests that send raw ones.
pub use tokio_tungstenite::tungstenite::Message as RawMessage;
