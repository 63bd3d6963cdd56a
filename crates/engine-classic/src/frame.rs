//! The framing between the server and its worker processes: one kind byte, the payload's length in bytes as a
//! little-endian `u32`, the payload. Control frames hold JSON (see [`crate::protocol`]), audio frames hold mono PCM as
//! little-endian `i16`.
//!
//! What must stay true: a stream cut anywhere decodes to the same frames; nothing that arrives can panic or make the decoder
//! hold more than one largest frame and one read.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes before the payload.
const HEADER_BYTES: usize = 5;
/// Largest payload. The largest thing sent is a vocabulary: 4,000 texts of 200 characters.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 8 << 20;

const KIND_CONTROL: u8 = 1;
const KIND_AUDIO: u8 = 2;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A JSON message.
    Control(Vec<u8>),
    /// Mono PCM.
    Audio(Vec<i16>),
}

/// The other side does not speak this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Garbled {
    #[error("unknown frame kind {0}")]
    Kind(u8),
    #[error("a frame of {0} bytes")]
    Size(usize),
    #[error("a control frame that is no message")]
    Message,
}

/// Appends a control frame.
pub(crate) fn put_control<M: Serialize>(out: &mut Vec<u8>, message: &M) {
    // The message types of this crate hold strings and numbers only, which always serialize.
    let payload = serde_json::to_vec(message).unwrap_or_default();
    put_header(out, KIND_CONTROL, payload.len());
    out.extend_from_slice(&payload);
}

/// Appends an audio frame.
pub(crate) fn put_audio(out: &mut Vec<u8>, samples: &[i16]) {
    put_header(out, KIND_AUDIO, samples.len() * 2);
    out.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
}

fn put_header(out: &mut Vec<u8>, kind: u8, payload_bytes: usize) {
    debug_assert!(payload_bytes <= PAYLOAD_BYTES_MAX);
    out.push(kind);
    // Bounded by the callers far below 4 GiB; a larger one would be refused by the other side as garbled.
    out.extend_from_slice(&u32::try_from(payload_bytes).unwrap_or(u32::MAX).to_le_bytes());
}

impl Frame {
    /// Reads a control frame's message; an audio frame is none.
    pub(crate) fn message<M: DeserializeOwned>(&self) -> Result<M, Garbled> {
        match self {
            Self::Control(json) => serde_json::from_slice(json).map_err(|_| Garbled::Message),
            Self::Audio(_) => Err(Garbled::Message),
        }
    }
}

/// Puts frames together from bytes as they arrive.
#[derive(Debug, Default)]
pub(crate) struct FrameDecoder {
    bytes: Vec<u8>,
    read: usize,
}

impl FrameDecoder {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Garbled> {
        let rest = &self.bytes[self.read..];
        let Some((header, body)) = rest.split_at_checked(HEADER_BYTES) else { return Ok(None) };
        let kind = header[0];
        if kind != KIND_CONTROL && kind != KIND_AUDIO {
            return Err(Garbled::Kind(kind));
        }
        let size = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if size > PAYLOAD_BYTES_MAX || (kind == KIND_AUDIO && !size.is_multiple_of(2)) {
            return Err(Garbled::Size(size));
        }
        let Some(payload) = body.get(..size) else { return Ok(None) };
        let frame = if kind == KIND_CONTROL {
            Frame::Control(payload.to_vec())
        } else {
            Frame::Audio(payload.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
        };
        self.read += HEADER_BYTES + size;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Vec<Frame>> {
        let control = any::<String>().prop_map(|text| Frame::Control(serde_json::to_vec(&text).unwrap()));
        let audio = proptest::collection::vec(any::<i16>(), 0..200).prop_map(Frame::Audio);
        proptest::collection::vec(prop_oneof![control, audio], 0..12)
    }

    fn encode(frames: &[Frame]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            match frame {
                Frame::Control(_) => put_control(&mut bytes, &frame.message::<String>().unwrap()),
                Frame::Audio(samples) => put_audio(&mut bytes, samples),
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn frames_survive_being_cut_anywhere(frames in frames(), cuts in proptest::collection::vec(1usize..64, 1..20)) {
            let bytes = encode(&frames);
            let mut decoder = FrameDecoder::default();
            let mut decoded = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    decoded.push(frame);
                }
                rest = after;
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn any_bytes_are_a_frame_or_an_error_or_not_enough(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = FrameDecoder::default();
            decoder.push(&bytes);
            for _ in 0..bytes.len() {
                match decoder.next() {
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break,
                }
            }
        }
    }

    #[test]
    fn too_large_a_frame_is_refused_before_it_is_read() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[KIND_CONTROL, 0xff, 0xff, 0xff, 0x7f]);
        assert_eq!(decoder.next(), Err(Garbled::Size(0x7fff_ffff)));
    }

    #[test]
    fn half_a_sample_is_refused() {
        let mut decoder = FrameDecoder::default();
        decoder.push(&[KIND_AUDIO, 3, 0, 0, 0, 1, 2, 3]);
        assert_eq!(decoder.next(), Err(Garbled::Size(3)));
    }
}
