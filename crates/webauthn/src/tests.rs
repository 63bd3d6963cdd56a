use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::fake::FakeAuthenticator;
use crate::{Assertion, Attestation, Invalid, NewCredential, PublicKey, RelyingParty, Verified};

const CHALLENGE: [u8; 32] = [1; 32];

fn party() -> RelyingParty {
    RelyingParty::of_url("https://portal.example.com/").unwrap()
}

fn make(authenticator: &mut FakeAuthenticator) -> Result<NewCredential, Invalid> {
    let options = party().creation_options(&CHALLENGE, b"usr_1", "ann@example.com", "Ann", &[]);
    let answer = Attestation::parse(&authenticator.create(&options).to_string())?;
    assert_eq!(answer.challenge(), Ok(CHALLENGE));
    answer.verify(&party(), &CHALLENGE)
}

fn answer(authenticator: &mut FakeAuthenticator) -> Value {
    authenticator.get(&party().request_options(&CHALLENGE, &[])).unwrap()
}

fn check(answer: &Value, credential: &NewCredential) -> Result<Verified, Invalid> {
    let key = PublicKey::parse(&credential.public_key).unwrap();
    Assertion::parse(&answer.to_string())?.verify(&party(), &CHALLENGE, &key, credential.backup_eligible)
}

#[test]
fn a_credential_that_was_made_lets_in() {
    let mut phone = FakeAuthenticator::new("https://portal.example.com");
    let credential = make(&mut phone).unwrap();
    assert_eq!((credential.id.len(), credential.sign_count, credential.backed_up), (32, 0, false));
    let answer = answer(&mut phone);
    let assertion = Assertion::parse(&answer.to_string()).unwrap();
    assert_eq!(assertion.credential_id, credential.id);
    assert_eq!(assertion.user_handle.as_deref(), Some(&b"usr_1"[..]));
    assert_eq!(check(&answer, &credential), Ok(Verified { sign_count: 1, backed_up: false }));
}

#[test]
fn nobody_gets_in_by_what_was_made_elsewhere_or_without_the_user() {
    type Change = fn(&mut FakeAuthenticator);
    let wrong: [(Change, Invalid); 6] = [
        (|it| it.origin = "https://portal.example.com.evil.example".into(), Invalid::Origin),
        (|it| it.origin = "http://portal.example.com".into(), Invalid::Origin),
        (|it| it.cross_origin = true, Invalid::Origin),
        (|it| it.relying_party = Some("example.com".into()), Invalid::RelyingParty),
        (|it| it.asks_for_presence = false, Invalid::NotPresent),
        (|it| it.verifies_user = false, Invalid::NotVerified),
    ];
    for (change, expected) in wrong {
        let mut phone = FakeAuthenticator::new("https://portal.example.com");
        let credential = make(&mut phone).unwrap();
        change(&mut phone);
        assert_eq!(check(&answer(&mut phone), &credential), Err(expected));
        assert_eq!(make(&mut phone), Err(expected));
    }
}

#[test]
fn an_answer_is_to_one_challenge_of_one_ceremony_by_one_key() {
    let mut phone = FakeAuthenticator::new("https://portal.example.com");
    let credential = make(&mut phone).unwrap();
    let good = answer(&mut phone);
    let key = PublicKey::parse(&credential.public_key).unwrap();
    let assertion = Assertion::parse(&good.to_string()).unwrap();
    assert_eq!(assertion.verify(&party(), &[2; 32], &key, false), Err(Invalid::Challenge));
    // What can be backed up does not become what can't, or the other way around.
    assert_eq!(assertion.verify(&party(), &CHALLENGE, &key, true), Err(Invalid::Changed));

    let other = make(&mut FakeAuthenticator::new("https://portal.example.com")).unwrap();
    assert_eq!(check(&good, &other), Err(Invalid::Signature));

    // The browser's words about something else, under the same signature.
    for (kind, expected) in [("webauthn.create", Invalid::Type), ("webauthn.get", Invalid::Signature)] {
        let client_data =
            json!({ "type": kind, "challenge": BASE64.encode(CHALLENGE), "origin": "https://portal.example.com" });
        let mut changed = good.clone();
        changed["response"]["clientDataJSON"] = json!(BASE64.encode(client_data.to_string()));
        assert_eq!(check(&changed, &credential), Err(expected));
    }
    let mut changed = good.clone();
    let mut data = BASE64.decode(good["response"]["authenticatorData"].as_str().unwrap()).unwrap();
    data[36] += 1;
    changed["response"]["authenticatorData"] = json!(BASE64.encode(&data));
    assert_eq!(check(&changed, &credential), Err(Invalid::Signature));
}

#[test]
fn a_key_of_another_kind_is_refused_when_it_is_made() {
    let mut phone = FakeAuthenticator::new("https://portal.example.com");
    let options = party().creation_options(&CHALLENGE, b"usr_1", "ann@example.com", "Ann", &[]);
    let mut answer = phone.create(&options);
    let mut object = BASE64.decode(answer["response"]["attestationObject"].as_str().unwrap()).unwrap();
    // The algorithm −7 becomes −8, which keys of this type don't have.
    let at = object.windows(4).position(|window| window == [0x01, 0x02, 0x03, 0x26]).unwrap() + 3;
    object[at] = 0x27;
    answer["response"]["attestationObject"] = json!(BASE64.encode(&object));
    let attestation = Attestation::parse(&answer.to_string()).unwrap();
    assert_eq!(attestation.verify(&party(), &CHALLENGE), Err(Invalid::Algorithm));
}

#[test]
fn what_is_cut_off_or_damaged_is_refused_without_a_panic() {
    let mut phone = FakeAuthenticator::new("https://portal.example.com");
    let options = party().creation_options(&CHALLENGE, b"usr_1", "ann@example.com", "Ann", &[]);
    let good = phone.create(&options);
    let object = BASE64.decode(good["response"]["attestationObject"].as_str().unwrap()).unwrap();
    for length in 0..object.len() {
        let mut cut = good.clone();
        cut["response"]["attestationObject"] = json!(BASE64.encode(&object[..length]));
        assert!(Attestation::parse(&cut.to_string()).unwrap().verify(&party(), &CHALLENGE).is_err(), "{length}");
    }
    let genuine = Attestation::parse(&good.to_string()).unwrap().verify(&party(), &CHALLENGE).unwrap();
    for at in 0..object.len() {
        let mut damaged = object.clone();
        damaged[at] ^= 0xff;
        let mut answer = good.clone();
        answer["response"]["attestationObject"] = json!(BASE64.encode(&damaged));
        // A damaged key may still be read as another one: then it is not the genuine one's.
        if let Ok(other) = Attestation::parse(&answer.to_string()).unwrap().verify(&party(), &CHALLENGE) {
            assert!(other != genuine || at < 28, "byte {at}");
        }
    }
    for text in ["", "{}", "[]", "null", "{\"rawId\":\"\",\"type\":\"public-key\",\"response\":{}}"] {
        assert!(Attestation::parse(text).is_err() && Assertion::parse(text).is_err(), "{text}");
    }
    assert!(Assertion::parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn rsa_keys_of_windows_are_read() {
    // {1: 3, 3: -257, -1: 256 bytes, -2: 65537}
    let mut cose = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00".to_vec();
    cose.extend_from_slice(&[0x81; 256]);
    cose.extend_from_slice(b"\x21\x43\x01\x00\x01");
    let expected = PublicKey::Rs256 { modulus: vec![0x81; 256], exponent: vec![1, 0, 1] };
    assert_eq!(PublicKey::parse(&cose), Some(expected));
    // One of 1024 bits is too weak.
    let mut weak = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x58\x80".to_vec();
    weak.extend_from_slice(&[0x81; 128]);
    weak.extend_from_slice(b"\x21\x43\x01\x00\x01");
    assert_eq!(PublicKey::parse(&weak), None);
}
