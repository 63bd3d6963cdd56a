//! Single sign-on: the relying party's side of OpenID Connect's authorization code flow (OpenID Connect Core 1.0, section 3.1), with PKCE
//! (RFC 7636).
//!
//! What must stay true:
//! - Who somebody is, is what an ID token says that this provider has signed for this client, now, in answer to this browser's request: signature,
//!   `iss`, `aud`, `azp`, `exp`, `iat` and `nonce` are all checked.
//! - Nothing is sent anywhere but to the addresses that the provider's own configuration names, by HTTPS (or on this machine), and redirects are not
//!   followed.
//! - What a provider sends is bounded, and nothing panics whatever it is.

mod fetch;
mod id_token;
mod keys;
mod provider;

pub use fetch::{Fetch, FetchError, HttpFetch, Request, Response};
pub use provider::{Identity, Provider, ProviderConfig, RequestSecrets};

/// Why somebody could not be signed in. For the log: a person is told only whether it makes sense to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The provider can't be reached, or its configuration is not as it must be.
    #[error("the provider can't be used: {0}")]
    Provider(String),
    /// The provider does not exchange this code.
    #[error("the provider refused the code: {0}")]
    Refused(String),
    /// The ID token is not for us, not now, or not genuine.
    #[error("the ID token is not valid: {0}")]
    IdToken(&'static str),
}
