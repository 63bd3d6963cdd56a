//! API keys (contract section 1): how their secrets look and are hashed, what is stored of a key, and when it lets a request in.
//!
//! A secret exists in clear only in [`Secret`], which can't be printed, between its creation or a request's header and its hash.
//! A key may have several secrets: its own and, after a rotation, the ones before it until their grace period is over.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use hmac::Mac as _;
use ipnet::IpNet;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;

use crate::edition::Edition;
use crate::error_code::ErrorCode;
use crate::id::{ApiKeyId, BASE62, OrganizationId};
use crate::permission::PermissionSet;
use crate::random::{self, RandomSource};
use crate::session::{Environment, Tenant, named};
use crate::stream_token::keyed;

/// Characters of every secret.
pub const SECRET_CHARS: usize = PREFIX_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;
const PREFIX_CHARS: usize = 8;
const RANDOM_CHARS: usize = 30;
const CHECKSUM_CHARS: usize = 6;

/// Longest time for which the old secret can stay valid after a rotation, in seconds (7 days).
pub const ROTATION_GRACE_S_MAX: u32 = 7 * 24 * 60 * 60;
/// Most networks in a key's allow-list.
pub const ALLOWED_NETWORKS_MAX: usize = 100;

/// A network of an allow-list as people write it: `203.0.113.0/24`, or one address. Bits beyond the prefix are cut.
pub fn network(text: &str) -> Option<IpNet> {
    let bare = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(bare).map(|network| network.trunc())
}

/// What the secrets of an environment start with; shown in lists of keys.
pub const fn prefix(environment: Environment) -> &'static str {
    match environment {
        Environment::Live => "sk_live_",
        Environment::Test => "sk_test_",
    }
}

/// A key's secret in clear. It has no `Debug` and no `Display`, so it can't get into a log by accident.
pub struct Secret(Box<str>);

impl Secret {
    /// A new secret with 30 Base62 characters (178 bits) from `random`.
    pub fn new(environment: Environment, random: &dyn RandomSource) -> Self {
        let mut text = String::with_capacity(SECRET_CHARS);
        text.push_str(prefix(environment));
        while text.len() < PREFIX_CHARS + RANDOM_CHARS {
            // 6 bits at a time; 62 and 63 are thrown away, so that every character is equally likely.
            for byte in random::bytes::<32>(random) {
                if let Some(digit) = BASE62.get(usize::from(byte & 0x3f))
                    && text.len() < PREFIX_CHARS + RANDOM_CHARS
                {
                    text.push(char::from(*digit));
                }
            }
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.iter().copied().map(char::from));
        Self(text.into())
    }

    /// The secret in clear: to show it to its owner once, at its creation.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last 4 characters, which are shown in lists of keys.
    pub fn last4(&self) -> &str {
        &self.0[SECRET_CHARS - 4..]
    }

    /// What is stored of it.
    pub fn hash(&self, pepper: &Pepper) -> KeyHash {
        pepper.hash(&self.0)
    }

    /// What is stored of a new secret.
    pub fn stored(&self, pepper: &Pepper) -> StoredSecret {
        StoredSecret { hash: self.hash(pepper), pepper: pepper.number, last4: self.last4().to_owned() }
    }
}

/// CRC-32 (IEEE) as 6 Base62 characters; 62^6 is more than 2^32.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut number = crc32fast::hash(bytes) as usize;
    let mut text = [b'0'; CHECKSUM_CHARS];
    for slot in text.iter_mut().rev() {
        *slot = BASE62[number % 62];
        number /= 62;
    }
    text
}

/// The text can't be a key of any server: wrong prefix, length, character or checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an API key: mistyped or cut")]
pub struct Malformed;

/// A text that has the form of a key. Whether there is such a key takes a look-up.
pub struct ParsedKey {
    /// The environment that its prefix names.
    pub environment: Environment,
    /// The secret.
    pub secret: Secret,
}

/// Reads a key and proves its checksum, so that a mistyped key costs no look-up.
///
/// # Errors
/// It is not one.
pub fn parse(text: &str) -> Result<ParsedKey, Malformed> {
    if text.len() != SECRET_CHARS {
        return Err(Malformed);
    }
    let (environment, body) = [Environment::Live, Environment::Test]
        .into_iter()
        .find_map(|environment| text.strip_prefix(prefix(environment)).map(|body| (environment, body)))
        .ok_or(Malformed)?;
    if !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Malformed);
    }
    let (before, given) = text.as_bytes().split_at(PREFIX_CHARS + RANDOM_CHARS);
    if checksum(before)[..] != *given {
        return Err(Malformed);
    }
    Ok(ParsedKey { environment, secret: Secret(text.into()) })
}

/// The server's secret that goes into every key's hash: who has the database alone can't test guesses.
///
/// Peppers are numbered from 1, so that they can be rotated: new secrets are hashed with the newest, older hashes are replaced when
/// their key is used.
#[derive(Clone)]
pub struct Pepper {
    number: u32,
    // Holds the state after the key's block, so that a hash costs two blocks, not four.
    keyed: hmac::Hmac<sha2::Sha256>,
}

impl Pepper {
    /// Pepper `number` of these bytes, which must come from a CSPRNG.
    pub fn new(number: u32, bytes: [u8; 32]) -> Self {
        Self { number, keyed: keyed(&bytes) }
    }

    /// Its number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// The hash of what looks like a key ([`parse`]).
    pub fn hash(&self, secret: &str) -> KeyHash {
        let mut mac = self.keyed.clone();
        mac.update(secret.as_bytes());
        KeyHash(mac.finalize().into_bytes().into())
    }

    /// 32 bytes that only who has the pepper can make, for another use named by `context`.
    pub fn derive(&self, context: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(b"kallglot derived key\n");
        mac.update(context.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// All peppers of an installation, the newest first.
#[derive(Clone)]
pub struct Peppers {
    newest: Pepper,
    older: Vec<Pepper>,
}

impl Peppers {
    /// The newest one, and those that it has replaced, newest first.
    pub const fn new(newest: Pepper, older: Vec<Pepper>) -> Self {
        Self { newest, older }
    }

    /// With which new secrets are hashed.
    pub const fn newest(&self) -> &Pepper {
        &self.newest
    }

    /// Those that it has replaced, newest first.
    pub fn older(&self) -> &[Pepper] {
        &self.older
    }
}

/// What is stored of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its hash.
    pub hash: KeyHash,
    /// The number of the pepper in it.
    pub pepper: u32,
    /// Its last 4 characters, for lists.
    pub last4: String,
}

/// HMAC-SHA-256(pepper, key): what is stored and looked up. Compared in constant time.
#[derive(Clone, Copy, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash with these bytes, as stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to store or look up.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// A key as it is stored, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id; a rotation keeps it.
    pub id: ApiKeyId,
    /// Who owns it.
    pub organization: OrganizationId,
    /// Which side of the organization's data it sees.
    pub environment: Environment,
    /// What its owner calls it; valid by [`crate::organization::valid_name`].
    pub name: String,
    /// What it may do.
    pub permissions: PermissionSet,
    /// From when on it is refused; none for never.
    pub expires_at: Option<Timestamp>,
    /// From where it may be used; empty for anywhere. At most [`ALLOWED_NETWORKS_MAX`].
    pub allowed_networks: Vec<IpNet>,
    /// A limit of its own below the organization's, at least 1; none for the organization's alone.
    pub requests_per_minute_max: Option<u32>,
    /// The edition that it is pinned to; none for the organization's.
    pub edition: Option<Edition>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, a minute exact; none for never.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// The last 4 characters of its current secret, for lists.
    pub last4: String,
    /// Until when the secret before the current one is still valid; none when it was never rotated.
    pub old_secret_valid_until: Option<Timestamp>,
    /// When the secret before the current one was last used, a minute exact: who still has to change over.
    pub old_secret_last_used_at: Option<Timestamp>,
    /// Since when it may only read, because its secret was reported as leaked; none for not.
    pub quarantined_at: Option<Timestamp>,
}

named! {
    /// How a key stands at some time.
    KeyStatus {
        /// Lets requests in.
        Active = "active",
        /// Its time is over.
        Expired = "expired",
        /// Revoked, for good.
        Revoked = "revoked",
        /// Active, and so is its old secret still.
        Rotating = "rotating",
    }
}

named! {
    /// Which environments a server answers for.
    ServerEnvironment {
        /// Live keys only.
        Live = "live",
        /// Test keys only.
        Test = "test",
        /// Both: the embedded default.
        Any = "any",
    }
}

impl ServerEnvironment {
    /// Whether keys of `environment` are at the right server.
    pub const fn accepts(self, environment: Environment) -> bool {
        matches!(
            (self, environment),
            (Self::Any, _) | (Self::Live, Environment::Live) | (Self::Test, Environment::Test)
        )
    }
}

/// Why a key that exists does not let a request in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Revoked.
    #[error("the API key has been revoked")]
    Revoked,
    /// Expired.
    #[error("the API key has expired")]
    Expired,
    /// The secret was replaced by a rotation and its grace period is over.
    #[error("the API key's secret was replaced by a new one and is no longer valid")]
    SecretReplaced,
    /// A key of the environment that this server does not answer for.
    #[error("the API key belongs to the other environment")]
    WrongEnvironment,
    /// Used from outside its allow-list.
    #[error("the API key does not allow requests from this address")]
    AddressNotAllowed,
}

impl KeyRefusal {
    /// The public code.
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Revoked => ErrorCode::ApiKeyRevoked,
            Self::Expired | Self::SecretReplaced => ErrorCode::ApiKeyExpired,
            Self::WrongEnvironment => ErrorCode::ApiKeyWrongEnvironment,
            Self::AddressNotAllowed => ErrorCode::IpNotAllowed,
        }
    }
}

impl ApiKey {
    /// Whose data it sees.
    pub const fn tenant(&self) -> Tenant {
        Tenant { organization: self.organization, environment: self.environment }
    }

    /// How it stands at `now`.
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked_at.is_some() {
            KeyStatus::Revoked
        } else if self.expires_at.is_some_and(|expires_at| now >= expires_at) {
            KeyStatus::Expired
        } else if self.old_secret_valid_until.is_some_and(|until| now < until) {
            KeyStatus::Rotating
        } else {
            KeyStatus::Active
        }
    }

    /// Step 3 of the gate (contract section 3): whether a request from `address` at `now`, to a server of this environment, is
    /// let in. `secret_valid_until` belongs to the secret that was presented: none for the key's current one.
    ///
    /// # Errors
    /// The first refusal in the contract's order.
    pub fn check(
        &self,
        secret_valid_until: Option<Timestamp>,
        now: Timestamp,
        address: IpAddr,
        server: ServerEnvironment,
    ) -> Result<(), KeyRefusal> {
        match self.status(now) {
            KeyStatus::Revoked => return Err(KeyRefusal::Revoked),
            KeyStatus::Expired => return Err(KeyRefusal::Expired),
            KeyStatus::Active | KeyStatus::Rotating => {}
        }
        if secret_valid_until.is_some_and(|until| now >= until) {
            return Err(KeyRefusal::SecretReplaced);
        }
        if !server.accepts(self.environment) {
            return Err(KeyRefusal::WrongEnvironment);
        }
        if !self.allows(address) {
            return Err(KeyRefusal::AddressNotAllowed);
        }
        Ok(())
    }

    /// Whether the allow-list has `address`. An IPv4 address that arrived as IPv6 (`::ffff:192.0.2.1`) is the IPv4 address.
    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed_networks.is_empty() || self.allowed_networks.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permission::Permission;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Counts up through a simple generator: different bytes each time, the same in every run.
    struct FakeRandom(AtomicU64);
    impl RandomSource for FakeRandom {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
                *byte = ((n ^ (n >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 56) as u8;
            }
        }
    }

    fn secret(seed: u64) -> Secret {
        Secret::new(Environment::Test, &FakeRandom(AtomicU64::new(seed)))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key() -> ApiKey {
        ApiKey {
            id: ApiKeyId::from_bits(1),
            organization: OrganizationId::from_bits(2),
            environment: Environment::Test,
            name: "backend".into(),
            permissions: PermissionSet::of(&[Permission::SessionsRead]),
            expires_at: Some(at(1_000)),
            allowed_networks: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            requests_per_minute_max: None,
            edition: None,
            created_at: at(0),
            last_used_at: None,
            revoked_at: None,
            last4: "abcd".into(),
            old_secret_valid_until: Some(at(500)),
            old_secret_last_used_at: None,
            quarantined_at: None,
        }
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn a_new_secret_has_the_contracts_form_and_is_read_back() {
        let secret = secret(1);
        assert!(secret.expose().starts_with("sk_test_") && secret.expose().len() == 44, "{}", secret.expose());
        assert!(secret.expose().ends_with(secret.last4()));
        let parsed = parse(secret.expose()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((parsed.environment, parsed.secret.expose()), (Environment::Test, secret.expose()));
    }

    #[test]
    fn the_checksum_is_crc_32_of_all_before_it() {
        // CRC-32/ISO-HDLC of "123456789" is 0xcbf43926, the check value of its published definition: 3YBOWs in Base62.
        let mut number = 0xcbf4_3926_usize;
        let mut expected = Vec::new();
        for _ in 0..6 {
            expected.insert(0, BASE62[number % 62]);
            number /= 62;
        }
        assert_eq!(checksum(b"123456789").to_vec(), expected);
    }

    #[test]
    fn every_character_is_equally_likely() {
        let mut counts = [0u32; 128];
        let random = FakeRandom(AtomicU64::new(3));
        const SECRETS: u32 = 4_000;
        for _ in 0..SECRETS {
            for byte in Secret::new(Environment::Live, &random).expose().bytes().skip(8).take(30) {
                counts[usize::from(byte)] += 1;
            }
        }
        let expected = f64::from(SECRETS * 30) / 62.0;
        // Chi-squared with 61 degrees of freedom: 110 is beyond the 99.99th percentile; a modulo bias gives thousands.
        let chi: f64 = BASE62.iter().map(|b| (f64::from(counts[usize::from(*b)]) - expected).powi(2) / expected).sum();
        assert!(chi < 110.0, "{chi}");
    }

    #[test]
    fn the_hash_depends_on_secret_and_pepper() {
        let (pepper, other) = (Pepper::new(1, [1; 32]), Pepper::new(1, [2; 32]));
        assert_eq!(secret(1).hash(&pepper), secret(1).hash(&pepper));
        assert_ne!(secret(1).hash(&pepper), secret(2).hash(&pepper));
        assert_ne!(secret(1).hash(&pepper), secret(1).hash(&other));
        assert_eq!(format!("{:?}", secret(1).hash(&pepper)), "KeyHash(…)");
    }

    #[test]
    fn refusals_come_in_the_contracts_order() {
        let any = ServerEnvironment::Any;
        let stranger: IpAddr = "198.51.100.1".parse().unwrap();
        let mut key = key();
        assert_eq!(key.check(None, at(999), HOME, any), Ok(()));
        assert_eq!(key.check(None, at(999), stranger, any), Err(KeyRefusal::AddressNotAllowed));
        assert_eq!(key.check(None, at(999), stranger, ServerEnvironment::Live), Err(KeyRefusal::WrongEnvironment));
        assert_eq!(key.check(None, at(1_000), stranger, ServerEnvironment::Live), Err(KeyRefusal::Expired));
        key.revoked_at = Some(at(5));
        assert_eq!(key.check(None, at(1_000), stranger, ServerEnvironment::Live), Err(KeyRefusal::Revoked));
    }

    #[test]
    fn an_old_secret_is_valid_for_its_grace_period_only() {
        let key = key();
        assert_eq!(key.check(Some(at(500)), at(499), HOME, ServerEnvironment::Test), Ok(()));
        let late = key.check(Some(at(500)), at(500), HOME, ServerEnvironment::Test);
        assert_eq!(late, Err(KeyRefusal::SecretReplaced));
        assert_eq!(late.unwrap_err().code(), ErrorCode::ApiKeyExpired);
        assert_eq!((key.status(at(499)), key.status(at(500))), (KeyStatus::Rotating, KeyStatus::Active));
        assert_eq!(key.status(at(1_000)), KeyStatus::Expired);
    }

    #[test]
    fn the_allow_list_knows_both_families_and_mapped_addresses() {
        let mut key = key();
        for (address, allowed) in [
            ("192.0.2.255", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.3.1", false),
            ("2001:db8::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(key.allows(address.parse().unwrap()), allowed, "{address}");
        }
        key.allowed_networks.clear();
        assert!(key.allows("203.0.113.9".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(text in "(sk_(live|test)_)?[0-9A-Za-z]{36}|\\PC{0,60}") {
            prop_assert!(parse(&text).is_err());
        }

        #[test]
        fn one_changed_character_is_noticed(seed: u64, index in 0usize..44, byte in 0x21u8..0x7f) {
            let mut text = secret(seed).expose().as_bytes().to_vec();
            prop_assume!(text[index] != byte);
            text[index] = byte;
            prop_assert!(parse(std::str::from_utf8(&text).unwrap()).is_err());
        }
    }
}
