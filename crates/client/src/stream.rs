//! A session's stream: audio to the server, messages from it (contract section 11).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use kallglot_core::session::Speaker;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::Url;

use crate::error::{ApiError, ConnectError};
use crate::message::ServerMessage;
use crate::rest::{deepest, install_tls};

/// Longest wait for the upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest message that is read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// The sub-protocol's name.
const PROTOCOL: &str = "kallglot";

/// Where the stream token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlacement {
    /// `?token=`.
    Query,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Sec-WebSocket-Protocol: kallglot, <token>`.
    Subprotocol,
}

impl TokenPlacement {
    /// Every place.
    pub const ALL: [Self; 3] = [Self::Query, Self::Bearer, Self::Subprotocol];
}

/// How the server closed a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code; none when the connection was cut or closed without one.
    pub code: Option<u16>,
    /// The reason given with it, or why the connection was cut.
    pub reason: String,
}

/// One audio frame with its place, for those who count themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioFrame<'a> {
    /// Counts up by one per speaker.
    pub sequence: u64,
    /// Ms after the speaker's first audio.
    pub timestamp_ms: u64,
    /// Whose voice.
    pub speaker: Speaker,
    /// Mu-law at 8 kHz: 80 to 8,000 bytes.
    pub mulaw: &'a [u8],
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// An open stream. [`Stream::split`] makes two halves of it that can be used at the same time.
#[derive(Debug)]
pub struct Stream {
    sender: StreamSender,
    receiver: StreamReceiver,
}

/// The half that sends.
#[derive(Debug)]
pub struct StreamSender {
    sink: SplitSink<Socket, Message>,
    /// Next sequence number and timestamp of each speaker.
    next: [(u64, u64); 2],
}

/// The half that receives. Pings are answered while it is being read.
#[derive(Debug)]
pub struct StreamReceiver {
    stream: SplitStream<Socket>,
    close: Option<Close>,
}

impl Stream {
    /// Joins the session of `url` (a session's `stream.url`), as one party or, with no `speaker`, as both.
    ///
    /// # Errors
    /// No connection, or the server's refusal before the upgrade.
    pub async fn connect(
        url: &str,
        token: &str,
        placement: TokenPlacement,
        speaker: Option<Speaker>,
    ) -> Result<Self, ConnectError> {
        let address = |reason: String| ConnectError::Address { reason };
        let mut url = Url::parse(url).map_err(|error| address(format!("`{url}`: {error}")))?;
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        if placement == TokenPlacement::Query {
            url.query_pairs_mut().append_pair("token", token);
        }
        if let Some(speaker) = speaker {
            url.query_pairs_mut().append_pair("speaker", speaker.as_str());
        }
        let mut request = url.as_str().into_client_request().map_err(|error| address(error.to_string()))?;
        // The value of a refused header is not shown: it has the token in it.
        let header = |text: String| {
            let mut value =
                HeaderValue::from_str(&text).map_err(|_| address("the token has characters that none has".into()))?;
            value.set_sensitive(true);
            Ok::<_, ConnectError>(value)
        };
        match placement {
            TokenPlacement::Query => {}
            TokenPlacement::Bearer => {
                request.headers_mut().insert(AUTHORIZATION, header(format!("Bearer {token}"))?);
            }
            TokenPlacement::Subprotocol => {
                request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, header(format!("{PROTOCOL}, {token}"))?);
            }
        }
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        install_tls();
        // Nagle's algorithm would hold 20 ms frames back.
        let connecting = connect_async_with_config(request, Some(config), true);
        let (socket, _) = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(SocketError::Http(response))) => {
                let body = response.body().as_deref().unwrap_or_default();
                return Err(ApiError::of(response.status().as_u16(), body).into());
            }
            Ok(Err(error)) => return Err(ConnectError::Unreachable { host, reason: deepest(&error) }),
            Err(_) => {
                let reason = format!("nothing came for {} s", CONNECT_TIMEOUT.as_secs());
                return Err(ConnectError::Unreachable { host, reason });
            }
        };
        let (sink, stream) = socket.split();
        Ok(Self { sender: StreamSender { sink, next: [(1, 0); 2] }, receiver: StreamReceiver { stream, close: None } })
    }

    /// Two halves, each usable on its own.
    pub fn split(self) -> (StreamSender, StreamReceiver) {
        (self.sender, self.receiver)
    }

    /// See [`StreamSender::send_audio`].
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_audio(&mut self, speaker: Speaker, mulaw: &[u8]) -> Result<(), Close> {
        self.sender.send_audio(speaker, mulaw).await
    }

    /// See [`StreamSender::send_frame`].
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_frame(&mut self, frame: AudioFrame<'_>) -> Result<(), Close> {
        self.sender.send_frame(frame).await
    }

    /// See [`StreamSender::send_raw`].
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_raw(&mut self, message: impl Into<Message> + Send) -> Result<(), Close> {
        self.sender.send_raw(message).await
    }

    /// See [`StreamSender::ping`].
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn ping(&mut self) -> Result<(), Close> {
        self.sender.ping().await
    }

    /// See [`StreamSender::end`].
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn end(&mut self) -> Result<(), Close> {
        self.sender.end().await
    }

    /// See [`StreamReceiver::next`].
    pub async fn next(&mut self) -> Option<ServerMessage> {
        self.receiver.next().await
    }

    /// See [`StreamReceiver::closed`].
    pub fn closed(&self) -> Option<&Close> {
        self.receiver.closed()
    }

    /// Reads on until the server has closed, and says how.
    pub async fn wait_closed(&mut self) -> Close {
        while self.next().await.is_some() {}
        self.closed().cloned().unwrap_or(Close { code: None, reason: String::new() })
    }
}

impl StreamSender {
    /// Sends the next audio of a party, counted here: sequence from 1, time from the bytes sent before.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_audio(&mut self, speaker: Speaker, mulaw: &[u8]) -> Result<(), Close> {
        let (sequence, samples) = self.next[speaker.index()];
        self.next[speaker.index()] = (sequence + 1, samples + mulaw.len() as u64);
        self.send_frame(AudioFrame { sequence, timestamp_ms: samples / 8, speaker, mulaw }).await
    }

    /// Sends one audio frame as it is given.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_frame(&mut self, frame: AudioFrame<'_>) -> Result<(), Close> {
        let AudioFrame { sequence, timestamp_ms, speaker, mulaw } = frame;
        // All that is put in are numbers, fixed names and base64, so nothing needs escaping.
        let mut text = format!(
            r#"{{"type":"audio.input","sequence":{sequence},"timestamp_ms":{timestamp_ms},"speaker":"{speaker}","audio":{{"encoding":"mulaw","sample_rate_hz":8000,"payload":""#
        );
        BASE64.encode_string(mulaw, &mut text);
        text.push_str("\"}}");
        self.send_raw(text).await
    }

    /// Sends any frame: a text, bytes, or a control frame.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn send_raw(&mut self, message: impl Into<Message> + Send) -> Result<(), Close> {
        self.sink.send(message.into()).await.map_err(|error| Close { code: None, reason: deepest(&error) })
    }

    /// Asks for a pong.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn ping(&mut self) -> Result<(), Close> {
        self.send_raw(r#"{"type":"ping"}"#).await
    }

    /// Asks for the session's end.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn end(&mut self) -> Result<(), Close> {
        self.send_raw(r#"{"type":"session.end"}"#).await
    }

    /// Closes this socket; the session goes on.
    ///
    /// # Errors
    /// It was closed already.
    pub async fn close(&mut self) -> Result<(), Close> {
        self.send_raw(Message::Close(None)).await
    }
}

impl StreamReceiver {
    /// The next message; none once the stream is closed, then [`Self::closed`] says how.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Some(ServerMessage::parse(text.as_str())),
                Some(Ok(Message::Binary(bytes))) => {
                    return Some(ServerMessage::Garbage(format!("{} bytes", bytes.len())));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.close.get_or_insert(Close {
                        code: frame.as_ref().map(|frame| u16::from(frame.code)),
                        reason: frame.map(|frame| frame.reason.as_str().to_owned()).unwrap_or_default(),
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    self.close.get_or_insert(Close { code: None, reason: deepest(&error) });
                    return None;
                }
                None => {
                    self.close.get_or_insert(Close { code: None, reason: "the connection was closed".into() });
                    return None;
                }
            }
        }
    }

    /// How the server closed; none while it is open or not read to its end.
    pub fn closed(&self) -> Option<&Close> {
        self.close.as_ref()
    }
}

impl std::fmt::Display for Close {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.reason.as_str()) {
            (Some(code), "") => write!(f, "closed with {code}"),
            (Some(code), reason) => write!(f, "closed with {code}: {reason}"),
            (None, "") => f.write_str("closed"),
            (None, reason) => write!(f, "cut: {reason}"),
        }
    }
}

impl std::error::Error for Close {}
