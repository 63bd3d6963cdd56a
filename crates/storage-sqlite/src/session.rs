//! Sessions in their table.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::credit::{CreditBalance, LedgerKind};
use kallglot_core::event::Event;
use kallglot_core::id::{NodeId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::session::{AlreadyEnded, EndReason, Environment, Mode, Session, SessionState, Status, Tenant};
use kallglot_storage::json::{pairs_from_json, pairs_to_json, vocabulary_from_json, vocabulary_to_json};
use kallglot_storage::{
    CreateSession, EndedSession, Home, NewAnswer, NewSession, Node, Page, PageRequest, SessionRepository, StorageError,
};
use rusqlite::{Connection, Row, params};

use crate::SqliteStorage;
use crate::credit::{self, Account, Entry};
use crate::gate;
use crate::idempotency::{self, Found};
use crate::log::{EventRow, raise_event};
use crate::node::{self, NOW_US, span_us};
use crate::query::{change, every, first, page};
use crate::row::{Columns, cut, us, us_if_any};

type Result<T> = std::result::Result<T, StorageError>;

const SELECT: &str = "SELECT id, organization_id, environment, created_by, mode, source_language, target_language, voice, \
    vocabulary, metadata, created_at_us, last_activity_at_us, joinable_until_us, status, started_at_us, ended_at_us, end_reason \
    FROM sessions";

const INSERT: &str = "INSERT INTO sessions (id, organization_id, environment, created_by, mode, source_language, \
    target_language, voice, vocabulary, metadata, created_at_us, last_activity_at_us, joinable_until_us, status, started_at_us, \
    ended_at_us, end_reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// Most sessions that one call of [`SessionRepository::open_sessions`] answers with.
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

fn read(row: &Row<'_>) -> Result<Session> {
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
        metadata: columns.named("metadata", |text| pairs_from_json(text).ok())?,
        created_at: columns.time("created_at_us")?,
        last_activity_at: columns.time("last_activity_at_us")?,
        joinable_until: columns.time("joinable_until_us")?,
        state: state(&columns)?,
    })
}

fn by_id(connection: &Connection, tenant: Tenant, id: SessionId) -> Result<Option<Session>> {
    let sql = format!("{SELECT} WHERE id = ?3 AND {OF_TENANT}");
    let params = params![tenant.organization.to_string(), tenant.environment.as_str(), id.to_string()];
    first(connection, &sql, params, read)
}

/// The columns of a state: status, `started_at_us`, `ended_at_us`, `end_reason`.
fn columns_of(state: &SessionState) -> (&'static str, Option<i64>, Option<i64>, Option<&'static str>) {
    let reason = match state {
        SessionState::Ended { reason, .. } => Some(reason.as_str()),
        SessionState::Created | SessionState::Active { .. } => None,
    };
    (state.status().as_str(), us_if_any(state.started_at()), us_if_any(state.ended_at()), reason)
}

/// Moves a session to another state; says whether that was possible. A session that has ended stays as it is.
fn step(
    connection: &Connection,
    tenant: Tenant,
    id: SessionId,
    at: Timestamp,
    step: impl FnOnce(SessionState, Timestamp) -> std::result::Result<SessionState, AlreadyEnded>,
) -> Result<Option<(Session, bool)>> {
    let at = cut(at);
    let Some(mut session) = by_id(connection, tenant, id)? else { return Ok(None) };
    let Ok(state) = step(session.state.clone(), at) else { return Ok(Some((session, false))) };
    session.state = state;
    session.last_activity_at = session.last_activity_at.max(at);
    let (status, started_at, ended_at, reason) = columns_of(&session.state);
    change(
        connection,
        "UPDATE sessions SET status = ?2, started_at_us = ?3, ended_at_us = ?4, end_reason = ?5, last_activity_at_us = ?6 \
         WHERE id = ?1",
        params![id.to_string(), status, started_at, ended_at, reason, us(session.last_activity_at)],
    )?;
    Ok(Some((session, true)))
}

/// On which node a session lives, if one that is not away has it.
fn home(connection: &Connection, id: SessionId, away_after: Duration) -> Result<Option<Node>> {
    let sql = format!(
        "SELECT nodes.id, url, version FROM sessions JOIN nodes ON nodes.id = home_node \
         WHERE sessions.id = ?1 AND {NOW_US} - seen_at_us < ?2"
    );
    first(connection, &sql, params![id.to_string(), span_us(away_after)], node::read)
}

/// See [`SessionRepository::settle_session`].
fn settle(
    connection: &Connection,
    id: SessionId,
    node: NodeId,
    at: Timestamp,
    away_after: Duration,
) -> Result<Option<(Session, Home)>> {
    let Some(session) = first(connection, &format!("{SELECT} WHERE id = ?1"), [id.to_string()], read)? else {
        return Ok(None);
    };
    if session.state.ended_at().is_some() {
        return Ok(Some((session, Home::Here)));
    }
    if let Some(there) = home(connection, id, away_after)?.filter(|home| home.id != node) {
        return Ok(Some((session, Home::There(there))));
    }
    change(connection, "UPDATE sessions SET home_node = ?2 WHERE id = ?1", [id.to_string(), node.to_string()])?;
    let stepped = step(connection, session.tenant, id, at, |state, _| state.connect())?;
    Ok(stepped.map(|(session, _)| (session, Home::Here)))
}

/// A session that is to be made, with its texts written out: by its caller, so that the one writer need not.
struct Prepared {
    id: String,
    organization: String,
    environment: &'static str,
    created_by: String,
    mode: &'static str,
    source_language: Option<LanguageTag>,
    target_language: Option<LanguageTag>,
    voice: Option<String>,
    vocabulary: String,
    metadata: String,
    created_at: Timestamp,
    last_activity_at: Timestamp,
    joinable_until: Timestamp,
    state: SessionState,
    request: String,
    price: i64,
    event: EventRow,
    low_credits_event: Event,
    /// The answer, and its request.
    answer: Option<(NewAnswer, String)>,
}

impl Prepared {
    fn of(new: &NewSession) -> Self {
        let session = &new.session;
        Self {
            id: session.id.to_string(),
            organization: session.tenant.organization.to_string(),
            environment: session.tenant.environment.as_str(),
            created_by: session.created_by.to_string(),
            mode: session.mode.as_str(),
            source_language: session.source_language.clone(),
            target_language: session.target_language.clone(),
            voice: session.voice.clone(),
            vocabulary: vocabulary_to_json(&session.vocabulary),
            metadata: pairs_to_json(&session.metadata),
            created_at: session.created_at,
            last_activity_at: session.last_activity_at,
            joinable_until: session.joinable_until,
            state: session.state.clone(),
            request: new.request.to_string(),
            price: new.credits.into(),
            event: EventRow::of(&new.event),
            low_credits_event: new.low_credits_event.clone(),
            answer: new.idempotency.as_ref().map(|answer| (answer.clone(), answer.request.to_string())),
        }
    }

    /// Everything that must be asked is asked before the first row is written.
    fn create(&self, connection: &Connection) -> Result<CreateSession> {
        let mut expired = false;
        if let Some((answer, _)) = &self.answer {
            match idempotency::find(connection, &self.organization, self.environment, answer.key.as_str(), answer.at)? {
                Found::Answer(stored) => return Ok(CreateSession::Known(stored)),
                Found::Expired => expired = true,
                Found::Nothing => {}
            }
        }
        let account = if self.price > 0 { Some(self.account(connection)?) } else { None };
        if let Some(Account { balance, .. }) = account
            && balance.remaining < self.price
        {
            return Ok(CreateSession::NoCredits(balance));
        }

        self.insert(connection)?;
        let balance = account.map(|account| self.spend(connection, account)).transpose()?;
        self.event.raise(connection)?;
        if let Some((answer, request)) = &self.answer {
            if expired {
                idempotency::remove(connection, &self.organization, self.environment, answer.key.as_str())?;
            }
            idempotency::insert(connection, &self.organization, self.environment, answer, request)?;
        }
        Ok(CreateSession::Created(balance))
    }

    fn account(&self, connection: &Connection) -> Result<Account> {
        let unknown = || StorageError::Conflict { constraint: "sessions.organization_id".into() };
        credit::account(connection, &self.organization)?.ok_or_else(unknown)
    }

    /// Takes the price from the ledger; raises the event for low credits when that crosses the threshold.
    fn spend(&self, connection: &Connection, before: Account) -> Result<CreditBalance> {
        let entry = Entry {
            organization: &self.organization,
            kind: LedgerKind::Spend,
            amount: -self.price,
            request: Some(&self.request),
            object: Some(&self.id),
            at: self.created_at,
        };
        let balance = credit::append(connection, before.balance, &entry)?;
        let threshold = before.low_credits_threshold;
        if before.balance.remaining > threshold && threshold >= balance.remaining {
            let mut event = self.low_credits_event.clone();
            event.detail.insert("remaining".into(), balance.remaining.to_string());
            event.detail.insert("threshold".into(), threshold.to_string());
            raise_event(connection, &event)?;
        }
        Ok(balance)
    }

    fn insert(&self, connection: &Connection) -> Result<()> {
        let (status, started_at, ended_at, reason) = columns_of(&self.state);
        change(
            connection,
            INSERT,
            params![
                self.id,
                self.organization,
                self.environment,
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
            ],
        )?;
        Ok(())
    }
}

#[async_trait]
impl SessionRepository for SqliteStorage {
    async fn create_session(&self, new: &NewSession) -> Result<CreateSession> {
        let prepared = Prepared::of(new);
        self.write(move |connection| prepared.create(connection)).await
    }

    async fn session(&self, tenant: Tenant, id: SessionId) -> Result<Option<Session>> {
        self.read(move |connection| by_id(connection, tenant, id)).await
    }

    async fn session_for_token_holder(&self, id: SessionId) -> Result<Option<Session>> {
        self.read(move |connection| first(connection, &format!("{SELECT} WHERE id = ?1"), [id.to_string()], read)).await
    }

    async fn sessions(&self, tenant: Tenant, request: &PageRequest<SessionId>) -> Result<Page<Session>> {
        let request = *request;
        self.read(move |connection| {
            let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
            page(connection, SELECT, OF_TENANT, &[&organization, &environment], &request, read)
        })
        .await
    }

    async fn settle_session(
        &self,
        id: SessionId,
        node: NodeId,
        at: Timestamp,
        away_after: Duration,
    ) -> Result<Option<(Session, Home)>> {
        self.write(move |connection| settle(connection, id, node, at, away_after)).await
    }

    async fn session_home(&self, id: SessionId, away_after: Duration) -> Result<Option<Node>> {
        self.read(move |connection| home(connection, id, away_after)).await
    }

    async fn sessions_moved(&self, node: NodeId, sessions: &[SessionId]) -> Result<Vec<SessionId>> {
        let sessions = sessions.to_vec();
        self.read(move |connection| {
            let sql = "SELECT 1 FROM sessions WHERE id = ?1 AND home_node IS NOT NULL AND home_node <> ?2";
            let mut moved = Vec::new();
            for session in sessions {
                if first(connection, sql, [session.to_string(), node.to_string()], |_| Ok(()))?.is_some() {
                    moved.push(session);
                }
            }
            Ok(moved)
        })
        .await
    }

    async fn ask_to_end_session(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<()> {
        self.write(move |connection| {
            if by_id(connection, tenant, id)?.is_some() {
                gate::ask_to_end_session(connection, &id.to_string(), reason.as_str())?;
            }
            Ok(())
        })
        .await
    }

    async fn start_session(
        &self,
        tenant: Tenant,
        id: SessionId,
        at: Timestamp,
        event: &Event,
    ) -> Result<Option<Session>> {
        let event = event.clone();
        self.write(move |connection| {
            let mut first_audio = false;
            let stepped = step(connection, tenant, id, at, |state, at| {
                first_audio = state.started_at().is_none();
                state.start(at)
            })?;
            if first_audio && matches!(stepped, Some((_, true))) {
                raise_event(connection, &event)?;
            }
            Ok(stepped.map(|(session, _)| session))
        })
        .await
    }

    async fn touch_sessions(&self, active: &[(SessionId, Timestamp)]) -> Result<()> {
        let active = active.to_vec();
        self.write(move |connection| {
            for (id, at) in &active {
                change(
                    connection,
                    "UPDATE sessions SET last_activity_at_us = ?2 \
                     WHERE id = ?1 AND status <> 'ended' AND last_activity_at_us < ?2",
                    params![id.to_string(), us(*at)],
                )?;
            }
            Ok(())
        })
        .await
    }

    async fn end_session(
        &self,
        tenant: Tenant,
        id: SessionId,
        at: Timestamp,
        reason: EndReason,
        event: &Event,
    ) -> Result<Option<EndedSession>> {
        let event = event.clone();
        self.write(move |connection| {
            let stepped = step(connection, tenant, id, at, |state, at| state.end(at, reason))?;
            if matches!(stepped, Some((_, true))) {
                raise_event(connection, &event)?;
            }
            Ok(stepped.map(|(session, ended_now)| EndedSession { session, ended_now }))
        })
        .await
    }

    async fn idle_sessions(
        &self,
        before: Timestamp,
        limit: u32,
        node: NodeId,
        away_after: Duration,
    ) -> Result<Vec<Session>> {
        self.read(move |connection| {
            let sql = format!(
                "{SELECT} WHERE status <> 'ended' AND last_activity_at_us < ?1 AND (home_node IS NULL OR home_node = ?3 \
                 OR NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.id = home_node AND {NOW_US} - seen_at_us < ?4)) \
                 ORDER BY last_activity_at_us, id LIMIT ?2"
            );
            every(connection, &sql, params![us(before), limit, node.to_string(), span_us(away_after)], read)
        })
        .await
    }

    async fn open_sessions(&self, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>> {
        // By the index of sessions that have not ended, which are few, not along all that ever were.
        let sql =
            format!("{SELECT} INDEXED BY sessions_not_ended WHERE status <> 'ended' AND id > ?1 ORDER BY id LIMIT ?2");
        // An id is never empty, so without one the condition holds for all.
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(move |connection| every(connection, &sql, params![after, limit.min(OPEN_SESSIONS_MAX)], read)).await
    }

    async fn open_sessions_of(&self, tenant: Tenant, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>> {
        let sql = format!("{SELECT} WHERE {OF_TENANT} AND status <> 'ended' AND id > ?3 ORDER BY id LIMIT ?4");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.read(move |connection| {
            let (organization, environment) = (tenant.organization.to_string(), tenant.environment.as_str());
            let params = params![organization, environment, after, limit.min(OPEN_SESSIONS_MAX)];
            every(connection, &sql, params, read)
        })
        .await
    }
}
