//! Sessions: create and end them.

use std::collections::BTreeMap;

use kallglot_core::error_code::ErrorCode;
use kallglot_core::id::{ApiKeyId, SessionId};
use kallglot_core::language::LanguageTag;
use kallglot_core::session::{EndReason, Mode, Session, SessionState, Tenant};
use kallglot_core::vocabulary::Vocabulary;

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
    /// Whether it is to be recorded.
    pub recording: bool,
    /// Whether a carrier is asked for, and how it is named in the request.
    pub routing: Option<&'static str>,
    /// What the recognizers should expect.
    pub vocabulary: Vocabulary,
    /// The client's own pairs.
    pub metadata: BTreeMap<String, String>,
}

impl App {
    /// Creates a session.
    ///
    /// # Errors
    /// `validation_failed` for what this server can't do; storage's.
    pub async fn create_session(
        &self,
        tenant: Tenant,
        created_by: ApiKeyId,
        asked: CreateSession,
    ) -> Result<Session, Error> {
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
        if asked.recording {
            return Err(Error::invalid(
                "recording.enabled",
                "Recording is not available on this server yet. Leave it out or set it to false.",
            ));
        }
        let now = self.clock.now();
        let session = Session {
            id: SessionId::new(now, self.random.as_ref()),
            tenant,
            created_by,
            mode: asked.mode,
            source_language: asked.source_language,
            target_language: asked.target_language,
            voice: asked.voice,
            vocabulary: asked.vocabulary,
            metadata: asked.metadata,
            created_at: now,
            last_activity_at: now,
            state: SessionState::Created,
        };
        self.storage.create_session(&session).await?;
        Ok(session)
    }

    /// Ends a session; one that has ended stays as it is.
    ///
    /// # Errors
    /// `session_not_found`; storage's.
    pub async fn end_session(&self, tenant: Tenant, id: SessionId, reason: EndReason) -> Result<Session, Error> {
        self.hub.end(tenant, id, reason).await?.ok_or_else(|| Error::of(ErrorCode::SessionNotFound))
    }
}
