//! The repository traits, made of this crate's functions.

mod alert;
mod analysis;
mod factors;
mod people;
mod recording;
mod usage;
mod webhook;

/// Implements every repository trait, and [`Transfer`](crate::transfer::Transfer), for a storage that has these two methods, each of which runs a function of this crate with its
/// arguments and a connection (and `async fn create(&self, session: Prepared) -> Result<CreatePaid>`, which makes a session by
/// [`Prepared::create`](crate::session::Prepared::create) or several by [`create_all`](crate::session::create_all)):
///
/// - `async fn write(&self, arguments: A, work: …) -> Result<T>` in a durable transaction, all or nothing;
/// - `async fn read(&self, arguments: A, work: …) -> Result<T>` on a connection that changes nothing.
///
/// `work` is a `for<'a> fn(&'a Connection, &'a A) -> Pin<Box<dyn Future<Output = Result<T>> + 'a>>`, with `Send` or without it.
#[macro_export]
macro_rules! repositories {
    ($storage:ty) => {
        const _: () = {
            use std::num::NonZeroU32;
            use std::time::Duration;
            use $crate::names::core::Timestamp;
            use $crate::names::core::api_key::{ApiKey, KeyHash, StoredSecret};
            use $crate::names::core::audit::{AuditEntry, Change};
            use $crate::names::core::credit::{CreditBalance, LedgerEntry};
            use $crate::names::core::event::Event;
            use $crate::names::core::id::{ApiKeyId, AuditId, EventId, NodeId, OrganizationId, SessionId};
            use $crate::names::core::idempotency::IdempotencyKey;
            use $crate::names::core::organization::Organization;
            use $crate::names::core::permission::Permission;
            use $crate::names::core::session::{EndReason, Session, Tenant, Turn, UtteranceLag};
            use $crate::names::core::stream_statistics::StreamStatistics;
            use $crate::names::storage::{
                AuditFilter, Beat, CreatePaid, EndedSession, EventFilter, EventMark, EventRepository, GateChanges,
                Home, IdempotencyRepository, KeyRepository, KeyUpdate, KeyUse, KnownKey, LeakedKey, LogRepository,
                NewAnswer, NewSession, NewTurn, Node, NodeRepository, Once, OrganizationRepository, OrganizationUpdate,
                Page, PageRequest, RequestBlock, RotateKey, SessionFilter, SessionRepository, StorageError,
                StoredAnswer, TurnRepository,
            };
            use $crate::transfer::{self, Record, Table, Transfer};
            use $crate::{audit, credit, event, gate, idempotency, key, log, node, organization, session, turn};

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl OrganizationRepository for $storage {
                async fn create_organization(
                    &self,
                    organization: &Organization,
                    credits: u32,
                    change: &Change,
                ) -> Result<()> {
                    let arguments = (organization.clone(), credits, *change);
                    self.write(arguments, |db, (organization, credits, change)| {
                        Box::pin(organization::create(db, organization, *credits, change))
                    })
                    .await
                }

                async fn organization(&self, id: OrganizationId) -> Result<Option<Organization>> {
                    self.read(id, |db, id| Box::pin(organization::by_id(db, *id))).await
                }

                async fn organizations_for_operator(
                    &self,
                    page: &PageRequest<OrganizationId>,
                ) -> Result<Page<Organization>> {
                    self.read(*page, |db, page| Box::pin(organization::all(db, page))).await
                }

                async fn update_organization(
                    &self,
                    id: OrganizationId,
                    update: &OrganizationUpdate,
                    change: &Change,
                ) -> Result<Option<Organization>> {
                    let arguments = (id, update.clone(), *change);
                    self.write(arguments, |db, (id, update, change)| {
                        Box::pin(organization::update(db, *id, update, change))
                    })
                    .await
                }

                async fn grant_credits(
                    &self,
                    id: OrganizationId,
                    credits: NonZeroU32,
                    change: &Change,
                ) -> Result<Option<CreditBalance>> {
                    let arguments = (id, credits, *change);
                    self.write(arguments, |db, (id, credits, change)| {
                        Box::pin(organization::grant_credits(db, *id, *credits, change))
                    })
                    .await
                }

                async fn credit_balance(&self, id: OrganizationId) -> Result<Option<CreditBalance>> {
                    self.read(id, |db, id| Box::pin(credit::credit_balance(db, *id))).await
                }

                async fn ledger(&self, id: OrganizationId, after: i64, limit: u32) -> Result<Vec<LedgerEntry>> {
                    let arguments = (id, after, limit);
                    self.read(arguments, |db, (id, after, limit)| Box::pin(credit::ledger(db, *id, *after, *limit)))
                        .await
                }

                async fn ledger_back(
                    &self,
                    id: OrganizationId,
                    before: Option<i64>,
                    limit: u32,
                ) -> Result<Vec<LedgerEntry>> {
                    let arguments = (id, before, limit);
                    self.read(arguments, |db, (id, before, limit)| {
                        Box::pin(credit::ledger_back(db, *id, *before, *limit))
                    })
                    .await
                }

                async fn audit_log(
                    &self,
                    id: OrganizationId,
                    filter: &AuditFilter,
                    page: &PageRequest<AuditId>,
                ) -> Result<Page<AuditEntry>> {
                    let arguments = (id, filter.clone(), *page);
                    self.read(arguments, |db, (id, filter, page)| Box::pin(audit::log(db, *id, filter, page))).await
                }
            }

            #[$crate::names::async_trait]
            impl KeyRepository for $storage {
                async fn create_key(
                    &self,
                    key: &ApiKey,
                    secret: &StoredSecret,
                    idempotency: Option<&NewAnswer>,
                    change: &Change,
                ) -> Result<Once<()>> {
                    let arguments = (key.clone(), secret.clone(), idempotency.cloned(), *change);
                    self.write(arguments, |db, (key, secret, answer, change)| {
                        Box::pin(key::create(db, key, secret, answer.as_ref(), change))
                    })
                    .await
                }

                async fn key_of_secret(&self, hash: &KeyHash) -> Result<Option<KnownKey>> {
                    self.read(*hash, |db, hash| Box::pin(key::of_secret(db, hash))).await
                }

                async fn rehash_secret(&self, old: &KeyHash, new: &KeyHash, pepper: u32) -> Result<()> {
                    let arguments = (*old, *new, pepper);
                    self.write(arguments, |db, (old, new, pepper)| Box::pin(key::rehash(db, old, new, *pepper))).await
                }

                async fn secrets_by_pepper(&self, now: Timestamp) -> Result<Vec<(u32, u64)>> {
                    self.read(now, |db, now| Box::pin(key::secrets_by_pepper(db, *now))).await
                }

                async fn key(&self, tenant: Tenant, id: ApiKeyId) -> Result<Option<ApiKey>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(key::by_id(db, *tenant, *id))).await
                }

                async fn key_for_operator(&self, id: ApiKeyId) -> Result<Option<ApiKey>> {
                    self.read(id, |db, id| Box::pin(key::for_operator(db, *id))).await
                }

                async fn keys(&self, tenant: Tenant, page: &PageRequest<ApiKeyId>) -> Result<Page<ApiKey>> {
                    self.read((tenant, *page), |db, (tenant, page)| Box::pin(key::of_tenant(db, *tenant, page))).await
                }

                async fn permissions_used(
                    &self,
                    tenant: Tenant,
                    keys: &[ApiKeyId],
                ) -> Result<Vec<(ApiKeyId, Permission, Timestamp)>> {
                    let arguments = (tenant, keys.to_vec());
                    self.read(arguments, |db, (tenant, keys)| Box::pin(key::permissions_used(db, *tenant, keys))).await
                }

                async fn update_key(
                    &self,
                    tenant: Tenant,
                    id: ApiKeyId,
                    update: &KeyUpdate,
                    change: &Change,
                ) -> Result<Option<ApiKey>> {
                    let arguments = (tenant, id, update.clone(), *change);
                    self.write(arguments, |db, (tenant, id, update, change)| {
                        Box::pin(key::update(db, *tenant, *id, update, change))
                    })
                    .await
                }

                async fn rotate_key(
                    &self,
                    tenant: Tenant,
                    id: ApiKeyId,
                    secret: &StoredSecret,
                    old_valid_until: Timestamp,
                    change: &Change,
                ) -> Result<RotateKey> {
                    let arguments = (tenant, id, secret.clone(), old_valid_until, *change);
                    self.write(arguments, |db, (tenant, id, secret, until, change)| {
                        Box::pin(key::rotate(db, *tenant, *id, secret, *until, change))
                    })
                    .await
                }

                async fn revoke_key(
                    &self,
                    tenant: Tenant,
                    id: ApiKeyId,
                    close_streams: bool,
                    change: &Change,
                ) -> Result<Option<ApiKey>> {
                    let arguments = (tenant, id, close_streams, *change);
                    self.write(arguments, |db, (tenant, id, close_streams, change)| {
                        Box::pin(key::revoke(db, *tenant, *id, *close_streams, change))
                    })
                    .await
                }

                async fn report_leak(&self, hash: &KeyHash, change: &Change) -> Result<Option<LeakedKey>> {
                    self.write((*hash, *change), |db, (hash, change)| Box::pin(key::report_leak(db, hash, change)))
                        .await
                }

                async fn note_key_uses(&self, uses: &[KeyUse]) -> Result<()> {
                    for part in uses.chunks(key::USES_PER_JOB) {
                        self.write(part.to_vec(), |db, uses| Box::pin(key::note_uses(db, uses))).await?;
                    }
                    Ok(())
                }

                async fn gate_changes_since(&self, marker: Option<i64>) -> Result<GateChanges> {
                    self.read(marker, |db, marker| Box::pin(gate::changes_since(db, *marker))).await
                }
            }

            #[$crate::names::async_trait]
            impl IdempotencyRepository for $storage {
                async fn answer(
                    &self,
                    tenant: Tenant,
                    key: &IdempotencyKey,
                    now: Timestamp,
                ) -> Result<Option<StoredAnswer>> {
                    let arguments = (tenant, key.clone(), now);
                    self.read(arguments, |db, (tenant, key, now)| Box::pin(idempotency::answer(db, *tenant, key, *now)))
                        .await
                }

                async fn keep_answer(&self, tenant: Tenant, answer: &NewAnswer) -> Result<Once<()>> {
                    let arguments = (tenant, answer.clone());
                    self.write(arguments, |db, (tenant, answer)| {
                        Box::pin(idempotency::keep_answer(db, *tenant, answer))
                    })
                    .await
                }
            }

            #[$crate::names::async_trait]
            impl SessionRepository for $storage {
                async fn create_session(&self, new: &NewSession) -> Result<CreatePaid> {
                    self.create(session::Prepared::of(new)).await
                }

                async fn session(&self, tenant: Tenant, id: SessionId) -> Result<Option<Session>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(session::by_id(db, *tenant, *id))).await
                }

                async fn session_for_token_holder(&self, id: SessionId) -> Result<Option<Session>> {
                    self.read(id, |db, id| Box::pin(session::for_token_holder(db, *id))).await
                }

                async fn sessions(&self, tenant: Tenant, page: &PageRequest<SessionId>) -> Result<Page<Session>> {
                    self.read((tenant, *page), |db, (tenant, page)| Box::pin(session::of_tenant(db, *tenant, page)))
                        .await
                }

                async fn session_page(
                    &self,
                    tenant: Tenant,
                    filter: SessionFilter,
                    page: &PageRequest<SessionId>,
                ) -> Result<Page<Session>> {
                    self.read((tenant, filter, *page), |db, (tenant, filter, page)| {
                        Box::pin(session::filtered(db, *tenant, *filter, page))
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
                    let arguments = (id, node, at, away_after);
                    self.write(arguments, |db, (id, node, at, away_after)| {
                        Box::pin(session::settle(db, *id, *node, *at, *away_after))
                    })
                    .await
                }

                async fn session_home(&self, id: SessionId, away_after: Duration) -> Result<Option<Node>> {
                    let arguments = (id, away_after);
                    self.read(arguments, |db, (id, away_after)| Box::pin(session::home(db, *id, *away_after))).await
                }

                async fn sessions_moved(&self, node: NodeId, sessions: &[SessionId]) -> Result<Vec<SessionId>> {
                    let arguments = (node, sessions.to_vec());
                    self.read(arguments, |db, (node, sessions)| Box::pin(session::moved(db, *node, sessions))).await
                }

                async fn ask_to_end_session(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<()> {
                    let arguments = (tenant, id, reason);
                    self.write(arguments, |db, (tenant, id, reason)| {
                        Box::pin(session::ask_to_end(db, *tenant, *id, *reason))
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
                    let arguments = (tenant, id, at, event.clone());
                    self.write(arguments, |db, (tenant, id, at, event)| {
                        Box::pin(session::start(db, *tenant, *id, *at, event))
                    })
                    .await
                }

                async fn touch_sessions(&self, active: &[(SessionId, Timestamp)]) -> Result<()> {
                    self.write(active.to_vec(), |db, active| Box::pin(session::touch(db, active))).await
                }

                async fn end_session(
                    &self,
                    tenant: Tenant,
                    id: SessionId,
                    at: Timestamp,
                    reason: EndReason,
                    event: &Event,
                ) -> Result<Option<EndedSession>> {
                    let arguments = (tenant, id, at, reason, event.clone());
                    self.write(arguments, |db, (tenant, id, at, reason, event)| {
                        Box::pin(session::end(db, *tenant, *id, *at, *reason, event))
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
                    let arguments = (before, limit, node, away_after);
                    self.read(arguments, |db, (before, limit, node, away)| {
                        Box::pin(session::idle(db, *before, *limit, *node, *away))
                    })
                    .await
                }

                async fn open_sessions(&self, after: Option<SessionId>, limit: u32) -> Result<Vec<Session>> {
                    self.read((after, limit), |db, (after, limit)| Box::pin(session::open(db, *after, *limit))).await
                }

                async fn open_sessions_of(
                    &self,
                    tenant: Tenant,
                    after: Option<SessionId>,
                    limit: u32,
                ) -> Result<Vec<Session>> {
                    let arguments = (tenant, after, limit);
                    self.read(arguments, |db, (tenant, after, limit)| {
                        Box::pin(session::open_of(db, *tenant, *after, *limit))
                    })
                    .await
                }

                async fn open_sessions_by(&self, tenant: Tenant, key: ApiKeyId, limit: u32) -> Result<Vec<Session>> {
                    let arguments = (tenant, key, limit);
                    self.read(arguments, |db, (tenant, key, limit)| {
                        Box::pin(session::open_by(db, *tenant, *key, *limit))
                    })
                    .await
                }
            }

            #[$crate::names::async_trait]
            impl TurnRepository for $storage {
                async fn append_turn(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    turn: &NewTurn,
                ) -> Result<Option<Turn>> {
                    let arguments = (tenant, session, turn.clone());
                    self.write(arguments, |db, (tenant, session, turn)| {
                        Box::pin(turn::append(db, *tenant, *session, turn))
                    })
                    .await
                }

                async fn turns(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    after: u32,
                    limit: u32,
                ) -> Result<Option<Vec<Turn>>> {
                    let arguments = (tenant, session, after, limit);
                    self.read(arguments, |db, (tenant, session, after, limit)| {
                        Box::pin(turn::turns(db, *tenant, *session, *after, *limit))
                    })
                    .await
                }

                async fn turn_count(&self, tenant: Tenant, session: SessionId) -> Result<Option<u32>> {
                    let arguments = (tenant, session);
                    self.read(arguments, |db, (tenant, session)| Box::pin(turn::turn_count(db, *tenant, *session)))
                        .await
                }

                async fn save_lags(&self, tenant: Tenant, session: SessionId, lags: &[UtteranceLag]) -> Result<bool> {
                    let arguments = (tenant, session, lags.to_vec());
                    self.write(arguments, |db, (tenant, session, lags)| {
                        Box::pin(turn::save_lags(db, *tenant, *session, lags))
                    })
                    .await
                }

                async fn lags(&self, tenant: Tenant, session: SessionId) -> Result<Option<Vec<UtteranceLag>>> {
                    let arguments = (tenant, session);
                    self.read(arguments, |db, (tenant, session)| Box::pin(turn::lags(db, *tenant, *session))).await
                }

                async fn save_stream_statistics(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    statistics: &StreamStatistics,
                ) -> Result<bool> {
                    let arguments = (tenant, session, *statistics);
                    self.write(arguments, |db, (tenant, session, statistics)| {
                        Box::pin(turn::save_statistics(db, *tenant, *session, statistics))
                    })
                    .await
                }

                async fn stream_statistics(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                ) -> Result<Option<StreamStatistics>> {
                    let arguments = (tenant, session);
                    self.read(arguments, |db, (tenant, session)| Box::pin(turn::statistics(db, *tenant, *session)))
                        .await
                }
            }

            #[$crate::names::async_trait]
            impl LogRepository for $storage {
                async fn request_blocks(
                    &self,
                    tenant: Tenant,
                    from: Timestamp,
                    to: Timestamp,
                    before: Option<i64>,
                    limit: u32,
                ) -> Result<Vec<(i64, RequestBlock)>> {
                    let arguments = (tenant, from, to, before, limit);
                    self.read(arguments, |db, (tenant, from, to, before, limit)| {
                        Box::pin(log::blocks(db, *tenant, *from, *to, *before, *limit))
                    })
                    .await
                }

                async fn events(&self, after: i64, limit: u32) -> Result<Vec<(i64, Event)>> {
                    self.read((after, limit), |db, (after, limit)| Box::pin(log::events(db, *after, *limit))).await
                }

                async fn forget(&self, now: Timestamp, limit: u32) -> Result<u64> {
                    self.write((now, limit), |db, (now, limit)| Box::pin(log::forget(db, *now, *limit))).await
                }
            }

            #[$crate::names::async_trait]
            impl EventRepository for $storage {
                async fn event(&self, tenant: Tenant, id: EventId) -> Result<Option<Event>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(event::by_id(db, *tenant, *id))).await
                }

                async fn event_page(
                    &self,
                    tenant: Tenant,
                    filter: EventFilter,
                    page: &PageRequest<EventId>,
                ) -> Result<Page<Event>> {
                    self.read((tenant, filter, *page), |db, (tenant, filter, page)| {
                        Box::pin(event::all(db, *tenant, filter, page))
                    })
                    .await
                }

                async fn session_events(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    after: u32,
                    limit: u32,
                ) -> Result<Vec<Event>> {
                    let arguments = (tenant, session, after, limit);
                    self.read(arguments, |db, (tenant, session, after, limit)| {
                        Box::pin(event::of_session(db, *tenant, *session, *after, *limit))
                    })
                    .await
                }

                async fn session_event_count(&self, tenant: Tenant, session: SessionId) -> Result<Option<u32>> {
                    self.read((tenant, session), |db, (tenant, session)| {
                        Box::pin(event::count_of_session(db, *tenant, *session))
                    })
                    .await
                }

                async fn event_place(&self, tenant: Tenant, id: EventId) -> Result<Option<i64>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(event::place(db, *tenant, *id))).await
                }

                async fn tenant_events(
                    &self,
                    tenant: Tenant,
                    after: i64,
                    through: i64,
                    limit: u32,
                ) -> Result<Vec<(i64, Event)>> {
                    let arguments = (tenant, after, through, limit);
                    self.read(arguments, |db, (tenant, after, through, limit)| {
                        Box::pin(event::of_tenant(db, *tenant, *after, *through, *limit))
                    })
                    .await
                }

                async fn last_event_place(&self) -> Result<i64> {
                    self.read((), |db, ()| Box::pin(event::last_place(db))).await
                }

                async fn event_marks(&self, after: i64, limit: u32) -> Result<Vec<EventMark>> {
                    self.read((after, limit), |db, (after, limit)| Box::pin(event::marks(db, *after, *limit))).await
                }
            }

            #[$crate::names::async_trait]
            impl NodeRepository for $storage {
                async fn beat(&self, node: &Node, away_after: Duration) -> Result<Beat> {
                    let arguments = (node.clone(), away_after);
                    self.write(arguments, |db, (node, away_after)| Box::pin(node::beat(db, node, *away_after))).await
                }

                async fn leave(&self, node: NodeId) -> Result<()> {
                    self.write(node, |db, node| Box::pin(node::leave(db, *node))).await
                }

                async fn keep_mark(&self, name: &str, mark: &str) -> Result<String> {
                    let arguments = (name.to_owned(), mark.to_owned());
                    self.write(arguments, |db, (name, mark)| Box::pin(node::keep_mark(db, name, mark))).await
                }
            }

            #[$crate::names::async_trait]
            impl Transfer for $storage {
                async fn rows(
                    &self,
                    table: &'static Table,
                    after: Option<Record>,
                    limit: usize,
                ) -> Result<Vec<Record>> {
                    let arguments = (table, after, limit);
                    self.read(arguments, |db, (table, after, limit)| {
                        Box::pin(transfer::rows(db, table, after.as_ref(), *limit))
                    })
                    .await
                }

                async fn insert(&self, table: &'static Table, rows: Vec<Record>) -> Result<()> {
                    self.write((table, rows), |db, (table, rows)| Box::pin(transfer::insert(db, table, rows))).await
                }

                async fn is_empty(&self, table: &'static Table) -> Result<bool> {
                    self.read(table, |db, table| Box::pin(transfer::is_empty(db, table))).await
                }

                async fn renumber(&self) -> Result<()> {
                    self.write((), |db, ()| Box::pin(transfer::renumber(db))).await
                }
            }
        };
        $crate::alert_repository!($storage);
        $crate::analysis_repository!($storage);
        $crate::people_repository!($storage);
        $crate::factor_repository!($storage);
        $crate::recording_repository!($storage);
        $crate::usage_repository!($storage);
        $crate::webhook_repository!($storage);
    };
}
