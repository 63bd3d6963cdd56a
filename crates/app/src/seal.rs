//! Sealing what is stored for a while and may hold a secret: the answers under idempotency keys. Who has the database alone can't read
//! them.
//!
//! XChaCha20-Poly1305 with a random nonce of 24 bytes in front. What the text belongs to is authenticated too, so that a sealed text
//! can't be moved to another place.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use kallglot_core::random::{self, RandomSource};

const NONCE_BYTES: usize = 24;

/// Seals and opens.
pub struct Seal(XChaCha20Poly1305);

/// The sealed text was made with another key, for another place, or is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sealed text can't be opened")]
pub struct Unopened;

impl Seal {
    /// With a key from a CSPRNG.
    pub fn new(key: [u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&key.into()))
    }

    /// The sealed text; `place` must be given again to open it.
    pub fn seal(&self, text: &[u8], place: &[u8], random: &dyn RandomSource) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = random::bytes(random);
        let mut sealed = nonce.to_vec();
        // It fails only for texts of more than 256 GB.
        let text = self.0.encrypt(&XNonce::from(nonce), Payload { msg: text, aad: place }).unwrap_or_default();
        sealed.extend_from_slice(&text);
        sealed
    }

    /// What was sealed for this place.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened)?;
        self.0.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: place }).map_err(|_| Unopened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count;
    impl RandomSource for Count {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn a_sealed_text_opens_at_its_place_only() {
        let (seal, other) = (Seal::new([1; 32]), Seal::new([2; 32]));
        let sealed = seal.seal(b"sk_live_secret", b"here", &Count);
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(seal.open(&sealed, b"here"), Ok(b"sk_live_secret".to_vec()));
        assert_eq!(seal.open(&sealed, b"there"), Err(Unopened));
        assert_eq!(other.open(&sealed, b"here"), Err(Unopened));
        assert_eq!(seal.open(&sealed[..20], b"here"), Err(Unopened));
        let mut damaged = sealed;
        damaged[30] ^= 1;
        assert_eq!(seal.open(&damaged, b"here"), Err(Unopened));
    }
}
