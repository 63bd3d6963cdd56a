//! Sessions in their table.

use std::time::Duration;

use futures_util::future::{try_join, try_join_all, try_join3};
use kallglot_core::Timestamp;
use kallglot_core::event::{Event, session_detail, transcript_event};
use kallglot_core::id::{ApiKeyId, NodeId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{AlreadyEnded, EndReason, Environment, Mode, Session, SessionState, Status, Tenant};
use kallglot_storage::json::{pairs_from_json, pairs_to_json, vocabulary_from_json, vocabulary_to_json};
use kallglot_storage::{CreatePaid, EndedSession, Home, NewSession, Node, Page, PageRequest, SessionFilter};

use crate::credit::Account;
use crate::idempotency::Found;
use crate::log::{EventRow, raise_event};
use crate::node::span_us;
use crate::purchase::Purchase;
use crate::query::page;
use crate::row::{Columns, cut, us, us_if_any};
use crate::sql::{Row, Sql};
use crate::{Result, credit, gate, node, params, recording, turn};

macro_rules! columns {
    () => {
        "id, organization_id, environment, created_by, mode, source_language, target_language, voice, vocabulary, metadata, \
         recording, created_at_us, last_activity_at_us, joinable_until_us, status, started_at_us, ended_at_us, end_reason"
    };
}

const COLUMNS: &str = columns!();

const SELECT: &str = concat!("SELECT ", columns!(), " FROM sessions");

const INSERT: &str = "INSERT INTO sessions (id, organization_id, environment, created_by, mode, source_language, \
    target_language, voice, vocabulary, metadata, created_at_us, last_activity_at_us, joinable_until_us, status, started_at_us, \
    ended_at_us, end_reason, recording, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, \
    ?17, ?18, 1)";

/// Most sessions that one call of [`open`], [`open_of`] or [`open_by`] answers with.
const OPEN_SESSIONS_MAX: u32 = 1000;

const OF_TENANT: &str = "organization_id = ?1 AND environment = ?2";

fn state(columns: &Columns<'_>) -> Result<SessionState> {
    let started_at = columns.time_if_any("started_at_us")?;
    let ended_at = columns.time_if_any("ended_at_us")?;
    Ok(match (columns.named("status", Status::parse)?, ended_at) {
        (Status::Created, None) if started_at.is_none() => SessionState::Created,
        (Status::Active, None) => SessionState::Active { started_at },
        (Status::Ended, Some(ended_at)) => {
            let reason = columns.named("end_reason", EndReason::parse)?;
            SessionState::Ended { started_at, ended_at, reason }
        }
        _ => return Err(columns.corrupt("status")),
    })
}

fn read(row: &dyn Row) -> Result<Session> {
    let columns = Columns::of(row, "sessions", "id")?;
    Ok(Session {
        id: columns.parsed("id")?,
        tenant: Tenant {
            organization: columns.parsed("organization_id")?,
            environment: columns.named("environment", Environment::parse)?,
        },
        created_by: columns.parsed("created_by")?,
        mode: columns.named("mode", Mode::parse)?,
        source_language: columns.parsed_if_any("source_language")?,
        target_language: columns.parsed_if_any("target_language")?,
        voice: columns.get("voice")?,
        vocabulary: columns.named("vocabulary", |text| vocabulary_from_json(text).ok())?,
        recording: columns.named("recording", RecordingMode::parse)?,
        metadata: columns.named("metadata", |text| pairs_from_json(text).ok())?,
        created_at: columns.time("created_at_us")?,
        last_activity_at: columns.time("last_activity_at_us")?,
        joinable_until: columns.time("joinable_until_us")?,
        state: state(&columns)?,
    })
}

/// See [`kallglot_storage::SessionRepository::session`].
pub async fn by_id<S: Sql>(db: &S, tenant: Tenant, id: SessionId) -> Result<Option<Session>> {
    let sql = format!("{SELECT} WHERE id = ?3 AND {OF_TENANT}");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.first(&sql, params![organization, environment, id.to_string()], read).await
}

/// See [`kallglot_storage::SessionRepository::session_for_token_holder`].
pub async fn for_token_holder<S: Sql>(db: &S, id: SessionId) -> Result<Option<Session>> {
    db.first(&format!("{SELECT} WHERE id = ?1"), params![id.to_string()], read).await
}

/// See [`kallglot_storage::SessionRepository::sessions`].
pub async fn of_tenant<S: Sql>(db: &S, tenant: Tenant, request: &PageRequest<SessionId>) -> Result<Page<Session>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    page(db, SELECT, OF_TENANT, params![organization, environment], request, read).await
}

/// See [`kallglot_storage::SessionRepository::session_page`].
pub async fn filtered<S: Sql>(
    db: &S,
    tenant: Tenant,
    filter: SessionFilter,
    request: &PageRequest<SessionId>,
) -> Result<Page<Session>> {
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    // Each status by its own text, so that what is open finds the index of what is.
    let status = match filter.status {
        None => "",
        Some(Status::Created) => " AND status = 'created' AND status <> 'ended'",
        Some(Status::Active) => " AND status = 'active' AND status <> 'ended'",
        Some(Status::Ended) => " AND status = 'ended'",
    };
    let from = filter.from.map_or(i64::MIN, us);
    let until = filter.until.map_or(i64::MAX, us);
    let wanted = format!("{OF_TENANT}{status} AND created_at_us >= ?3 AND created_at_us < ?4");
    page(db, SELECT, &wanted, params![organization, environment, from, until], request, read).await
}

/// Lets nobody else change this session, or append to its transcript, until the transaction's end.
pub(crate) async fn lock<S: Sql>(db: &S, id: &str) -> Result<()> {
    db.lock("SELECT 1 FROM sessions WHERE id = ?1", params![id]).await
}

/// The columns of a state: status, `started_at_us`, `ended_at_us`, `end_reason`.
fn columns_of(state: &SessionState) -> (&'static str, Option<i64>, Option<i64>, Option<&'static str>) {
    let reason = match state {
        SessionState::Ended { reason, .. } => Some(reason.as_str()),
        SessionState::Created | SessionState::Active { .. } => None,
    };
    (state.status().as_str(), us_if_any(state.started_at()), us_if_any(state.ended_at()), reason)
}

/// Moves a session, which is locked, to another state; says whether that was possible. One that has ended stays as it is.
async fn step<S: Sql>(
    db: &S,
    mut session: Session,
    at: Timestamp,
    step: impl FnOnce(SessionState, Timestamp) -> std::result::Result<SessionState, AlreadyEnded>,
) -> Result<(Session, bool)> {
    let at = cut(at);
    let Ok(state) = step(session.state.clone(), at) else { return Ok((session, false)) };
    session.state = state;
    session.last_activity_at = session.last_activity_at.max(at);
    let (status, started_at, ended_at, reason) = columns_of(&session.state);
    db.execute(
        "UPDATE sessions SET status = ?2, started_at_us = ?3, ended_at_us = ?4, end_reason = ?5, last_activity_at_us = ?6 \
         WHERE id = ?1",
        params![session.id.to_string(), status, started_at, ended_at, reason, us(session.last_activity_at)],
    )
    .await?;
    Ok((session, true))
}

/// See [`kallglot_storage::SessionRepository::session_home`].
pub async fn home<S: Sql>(db: &S, id: SessionId, away_after: Duration) -> Result<Option<Node>> {
    let sql = format!(
        "SELECT nodes.id, url, version FROM sessions JOIN nodes ON nodes.id = home_node \
         WHERE sessions.id = ?1 AND {} - seen_at_us < ?2",
        S::DIALECT.now_us
    );
    db.first(&sql, params![id.to_string(), span_us(away_after)], node::read).await
}

/// See [`kallglot_storage::SessionRepository::settle_session`].
pub async fn settle<S: Sql>(
    db: &S,
    id: SessionId,
    node: NodeId,
    at: Timestamp,
    away_after: Duration,
) -> Result<Option<(Session, Home)>> {
    lock(db, &id.to_string()).await?;
    let (session, home) = try_join(for_token_holder(db, id), home(db, id, away_after)).await?;
    let Some(session) = session else { return Ok(None) };
    if session.state.ended_at().is_some() {
        return Ok(Some((session, Home::Here)));
    }
    if let Some(there) = home.filter(|home| home.id != node) {
        return Ok(Some((session, Home::There(there))));
    }
    let sql = "UPDATE sessions SET home_node = ?2 WHERE id = ?1";
    db.execute(sql, params![id.to_string(), node.to_string()]).await?;
    let (session, _) = step(db, session, at, |state, _| state.connect()).await?;
    Ok(Some((session, Home::Here)))
}

/// See [`kallglot_storage::SessionRepository::sessions_moved`].
pub async fn moved<S: Sql>(db: &S, node: NodeId, sessions: &[SessionId]) -> Result<Vec<SessionId>> {
    let sql = "SELECT 1 FROM sessions WHERE id = ?1 AND home_node IS NOT NULL AND home_node <> ?2";
    let node = node.to_string();
    let looks = sessions.iter().map(async |session| {
        let found = db.first(sql, params![session.to_string(), node], |_| Ok(())).await?;
        Ok(found.map(|()| *session))
    });
    Ok(try_join_all(looks).await?.into_iter().flatten().collect())
}

/// See [`kallglot_storage::SessionRepository::ask_to_end_session`].
pub async fn ask_to_end<S: Sql>(db: &S, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<()> {
    if by_id(db, tenant, id).await?.is_some() {
        gate::ask_to_end_session(db, &id.to_string(), reason.as_str()).await?;
    }
    Ok(())
}

/// See [`kallglot_storage::SessionRepository::start_session`].
pub async fn start<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: SessionId,
    at: Timestamp,
    event: &Event,
) -> Result<Option<Session>> {
    lock(db, &id.to_string()).await?;
    let Some(session) = by_id(db, tenant, id).await? else { return Ok(None) };
    let first_audio = session.state.started_at().is_none();
    let (session, stepped) = step(db, session, at, |state, at| state.start(at)).await?;
    if first_audio && stepped {
        raise_event(db, &Event { detail: session_detail(&session), ..event.clone() }).await?;
    }
    Ok(Some(session))
}

/// See [`kallglot_storage::SessionRepository::touch_sessions`]. In the order of their ids, so that two jobs never wait for each other.
pub async fn touch<S: Sql>(db: &S, active: &[(SessionId, Timestamp)]) -> Result<()> {
    let mut active = active.to_vec();
    active.sort_unstable();
    for (id, at) in active {
        db.execute(
            "UPDATE sessions SET last_activity_at_us = ?2 WHERE id = ?1 AND status <> 'ended' AND last_activity_at_us < ?2",
            params![id.to_string(), us(at)],
        )
        .await?;
    }
    Ok(())
}

/// See [`kallglot_storage::SessionRepository::end_session`].
pub async fn end<S: Sql>(
    db: &S,
    tenant: Tenant,
    id: SessionId,
    at: Timestamp,
    reason: EndReason,
    event: &Event,
) -> Result<Option<EndedSession>> {
    lock(db, &id.to_string()).await?;
    let Some(session) = by_id(db, tenant, id).await? else { return Ok(None) };
    let (session, ended_now) = step(db, session, at, |state, at| state.end(at, reason)).await?;
    if ended_now {
        raise_event(db, &Event { detail: session_detail(&session), ..event.clone() }).await?;
        let turns = turn::last_sequence(db, id).await?;
        if turns > 0 {
            raise_event(db, &transcript_event(event, id, turns)).await?;
        }
        recording::begin(db, &session).await?;
    }
    Ok(Some(EndedSession { session, ended_now }))
}

/// See [`kallglot_storage::SessionRepository::idle_sessions`].
pub async fn idle<S: Sql>(
    db: &S,
    before: Timestamp,
    limit: u32,
    node: NodeId,
    away_after: Duration,
) -> Result<Vec<Session>> {
    let sql = format!(
        "{SELECT} WHERE status <> 'ended' AND last_activity_at_us < ?1 AND (home_node IS NULL OR home_node = ?3 \
         OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = home_node AND {} - seen_at_us < ?4)) \
         ORDER BY last_activity_at_us, id LIMIT ?2",
        S::DIALECT.now_us
    );
    db.every(&sql, params![us(before), limit, node.to_string(), span_us(away_after)], read).await
}

/// See [`kallglot_storage::SessionRepository::open_sessions`].
pub async fn open<S: Sql>(db: &S, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>> {
    let table = S::DIALECT.open_sessions;
    let sql = format!("SELECT {COLUMNS} FROM {table} WHERE status <> 'ended' AND id > ?1 ORDER BY id LIMIT ?2");
    // An id is never empty, so without one the condition holds for all.
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    db.every(&sql, params![after, limit.min(OPEN_SESSIONS_MAX)], read).await
}

/// See [`kallglot_storage::SessionRepository::open_sessions_of`].
pub async fn open_of<S: Sql>(db: &S, tenant: Tenant, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND status <> 'ended' AND id > ?3 ORDER BY id LIMIT ?4");
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(&sql, params![organization, environment, after, limit.min(OPEN_SESSIONS_MAX)], read).await
}

/// See [`kallglot_storage::SessionRepository::open_sessions_by`].
pub async fn open_by<S: Sql>(db: &S, tenant: Tenant, key: ApiKeyId, limit: u32) -> Result<Vec<Session>> {
    let sql = format!("{SELECT} WHERE {OF_TENANT} AND status <> 'ended' AND created_by = ?3 ORDER BY id DESC LIMIT ?4");
    let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
    db.every(&sql, params![organization, environment, key.to_string(), limit.min(OPEN_SESSIONS_MAX)], read).await
}

/// A session that is to be made, with its texts written out: by its caller, so that the one writer need not.
pub struct Prepared {
    purchase: Purchase,
    created_by: String,
    mode: &'static str,
    source_language: Option<LanguageTag>,
    target_language: Option<LanguageTag>,
    voice: Option<String>,
    vocabulary: String,
    recording: &'static str,
    metadata: String,
    created_at: Timestamp,
    last_activity_at: Timestamp,
    joinable_until: Timestamp,
    state: SessionState,
    event: EventRow,
}

impl Prepared {
    /// The session with its texts.
    pub fn of(new: &NewSession) -> Self {
        let session = &new.session;
        Self {
            purchase: Purchase {
                object: session.id.to_string(),
                organization: session.tenant.organization.to_string(),
                environment: session.tenant.environment.as_str(),
                request: new.request.to_string(),
                price: new.credits.into(),
                at: session.created_at,
                low_credits_event: new.low_credits_event.clone(),
                answer: new.idempotency.as_ref().map(|answer| (answer.clone(), answer.request.to_string())),
            },
            created_by: session.created_by.to_string(),
            mode: session.mode.as_str(),
            source_language: session.source_language.clone(),
            target_language: session.target_language.clone(),
            voice: session.voice.clone(),
            vocabulary: vocabulary_to_json(&session.vocabulary),
            recording: session.recording.as_str(),
            metadata: pairs_to_json(&session.metadata),
            created_at: session.created_at,
            last_activity_at: session.last_activity_at,
            joinable_until: session.joinable_until,
            state: session.state.clone(),
            event: EventRow::of(&new.event),
        }
    }

    /// Who pays for it; none when it costs nothing.
    pub fn payer(&self) -> Option<&str> {
        self.purchase.payer()
    }

    /// Under which idempotency key its answer is kept, if it is: environment and key.
    pub fn answer_key(&self) -> Option<(&'static str, &str)> {
        self.purchase.answer_key()
    }

    /// See [`kallglot_storage::SessionRepository::create_session`]. Everything that must be asked is asked, together, before the first
    /// row is written; then the rows are written, together.
    pub async fn create<S: Sql>(&self, db: &S) -> Result<CreatePaid> {
        self.purchase.lock(db).await?;
        let (found, account) = try_join(self.purchase.find(db), self.purchase.account(db)).await?;
        self.finish(db, found, account).await
    }

    /// Makes it, unless there is an answer or too little to pay with.
    async fn finish<S: Sql>(&self, db: &S, found: Found, account: Option<Account>) -> Result<CreatePaid> {
        let replaces = match self.purchase.allowed(found, account) {
            Ok(replaces) => replaces,
            Err(outcome) => return Ok(outcome),
        };
        self.insert(db).await?;
        let balance = self.purchase.spend(db, account).await?;
        self.event.raise_first(db).await?;
        self.purchase.keep_answer(db, replaces).await?;
        Ok(CreatePaid::Created(balance))
    }

    async fn insert<S: Sql>(&self, db: &S) -> Result<()> {
        let (status, started_at, ended_at, reason) = columns_of(&self.state);
        db.execute(
            INSERT,
            params![
                self.purchase.object,
                self.purchase.organization,
                self.purchase.environment,
                self.created_by,
                self.mode,
                self.source_language.as_ref().map(|tag| tag.as_str()),
                self.target_language.as_ref().map(|tag| tag.as_str()),
                self.voice,
                self.vocabulary,
                self.metadata,
                us(self.created_at),
                us(self.last_activity_at),
                us(self.joinable_until),
                status,
                started_at,
                ended_at,
                reason,
                self.recording,
            ],
        )
        .await
    }
}

/// Makes several sessions at once, as one after another: all of one payer, and no two under one idempotency key. All or none.
///
/// # Errors
/// Those of each of them; who wants to know of which makes them one by one.
pub async fn create_all<S: Sql>(db: &S, all: &[Prepared]) -> Result<Vec<CreatePaid>> {
    let Some(payer) = all.first() else { return Ok(Vec::new()) };
    payer.purchase.lock(db).await?;
    let found = try_join_all(all.iter().map(|one| one.purchase.find(db)));
    let account = payer.purchase.account(db);
    let (found, account, numbers) = try_join3(found, account, credit::next_numbers(db, all.len())).await?;
    let (mut account, mut numbers) = (account, numbers.into_iter().peekable());
    let mut outcomes = Vec::with_capacity(all.len());
    for (one, found) in all.iter().zip(found) {
        if let (Some(account), Some(number)) = (&mut account, numbers.peek()) {
            *account = account.numbered(*number);
        }
        let outcome = one.finish(db, found, account).await?;
        if let (CreatePaid::Created(Some(balance)), Some(account)) = (&outcome, &mut account) {
            account.balance = *balance;
            numbers.next();
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
