//! The repositories: what can be stored and asked, by intent.
//!
//! "None" always means that there is no such object for that tenant, which a client is told as 404.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::api_key::{ApiKey, KeyHash, StoredSecret};
use kallglot_core::audit::{AuditAction, AuditEntry, Change, Who};
use kallglot_core::credit::{CreditBalance, LedgerEntry};
use kallglot_core::edition::Edition;
use kallglot_core::event::Event;
use kallglot_core::id::{ApiKeyId, AuditId, NodeId, OrganizationId, RequestId, SegmentId, SessionId};
use kallglot_core::idempotency::{Fingerprint, IdempotencyKey};
use kallglot_core::language::LanguageTag;
use kallglot_core::organization::{LeakPolicy, Organization};
use kallglot_core::permission::{Permission, PermissionSet};
use kallglot_core::plan::{LimitOverrides, Plan};
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{
    EndReason, Environment, Session, Speaker, Status, Tenant, Translation, Turn, UtteranceLag,
};
use kallglot_core::stream_statistics::StreamStatistics;
use kallglot_core::vocabulary::Vocabulary;

use crate::analysis::AnalysisRepository;
use crate::error::StorageError;
use crate::event::EventRepository;
use crate::page::{Page, PageRequest};
use crate::usage::UsageRepository;
use crate::webhook::WebhookRepository;

type Result<T> = std::result::Result<T, StorageError>;

/// What can be changed of an organization. None leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationUpdate {
    /// A new name. The caller has validated it.
    pub name: Option<String>,
    /// A new plan.
    pub plan: Option<Plan>,
    /// New overrides, all of them.
    pub overrides: Option<LimitOverrides>,
    /// Whether its subscription is active.
    pub active: Option<bool>,
    /// The edition that its keys speak unless they say otherwise.
    pub edition: Option<Edition>,
    /// What its recognizers should expect, in place of what was set before. The caller has validated it.
    pub vocabulary: Option<Vocabulary>,
    /// Its speech engine by name; `Some(None)` for the server's default.
    pub engine: Option<Option<String>>,
    /// What happens to leaked keys.
    pub leak_policy: Option<LeakPolicy>,
    /// When `credits.low` is raised.
    pub low_credits_threshold: Option<u32>,
    /// Whether sessions are recorded whose creation does not say.
    pub recording: Option<bool>,
    /// For how many days recordings are kept.
    pub recordings_kept_days: Option<u32>,
}

/// Which entries of an audit log are wanted; the default wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of what was done.
    pub action: Option<AuditAction>,
    /// Of who did it.
    pub who: Option<Who>,
    /// Of what it was done to, by its id.
    pub object: Option<String>,
    /// Of what belongs to this environment.
    pub environment: Option<Environment>,
}

/// Organizations: for the operator and for what the server knows of its own tenants.
#[async_trait]
pub trait OrganizationRepository: Send + Sync {
    /// Stores a new one with its first grant of credits (0 for none) and an audit entry, all or nothing. `Conflict` when its id is
    /// taken.
    async fn create_organization(&self, organization: &Organization, credits: u32, change: &Change) -> Result<()>;

    /// The organization of this id.
    async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>>;

    /// A page of all of them, newest first.
    async fn organizations_for_operator(&self, page: &PageRequest<OrganizationId>) -> Result<Page<Organization>>;

    /// Changes what `update` names, with an audit entry of what is different after it (none when nothing is). Answers with the
    /// organization as it is now.
    async fn update_organization(
        &self,
        id: OrganizationId,
        update: &OrganizationUpdate,
        change: &Change,
    ) -> Result<Option<Organization>>;

    /// Adds a grant to its ledger (contract section 7), with an audit entry. Answers with how its credits stand after it.
    async fn grant_credits(
        &self,
        id: OrganizationId,
        credits: NonZeroU32,
        change: &Change,
    ) -> Result<Option<CreditBalance>>;

    /// How its credits stand: all zero without any entry. The period of `used` is that of the last entry.
    async fn credit_balance(&self, id: OrganizationId) -> Result<Option<CreditBalance>>;

    /// Up to `limit` (at most 1000) entries of its ledger after place `after` (0 for from the start), oldest first.
    async fn ledger(&self, id: OrganizationId, after: i64, limit: u32) -> Result<Vec<LedgerEntry>>;

    /// Up to `limit` (at most 1000) entries of its ledger before place `before` (none for from the end), newest first.
    async fn ledger_back(&self, id: OrganizationId, before: Option<i64>, limit: u32) -> Result<Vec<LedgerEntry>>;

    /// A page of those entries of its audit log that the filter wants, newest first.
    async fn audit_log(
        &self,
        id: OrganizationId,
        filter: &AuditFilter,
        page: &PageRequest<AuditId>,
    ) -> Result<Page<AuditEntry>>;
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
    /// How the organization's credits stand.
    pub credits: CreditBalance,
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
    /// Whether a quarantine ends.
    pub lift_quarantine: bool,
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

/// What became of a leak report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeakedKey {
    /// The key as it is now.
    pub key: ApiKey,
    /// What the organization wants to happen, and has happened.
    pub policy: LeakPolicy,
}

/// That keys were used: noted in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// The key.
    pub key: ApiKeyId,
    /// When it was last used.
    pub at: Timestamp,
    /// The permissions that were asked for, and had, since the last note.
    pub permissions: PermissionSet,
    /// When a secret before the current one was last used, if one was.
    pub old_secret_at: Option<Timestamp>,
}

/// A change that a server which caches keys and organizations has to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateChange {
    /// Something about this key or its secrets.
    Key(ApiKeyId),
    /// Something about this organization, or its credits by other than a spend.
    Organization(OrganizationId),
    /// The streams of this key's sessions are to be closed.
    CloseStreams(ApiKeyId),
    /// This session is to be ended by the node that it lives on.
    EndSession(SessionId, EndReason),
    /// This session's recording is to be paused or to go on, by the node that it lives on.
    Record(SessionId, RecordingMode),
}

impl fmt::Display for GateChange {
    /// As nodes tell it each other: kind and id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "key {id}"),
            Self::Organization(id) => write!(f, "organization {id}"),
            Self::CloseStreams(id) => write!(f, "close_streams {id}"),
            Self::EndSession(id, reason) => write!(f, "end_session {id} {}", reason.as_str()),
            Self::Record(id, mode) => write!(f, "record {id} {}", mode.as_str()),
        }
    }
}

impl GateChange {
    /// What [`fmt::Display`] wrote; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(' ')?;
        match kind {
            "key" => Some(Self::Key(rest.parse().ok()?)),
            "organization" => Some(Self::Organization(rest.parse().ok()?)),
            "close_streams" => Some(Self::CloseStreams(rest.parse().ok()?)),
            "end_session" => {
                let (id, reason) = rest.split_once(' ')?;
                Some(Self::EndSession(id.parse().ok()?, EndReason::parse(reason)?))
            }
            "record" => {
                let (id, mode) = rest.split_once(' ')?;
                Some(Self::Record(id.parse().ok()?, RecordingMode::parse(mode)?))
            }
            _ => None,
        }
    }
}

/// What has changed since some place in the list of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateChanges {
    /// The changes, in their order; at most 1000: a full list has a next one at once. One change may be told several times.
    pub changes: Vec<GateChange>,
    /// Where to go on next time.
    pub marker: i64,
    /// Whether changes right after the marker that was given are gone: drop all that is cached.
    pub lost: bool,
}

/// API keys and their secrets' hashes.
#[async_trait]
pub trait KeyRepository: Send + Sync {
    /// Stores a new key and its first secret, with an audit entry, the event `api_key.created`, and the idempotency record if there
    /// is one. `key.last4` is the secret's. `Conflict` when id or hash are taken or the organization does not exist.
    async fn create_key(
        &self,
        key: &ApiKey,
        secret: &StoredSecret,
        idempotency: Option<&NewAnswer>,
        change: &Change,
    ) -> Result<Once<()>>;

    /// What this hash leads to: also a key that is revoked or expired and a secret whose time is over, for the caller to refuse.
    async fn key_of_secret(&self, hash: &KeyHash) -> Result<Option<KnownKey>>;

    /// Replaces a secret's hash by the one under another pepper. Nothing happens when `old` is not there.
    async fn rehash_secret(&self, old: &KeyHash, new: &KeyHash, pepper: u32) -> Result<()>;

    /// How many secrets that can still let somebody in at `now` are hashed with each pepper: (number, secrets), by number.
    async fn secrets_by_pepper(&self, now: Timestamp) -> Result<Vec<(u32, u64)>>;

    /// A key of this tenant.
    async fn key(&self, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>>;

    /// A key by its id alone: for the command line, whose user owns the database.
    async fn key_for_operator(&self, id: ApiKeyId) -> Result<Option<ApiKey>>;

    /// A page of the tenant's keys, newest first, revoked ones among them.
    async fn keys(&self, tenant: Tenant, page: &PageRequest<ApiKeyId>) -> Result<Page<ApiKey>>;

    /// When each permission of these keys of the tenant was last used. Permissions never used and unknown keys are not in it.
    async fn permissions_used(
        &self,
        tenant: Tenant,
        keys: &[ApiKeyId],
    ) -> Result<Vec<(ApiKeyId, Permission, Timestamp)>>;

    /// Changes what `update` names, with an audit entry of what is different after it. Answers with the key as it is now.
    async fn update_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        update: &KeyUpdate,
        change: &Change,
    ) -> Result<Option<ApiKey>>;

    /// Gives the key a new secret, with an audit entry and the event `api_key.rotated`. The ones before stay valid until
    /// `old_valid_until`, or until the earlier end that they already had.
    async fn rotate_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        secret: &StoredSecret,
        old_valid_until: Timestamp,
        change: &Change,
    ) -> Result<RotateKey>;

    /// Revokes the key at `change.at`; an earlier revocation stays. With an audit entry and the event `api_key.revoked`, if it was not
    /// revoked before. With `close_streams` there is a [`GateChange::CloseStreams`], also when it had been revoked before.
    async fn revoke_key(
        &self,
        tenant: Tenant,
        id: ApiKeyId,
        close_streams: bool,
        change: &Change,
    ) -> Result<Option<ApiKey>>;

    /// Does with the key of this secret what its organization's policy for leaked keys says, with an audit entry and the event
    /// `api_key.leaked`: all of it once per secret and policy, however often it is reported. A key that is already revoked is left as it
    /// is, and so is one whose reported secret can't let anybody in any more, for which the answer's policy is [`LeakPolicy::Notify`].
    /// None for an unknown secret.
    async fn report_leak(&self, hash: &KeyHash, change: &Change) -> Result<Option<LeakedKey>>;

    /// Notes when keys were last used and for what; earlier times than the stored ones and unknown keys are passed over.
    async fn note_key_uses(&self, uses: &[KeyUse]) -> Result<()>;

    /// What has changed for caches of keys and organizations, by any process, after `marker`. None: no changes, only where the list
    /// ends now; ask so once before the first look-up, then with the marker that came last.
    async fn gate_changes_since(&self, marker: Option<i64>) -> Result<GateChanges>;
}

/// An answer that is to be given again when the same request comes again (contract section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// What the client calls the request.
    pub key: IdempotencyKey,
    /// What the request is.
    pub fingerprint: Fingerprint,
    /// The request that the answer was made for.
    pub request: RequestId,
    /// The answer's status.
    pub status: u16,
    /// The answer's body, sealed: it may hold a secret.
    pub sealed_body: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// What the request was.
    pub fingerprint: Fingerprint,
    /// The request that the answer was made for.
    pub request: RequestId,
    /// The answer's status.
    pub status: u16,
    /// The answer's body, sealed.
    pub sealed_body: Vec<u8>,
    /// When.
    pub at: Timestamp,
}

/// What became of work that is to be done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once<T> {
    /// Done now.
    Done(T),
    /// There is an answer under this idempotency key, not older than a day; nothing was done.
    Known(StoredAnswer),
}

/// The answers under idempotency keys. An answer older than [`kallglot_core::idempotency::KEPT_S`] is as if it was not there.
#[async_trait]
pub trait IdempotencyRepository: Send + Sync {
    /// The answer under this key at `now`.
    async fn answer(&self, tenant: Tenant, key: &IdempotencyKey, now: Timestamp) -> Result<Option<StoredAnswer>>;

    /// Keeps an answer, unless there is one: for work that does no harm when it is done twice.
    async fn keep_answer(&self, tenant: Tenant, answer: &NewAnswer) -> Result<Once<()>>;
}

/// A session that is to be made, with all that commits with it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// The request that makes it.
    pub request: RequestId,
    /// What it costs: 1, or 0 in the test environment.
    pub credits: u32,
    /// The event that it raises.
    pub event: Event,
    /// What is raised when this spend crosses the organization's threshold for low credits; its detail gets `remaining` and
    /// `threshold`.
    pub low_credits_event: Event,
    /// The answer, when the client wants to be able to repeat the request.
    pub idempotency: Option<NewAnswer>,
}

/// What became of something that costs credits.
#[derive(Debug, Clone, PartialEq)]
pub enum CreatePaid {
    /// It is there and paid for; how the credits stand after it (none when it cost none).
    Created(Option<CreditBalance>),
    /// There is an answer under its idempotency key; nothing was done.
    Known(StoredAnswer),
    /// The credits don't suffice; nothing was done. How they stand.
    NoCredits(CreditBalance),
}

/// A session after [`SessionRepository::end_session`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    /// The session, ended.
    pub session: Session,
    /// Whether this call ended it; false when it had already ended, which leaves time and reason of the first end.
    pub ended_now: bool,
}

/// Which of a tenant's sessions are wanted; none of all for every one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// Only those that stand so.
    pub status: Option<Status>,
    /// Only those that were created at this time or later.
    pub from: Option<Timestamp>,
    /// Only those that were created before this time.
    pub until: Option<Timestamp>,
}

/// Sessions.
#[async_trait]
pub trait SessionRepository: Send + Sync {
    /// Stores a new one, its spend, its events and its idempotency record: all or nothing (contract section 7). `Conflict` when its id
    /// is taken or organization or key don't exist.
    async fn create_session(&self, new: &NewSession) -> Result<CreatePaid>;

    /// A session of this tenant.
    async fn session(&self, tenant: Tenant, id: SessionId) -> Result<Option<Session>>;

    /// A session by its id alone: for who has shown a signed stream token for it, which is the authority.
    async fn session_for_token_holder(&self, id: SessionId) -> Result<Option<Session>>;

    /// A page of the tenant's sessions, newest first.
    async fn sessions(&self, tenant: Tenant, page: &PageRequest<SessionId>) -> Result<Page<Session>>;

    /// Likewise, of those that pass a filter.
    async fn session_page(
        &self,
        tenant: Tenant,
        filter: SessionFilter,
        page: &PageRequest<SessionId>,
    ) -> Result<Page<Session>>;

    /// A stream has reached `node` at `at`. Unless the session lives on another node that is not away, it lives on this one from now
    /// on, and `created` becomes `active`. Answers with the session as it is then and where it lives; one that has ended is left as it
    /// is, which the caller sees in its state. None when there is no such session. By its id alone, as
    /// [`Self::session_for_token_holder`].
    async fn settle_session(
        &self,
        id: SessionId,
        node: NodeId,
        at: Timestamp,
        away_after: Duration,
    ) -> Result<Option<(Session, Home)>>;

    /// On which node the session lives, if one that is not away has it.
    async fn session_home(&self, id: SessionId, away_after: Duration) -> Result<Option<Node>>;

    /// Which of these sessions live on another node than this one by now.
    async fn sessions_moved(&self, node: NodeId, sessions: &[SessionId]) -> Result<Vec<SessionId>>;

    /// Asks the node that a session lives on to end it: [`GateChange::EndSession`].
    async fn ask_to_end_session(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<()>;

    /// Audio has arrived at `at`: sets `started_at` if it is the first, and raises `event` then. Answers like
    /// [`Self::session`]; one that has ended is left as it is.
    async fn start_session(
        &self,
        tenant: Tenant,
        id: SessionId,
        at: Timestamp,
        event: &Event,
    ) -> Result<Option<Session>>;

    /// Notes when something last happened in these sessions, for the server's own sessions. Earlier times than the stored ones,
    /// ended and unknown sessions are passed over.
    async fn touch_sessions(&self, active: &[(SessionId, Timestamp)]) -> Result<()>;

    /// Ends it, once, and raises `event` then: a second end changes nothing.
    async fn end_session(
        &self,
        tenant: Tenant,
        id: SessionId,
        at: Timestamp,
        reason: EndReason,
        event: &Event,
    ) -> Result<Option<EndedSession>>;

    /// Of all tenants: at most `limit` sessions that have not ended and in which nothing has happened since before `before`, the
    /// longest idle first. For the server, to end them. Not those that live on another node than `node`, unless that one is away.
    async fn idle_sessions(
        &self,
        before: Timestamp,
        limit: u32,
        node: NodeId,
        away_after: Duration,
    ) -> Result<Vec<Session>>;

    /// Of all tenants: up to `limit` (at most 1000) sessions that have not ended, by id, after this one. For the server at its start.
    async fn open_sessions(&self, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>>;

    /// Up to `limit` (at most 1000) of the tenant's sessions that have not ended, by id, after this one: to restore its slots.
    async fn open_sessions_of(&self, tenant: Tenant, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>>;

    /// Up to `limit` (at most 1000) of the tenant's sessions that this key has made and that have not ended, newest first.
    async fn open_sessions_by(&self, tenant: Tenant, key: ApiKeyId, limit: u32) -> Result<Vec<Session>>;
}

/// A process of a server that shares its database with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its own from its start to its end.
    pub id: NodeId,
    /// Where the other nodes reach it: `http://10.0.0.5:8080`. No two nodes have the same.
    pub url: String,
    /// Its program's version.
    pub version: String,
}

/// Where a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// On the node that asked.
    Here,
    /// On another one.
    There(Node),
}

/// How things stood when a node said that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// All nodes that are not away, by id, this one among them.
    pub nodes: Vec<Node>,
    /// Whether this node had been away, or is new: others may have taken over its sessions.
    pub was_away: bool,
}

/// The nodes that share the database. A node is away when it has not said for `away_after` by the database's own clock that it is
/// there; one that runs alone never says so, and needs not.
#[async_trait]
pub trait NodeRepository: Send + Sync {
    /// This node is there. Another one with the same URL is its former life and is away from now on.
    async fn beat(&self, node: &Node, away_after: Duration) -> Result<Beat>;

    /// This node stops: its sessions can be taken over at once.
    async fn leave(&self, node: NodeId) -> Result<()>;

    /// Keeps `mark` for what all nodes must have alike (a secret, say, of which it is a hash) unless there is one; answers with the
    /// one that is kept.
    async fn keep_mark(&self, name: &str, mark: &str) -> Result<String>;
}

/// Longest time between the first and the last request of one [`RequestBlock`], in seconds.
pub const REQUEST_BLOCK_S_MAX: i64 = 60 * 60;

/// A piece of an organization's request log, packed: a few seconds of it, never more than [`REQUEST_BLOCK_S_MAX`]. What lies further
/// before its last request may not be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestBlock {
    /// Whose.
    pub tenant: Tenant,
    /// When the first request in it arrived.
    pub first_at: Timestamp,
    /// When the last one arrived.
    pub last_at: Timestamp,
    /// The records, packed by who wrote them.
    pub packed: Vec<u8>,
}

/// The request log (which [`UsageRepository::append_requests`] fills), the events that wait to be delivered, and what is forgotten in time.
#[async_trait]
pub trait LogRepository: Send + Sync {
    /// Up to `limit` (at most 100) blocks of the tenant that may hold requests which arrived between `from` and `to`, the newest
    /// first, those after the one at place `before` in this order. Each with its place.
    async fn request_blocks(
        &self,
        tenant: Tenant,
        from: Timestamp,
        to: Timestamp,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<(i64, RequestBlock)>>;

    /// Up to `limit` (at most 1000) events of all organizations after place `after` (0 for from the start), oldest first, each with its
    /// place. For the server, to deliver them.
    async fn events(&self, after: i64, limit: u32) -> Result<Vec<(i64, Event)>>;

    /// Deletes what has had its time at `now`: request blocks and events after 30 days, usage by the minute after 48 hours and by the hour
    /// after 13 months, idempotency records after theirs, gate changes after an hour. At most `limit` rows of each; answers with how many it deleted in all.
    async fn forget(&self, now: Timestamp, limit: u32) -> Result<u64>;
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
pub trait Storage:
    OrganizationRepository
    + KeyRepository
    + IdempotencyRepository
    + SessionRepository
    + TurnRepository
    + crate::AlertRepository
    + AnalysisRepository
    + LogRepository
    + EventRepository
    + NodeRepository
    + WebhookRepository
    + crate::RecordingRepository
    + crate::PeopleRepository
    + UsageRepository
    + crate::FactorRepository
    + 'static
{
    /// A number that is different from the last answer when another process has changed the database in between (the command
    /// line, say): time to drop what is cached. Cheap enough to ask several times a second.
    async fn changes(&self) -> Result<u64>;

    /// Finishes what has been accepted, then closes the database. Later calls are `Unavailable`; closing twice does nothing.
    async fn close(&self) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_and_understood() {
        for change in [
            GateChange::Key(ApiKeyId::from_bits(1)),
            GateChange::Organization(OrganizationId::from_bits(2)),
            GateChange::CloseStreams(ApiKeyId::from_bits(3)),
            GateChange::EndSession(SessionId::from_bits(4), EndReason::CustomerHangup),
            GateChange::Record(SessionId::from_bits(5), RecordingMode::Paused),
        ] {
            assert_eq!(GateChange::parse(&change.to_string()), Some(change));
        }
        for other in [
            "",
            "key",
            "key org_0000000000000000000001",
            "end_session sess_0000000000000000000001",
            "news of a later version",
        ] {
            assert_eq!(GateChange::parse(other), None, "{other}");
        }
    }
}
