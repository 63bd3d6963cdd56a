//! Codes of an authenticator app (TOTP, RFC 6238) and recovery codes.
//!
//! What must stay true: a code counts once ([`kallglot_storage::FactorRepository::use_totp`]), and so does a recovery code; an attempt is counted before
//! its code is looked at; an app is set up only when it has shown a code, so that nobody locks themselves out; the secret is
//! stored sealed, recovery codes as their SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::id::PersonId;
use kallglot_core::random::{self, RandomSource};
use kallglot_storage::factors::RECOVERY_CODES;
use kallglot_storage::{CodeHash, Shown, Totp};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{NewSession, PendingSignIn, SignInError, SignedIn, Visit, after};
use crate::{App, Error};

/// How long a code is shown. Seconds.
const STEP_S: i64 = 30;
/// How many codes before and after the current one are taken: phones' clocks are off, and people slow.
const STEPS_AROUND: i64 = 1;
/// Bytes of the secret: what RFC 4226 recommends for HMAC-SHA-1 (section 4, R6).
const SECRET_BYTES: usize = 20;
/// Random bytes of a recovery code: 80 bits can't be guessed, nor found from their SHA-256.
const RECOVERY_BYTES: usize = 10;
/// For how long an app can be set up after the page was opened.
const ENROLMENT_VALID: SignedDuration = SignedDuration::from_mins(30);

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// In base32 (RFC 4648) without padding.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(5) {
        let mut five = [0; 5];
        five[..chunk.len()].copy_from_slice(chunk);
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            text.push(char::from(BASE32[(bits >> (35 - 5 * place) & 31) as usize]));
        }
    }
    text
}

/// In groups of four, as people read them.
fn grouped(text: &str, between: char) -> String {
    let mut grouped = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            grouped.push(between);
        }
        grouped.push(letter);
    }
    grouped
}

/// The code of a step: six digits (RFC 4226, section 5.3).
fn code_of(secret: &[u8], step: i64) -> u32 {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret) else { return 0 };
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 15);
    let word = hash[offset..offset + 4].iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
    (word & 0x7fff_ffff) % 1_000_000
}

/// The step whose code this is at about `now`; the latest of several.
fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let current = now.as_second().div_euclid(STEP_S);
    let steps = (current - STEPS_AROUND..=current + STEPS_AROUND).rev();
    let matches = |step: &i64| bool::from(format!("{:06}", code_of(secret, *step)).as_bytes().ct_eq(code.as_bytes()));
    // All are looked at, so that the time that it takes tells nothing.
    steps.fold(None, |found, step| found.or(Some(step).filter(matches)))
}

/// What somebody typed as a code.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    /// Six digits.
    App(String),
    /// A recovery code, in capitals without dashes.
    Recovery(String),
    Neither,
}

impl Typed {
    /// Spaces and dashes are passed over.
    fn of(text: &str) -> Self {
        let plain: String = text.chars().filter(|it| !it.is_whitespace() && *it != '-').take(33).collect();
        let plain = plain.to_ascii_uppercase();
        if plain.len() == 6 && plain.bytes().all(|byte| byte.is_ascii_digit()) {
            Self::App(plain)
        } else if plain.len() == RECOVERY_BYTES * 8 / 5 && plain.bytes().all(|byte| BASE32.contains(&byte)) {
            Self::Recovery(plain)
        } else {
            Self::Neither
        }
    }
}

fn recovery_hash(plain: &str) -> CodeHash {
    CodeHash(Sha256::digest(plain.as_bytes()).into())
}

/// New recovery codes: as they are shown once, and as they are stored.
fn new_recovery_codes(random: &dyn RandomSource) -> (Vec<String>, Vec<CodeHash>) {
    let plain: Vec<_> = (0..RECOVERY_CODES).map(|_| base32(&random::bytes::<RECOVERY_BYTES>(random))).collect();
    (plain.iter().map(|code| grouped(code, '-')).collect(), plain.iter().map(|code| recovery_hash(code)).collect())
}

/// An authenticator app that is being set up: nothing is stored before it has shown a code.
#[derive(Clone)]
pub struct TotpEnrolment {
    /// The secret as it is typed into an app, in groups of four.
    pub secret: String,
    /// What an app reads from a QR code (the `otpauth` scheme of Google's Key URI format).
    pub uri: String,
    /// The secret for the form that comes back with a code: sealed for this person, for half an hour.
    pub sealed: String,
}

/// Why an authenticator app was not set up.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The code is not the app's.
    #[error("the code is wrong")]
    Wrong,
    /// The page was open for too long, or is another person's.
    #[error("the enrolment has expired")]
    Expired,
    /// There is one already.
    #[error("there is an authenticator app already")]
    Already,
    /// Something failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<kallglot_storage::StorageError> for EnrolError {
    fn from(error: kallglot_storage::StorageError) -> Self {
        Self::Failed(error.into())
    }
}

fn stored_place(person: PersonId) -> String {
    format!("totp\n{person}")
}

fn enrolment_place(who: &SignedIn) -> String {
    format!("totp enrolment\n{}\n{}", who.person.id, who.session.id)
}

impl App {
    fn enrolment(&self, who: &SignedIn, secret: &[u8], expires_at: Timestamp) -> TotpEnrolment {
        let text = base32(secret);
        let mut sealed = expires_at.as_second().to_be_bytes().to_vec();
        sealed.extend_from_slice(secret);
        let sealed = self.factors.seal.seal(&sealed, enrolment_place(who).as_bytes(), self.random.as_ref());
        // Letters, digits and what needs no escape; the issuer is ours.
        let account: String = url::form_urlencoded::byte_serialize(who.person.email.as_bytes()).collect();
        TotpEnrolment {
            secret: grouped(&text, ' '),
            uri: format!("otpauth://totp/Kallglot:{account}?secret={text}&issuer=Kallglot"),
            sealed: URL_SAFE_NO_PAD.encode(sealed),
        }
    }

    /// Begins to set up an authenticator app.
    pub fn begin_totp(&self, who: &SignedIn) -> TotpEnrolment {
        let secret: [u8; SECRET_BYTES] = random::bytes(self.random.as_ref());
        self.enrolment(who, &secret, after(self.clock.now(), ENROLMENT_VALID))
    }

    fn open_enrolment(&self, who: &SignedIn, sealed: &str) -> Result<(Timestamp, Vec<u8>), EnrolError> {
        let opened = URL_SAFE_NO_PAD.decode(sealed).ok();
        let opened = opened.and_then(|sealed| self.factors.seal.open(&sealed, enrolment_place(who).as_bytes()).ok());
        let opened = opened.ok_or(EnrolError::Expired)?;
        let (second, secret) = opened.split_first_chunk::<8>().ok_or(EnrolError::Expired)?;
        let expires_at = Timestamp::from_second(i64::from_be_bytes(*second)).map_err(|_| EnrolError::Expired)?;
        if expires_at <= self.clock.now() {
            return Err(EnrolError::Expired);
        }
        Ok((expires_at, secret.to_vec()))
    }

    /// The enrolment that a form came back with, to be shown once more.
    ///
    /// # Errors
    /// [`EnrolError::Expired`].
    pub fn totp_again(&self, who: &SignedIn, sealed: &str) -> Result<TotpEnrolment, EnrolError> {
        let (expires_at, secret) = self.open_enrolment(who, sealed)?;
        Ok(self.enrolment(who, &secret, expires_at))
    }

    /// Sets up the authenticator app that shows `code`. Answers with recovery codes, which are never seen again.
    ///
    /// # Errors
    /// [`EnrolError`].
    pub async fn confirm_totp(
        &self,
        who: &SignedIn,
        sealed: &str,
        code: &str,
        visit: &Visit<'_>,
    ) -> Result<Vec<String>, EnrolError> {
        let (_, secret) = self.open_enrolment(who, sealed)?;
        let now = self.clock.now();
        let Typed::App(code) = Typed::of(code) else { return Err(EnrolError::Wrong) };
        let step = step_of(&secret, &code, now).ok_or(EnrolError::Wrong)?;
        let sealed_secret =
            self.factors.seal.seal(&secret, stored_place(who.person.id).as_bytes(), self.random.as_ref());
        let (shown, stored) = new_recovery_codes(self.random.as_ref());
        let totp = Totp { sealed_secret, created_at: now };
        let change = self.change_of(who.person.id, visit);
        if !self.storage.set_totp(who.person.id, &totp, step, &stored, &change).await? {
            return Err(EnrolError::Already);
        }
        Ok(shown)
    }

    /// Removes the authenticator app: the password lets in alone again. False when there was none.
    ///
    /// # Errors
    /// Storage's.
    pub async fn remove_totp(&self, who: &SignedIn, visit: &Visit<'_>) -> Result<bool, Error> {
        Ok(self.storage.remove_totp(who.person.id, &self.change_of(who.person.id, visit)).await?)
    }

    /// New recovery codes in place of those before, which are never seen again; none when there is no app.
    ///
    /// # Errors
    /// Storage's.
    pub async fn new_recovery_codes(&self, who: &SignedIn, visit: &Visit<'_>) -> Result<Option<Vec<String>>, Error> {
        let (shown, stored) = new_recovery_codes(self.random.as_ref());
        let change = self.change_of(who.person.id, visit);
        let replaced = self.storage.replace_recovery_codes(who.person.id, &stored, &change).await?;
        Ok(replaced.then_some(shown))
    }

    /// Whether this is the code of the person's app now, or one of their recovery codes; if so it is used up.
    async fn takes_code(&self, person: PersonId, typed: &str, visit: &Visit<'_>) -> Result<bool, Error> {
        match Typed::of(typed) {
            Typed::App(code) => {
                let Some(totp) = self.storage.totp(person).await? else { return Ok(false) };
                let secret = self.factors.seal.open(&totp.sealed_secret, stored_place(person).as_bytes());
                let Ok(secret) = secret else {
                    tracing::error!(%person, "the secret of an authenticator app can't be opened: was the secret `webhooks` changed?");
                    return Ok(false);
                };
                let Some(step) = step_of(&secret, &code, self.clock.now()) else { return Ok(false) };
                Ok(self.storage.use_totp(person, step).await?)
            }
            Typed::Recovery(plain) => {
                let change = self.change_of(person, visit);
                Ok(self.storage.use_recovery_code(person, &recovery_hash(&plain), &change).await?)
            }
            Typed::Neither => Ok(false),
        }
    }

    /// Signs in who has shown the password and now types a code of their app, or a recovery code.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn second_factor_by_code(
        &self,
        pending: &PendingSignIn,
        typed: &str,
        visit: &Visit<'_>,
    ) -> Result<NewSession, SignInError> {
        let person = pending.person.id;
        self.count_attempt(person, visit).await?;
        if !self.takes_code(person, typed, visit).await? {
            return Err(self.failed_sign_in(visit).await);
        }
        let opened = self.open_session(person, &Shown::SecondFactor(pending.session), visit).await?;
        opened.ok_or(SignInError::Wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of RFC 6238, appendix B: the codes' last six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp::from_second(second).unwrap();
            assert_eq!(step_of(secret, code, now), Some(second / 30), "{second}");
        }
    }

    #[test]
    fn a_code_is_taken_half_a_minute_early_or_late() {
        let secret = b"12345678901234567890";
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, expected) in [(29, Some(1)), (0, Some(1)), (89, Some(1)), (90, None)] {
            assert_eq!(step_of(secret, "287082", at(second)), expected, "{second}");
        }
        assert_eq!(step_of(secret, "287083", at(59)), None);
    }

    /// Of RFC 4648, section 10.
    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in
            [("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
        assert_eq!(grouped("MZXW6YTBOI", '-'), "MZXW-6YTB-OI");
    }

    #[test]
    fn codes_are_read_however_they_are_typed() {
        assert_eq!(Typed::of(" 287 082 "), Typed::App("287082".into()));
        let recovery = Typed::Recovery("ABCDEFGHIJKLMNOP".into());
        assert_eq!(Typed::of("abcd-efgh-ijkl-mnop"), recovery);
        assert_eq!(Typed::of("ABCD EFGH IJKL MNOP"), recovery);
        for text in ["", "28708", "2870822", "28708٣", "ABCD-EFGH-IJKL-MNO0", &"A".repeat(100_000)] {
            assert_eq!(Typed::of(text), Typed::Neither);
        }
    }
}
