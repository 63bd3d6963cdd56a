//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use crate::stream::wire::{self, Incoming, Refusal};

/// Most bytes of a refusal's message: what a client sends is not sent back to it at length.
const REFUSAL_BYTES_MAX: usize = 1_000;

/// Reads the bytes as a message of a stream's client.
pub fn stream_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match wire::read(text) {
        Ok(Incoming::Audio { mulaw, .. }) => {
            assert!(wire::FRAME_SAMPLES.contains(&mulaw.len()), "a frame of {} samples", mulaw.len());
        }
        Ok(Incoming::Ping | Incoming::End) => {}
        Err(Refusal::Malformed(message) | Refusal::Format(message)) => {
            assert!((1..=REFUSAL_BYTES_MAX).contains(&message.len()), "a refusal of {} bytes", message.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_messages_break_no_promise() {
        let message = r#"{"type":"audio.input","sequence":1,"timestamp_ms":0,"speaker":"customer","audio":{"encoding":"mulaw","sample_rate_hz":8000,"channels":1,"payload":"AAAA"}}"#;
        stream_message(message.as_bytes());
        // Each byte changed to each that means something in JSON, and the message cut there.
        for place in 0..message.len() {
            stream_message(&message.as_bytes()[..place]);
            for byte in *b"\"\\{}[],:0-.eE\x00\xff" {
                let mut changed = message.as_bytes().to_vec();
                changed[place] = byte;
                stream_message(&changed);
            }
        }
    }

    #[test]
    fn a_refusal_does_not_send_back_what_was_sent() {
        for value in [format!("\"{}\"", "x".repeat(60_000)), "[".repeat(60_000), "\u{1f600}".repeat(10_000)] {
            stream_message(format!(r#"{{"type":"audio.input","sequence":{value}}}"#).as_bytes());
            stream_message(format!(r#"{{"type":{value}}}"#).as_bytes());
            stream_message(value.as_bytes());
        }
    }
}
