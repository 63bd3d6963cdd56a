//! Frames as they are on the wire, made once and patched per send, so that the generator costs as little as it can.
//!
//! What must stay true: a passed-on frame carries the number that was put into its first samples. They are the quietest codes of
//! mu-law, which decode and encode to themselves, so that the voice activity detector hears nothing of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kallglot_core::session::Speaker;
use memchr::memmem;

/// Samples of one frame: 20 ms.
pub(crate) const FRAME_SAMPLES: usize = 160;
/// Samples that carry the frame's number, 4 bits each; 8 characters of Base64.
const MARKER_SAMPLES: usize = 6;
const MARKER_CHARS: usize = MARKER_SAMPLES / 3 * 4;
/// The first number that a frame is given: all numbers have the same width.
const FIRST_SEQUENCE: u32 = 1_000_000;
const FIRST_TIMESTAMP_MS: u64 = 1_000_000_000;
/// Bytes of the WebSocket header before a client's message of 126 to 65,535 bytes.
const HEADER_BYTES: usize = 8;

/// A client's message whose numbers and audio are patched in place.
pub(crate) struct Template {
    bytes: Vec<u8>,
    sequence_at: usize,
    timestamp_at: usize,
    payload_at: usize,
}

impl Template {
    /// A message of `speaker`.
    pub(crate) fn new(speaker: Speaker) -> Self {
        let payload = "A".repeat((FRAME_SAMPLES * 4).div_ceil(3).next_multiple_of(4));
        let text = format!(
            r#"{{"type":"audio.input","sequence":{FIRST_SEQUENCE},"timestamp_ms":{FIRST_TIMESTAMP_MS},"speaker":"{speaker}","audio":{{"encoding":"mulaw","sample_rate_hz":8000,"payload":"{payload}"}}}}"#
        );
        let at = |needle: &str| HEADER_BYTES + text.find(needle).map_or(0, |at| at + needle.len());
        let (sequence_at, timestamp_at) = (at(r#""sequence":"#), at(r#""timestamp_ms":"#));
        let payload_at = at(r#""payload":""#);
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
        // A mask of zeros is a mask, and leaves the text as it is.
        let mut bytes = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        bytes.extend_from_slice(text.as_bytes());
        Self { bytes, sequence_at, timestamp_at, payload_at }
    }

    /// The message with this frame's number and audio (Base64 of a whole frame).
    pub(crate) fn message(&mut self, frame: u32, audio: &[u8]) -> &[u8] {
        decimal(&mut self.bytes[self.sequence_at..][..7], u64::from(FIRST_SEQUENCE + frame));
        decimal(&mut self.bytes[self.timestamp_at..][..10], FIRST_TIMESTAMP_MS + u64::from(frame) * 20);
        self.bytes[self.payload_at..][..audio.len()].copy_from_slice(audio);
        let mut marker = [0u8; MARKER_SAMPLES];
        for (place, code) in marker.iter_mut().enumerate() {
            *code = 0xf0 | (frame >> (4 * place)) as u8 & 0x0f;
        }
        // Six bytes are eight characters; the slice is exactly that long.
        let _ = BASE64.encode_slice(marker, &mut self.bytes[self.payload_at..][..MARKER_CHARS]);
        &self.bytes
    }
}

fn decimal(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// What a server's message is to the measurement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The customer's own frame of this number.
    Own(u32),
    /// Translated speech.
    Speech,
    /// A final text.
    Final,
    /// An error, by its code; `audio_dropped` says how much.
    Error(String),
    /// Anything else.
    Other,
}

/// Reads a server's message, just as far as is needed.
pub(crate) fn heard(text: &[u8]) -> Heard {
    // An echo brings the message itself; the agent's are of no interest then.
    let own = if text.starts_with(br#"{"type":"audio.input""#) {
        memmem::find(text, br#""speaker":"customer""#).is_some()
    } else if text.starts_with(br#"{"type":"audio.output""#) {
        if memmem::find(&text[..text.len().min(220)], br#""translation_of":null"#).is_none() {
            return Heard::Speech;
        }
        true
    } else if text.starts_with(br#"{"type":"transcript.final""#) {
        return Heard::Final;
    } else if text.starts_with(br#"{"type":"session.error""#) {
        let code = serde_json::from_slice::<serde_json::Value>(text).ok();
        return Heard::Error(code.and_then(|v| v["code"].as_str().map(str::to_owned)).unwrap_or_default());
    } else {
        false
    };
    let payload = memmem::find(text, br#""payload":""#).map(|at| at + br#""payload":""#.len());
    match payload.and_then(|at| text.get(at..at + MARKER_CHARS)) {
        Some(marker) if own => number(marker).map_or(Heard::Other, Heard::Own),
        _ => Heard::Other,
    }
}

fn number(marker: &[u8]) -> Option<u32> {
    let mut codes = [0u8; MARKER_SAMPLES];
    BASE64.decode_slice(marker, &mut codes).ok()?;
    codes.iter().all(|code| *code >= 0xf0).then(|| {
        codes.iter().enumerate().fold(0, |number, (place, code)| number | u32::from(code & 0x0f) << (4 * place))
    })
}

/// One frame from a server.
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes that it took, its header included.
    pub(crate) length: usize,
}

/// The first whole frame of what was received; a server's frames are not masked.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, header) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?, 10),
        length => (usize::from(length), 2),
    };
    let payload = bytes.get(header..)?.get(..length)?;
    Some(Frame { opcode: first & 0x0f, payload, length: header + length })
}

/// A voice with pauses as Base64 frames: `turns` of (voice, silence) in ms, over and over.
pub(crate) fn speech(turns: &[(usize, usize)]) -> Vec<Vec<u8>> {
    let mut mulaw = Vec::new();
    for &(voice_ms, silence_ms) in turns {
        kallglot_audio::g711::encode_mulaw_into(&kallglot_audio::fake_voice::voice(voice_ms), &mut mulaw);
        mulaw.extend(std::iter::repeat_n(kallglot_audio::g711::MULAW_SILENCE, silence_ms * 8));
    }
    mulaw.chunks_exact(FRAME_SAMPLES).map(|frame| BASE64.encode(frame).into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_brings_its_number_back() {
        let audio = speech(&[(200, 100)]);
        let mut template = Template::new(Speaker::Customer);
        for number in [0, 1, 15, 16, 3_999, 1_234_567] {
            let message = template.message(number, &audio[3]).to_vec();
            assert_eq!(heard(&message[HEADER_BYTES..]), Heard::Own(number));
            let json: serde_json::Value = serde_json::from_slice(&message[HEADER_BYTES..]).unwrap();
            assert_eq!(json["sequence"], 1_000_000 + number);
            let mulaw = BASE64.decode(json["audio"]["payload"].as_str().unwrap()).unwrap();
            assert_eq!(mulaw.len(), FRAME_SAMPLES);
            // What the server passes on.
            let mut linear = Vec::new();
            kallglot_audio::g711::decode_mulaw_into(&mulaw, &mut linear);
            let mut again = Vec::new();
            kallglot_audio::g711::encode_mulaw_into(&linear, &mut again);
            let passed = format!(
                r#"{{"type":"audio.output","translation_of":null,"audio":{{"payload":"{}"}}}}"#,
                BASE64.encode(&again)
            );
            assert_eq!(heard(passed.as_bytes()), Heard::Own(number));
        }
    }

    #[test]
    fn frames_are_cut_from_a_stream_of_bytes() {
        let mut bytes = vec![0x81, 3, b'a', b'b', b'c', 0x81, 126, 0, 200];
        assert!(matches!(frame(&bytes), Some(Frame { opcode: 1, payload: b"abc", length: 5 })));
        assert!(frame(&bytes[5..]).is_none());
        bytes.extend([b'x'; 200]);
        assert_eq!(frame(&bytes[5..]).unwrap().length, 204);
        assert!(frame(&bytes[..1]).is_none());
    }
}
