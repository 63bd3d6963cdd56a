//! Passkeys: the relying party's side of WebAuthn (Web Authentication Level 3, section 7), as far as signing in needs it.
//!
//! Pure: no clock, no randomness, no storage. Who calls draws the challenge, keeps it, and sees to it that it is used once and soon.
//!
//! What must stay true:
//! - Nothing is believed that the authenticator has not signed, or that its signature does not cover by a hash.
//! - The user was verified (by a PIN, a finger, a face) each time: a passkey stands for password and second factor at once.
//! - Nothing panics, recurses deeply or allocates more than it was given, whatever the bytes are.
//!
//! Attestation (who made the authenticator) is not asked for, and what comes of it is not looked at.

mod authenticator_data;
mod cbor;
mod client_data;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;
mod key;
mod party;
mod response;
#[cfg(test)]
mod tests;

pub use key::PublicKey;
pub use party::{NoPasskeys, RelyingParty};
pub use response::{Assertion, Attestation, NewCredential, Verified};

/// Bytes of a challenge; at least 16 (section 13.4.3).
pub const CHALLENGE_BYTES: usize = 32;
/// Longest credential id, in bytes (section 6.5.1).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1023;
/// Longest answer of an authenticator, as JSON, that is looked at. Bytes.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// What a ceremony is worth nothing by. For the log: a person is told only that it did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The answer is not what browsers send.
    #[error("the answer is malformed")]
    Malformed,
    /// It is of the other ceremony: made a credential where one was to be used, or the other way around.
    #[error("the answer is of another ceremony")]
    Type,
    /// It answers another challenge.
    #[error("the answer is to another challenge")]
    Challenge,
    /// It was made on another site, or in a frame of one.
    #[error("the answer was made on another site")]
    Origin,
    /// The credential is for another relying party.
    #[error("the credential is for another site")]
    RelyingParty,
    /// Nobody was there.
    #[error("nobody was present")]
    NotPresent,
    /// It was not verified who was there.
    #[error("the user was not verified")]
    NotVerified,
    /// A key of a kind that was not asked for.
    #[error("the key is of a kind that is not supported")]
    Algorithm,
    /// The signature is not by the credential's key.
    #[error("the signature is wrong")]
    Signature,
    /// What does not change about a credential has changed.
    #[error("the credential is not what it was")]
    Changed,
}
