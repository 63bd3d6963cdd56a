//! A fake OpenID Connect provider in the test's process, with real signatures: it exchanges each code once, for whom it was given to, and its ID
//! tokens are as wrong as it is told to make them.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that can't be set up must fail at once")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use kallglot_core::clock::Clock as _;
use kallglot_oidc::{Fetch, FetchError, ProviderConfig, Request, Response};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::FakeClock;

/// A key of nobody's, for tests alone.
const RSA_KEY: &[u8] = include_bytes!("fake_provider.pk8");

/// How the provider signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    /// RS256.
    Rsa,
    /// ES256.
    Ecdsa,
    /// ES256 with a key that it does not publish, under the name of the one that it does.
    OtherKey,
    /// Not at all: `alg` is `none`.
    Nothing,
    /// HS256, with its client's secret.
    SharedSecret,
}

/// What is asked of a token before it is signed.
type Change = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct Granted {
    nonce: String,
    code_challenge: String,
    redirect_uri: String,
    claims: Value,
}

struct State {
    signing: Signing,
    change: Option<Change>,
    away: bool,
    codes: HashMap<String, Granted>,
    count: u32,
}

/// The provider.
pub struct FakeProvider {
    clock: Arc<FakeClock>,
    rsa: RsaKeyPair,
    ecdsa: EcdsaKeyPair,
    other: EcdsaKeyPair,
    state: Mutex<State>,
}

/// Its issuer identifier.
pub const FAKE_ISSUER: &str = "https://login.example.com/realm";
const CLIENT_ID: &str = "kallglot";
const CLIENT_SECRET: &str = "s3cret/+ %";

fn ecdsa_key() -> EcdsaKeyPair {
    let (kind, random) = (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(kind, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(kind, pkcs8.as_ref(), &random).expect("a key")
}

impl FakeProvider {
    /// One whose tokens are of this clock's time.
    pub fn new(clock: Arc<FakeClock>) -> Arc<Self> {
        let state = State { signing: Signing::Ecdsa, change: None, away: false, codes: HashMap::new(), count: 0 };
        Arc::new(Self {
            clock,
            rsa: RsaKeyPair::from_pkcs8(RSA_KEY).expect("a key"),
            ecdsa: ecdsa_key(),
            other: ecdsa_key(),
            state: Mutex::new(state),
        })
    }

    /// What its client is configured with.
    pub fn config(&self) -> ProviderConfig {
        ProviderConfig {
            issuer: FAKE_ISSUER.into(),
            client_id: CLIENT_ID.into(),
            client_secret: CLIENT_SECRET.into(),
            scopes: vec!["email".into(), "profile".into()],
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it signs from now on.
    pub fn signs(&self, signing: Signing) {
        self.state().signing = signing;
    }

    /// What happens to the claims of tokens from now on.
    pub fn changes_claims(&self, change: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.state().change = Some(Arc::new(change));
    }

    /// Tokens are genuine from now on.
    pub fn is_honest(&self) {
        let mut state = self.state();
        (state.signing, state.change) = (Signing::Ecdsa, None);
    }

    /// Whether it can't be reached from now on.
    pub fn is_away(&self, away: bool) {
        self.state().away = away;
    }

    /// Somebody signs in where a browser was sent; what the browser comes back with: `state` and `code`. The claims say who; `email_verified` has to be
    /// among them for an address that counts.
    ///
    /// # Panics
    /// When the browser was sent with a request that is not as it must be.
    pub fn sign_in(&self, url: &str, claims: Value) -> (String, String) {
        let url = Url::parse(url).expect("an address");
        assert!(url.as_str().starts_with("https://login.example.com/authorize?kept=1&"), "{url}");
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, expected) in [
            ("response_type", "code"),
            ("client_id", CLIENT_ID),
            ("scope", "openid email profile"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(asked.get(name).map(String::as_str), Some(expected), "{name}");
        }
        let mut state = self.state();
        state.count += 1;
        let code = format!("code-{}", state.count);
        let granted = Granted {
            nonce: asked["nonce"].clone(),
            code_challenge: asked["code_challenge"].clone(),
            redirect_uri: asked["redirect_uri"].clone(),
            claims,
        };
        state.codes.insert(code.clone(), granted);
        (asked["state"].clone(), code)
    }

    fn id_token(&self, granted: &Granted) -> String {
        let now_s = self.clock.now().as_second();
        let mut claims = json!({
            "iss": FAKE_ISSUER,
            "aud": CLIENT_ID,
            "iat": now_s,
            "exp": now_s + 300,
            "auth_time": now_s,
            "nonce": granted.nonce,
        });
        for (name, value) in granted.claims.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        let (signing, change) = {
            let state = self.state();
            (state.signing, state.change.clone())
        };
        if let Some(change) = change {
            change(&mut claims);
        }
        let (alg, kid) = match signing {
            Signing::Rsa => ("RS256", "rsa"),
            Signing::Ecdsa | Signing::OtherKey => ("ES256", "ecdsa"),
            Signing::Nothing => ("none", "ecdsa"),
            Signing::SharedSecret => ("HS256", "ecdsa"),
        };
        let header = json!({ "alg": alg, "kid": kid, "typ": "JWT" });
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let random = SystemRandom::new();
        let signature = match signing {
            Signing::Rsa => {
                let mut signature = vec![0; self.rsa.public().modulus_len()];
                let kind = &signature::RSA_PKCS1_SHA256;
                self.rsa.sign(kind, &random, signed.as_bytes(), &mut signature).expect("a signature");
                signature
            }
            Signing::Ecdsa => self.ecdsa.sign(&random, signed.as_bytes()).expect("a signature").as_ref().to_vec(),
            Signing::OtherKey => self.other.sign(&random, signed.as_bytes()).expect("a signature").as_ref().to_vec(),
            Signing::Nothing => Vec::new(),
            Signing::SharedSecret => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
                ring::hmac::sign(&key, signed.as_bytes()).as_ref().to_vec()
            }
        };
        format!("{signed}.{}", BASE64.encode(signature))
    }

    /// The token for a code, once.
    fn exchange(&self, request: &Request) -> Option<Value> {
        let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (user, password) = request.basic.as_ref()?;
        if (user, password) != (&encode(CLIENT_ID), &encode(CLIENT_SECRET)) {
            return None;
        }
        let form: HashMap<_, _> = request.form.as_ref()?.iter().cloned().collect();
        let granted = self.state().codes.remove(form.get("code")?)?;
        let verifier = BASE64.encode(Sha256::digest(form.get("code_verifier")?.as_bytes()));
        let same = verifier == granted.code_challenge
            && *form.get("redirect_uri")? == granted.redirect_uri
            && form.get("grant_type")? == "authorization_code";
        same.then(|| json!({ "id_token": self.id_token(&granted), "access_token": "x", "token_type": "Bearer" }))
    }
}

/// A fake provider as its client reaches it.
pub struct FakeFetch(pub Arc<FakeProvider>);

#[async_trait]
impl Fetch for FakeFetch {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let provider = &self.0;
        if provider.state().away {
            return Err(FetchError("the provider is away".into()));
        }
        let (status, body) = match request.url.as_str() {
            "https://login.example.com/realm/.well-known/openid-configuration" => {
                let configuration = json!({
                    "issuer": FAKE_ISSUER,
                    "authorization_endpoint": "https://login.example.com/authorize?kept=1",
                    "token_endpoint": "https://login.example.com/token",
                    "jwks_uri": "https://login.example.com/keys",
                });
                (200, configuration)
            }
            "https://login.example.com/keys" => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = provider.rsa.public().into();
                let (modulus, exponent) = (BASE64.encode(public.n), BASE64.encode(public.e));
                let point = provider.ecdsa.public_key().as_ref();
                let (x, y) = (BASE64.encode(&point[1..33]), BASE64.encode(&point[33..]));
                let keys = json!({ "keys": [
                    { "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": modulus, "e": exponent },
                    { "kty": "oct", "kid": "unknown", "k": "AAAA" },
                    { "kty": "EC", "kid": "ecdsa", "use": "sig", "crv": "P-256", "x": x, "y": y },
                ] });
                (200, keys)
            }
            "https://login.example.com/token" => match provider.exchange(&request) {
                Some(answer) => (200, answer),
                None => (400, json!({ "error": "invalid_grant" })),
            },
            _ => (404, json!({})),
        };
        Ok(Response { status, body: body.to_string().into_bytes() })
    }
}
