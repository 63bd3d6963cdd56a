//! The repositories: what can be stored and asked, by intent.
//!
//! "None" always means that there is no such object for that tenant, which a client is told as 404.

use std::num::NonZeroU32;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash};
use kallglot_core::edition::Edition;
use kallglot_core::id::{ApiKeyId, OrganizationId, SegmentId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::organization::Organization;
use kallglot_core::permission::PermissionSet;
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::session::{EndReason, Session, Speaker, Tenant, Translation, Turn, UtteranceLag};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_core::vocabulary::Vocabulary;

use crate::error::StorageError;
use crate::page::{Page, PageRequest};

type Result<T> = std::result::Result<T, StorageError>;

/// Organizations: for the operator and for what the server knows of its own tenants.
#[async_trait]
pub trait OrganizationRepository: Send + Sync {
    /// Stores a new one with its first grant of credits (0 for none), both or neither. `Conflict` when its id is taken.
    async fn create_organization(&self, organization: &Organization, credits: u32) -> Result<()>;

    /// Adds a grant to its ledger (contract section 7). Answers with the balance after it.
    async fn grant_credits(&self, id: OrganizationId, credits: NonZeroU32, at: Timestamp) -> Result<Option<i64>>;

    /// What its ledger sums up to.
    async fn credit_balance(&self, id: OrganizationId) -> Result<Option<i64>>;

    /// The organization of this id.
    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>>;

    /// A page of all of them, newest first.
    async fn organizations_for_operator(&self, page: &PageRequest<OrganizationId>) -> Result<Page<Organization>>;

    /// Sets plan and overrides, both as given. Answers with the organization as it is now.
    async fn set_plan(
        &self,
        id: OrganizationId,
        plan: Plan,
        overrides: &LimitOverrides,
    ) -> Result<Option<Organization>>;

    /// Sets whether its subscription is active.
    async fn set_active(&self, id: OrganizationId, active: bool) -> Result<Option<Organization>>;

    /// Sets the edition that its keys speak unless they say otherwise.
    async fn set_edition(&self, id: OrganizationId, edition: Edition) -> Result<Option<Organization>>;

    /// Sets what its recognizers should expect, in place of what was set before. The caller has validated it.
    async fn set_vocabulary(&self, id: OrganizationId, vocabulary: &Vocabulary) -> Result<Option<Organization>>;

    /// Sets its speech engine by name; none for the server's default.
    async fn set_engine(&self, id: OrganizationId, engine: Option<&str>) -> Result<Option<Organization>>;
}

/// What a key's hash leads to: everything that the gate needs, in one look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The key.
    pub key: ApiKey,
    /// Until when the secret that was presented is valid; none for the key's current one.
    pub secret_valid_until: Option<Timestamp>,
    /// The key's organization.
    pub organization: Organization,
}

/// What can be changed of a key. None leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyUpdate {
    /// A new name.
    pub name: Option<String>,
    /// New permissions.
    pub permissions: Option<PermissionSet>,
    /// A new expiry; `Some(None)` for never.
    pub expires_at: Option<Option<Timestamp>>,
    /// A new allow-list; empty for anywhere.
    pub allowed_networks: Option<Vec<ipnet::IpNet>>,
    /// A new limit of its own; `Some(None)` for none.
    pub requests_per_minute_max: Option<Option<u32>>,
    /// The edition it is pinned to; `Some(None)` for its organization's.
    pub edition: Option<Option<Edition>>,
}

/// What is stored of a new secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Its hash.
    pub hash: KeyHash,
    /// Its last 4 characters.
    pub last4: String,
}

/// What became of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateKey {
    /// Done; the key as it is now.
    Rotated(Box<ApiKey>),
    /// A revoked key gets no new secret.
    Revoked,
    /// There is no such key.
    NotFound,
}

/// Which keys' streams were asked to be closed, since some place in that list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamClosures {
    /// The keys, in the order of the requests; a key may be in it more than once.
    pub keys: Vec<ApiKeyId>,
    /// Where to go on next time. Every page has at most 1000 keys: a full page has a next one at once.
    pub marker: i64,
}

/// API keys and their secrets' hashes.
#[async_trait]
pub trait KeyRepository: Send + Sync {
    /// Stores a new key and its first secret. `key.last4` is the secret's. `Conflict` when id or hash are taken or the
    /// organization does not exist.
    async fn create_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<()>;

    /// What this hash leads to: also a key that is revoked or expired and a secret whose time is over, for the caller to refuse.
    async fn key_of_secret(&self, hash: &KeyHash) -> Result<Option<KnownKey>>;

    /// A key of this tenant.
    async fn key(&self, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>>;

    /// A key by its id alone: for the command line, whose user owns the database.
    async fn key_for_operator(&self, id: ApiKeyId) -> Result<Option<ApiKey>>;

    /// A page of the tenant's keys, newest first, revoked ones among them.
    async fn keys(&self, tenant: Tenant, page: &PageRequest<ApiKeyId>) -> Result<Page<ApiKey>>;

    /// Changes what `update` names. Answers with the key as it is now.
    async fn update_key(&self, tenant: Tenant, id: ApiKeyId, update: &KeyUpdate) -> Result<Option<ApiKey>>;

    /// Gives the key a new secret. The ones before stay valid until `old_valid_until`, or until the earlier end that they already
    /// had.
    async fn rotate_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        secret: &NewSecret,
        now: Timestamp,
        old_valid_until: Timestamp,
    ) -> Result<RotateKey>;

    /// Revokes the key at `at`; an earlier revocation stays. With `close_streams` its id is in [`Self::closed_streams_since`] from
    /// then on, also when it had been revoked before.
    async fn revoke_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        at: Timestamp,
        close_streams: bool,
    ) -> Result<Option<ApiKey>>;

    /// Notes when keys were last used; an earlier time than the stored one and unknown keys are passed over.
    async fn touch_keys(&self, used: &[(ApiKeyId, Timestamp)]) -> Result<()>;

    /// The keys whose streams were asked to be closed after `marker`. None: no keys, only where the list ends now; ask so once at
    /// start, then with the marker that came last.
    async fn closed_streams_since(&self, marker: Option<i64>) -> Result<StreamClosures>;
}

/// A session after [`SessionRepository::end_session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The session, ended.
    pub session: Session,
    /// Whether this call ended it; false when it had already ended, which leaves time and reason of the first end.
    pub ended_now: bool,
}

/// Sessions.
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// Stores a new one. `Conflict` when its id is taken or organization or key don't exist.
    async fn create_session(&self, session: &Session) -> Result<()>;

    /// A session of this tenant.
    async fn session(&self, tenant: Tenant, id: SessionId) -> Result<Option<Session>>;

    /// A session by its id alone: for who has shown a signed stream token for it, which is the authority.
    async fn session_for_token_holder(&self, id: SessionId) -> Result<Option<Session>>;

    /// A page of the tenant's sessions, newest first.
    async fn sessions(&self, tenant: Tenant, page: &PageRequest<SessionId>) -> Result<Page<Session>>;

    /// A stream has connected at `at`: `created` becomes `active`. Answers with the session as it is now; one that has ended is
    /// left as it is, which the caller sees in its state.
    async fn connect_session(&self, tenant: Tenant, id: SessionId, at: Timestamp) -> Result<Option<Session>>;

    /// Audio has arrived at `at`: sets `started_at` if it is the first. Answers like [`Self::connect_session`].
    async fn start_session(&self, tenant: Tenant, id: SessionId, at: Timestamp) -> Result<Option<Session>>;

    /// Notes when something last happened in these sessions, for the server's own sessions. Earlier times than the stored ones,
    /// ended and unknown sessions are passed over.
    async fn touch_sessions(&self, active: &[(SessionId, Timestamp)]) -> Result<()>;

    /// Ends it, once: a second end changes nothing.
    async fn end_session(
        &self,
        tenant: Tenant,
        id: SessionId,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Option<EndedSession>>;

    /// Of all tenants: at most `limit` sessions that have not ended and in which nothing has happened since before `before`, the
    /// longest idle first. For the server, to end them.
    async fn idle_sessions(&self, before: Timestamp, limit: u32) -> Result<Vec<Session>>;
}

/// A turn that has not got its place in the transcript yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTurn {
    /// The segment's id, as in its partials.
    pub id: SegmentId,
    /// Who spoke.
    pub speaker: Speaker,
    /// In which language, as recognised.
    pub language: LanguageTag,
    /// What was said.
    pub text: String,
    /// What it means in the other party's language, where it was translated.
    pub translation: Option<Translation>,
    /// When it became final.
    pub timestamp: Timestamp,
    /// Where it begins, in ms after the session's first audio.
    pub start_ms: u64,
    /// Where it ends, in ms after the session's first audio.
    pub end_ms: u64,
    /// How sure the recognizer is, 0 to 1.
    pub confidence: f32,
}

impl NewTurn {
    /// The turn at its place.
    #[must_use]
    pub fn at(self, sequence: u32) -> Turn {
        let Self { id, speaker, language, text, translation, timestamp, start_ms, end_ms, confidence } = self;
        Turn { sequence, id, speaker, language, text, translation, timestamp, start_ms, end_ms, confidence }
    }
}

/// Most turns that one call of [`TurnRepository::turns`] answers with.
pub const TURNS_PAGE_MAX: u32 = 10_000;

/// What is kept of what was said: turns, lags and stream statistics of a session.
#[async_trait]
pub trait TurnRepository: Send + Sync {
    /// Appends a turn at the next place of the session's transcript, from 1, without holes, in the order of the calls. A segment that
    /// is already there is not changed and not appended again: the answer is the stored turn, so a caller that does not know
    /// whether it succeeded asks again. Also after the session's end, since the last words become final about then.
    async fn append_turn(&self, tenant: Tenant, session: SessionId, turn: &NewTurn) -> Result<Option<Turn>>;

    /// Up to `limit` (at most [`TURNS_PAGE_MAX`]) turns of the transcript, in order, after place `after` (0 for from the start). None for an unknown session.
    async fn turns(&self, tenant: Tenant, session: SessionId, after: u32, limit: u32) -> Result<Option<Vec<Turn>>>;

    /// How many turns the transcript has. None for an unknown session.
    async fn turn_count(&self, tenant: Tenant, session: SessionId) -> Result<Option<u32>>;

    /// Keeps the lags of these utterances; one that is already there is replaced. False for an unknown session.
    async fn save_lags(&self, tenant: Tenant, session: SessionId, lags: &[UtteranceLag]) -> Result<bool>;

    /// The lags of the session's utterances in the order of their ids. None for an unknown session.
    async fn lags(&self, tenant: Tenant, session: SessionId) -> Result<Option<Vec<UtteranceLag>>>;

    /// Keeps what went through the session's streams so far, in place of what was kept before. False for an unknown session.
    async fn save_stream_statistics(
        &self,
        tenant: Tenant,
        session: SessionId,
        statistics: &StreamStatistics,
    ) -> Result<bool>;

    /// What was kept last; all zero when nothing was. None for an unknown session.
    async fn stream_statistics(&self, tenant: Tenant, session: SessionId) -> Result<Option<StreamStatistics>>;
}

/// Everything that a backend gives.
#[async_trait]
pub trait Storage: OrganizationRepository + KeyRepository + SessionRepository + TurnRepository + 'static {
    /// A number that is different from the last answer when another process has changed the database in between (the command
    /// line, say): time to drop what is cached. Cheap enough to ask several times a second.
    async fn changes(&self) -> Result<u64>;

    /// Finishes what has been accepted, then closes the database. Later calls are `Unavailable`; closing twice does nothing.
    async fn close(&self) -> Result<()>;
}
