//! What fuzzers feed with arbitrary bytes: each function panics exactly when a promise of its module is broken.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use kallglot_app::request_log::{pack, unpack};
use kallglot_core::Timestamp;
use kallglot_core::api_key::{self, ALLOWED_NETWORKS_MAX};
use kallglot_core::edition::Edition;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{ApiKeyId, OrganizationId, RequestId};
use kallglot_core::organization::valid_name;
use kallglot_core::request_record::{RecordedLimits, RequestRecord};
use kallglot_core::session::{Environment, Tenant};

use crate::api_keys;
use crate::body::Fields;
use crate::gate::{Credential, credential};
use crate::problem::{MESSAGE_BYTES_MAX, PARAM_BYTES_MAX, Problem};
use crate::sessions::{self, METADATA_KEY_CHARS_MAX, METADATA_PAIRS_MAX, METADATA_VALUE_CHARS_MAX};
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

/// Keys with a right checksum; nobody has them.
const KEYS: [&str; 2] =
    ["sk_live_Fuzz0Fuzz0Fuzz0Fuzz0Fuzz0Fuzz01zxKIk", "sk_test_Fuzz1Fuzz1Fuzz1Fuzz1Fuzz1Fuzz10rc6le"];

/// Takes the bytes for the headers of a request, a line each: its first byte says which header, a byte 1 or 2 in the rest stands for a key
/// that could be somebody's. Whatever they are, a key is let in only if all credentials are that key.
pub fn credential_headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(16) {
        let Some((which, rest)) = line.split_first() else { continue };
        let name = match which % 4 {
            0 | 1 => header::AUTHORIZATION,
            2 => HeaderName::from_static("x-api-key"),
            _ => header::COOKIE,
        };
        let mut value = Vec::with_capacity(rest.len());
        for byte in rest {
            match byte {
                1 | 2 => value.extend_from_slice(KEYS[usize::from(byte - 1)].as_bytes()),
                byte => value.push(*byte),
            }
        }
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(name, value);
        }
    }
    let holds = |value: &HeaderValue, key: &str| value.to_str().is_ok_and(|text| text.trim() == key);
    let bears = |value: &HeaderValue, key: &str| {
        let parts = value.to_str().ok().and_then(|text| text.split_once(' '));
        parts.is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.trim() == key)
    };
    let all_are = |key: &str| {
        headers.get_all(header::AUTHORIZATION).iter().all(|value| bears(value, key))
            && headers.get_all("x-api-key").iter().all(|value| holds(value, key))
    };
    match credential(&headers) {
        Ok(Credential::Key(secret)) => {
            assert!(api_key::parse(secret.expose()).is_ok());
            assert!(all_are(secret.expose()), "a key is let in beside something else: {headers:?}");
            assert!(headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key"));
        }
        Ok(Credential::None(message) | Credential::Malformed(message)) => assert!(!message.is_empty()),
        Err(problem) => {
            refusal(&problem, &[ErrorCode::InvalidRequest]);
        }
    }
    let mut alone = HeaderMap::new();
    for (name, value) in &headers {
        // Of headers with the same value several times, each once: those may be sent so.
        if !alone.get_all(name).iter().any(|known| known == value) {
            alone.append(name.clone(), value.clone());
        }
    }
    let is_key = |headers: &HeaderMap| matches!(credential(headers), Ok(Credential::Key(_)));
    assert_eq!(is_key(&headers), is_key(&alone), "{headers:?}");
    let once = headers.keys_len() == headers.len();
    for key in KEYS {
        let any = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key");
        assert!(is_key(&headers) || !(once && any && all_are(key)), "a right key is refused: {headers:?}");
    }
}

/// What a refusal must be.
fn refusal(problem: &Problem, codes: &[ErrorCode]) {
    assert!(codes.contains(&problem.code), "{problem:?}");
    assert!((1..=MESSAGE_BYTES_MAX).contains(&problem.message.len()), "{} bytes: {problem:?}", problem.message.len());
    let param_bytes = problem.param.as_ref().map_or(0, String::len);
    assert!(param_bytes <= PARAM_BYTES_MAX, "{param_bytes} bytes: {problem:?}");
}

/// Reads the bytes but the first as the body of a request for a session, in the edition that the first says.
pub fn session_body(bytes: &[u8]) {
    const CODES: &[ErrorCode] = &[
        ErrorCode::InvalidRequest,
        ErrorCode::ValidationFailed,
        ErrorCode::ProviderFieldNotAllowed,
        ErrorCode::AgentNotFound,
    ];
    let Some((edition, body)) = bytes.split_first() else { return };
    let edition = if edition % 2 == 0 { Edition::Two } else { Edition::One };
    let fields = match Fields::read(body) {
        Ok(fields) => fields,
        Err(problem) => return refusal(&problem, CODES),
    };
    let fingerprint = |path| fields.fingerprint("POST", path);
    assert_eq!(fingerprint("/v1/sessions"), fingerprint("/v1/sessions"));
    assert_ne!(fingerprint("/v1/sessions"), fingerprint("/v1/session"));
    match sessions::read_create(fields, edition) {
        Ok(asked) => {
            let chars = |text: &String| text.chars().count();
            assert!(asked.metadata.len() <= METADATA_PAIRS_MAX);
            assert!(asked.metadata.keys().all(|name| (1..=METADATA_KEY_CHARS_MAX).contains(&chars(name))));
            assert!(asked.metadata.values().all(|value| chars(value) <= METADATA_VALUE_CHARS_MAX));
            assert!(asked.voice.is_none_or(|voice| !voice.is_empty()));
            assert_eq!(asked.vocabulary.validate(), Ok(()));
            assert!(edition == Edition::Two || (asked.source_language.is_some() && asked.target_language.is_some()));
        }
        Err(problem) => refusal(&problem, CODES),
    }
}

/// Reads the bytes as the body of a request for a key, and of a change to one.
pub fn key_body(bytes: &[u8]) {
    const CODES: &[ErrorCode] = &[ErrorCode::InvalidRequest, ErrorCode::ValidationFailed];
    let Ok(now) = Timestamp::from_second(1_800_000_000) else { return };
    match Fields::read(bytes).and_then(|fields| api_keys::read_create(fields, now)) {
        Ok(asked) => {
            assert!(valid_name(&asked.name));
            assert!(asked.permissions.is_none_or(|permissions| !permissions.is_empty()));
            assert!(asked.expires_at.is_none_or(|at| at > now));
            let networks = asked.allowed_networks.unwrap_or_default();
            assert!(networks.len() <= ALLOWED_NETWORKS_MAX);
            assert!(
                networks.iter().all(|network| network.addr() == network.network()),
                "bits beyond the prefix: {networks:?}"
            );
            assert!(asked.requests_per_minute_max != Some(0));
        }
        Err(problem) => refusal(&problem, CODES),
    }
    match Fields::read(bytes).and_then(|fields| api_keys::read_update(fields, now)) {
        Ok(update) => {
            assert!(update.name.is_none_or(|name| valid_name(&name)));
            assert!(update.permissions.is_none_or(|permissions| !permissions.is_empty()));
            assert!(update.expires_at.flatten().is_none_or(|at| at > now));
            assert!(update.allowed_networks.is_none_or(|networks| networks.len() <= ALLOWED_NETWORKS_MAX));
            assert!(update.requests_per_minute_max.flatten() != Some(0));
        }
        Err(problem) => refusal(&problem, CODES),
    }
}

/// Reads the bytes as a block of the request log; then takes them for changes to a real one: place and new byte, two bytes each.
pub fn request_block(bytes: &[u8]) {
    let tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live };
    let Ok(at) = Timestamp::from_microsecond(1_800_000_000_000_000) else { return };
    let record = |number: u32| RequestRecord {
        id: RequestId::from_bits(u128::from(number) << 80),
        tenant,
        key: ApiKeyId::from_bits(7),
        old_secret: false,
        at,
        method: "POST".into(),
        route: "/v1/sessions/{id}/end".into(),
        status: 429,
        code: Some("rate_limit_exceeded".into()),
        latency_us: 180,
        address: [192, 0, 2, 1].into(),
        edition: Edition::Two,
        param: number.is_multiple_of(2).then(|| "metadata.é".into()),
        limits: Some(RecordedLimits {
            rate_limit: 600,
            rate_remaining: number,
            rate_resets_at_s: 1_800_000_060,
            rate_of_key: false,
            credits_remaining: 12,
            sessions: Some((50, 50)),
        }),
    };
    let records = [record(1), record(2), record(3)];
    let mut block = pack(&records.iter().collect::<Vec<_>>());
    assert_eq!(unpack(tenant, &block).as_deref(), Ok(&records[..]));
    for &[place, byte] in bytes.as_chunks::<2>().0 {
        let place = usize::from(place) % block.len();
        block[place] = byte;
    }
    for block in [bytes, &block] {
        if let Ok(read) = unpack(tenant, block) {
            let again = pack(&read.iter().collect::<Vec<_>>());
            assert_eq!(unpack(tenant, &again), Ok(read), "what can be read can be packed again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_all_places_break_no_promise() {
        let values: [&[u8]; 9] = [
            b"Bearer \x01",
            b"bEARER  \x01 ",
            b"\x01",
            b"Bearer \x02",
            b" \x02\t",
            b"Basic \x01",
            b"Bearer ",
            b"\xff",
            b"",
        ];
        for number in 0..values.len().pow(3) {
            let value = |digit: u32| values[number / values.len().pow(digit) % values.len()];
            for which in [[0, 2, 3], [0, 0, 2], [0, 2, 2], [2, 2, 0]] {
                let line = |place: usize| [&[which[place]], value(place as u32)].concat();
                credential_headers(&[line(0), line(1), line(2)].join(&b'\n'));
            }
        }
        assert!(KEYS.iter().all(|key| api_key::parse(key).is_ok()), "the keys are sound");
    }

    #[test]
    fn near_bodies_break_no_promise() {
        let session = r#"{"mode":"assistive_translation","source_language":"en","routing":{"type":"sip","sip":{"headers":{"X-a":"1"}}},"vocabulary":{"es":{"words":["a"]}},"metadata":{"a":"b"},"audio":{"channels":1}}"#;
        let key = r#"{"name":"a","permissions":["sessions:read"],"allowed_ips":["::1/64"],"expires_at":"2030-01-01T00:00:00Z","edition":1}"#;
        for (body, feed) in [(session, session_body as fn(&[u8])), (session, key_body), (key, key_body)] {
            feed(&[b"0", body.as_bytes()].concat());
            feed(body.as_bytes());
            for place in 0..body.len() {
                for byte in *b"\"\\{}[],:0-.eE\x00\xff" {
                    let mut changed = [b"1", body.as_bytes()].concat();
                    changed[place + 1] = byte;
                    feed(&changed);
                    feed(&changed[1..]);
                }
            }
        }
    }

    #[test]
    fn names_and_values_are_not_sent_back_at_length() {
        for long in ["x".repeat(200_000), "\u{1f600}".repeat(50_000)] {
            for body in [
                format!(r#"{{"{long}":1}}"#),
                format!(r#"{{"mode":"assistive_translation","metadata":{{"{long}":1}}}}"#),
                format!(r#"{{"mode":"assistive_translation","vocabulary":{{"{long}":1}}}}"#),
                format!(r#"{{"mode":"assistive_translation","agent_id":"{long}"}}"#),
                format!(r#"{{"permissions":["{long}"]}}"#),
                format!(r#"{{"allowed_ips":["{long}"]}}"#),
            ] {
                session_body(format!("0{body}").as_bytes());
                key_body(body.as_bytes());
            }
        }
    }

    #[test]
    fn damaged_blocks_break_no_promise() {
        for place in 0..=u8::MAX {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                request_block(&[place, byte]);
                request_block(&[place, byte, place.wrapping_add(1), byte]);
            }
        }
    }

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
