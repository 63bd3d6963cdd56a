//! Sessions: create and end them.

use std::collections::BTreeMap;

use kallglot_core::Timestamp;
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{Event, EventType, session_detail};
use kallglot_core::id::{EventId, RequestId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::plan::Limits;
use kallglot_core::random::RandomSource;
use kallglot_core::recording::RecordingMode;
use kallglot_core::session::{EndReason, Environment, Mode, Session, SessionState, Tenant};
use kallglot_core::vocabulary::Vocabulary;
use kallglot_storage::{CreatePaid as Stored, NewSession, StorageError};
use tracing::Instrument as _;

use crate::gate::cache::Known;
use crate::idempotency::{Repeatable, Replay};
use crate::state::StreamToken;
use crate::{App, Error};

/// What a session is asked to be.
#[derive(Debug, Clone)]
pub struct CreateSession {
    /// What it does.
    pub mode: Mode,
    /// Party A's language; none to have it detected.
    pub source_language: Option<LanguageTag>,
    /// Party B's language; none to have it detected.
    pub target_language: Option<LanguageTag>,
    /// The voice asked for.
    pub voice: Option<String>,
    /// Whether it is to be recorded; none for as its organization does.
    pub recording: Option<bool>,
    /// Whether a carrier is asked for, and how it is named in the request.
    pub routing: Option<&'static str>,
    /// What the recognizers should expect.
    pub vocabulary: Vocabulary,
    /// The client's own pairs.
    pub metadata: BTreeMap<String, String>,
}

/// What became of a request for a session.
pub enum Created {
    /// It is there; its answer's body.
    New {
        /// The session.
        session: Box<Session>,
        /// The body that `render` made.
        body: Vec<u8>,
    },
    /// The request is a repetition: nothing was done.
    Replay(Replay),
}

/// An event about a session. Where the session stands is told by storage, which knows it.
pub(crate) fn event(
    event_type: EventType,
    tenant: Tenant,
    id: SessionId,
    at: Timestamp,
    random: &dyn RandomSource,
) -> Event {
    Event {
        id: EventId::new(at, random),
        organization: tenant.organization,
        environment: tenant.environment,
        event_type,
        object: id.to_string(),
        session: Some(id),
        session_sequence: None,
        detail: serde_json::Map::new(),
        at,
    }
}

impl App {
    /// Creates a session: steps 8 to 11 of the gate (contract section 3). `render` makes the answer's body; with `repeatable` it is stored
    /// in the same transaction.
    ///
    /// # Errors
    /// `validation_failed` for what this server can't do, `concurrent_session_limit_exceeded`, `insufficient_api_credits`,
    /// `idempotency_mismatch`; storage's.
    pub async fn create_session(
        &self,
        caller: &Known,
        request: RequestId,
        asked: CreateSession,
        repeatable: Option<&Repeatable>,
        token_lifetime_s: u32,
        render: impl Fn(&Session, &StreamToken) -> Vec<u8>,
    ) -> Result<Created, Error> {
        let recording = asked.recording.unwrap_or(caller.organization.recording);
        self.possible(&asked, recording)?;
        let now = self.clock.now();
        let id = SessionId::new(now, self.random.as_ref());
        let tenant = caller.key.tenant();
        let token = self.stream_token(id, tenant.environment, token_lifetime_s);
        let session = Session {
            id,
            tenant,
            created_by: caller.key.id,
            mode: asked.mode,
            source_language: asked.source_language,
            target_language: asked.target_language,
            voice: asked.voice,
            vocabulary: asked.vocabulary,
            recording: if recording { RecordingMode::On } else { RecordingMode::Off },
            metadata: asked.metadata,
            created_at: now,
            last_activity_at: now,
            joinable_until: token.expires_at,
            state: SessionState::Created,
        };
        let body = render(&session, &token);
        self.take_slot(&session, caller.limits.concurrent_sessions_max).await?;
        let random = self.random.as_ref();
        let new = NewSession {
            request,
            credits: u32::from(tenant.environment == Environment::Live),
            event: Event {
                detail: session_detail(&session),
                ..event(EventType::SessionCreated, tenant, id, now, random)
            },
            low_credits_event: Event {
                object: tenant.organization.to_string(),
                session: None,
                ..event(EventType::CreditsLow, tenant, id, now, random)
            },
            // The status is that of every creation (RFC 9110 section 15.3.2).
            idempotency: repeatable.map(|repeatable| repeatable.answer(201, &body)),
            session,
        };
        let span = tracing::trace_span!(target: "kallglot::trace", "storage.create_session");
        let stored = self.storage.create_session(&new).instrument(span).await;
        if !matches!(stored, Ok(Stored::Created(_))) {
            self.give_slot_back(&new.session).await;
        }
        match stored? {
            Stored::Created(balance) => {
                if let Some(balance) = balance {
                    caller.credits.hear(balance);
                    self.spent(tenant.organization, balance);
                }
                Ok(Created::New { session: Box::new(new.session), body })
            }
            Stored::NoCredits(balance) => {
                caller.credits.hear(balance);
                Err(Error::of(ErrorCode::InsufficientApiCredits))
            }
            Stored::Known(answer) => match repeatable {
                Some(repeatable) => Ok(Created::Replay(repeatable.replay(answer)?)),
                None => Err(Error::of(ErrorCode::InternalError)),
            },
        }
    }

    /// The session that a stream token was made for, and what its organization may do now. While the database is away, a call that is live
    /// here goes on with what is known of it.
    ///
    /// # Errors
    /// `organization_inactive`; storage's.
    pub async fn session_to_join(&self, id: SessionId) -> Result<Option<(Session, Limits)>, Error> {
        let stored = async {
            let Some(session) = self.storage.session_for_token_holder(id).await? else { return Ok(None) };
            let organization = self.storage.organization(session.tenant.organization).await?;
            Ok(organization.map(|organization| (session, organization)))
        };
        match stored.await {
            Ok(Some((_, organization))) if !organization.active => Err(Error::of(ErrorCode::OrganizationInactive)),
            Ok(found) => Ok(found.map(|(session, organization)| {
                let limits = organization.limits(session.tenant.environment);
                (session, limits)
            })),
            Err(error @ StorageError::Unavailable { .. }) => Ok(Some(self.hub.joinable(id).ok_or(error)?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends a session; one that has ended stays as it is.
    ///
    /// # Errors
    /// `session_not_found`; storage's.
    pub async fn end_session(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<Session, Error> {
        self.hub.end(tenant, id, reason).await?.ok_or_else(|| Error::of(ErrorCode::SessionNotFound))
    }
}

impl App {
    /// Refuses what this server can't do.
    fn possible(&self, asked: &CreateSession, recording: bool) -> Result<(), Error> {
        match asked.mode {
            Mode::BidirectionalTranslation | Mode::AssistiveTranslation => {}
            Mode::AiAgent | Mode::HelpChatVoice => {
                return Err(Error::invalid(
                    "mode",
                    format!(
                        "`{}` is not available on this server yet. Use `bidirectional_translation` or `assistive_translation`.",
                        asked.mode
                    ),
                ));
            }
        }
        if let (Some(source), Some(target)) = (&asked.source_language, &asked.target_language)
            && source.primary() == target.primary()
        {
            return Err(Error::invalid(
                "target_language",
                "Both parties speak the same language; there is nothing to translate. Name two different languages.",
            ));
        }
        if let Some(param) = asked.routing {
            return Err(Error::invalid(
                param,
                "No carrier is connected to this organization, so the call can't be routed. Leave `routing` out for a WebSocket-only session.",
            ));
        }
        if recording && !self.recordings.are_possible() {
            return Err(Error::invalid(
                "recording.enabled",
                "This server has no place for recordings that all its nodes can reach. Set `recording.enabled` to false, or ask the operator to set `recordings_url`.",
            ));
        }
        Ok(())
    }
}
