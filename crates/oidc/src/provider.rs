//! The provider: what it says of itself (OpenID Connect Discovery 1.0), where browsers are sent, and what it answers for a code.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use kallglot_core::Timestamp;
use kallglot_core::random::{self, RandomSource};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use url::{Host, Url};

use crate::id_token::{Expected, Unverified};
use crate::keys::{Key, KeySet};
use crate::{Fetch, Request, SignInError};

/// How long what the provider says of itself is believed.
const CONFIGURATION_KEPT: SignedDuration = SignedDuration::from_hours(1);
/// For how long it is not asked again after it could not be: who comes meanwhile does not wait.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// How often its keys are fetched at most, though tokens come that no known key has signed.
const KEYS_EVERY: SignedDuration = SignedDuration::from_secs(30);

/// Which provider, and what we are to it.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Its issuer identifier: an address without query, as its ID tokens have it.
    pub issuer: String,
    /// What it calls us.
    pub client_id: String,
    /// The secret that it shares with us; empty for a public client.
    pub client_secret: String,
    /// What is asked for beside `openid`, mostly `email` and `profile`.
    pub scopes: Vec<String>,
}

impl std::fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProviderConfig").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What ties an answer to the browser that asked: drawn for each request and kept until then, where nobody else can read it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestSecrets {
    /// Comes back in the answer's address.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// What the code alone is worth nothing without.
    pub verifier: String,
}

impl RequestSecrets {
    /// New ones.
    pub fn new(random: &dyn RandomSource) -> Self {
        let draw = || BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>(random));
        Self { state: draw(), nonce: draw(), verifier: draw() }
    }
}

/// Somebody, as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Which provider.
    pub issuer: String,
    /// What it calls them: the same for ever, and nobody else's.
    pub subject: String,
    /// Their address, if the provider says that it has verified it. One that it has not may be anybody's.
    pub verified_email: Option<String>,
    /// Their name.
    pub name: Option<String>,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What was last heard of it.
#[derive(Default)]
struct Heard {
    known: Option<Known>,
    failed: Option<(Timestamp, SignInError)>,
}

struct Known {
    configuration: Arc<Configuration>,
    configured_at: Timestamp,
    keys: Vec<Key>,
    keys_at: Option<Timestamp>,
}

impl Known {
    fn new(configuration: Arc<Configuration>, configured_at: Timestamp) -> Self {
        Self { configuration, configured_at, keys: Vec::new(), keys_at: None }
    }
}

/// A provider. What it says of itself is kept for an hour.
pub struct Provider {
    config: ProviderConfig,
    fetch: Arc<dyn Fetch>,
    heard: Mutex<Heard>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

#[derive(Deserialize)]
struct TokenProblem {
    error: String,
}

fn provider(problem: impl Into<String>) -> SignInError {
    SignInError::Provider(problem.into())
}

/// Whether what is sent there can be read by nobody else: HTTPS, or on this machine.
fn is_private(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && here)
}

impl Provider {
    /// The provider of this configuration, which is asked when somebody wants to sign in.
    pub fn new(config: ProviderConfig, fetch: Arc<dyn Fetch>) -> Self {
        Self { config, fetch, heard: Mutex::default() }
    }

    /// Whether an issuer can be asked: it is an HTTPS address, or one on this machine, without query or fragment.
    pub fn is_issuer(address: &str) -> bool {
        is_private(address) && !address.contains(['?', '#'])
    }

    /// The provider's issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.config.issuer
    }

    /// Where to send a browser that is to come back to `redirect_uri`. `again`: who is signed in at the provider is to sign in there once more.
    ///
    /// # Errors
    /// [`SignInError::Provider`].
    pub async fn authorization_url(
        &self,
        redirect_uri: &str,
        secrets: &RequestSecrets,
        again: bool,
        now: Timestamp,
    ) -> Result<String, SignInError> {
        let configuration = self.configuration(now).await?;
        let mut url = Url::parse(&configuration.authorization_endpoint).map_err(|error| provider(error.to_string()))?;
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.as_bytes()));
        let mut scope = "openid".to_owned();
        for more in self.config.scopes.iter().filter(|scope| *scope != "openid") {
            scope.push(' ');
            scope.push_str(more);
        }
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &scope)
            .append_pair("state", &secrets.state)
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if again {
            url.query_pairs_mut().append_pair("prompt", "login").append_pair("max_age", "0");
        }
        Ok(url.into())
    }

    /// Who has come back with this code; `again` as it was asked for. That the answer's `state` was the one of `secrets` the caller has checked.
    ///
    /// # Errors
    /// [`SignInError`].
    pub async fn identity(
        &self,
        code: &str,
        redirect_uri: &str,
        secrets: &RequestSecrets,
        again: bool,
        now: Timestamp,
    ) -> Result<Identity, SignInError> {
        let configuration = self.configuration(now).await?;
        let token = self.exchange(&configuration, code, redirect_uri, &secrets.verifier).await?;
        let token = Unverified::parse(&token)?;
        let signed = token.is_signed_by_one_of(&self.keys(now, false).await?)
            || token.is_signed_by_one_of(&self.keys(now, true).await?);
        if !signed {
            return Err(SignInError::IdToken("the provider has not signed it"));
        }
        let claims = token.claims(&Expected {
            issuer: &self.config.issuer,
            client_id: &self.config.client_id,
            nonce: &secrets.nonce,
            again,
            now,
        })?;
        let verified = claims.has_verified_email();
        Ok(Identity {
            issuer: self.config.issuer.clone(),
            subject: claims.sub,
            verified_email: claims.email.filter(|_| verified),
            name: claims.name,
        })
    }

    /// The ID token for a code.
    async fn exchange(
        &self,
        configuration: &Configuration,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<String, SignInError> {
        let ProviderConfig { client_id, client_secret, .. } = &self.config;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut form = vec![
            pair("grant_type", "authorization_code"),
            pair("code", code),
            pair("redirect_uri", redirect_uri),
            pair("code_verifier", verifier),
        ];
        // Without saying so, a provider takes the secret by HTTP's basic authentication (Discovery, section 3).
        let methods = configuration.token_endpoint_auth_methods_supported.as_deref();
        let by_basic = methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"));
        let mut basic = None;
        if client_secret.is_empty() {
            form.push(pair("client_id", client_id));
        } else if by_basic {
            // Both are form-encoded first (RFC 6749, section 2.3.1).
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            basic = Some((encode(client_id), encode(client_secret)));
        } else {
            form.push(pair("client_id", client_id));
            form.push(pair("client_secret", client_secret));
        }
        let url = configuration.token_endpoint.clone();
        let answer = self.fetch.fetch(Request { url, form: Some(form), basic }).await;
        let answer = answer.map_err(|error| provider(format!("its token endpoint: {error}")))?;
        if answer.status != 200 {
            let problem = serde_json::from_slice::<TokenProblem>(&answer.body);
            return Err(match problem {
                Ok(problem) if answer.status < 500 => {
                    // Error codes are of printable ASCII (RFC 6749, section 5.2); it goes into the log.
                    let code = problem.error.chars().filter(char::is_ascii_graphic).take(100).collect::<String>();
                    SignInError::Refused(code)
                }
                _ => provider(format!("its token endpoint answered {}", answer.status)),
            });
        }
        let answer: Result<TokenAnswer, _> = serde_json::from_slice(&answer.body);
        answer.map(|answer| answer.id_token).map_err(|_| provider("its token endpoint answered without an ID token"))
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, url: &str) -> Result<T, SignInError> {
        let answer = self.fetch.fetch(Request { url: url.to_owned(), form: None, basic: None }).await;
        let answer = answer.map_err(|error| provider(format!("{url}: {error}")))?;
        if answer.status != 200 {
            return Err(provider(format!("{url} answered {}", answer.status)));
        }
        serde_json::from_slice(&answer.body).map_err(|error| provider(format!("{url}: {error}")))
    }

    /// What it says of itself. Who asks at the same time waits for one answer.
    async fn configuration(&self, now: Timestamp) -> Result<Arc<Configuration>, SignInError> {
        let mut heard = self.heard.lock().await;
        if let Some(known) = heard.known.as_ref().filter(|known| known.configured_at + CONFIGURATION_KEPT > now) {
            return Ok(Arc::clone(&known.configuration));
        }
        if let Some((at, error)) = &heard.failed
            && *at + AGAIN_AFTER > now
        {
            return Err(error.clone());
        }
        match self.configure().await {
            Ok(configuration) => {
                let configuration = Arc::new(configuration);
                *heard = Heard { known: Some(Known::new(Arc::clone(&configuration), now)), failed: None };
                Ok(configuration)
            }
            Err(error) => {
                heard.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }

    async fn configure(&self) -> Result<Configuration, SignInError> {
        let issuer = &self.config.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let configuration: Configuration = self.get(&url).await?;
        if configuration.issuer != *issuer {
            return Err(provider("it calls itself by another issuer than is configured"));
        }
        let Configuration { authorization_endpoint, token_endpoint, jwks_uri, .. } = &configuration;
        if ![authorization_endpoint, token_endpoint, jwks_uri].into_iter().all(|address| is_private(address)) {
            return Err(provider("one of its addresses is not an https:// address"));
        }
        Ok(configuration)
    }

    /// Its keys. `newer`: a token came that none of them has signed, so they may have changed.
    async fn keys(&self, now: Timestamp, newer: bool) -> Result<Vec<Key>, SignInError> {
        let mut heard = self.heard.lock().await;
        let Some(known) = heard.known.as_mut() else { return Err(provider("it has not been asked")) };
        let stale = match known.keys_at {
            None => true,
            Some(at) => newer && at + KEYS_EVERY <= now,
        };
        if stale {
            let set: KeySet = self.get(&known.configuration.jwks_uri).await?;
            known.keys = set.keys();
            known.keys_at = Some(now);
        }
        Ok(known.keys.clone())
    }
}
