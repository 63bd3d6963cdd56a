//! Values to store, made from small numbers.

use std::collections::BTreeMap;

use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash};
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId, SegmentId, SessionId};
use kallglot_core::organization::Organization;
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::session::{Environment, Mode, Session, SessionState, Speaker, Tenant, Translation};
use kallglot_core::vocabulary::{Expectation, Vocabulary};

use crate::{NewTurn, Storage};

/// `second` seconds after some time in 2025, and a fraction down to the microsecond.
pub fn at(second: i64) -> Timestamp {
    Timestamp::new(1_750_000_000 + second, 123_456_000).unwrap()
}

pub fn vocabulary() -> Vocabulary {
    let expectation = Expectation {
        phrases: vec!["¿En qué puedo \"ayudarle\"?".into()],
        words: vec!["Kallglot".into()],
        phrases_only: true,
    };
    Vocabulary { languages: BTreeMap::from([("es-MX".parse().unwrap(), expectation)]) }
}

/// An organization with nothing left at its default; a larger number is a newer one.
pub fn organization(number: u128) -> Organization {
    Organization {
        id: OrganizationId::from_bits(number),
        name: format!("Åsa & Söner {number}"),
        plan: Plan::Enterprise,
        overrides: LimitOverrides {
            requests_per_minute_max: Some(1),
            concurrent_sessions_max: Some(2),
            stream_messages_per_second_max: Some(3),
            stream_audio_bytes_per_second_max: Some(4),
        },
        active: false,
        edition: Edition::One,
        engine: Some("classic".into()),
        vocabulary: vocabulary(),
        created_at: at(1),
    }
}

/// A key of organization 1's test side with nothing left at its default; a larger number is a newer one.
pub fn key(number: u128) -> ApiKey {
    ApiKey {
        id: ApiKeyId::from_bits(number),
        organization: OrganizationId::from_bits(1),
        environment: Environment::Test,
        name: format!("backend {number}"),
        permissions: PermissionSet::of(&[Permission::SessionsRead, Permission::AgentsWrite]),
        expires_at: Some(at(1_000_000)),
        allowed_networks: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        requests_per_minute_max: Some(30),
        edition: Some(Edition::Two),
        created_at: at(2),
        last_used_at: None,
        revoked_at: None,
        last4: "aB3z".into(),
        old_secret_valid_until: None,
    }
}

pub fn hash(number: u8) -> KeyHash {
    KeyHash::from_bytes([number; 32])
}

/// Organization 1's test side, which owns the keys and sessions here.
pub const TENANT: Tenant = Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Test };

/// Tenants that must not see what [`TENANT`] owns.
pub const STRANGERS: [Tenant; 2] = [
    Tenant { organization: OrganizationId::from_bits(1), environment: Environment::Live },
    Tenant { organization: OrganizationId::from_bits(2), environment: Environment::Test },
];

/// A session made by key 1; a larger number is a newer one.
pub fn session(number: u128) -> Session {
    Session {
        id: SessionId::from_bits(number),
        tenant: TENANT,
        created_by: ApiKeyId::from_bits(1),
        mode: Mode::AssistiveTranslation,
        source_language: Some("en".parse().unwrap()),
        target_language: None,
        voice: Some("calm".into()),
        vocabulary: vocabulary(),
        metadata: BTreeMap::from([("order".into(), "№ 7 \"x\"".into())]),
        created_at: at(10),
        last_activity_at: at(10),
        state: SessionState::Created,
    }
}

pub fn turn(number: u32) -> NewTurn {
    NewTurn {
        id: SegmentId::from_bits(number.into()),
        speaker: Speaker::Agent,
        language: "en-GB".parse().unwrap(),
        text: format!("sentence {number}"),
        translation: number
            .is_multiple_of(2)
            .then(|| Translation { language: "es".parse().unwrap(), text: format!("frase {number}") }),
        timestamp: at(20),
        start_ms: 1_000,
        end_ms: u64::from(u32::MAX) + 7,
        confidence: 0.1 + 0.7,
    }
}

/// Organizations 1 and 2, and organization 1's key 1 with the secret `hash(1)`.
pub async fn begin(storage: &impl Storage) {
    storage.create_organization(&organization(1), 0).await.unwrap();
    storage.create_organization(&organization(2), 0).await.unwrap();
    storage.create_key(&key(1), &hash(1)).await.unwrap();
}
