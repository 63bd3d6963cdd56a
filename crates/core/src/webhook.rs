//! Webhook signatures (contract section 13): endpoints' secrets, and the two schemes by which a receiver knows that a delivery is ours.
//!
//! Both sign with HMAC-SHA-256 and the same secret, `whsec_` and base64, but not with the same bytes of it:
//!
//! | scheme | headers | the HMAC's key | what is signed |
//! | --- | --- | --- | --- |
//! | Kallglot | `Kallglot-Signature: t=<unix>,v1=<hex>` | the secret's whole text, `whsec_` and all, as it is shown | `{t}.{body}` |
//! | [Standard Webhooks](https://www.standardwebhooks.com) | `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64>` | the bytes that stand after `whsec_` in base64 | `{id}.{timestamp}.{body}` |
//!
//! The first is what a receiver writes in five lines with the secret out of its settings; the second is what that specification's
//! libraries do. While a secret is being rotated, each header has a signature for every secret that is valid, the newest first: a
//! receiver accepts what one of its secrets fits.
//!
//! What must stay true: a secret has no `Debug`; signatures are compared in constant time; what is signed is the body's bytes as they are sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::random::{self, RandomSource};

/// What every secret starts with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Random bytes of a new secret: as many as SHA-256 gives.
const SECRET_BYTES: usize = 32;
/// Bytes that a secret may have (Standard Webhooks, "Signature scheme").
const SECRET_BYTES_RANGE: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a signature's time may be from the receiver's clock, either way.
pub const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// Signatures that are looked at in one header; more are none of ours.
const SIGNATURES_MAX: usize = 16;
/// Block of SHA-256.
const BLOCK_BYTES: usize = 64;

/// The headers of a delivery, in the order in which [`Signed::headers`] gives them.
pub const HEADERS: [&str; 4] = ["webhook-id", "webhook-timestamp", "webhook-signature", "kallglot-signature"];

/// The secret of a webhook endpoint. It has no `Debug` and no `Display`, so it can't get into a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Box<str>);

/// The text is not a webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a webhook secret: `whsec_` and the base64 of 24 to 64 bytes")]
pub struct InvalidWebhookSecret;

impl WebhookSecret {
    /// A new secret.
    pub fn new(random: &dyn RandomSource) -> Self {
        Self(format!("{SECRET_PREFIX}{}", STANDARD.encode(random::bytes::<SECRET_BYTES>(random))).into())
    }

    /// Reads a secret as it was shown.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(text: &str) -> Result<Self, InvalidWebhookSecret> {
        let secret = Self(text.into());
        if text.starts_with(SECRET_PREFIX) && SECRET_BYTES_RANGE.contains(&secret.bytes().len()) {
            Ok(secret)
        } else {
            Err(InvalidWebhookSecret)
        }
    }

    /// The secret in clear: to show it to its owner once, and to store it sealed.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The bytes behind the text. None for what [`Self::parse`] would refuse.
    fn bytes(&self) -> Vec<u8> {
        let base64 = self.0.strip_prefix(SECRET_PREFIX).unwrap_or_default();
        STANDARD.decode(base64).unwrap_or_default()
    }

    fn kallglot(&self, at_s: i64, body: &[u8]) -> [u8; 32] {
        tag(self.0.as_bytes(), &[at_s.to_string().as_bytes(), b".", body])
    }

    fn standard(&self, id: &str, at_s: i64, body: &[u8]) -> [u8; 32] {
        tag(&self.bytes(), &[id.as_bytes(), b".", at_s.to_string().as_bytes(), b".", body])
    }
}

/// HMAC-SHA-256 (RFC 2104) of `parts`, one after the other.
fn tag(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    // As the definition has it: a longer key is hashed first, a shorter one is padded with zeros.
    if key.len() > BLOCK_BYTES {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let mut mac = Hmac::<Sha256>::new(&block);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// What proves one attempt of a delivery: the values of its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// `webhook-id`: the event's id, the same in every attempt, so that a receiver can tell a repetition.
    pub id: String,
    /// `webhook-timestamp`: when this attempt was made, in Unix seconds.
    pub timestamp: String,
    /// `webhook-signature`.
    pub standard: String,
    /// `kallglot-signature`.
    pub kallglot: String,
}

impl Signed {
    /// The headers and their values.
    pub fn headers(&self) -> [(&'static str, &str); 4] {
        let [id, timestamp, standard, kallglot] = HEADERS;
        [(id, &self.id), (timestamp, &self.timestamp), (standard, &self.standard), (kallglot, &self.kallglot)]
    }
}

/// Signs one attempt at `at` to deliver `body`, which is sent byte for byte, with every secret that is valid then, the newest first.
pub fn sign<'a>(secrets: impl IntoIterator<Item = &'a WebhookSecret>, id: &str, at: Timestamp, body: &[u8]) -> Signed {
    let at_s = at.as_second();
    let mut kallglot = format!("t={at_s}");
    let mut standard = Vec::new();
    for secret in secrets {
        kallglot.push_str(",v1=");
        kallglot.push_str(&hex(&secret.kallglot(at_s, body)));
        standard.push(format!("v1,{}", STANDARD.encode(secret.standard(id, at_s, body))));
    }
    Signed { id: id.to_owned(), timestamp: at_s.to_string(), standard: standard.join(" "), kallglot }
}

/// Why a delivery is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// The header is not of its form.
    #[error("the signature's header can't be read")]
    Malformed,
    /// Its time is too far from now: a delivery that was recorded and sent again.
    #[error("the signature's time is more than 5 minutes away")]
    Time,
    /// No signature fits the secret and the body.
    #[error("no signature fits")]
    Signature,
}

/// Checks `Kallglot-Signature` as a receiver does, at `now`.
///
/// # Errors
/// The delivery is not to be believed.
pub fn verify_kallglot(secret: &WebhookSecret, header: &str, body: &[u8], now: Timestamp) -> Result<(), Unproven> {
    let mut at_s = None;
    let mut given = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", text)) if at_s.is_none() => at_s = Some(time(text, now)?),
            Some(("v1", text)) if given.len() < SIGNATURES_MAX => given.extend(unhex(text)),
            // A later version's signature is not ours to judge.
            Some(_) => {}
            None => return Err(Unproven::Malformed),
        }
    }
    let expected = secret.kallglot(at_s.ok_or(Unproven::Malformed)?, body);
    any_fits(&given, &expected)
}

/// Checks the headers of Standard Webhooks as a receiver does, at `now`.
///
/// # Errors
/// The delivery is not to be believed.
pub fn verify_standard(
    secret: &WebhookSecret,
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Unproven> {
    let at_s = time(timestamp, now)?;
    let given: Vec<[u8; 32]> = signature
        .split(' ')
        .take(SIGNATURES_MAX)
        .filter_map(|one| one.strip_prefix("v1,"))
        .filter_map(|base64| STANDARD.decode(base64).ok()?.try_into().ok())
        .collect();
    any_fits(&given, &secret.standard(id, at_s, body))
}

fn any_fits(given: &[[u8; 32]], expected: &[u8; 32]) -> Result<(), Unproven> {
    use subtle::{Choice, ConstantTimeEq as _};
    let fits = given.iter().fold(Choice::from(0), |fits, one| fits | one.ct_eq(expected));
    if bool::from(fits) { Ok(()) } else { Err(Unproven::Signature) }
}

fn time(text: &str, now: Timestamp) -> Result<i64, Unproven> {
    // Only digits, since the text of what was signed must be the text that was sent.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) || (text.len() > 1 && text.starts_with('0')) {
        return Err(Unproven::Malformed);
    }
    let at_s: i64 = text.parse().map_err(|_| Unproven::Malformed)?;
    if at_s.abs_diff(now.as_second()) > TOLERANCE.as_secs().unsigned_abs() {
        return Err(Unproven::Time);
    }
    Ok(at_s)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed(u8);
    impl RandomSource for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    /// The example that the Standard Webhooks libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT_S: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn secret() -> WebhookSecret {
        WebhookSecret::parse(SECRET).unwrap()
    }

    fn standard(signed: &Signed, secret: &WebhookSecret, body: &[u8], now: Timestamp) -> Result<(), Unproven> {
        verify_standard(secret, &signed.id, &signed.timestamp, &signed.standard, body, now)
    }

    #[test]
    fn the_standards_example_comes_out() {
        let signed = sign([&secret()], ID, at(AT_S), BODY);
        assert_eq!(signed.standard, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        // Computed with Python's hmac from the secret's whole text.
        let hex = "2e37df5d4a028c51a7f3133d64ae1e300d2c2c900f1b1d49d4369ad2530f8964";
        assert_eq!(signed.kallglot, format!("t={AT_S},v1={hex}"));
    }

    #[test]
    fn a_key_longer_than_a_block_is_hashed_first() {
        // RFC 4231, test case 6.
        let tag = tag(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(tag[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    }

    #[test]
    fn while_a_secret_is_rotated_both_fit() {
        let (old, new) = (WebhookSecret::new(&Fixed(1)), WebhookSecret::new(&Fixed(2)));
        let signed = sign([&new, &old], ID, at(AT_S), BODY);
        assert_eq!((signed.kallglot.matches("v1=").count(), signed.standard.matches("v1,").count()), (2, 2));
        for secret in [&old, &new] {
            assert_eq!(verify_kallglot(secret, &signed.kallglot, BODY, at(AT_S)), Ok(()));
            assert_eq!(standard(&signed, secret, BODY, at(AT_S)), Ok(()));
        }
        let other = WebhookSecret::new(&Fixed(3));
        assert_eq!(verify_kallglot(&other, &signed.kallglot, BODY, at(AT_S)), Err(Unproven::Signature));
        assert_eq!(standard(&signed, &other, BODY, at(AT_S)), Err(Unproven::Signature));
    }

    #[test]
    fn what_is_changed_or_late_is_refused() {
        let signed = sign([&secret()], ID, at(AT_S), BODY);
        let tampered = br#"{"test": 2432232315}"#;
        assert_eq!(verify_kallglot(&secret(), &signed.kallglot, tampered, at(AT_S)), Err(Unproven::Signature));
        assert_eq!(standard(&signed, &secret(), tampered, at(AT_S)), Err(Unproven::Signature));
        let other_id = Signed { id: "evt_2".into(), ..signed.clone() };
        assert_eq!(standard(&other_id, &secret(), BODY, at(AT_S)), Err(Unproven::Signature));
        for (now, expected) in [(AT_S + 300, Ok(())), (AT_S - 300, Ok(()))] {
            assert_eq!(verify_kallglot(&secret(), &signed.kallglot, BODY, at(now)), expected);
        }
        for now in [AT_S + 301, AT_S - 301] {
            assert_eq!(verify_kallglot(&secret(), &signed.kallglot, BODY, at(now)), Err(Unproven::Time));
            assert_eq!(standard(&signed, &secret(), BODY, at(now)), Err(Unproven::Time));
        }
        // A newer time needs another signature.
        let moved = signed.kallglot.replace(&AT_S.to_string(), &(AT_S + 1).to_string());
        assert_eq!(verify_kallglot(&secret(), &moved, BODY, at(AT_S)), Err(Unproven::Signature));
    }

    #[test]
    fn a_new_secret_is_what_the_standard_asks_for() {
        let secret = WebhookSecret::new(&Fixed(7));
        assert!(WebhookSecret::parse(secret.expose()).is_ok_and(|again| again == secret));
        assert_eq!(secret.bytes(), [7; SECRET_BYTES]);
        let of_23_bytes = format!("whsec_{}", STANDARD.encode([0; 23]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64", &of_23_bytes] {
            assert!(WebhookSecret::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_refused_without_a_panic(header in "(t=[0-9]{0,12})?(,v1=[0-9a-f]{0,64}){0,3}|\\PC{0,90}") {
            prop_assert!(verify_kallglot(&secret(), &header, BODY, at(AT_S)).is_err());
            prop_assert!(verify_standard(&secret(), ID, &header, &header, BODY, at(AT_S)).is_err());
            let now = AT_S.to_string();
            prop_assert!(verify_standard(&secret(), ID, &now, &header, BODY, at(AT_S)).is_err());
        }

        #[test]
        fn what_is_signed_verifies_whatever_it_is(body: Vec<u8>, at_s in 0i64..100_000_000_000) {
            let signed = sign([&secret()], ID, at(at_s), &body);
            prop_assert_eq!(verify_kallglot(&secret(), &signed.kallglot, &body, at(at_s)), Ok(()));
            prop_assert_eq!(standard(&signed, &secret(), &body, at(at_s)), Ok(()));
        }
    }
}
