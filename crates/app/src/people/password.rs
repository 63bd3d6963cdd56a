//! Passwords: which are good enough, and their hashes. Argon2id with the parameters that OWASP asks for at least (19 MiB, 2 passes, 1 lane), in
//! the PHC string format, so that other parameters can follow: a password is hashed anew when its owner next shows it.
//!
//! Each hash takes 19 MiB and some 20 ms of a core, so no more than [`AT_ONCE_MAX`] are made at once and [`WAITING_MAX`] wait; one more is refused.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use kallglot_core::person::{PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN};
use kallglot_core::random::{self, RandomSource};
use kallglot_storage::PasswordHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most hashes that are made at once: they take 76 MiB.
const AT_ONCE_MAX: usize = 4;
/// Most that wait for their turn.
const WAITING_MAX: usize = 64;

/// Most links that are made and mailed in the background at once; one more is not made.
const BACKGROUND_MAX: usize = 32;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
/// What the text of a hash with these parameters starts with.
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";
/// A hash of a password that nobody knows: whoever has no password is compared with it, so that it takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$a2FsbGdsb3Qgbm9ib2R5IQ$7pT4yQ0lYVvQm2Yk0mX9b6m3cE1n8sUuJt5oWqGzHdA";

/// Why a password is not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// It is too short.
    #[error("The password must have at least {PASSWORD_CHARS_MIN} characters.")]
    TooShort,
    /// It is longer than anybody needs.
    #[error("The password must have at most {PASSWORD_BYTES_MAX} bytes.")]
    TooLong,
    /// It is made of what everybody tries first: the person's own name or address, a row of the keyboard, the same again.
    #[error("The password is too easy to guess: use words that have nothing to do with you or with this server.")]
    Guessable,
}

/// What everybody tries first. Small letters.
const GUESSED: [&str; 16] = [
    "password",
    "passwort",
    "kallglot",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "qwerty",
    "qwertz",
    "abcdef",
    "letmein",
    "welcome",
    "admin",
    "changeme",
    "iloveyou",
    "1234567890",
    "123456",
];

/// Whether a new password is good enough; `own` is what others know of the person: address, names.
///
/// # Errors
/// [`WeakPassword`].
pub fn judge_password(password: &str, own: &[&str]) -> Result<(), WeakPassword> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(WeakPassword::TooLong);
    }
    if password.chars().count() < PASSWORD_CHARS_MIN {
        return Err(WeakPassword::TooShort);
    }
    let mut rest = password.to_lowercase();
    let words = own.iter().flat_map(|text| text.split(|it: char| !it.is_alphanumeric())).map(str::to_lowercase);
    for word in words.filter(|word| word.chars().count() > 2).chain(GUESSED.map(str::to_owned)) {
        rest = rest.replace(&word, "");
    }
    let mut left: Vec<char> = rest.chars().collect();
    left.dedup();
    let mut different = left.clone();
    different.sort_unstable();
    different.dedup();
    if left.len() < 6 || different.len() < 4 {
        return Err(WeakPassword::Guessable);
    }
    Ok(())
}

/// Too many hashes wait: try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Busy;

/// Hashes and compares passwords, a bounded number at once; and says how much else of this kind is done in the background.
pub struct Passwords {
    at_once: Arc<Semaphore>,
    waiting: Semaphore,
    background: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            waiting: Semaphore::new(AT_ONCE_MAX + WAITING_MAX),
            background: Arc::new(Semaphore::new(BACKGROUND_MAX)),
        }
    }
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or(Params::DEFAULT);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

impl Passwords {
    /// Does this work on a thread for such work, when it is its turn. It is finished also when nobody waits for it any more.
    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let Ok(_place) = self.waiting.try_acquire() else { return Err(Busy) };
        let Ok(turn) = Arc::clone(&self.at_once).acquire_owned().await else { return Err(Busy) };
        // The turn is over when the work is, not when nobody waits for it any more.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }

    /// A place for something that is done in the background, to be kept as long as it is.
    pub(super) fn background(&self) -> Result<OwnedSemaphorePermit, Busy> {
        Arc::clone(&self.background).try_acquire_owned().map_err(|_| Busy)
    }

    /// The hash of a new password.
    pub(super) async fn hash(&self, password: &str, random: &dyn RandomSource) -> Result<PasswordHash, Busy> {
        let (password, salt) = (password.to_owned(), random::bytes::<SALT_BYTES>(random));
        let hash = self.work(move || argon2().hash_password_with_salt(password.as_bytes(), &salt)).await?;
        // It fails for parameters and lengths only, and these are right.
        hash.map(|hash| PasswordHash(hash.to_string())).map_err(|_| Busy)
    }

    /// Whether `password` has this hash; whoever has none is told no after the same time.
    pub(super) async fn matches(&self, password: &str, hash: Option<&PasswordHash>) -> Result<bool, Busy> {
        if password.len() > PASSWORD_BYTES_MAX {
            return Ok(false);
        }
        let (password, known) = (password.to_owned(), hash.is_some());
        let hash = hash.map_or_else(|| NOBODYS.to_owned(), |hash| hash.0.clone());
        let same = self.work(move || argon2().verify_password(password.as_bytes(), hash.as_str()).is_ok()).await?;
        Ok(same && known)
    }
}

/// Whether a hash was made with other parameters than new ones are.
pub(super) fn is_outdated(hash: &PasswordHash) -> bool {
    !hash.0.starts_with(CURRENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl RandomSource for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_only() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse battery", &Fixed).await.unwrap();
        assert!(hash.0.starts_with(CURRENT) && !is_outdated(&hash), "{}", hash.0);
        assert_eq!(passwords.matches("correct horse battery", Some(&hash)).await, Ok(true));
        assert_eq!(passwords.matches("correct horse batter", Some(&hash)).await, Ok(false));
        assert_eq!(passwords.matches("correct horse battery", None).await, Ok(false));
        let older = PasswordHash("$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQ$abc".into());
        assert!(is_outdated(&older));
    }

    #[test]
    fn who_has_no_password_is_compared_with_a_real_hash() {
        // One that can't be read would be refused at once, and so tell.
        let read = argon2().verify_password(b"x", NOBODYS);
        assert_eq!(read, Err(argon2::password_hash::Error::PasswordInvalid));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_refused_at_once() {
        let mut passwords = Passwords { waiting: Semaphore::new(1), ..Passwords::default() };
        passwords.at_once = Arc::new(Semaphore::new(0));
        let first = passwords.matches("x", None);
        tokio::pin!(first);
        assert!(futures_util::poll!(&mut first).is_pending());
        assert_eq!(passwords.matches("x", None).await, Err(Busy));
    }

    #[test]
    fn passwords_are_long_and_not_what_everybody_tries() {
        let own = ["ada.lovelace@example.com", "Ada Lovelace"];
        assert_eq!(judge_password("correct horse battery", &own), Ok(()));
        assert_eq!(judge_password("ünïcödé wörk€s töö", &own), Ok(()));
        assert_eq!(judge_password("short", &own), Err(WeakPassword::TooShort));
        assert_eq!(judge_password(&"x1y2".repeat(300), &own), Err(WeakPassword::TooLong));
        for guess in [
            "passwordpassword",
            "Ada.Lovelace2026",
            "123456789012345",
            "aaaaaaaaaaaaaa",
            "Kallglot-Password!",
            "abababababababab",
        ] {
            assert_eq!(judge_password(guess, &own), Err(WeakPassword::Guessable), "{guess}");
        }
    }
}
