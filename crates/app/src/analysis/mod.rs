//! Analyses: asking for one, and the profiles that they judge by. [`worker`] makes them.

pub mod document;
pub mod worker;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kallglot_analysis::{InvalidProfile, Profile};
use kallglot_core::analysis::{Analysis, AnalysisState, ComplianceProfile, Part, UsedProfile};
use kallglot_core::error_code::ErrorCode;
use kallglot_core::event::{Event, EventType};
use kallglot_core::id::{AnalysisId, ComplianceProfileId, EventId, RequestId};
use kallglot_core::session::{Environment, Session, Tenant};
use kallglot_engine::Summarizer;
use kallglot_storage::{CreatePaid, NewAnalysis, StoreProfile};
use serde_json::Value;
use tokio::sync::Notify;

use crate::gate::cache::Known;
use crate::idempotency::{Made, Repeatable};
use crate::{App, Error};

/// How analyses are made.
#[derive(Debug, Clone)]
pub struct AnalysisConfig {
    /// Most analyses that this node makes at a time; the others wait in the database. 0: this node makes none.
    pub at_once_max: usize,
    /// An attempt that takes longer has failed.
    pub attempt_max: Duration,
    /// After how long without a sign of who works on one another node takes it over. Longer than `attempt_max`, so nobody who works is
    /// taken for dead.
    pub claim_lapses_after: Duration,
    /// How often it is looked for analyses that other nodes left; new ones of this node are begun at once.
    pub look_every: Duration,
    /// How long to wait after the first failed attempt; four times as long after the second.
    pub again_after: Duration,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            at_once_max: 2,
            attempt_max: Duration::from_secs(120),
            claim_lapses_after: Duration::from_secs(180),
            look_every: Duration::from_secs(2),
            again_after: Duration::from_secs(5),
        }
    }
}

/// What this node knows of the analyses that it makes.
#[derive(Default)]
pub struct Analyses {
    /// How they are made.
    pub config: AnalysisConfig,
    /// Who writes summaries in words of its own and names what is to be done; none: nothing leaves this machine.
    pub summarizer: Option<Arc<dyn Summarizer>>,
    /// What was counted.
    pub counts: Counts,
    pub(crate) wake: Notify,
}

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Analyses that were completed.
    pub completed: AtomicU64,
    /// Analyses that failed for good.
    pub failed: AtomicU64,
    /// Attempts that failed and were left for another one.
    pub retried: AtomicU64,
    /// How long the completed ones took from the first look at them, summed up, in ms.
    pub completed_ms: AtomicU64,
    /// How many are being made now.
    pub under_way: AtomicU64,
}

impl Analyses {
    /// Analyses that are made so.
    pub fn new(config: AnalysisConfig, summarizer: Option<Arc<dyn Summarizer>>) -> Self {
        Self { config, summarizer, ..Self::default() }
    }
}

/// What an analysis is asked to be.
#[derive(Debug, Clone)]
pub struct CreateAnalysis {
    /// Which parts to make, in the order of [`Part::ALL`].
    pub include: Vec<Part>,
    /// The id or name of the profile to judge by.
    pub profile: Option<String>,
}

fn event(app: &App, event_type: EventType, tenant: Tenant) -> Event {
    let at = app.clock.now();
    Event {
        id: EventId::new(at, app.random.as_ref()),
        organization: tenant.organization,
        environment: tenant.environment,
        event_type,
        object: tenant.organization.to_string(),
        session: None,
        session_sequence: None,
        detail: serde_json::Map::new(),
        at,
    }
}

fn invalid(error: &InvalidProfile) -> Error {
    Error::invalid(error.param.clone(), format!("{error}."))
}

impl App {
    /// Asks for an analysis of a session of the caller's, also of one that runs: then of what was said so far when it is begun. `render` makes the
    /// answer's body; with `repeatable` it is stored in the same transaction.
    ///
    /// # Errors
    /// `validation_failed` for a profile that is not there, `transcript_not_available` when nothing was said, `insufficient_api_credits`,
    /// `idempotency_mismatch`; storage's.
    pub async fn create_analysis(
        &self,
        caller: &Known,
        request: RequestId,
        session: &Session,
        asked: CreateAnalysis,
        repeatable: Option<&Repeatable>,
        render: impl Fn(&Analysis) -> Vec<u8>,
    ) -> Result<Made, Error> {
        let tenant = caller.key.tenant();
        let profile = match &asked.profile {
            Some(profile) => Some(self.profile_to_use(tenant, profile).await?),
            None => None,
        };
        if self.storage.turn_count(tenant, session.id).await?.unwrap_or(0) == 0 {
            return Err(Error::of(ErrorCode::TranscriptNotAvailable));
        }
        let now = self.clock.now();
        let analysis = Analysis {
            id: AnalysisId::new(now, self.random.as_ref()),
            tenant,
            session: session.id,
            include: asked.include,
            profile,
            credits: u32::from(tenant.environment == Environment::Live),
            attempts: 0,
            parts_done: 0,
            created_at: now,
            state: AnalysisState::Processing,
        };
        let body = render(&analysis);
        let new = NewAnalysis {
            analysis,
            request,
            low_credits_event: event(self, EventType::CreditsLow, tenant),
            idempotency: repeatable.map(|repeatable| repeatable.answer(202, &body)),
        };
        match self.storage.create_analysis(&new).await? {
            CreatePaid::Created(balance) => {
                if let Some(balance) = balance {
                    caller.credits.hear(balance);
                    self.spent(tenant.organization, balance);
                }
                self.analyses.wake.notify_one();
                Ok(Made::New(body))
            }
            CreatePaid::NoCredits(balance) => {
                caller.credits.hear(balance);
                Err(Error::of(ErrorCode::InsufficientApiCredits))
            }
            CreatePaid::Known(answer) => match repeatable {
                Some(repeatable) => Ok(Made::Replay(repeatable.replay(answer)?)),
                None => Err(Error::of(ErrorCode::InternalError)),
            },
        }
    }

    /// The profile of this id or name, as it is now.
    async fn profile_to_use(&self, tenant: Tenant, profile: &str) -> Result<UsedProfile, Error> {
        let found = match profile.parse::<ComplianceProfileId>() {
            Ok(id) => self.storage.compliance_profile(tenant, id).await?,
            Err(_) => self.storage.compliance_profile_named(tenant, profile).await?,
        };
        let ComplianceProfile { id, name, rules, .. } = found.ok_or_else(|| {
            Error::invalid(
                "profile",
                "There is no compliance profile of this id or name. List them with `GET /v1/compliance_profiles`.",
            )
        })?;
        Ok(UsedProfile { id, name, rules })
    }

    /// Stores a new profile.
    ///
    /// # Errors
    /// `validation_failed` for its name and rules; storage's.
    pub async fn create_profile(
        &self,
        tenant: Tenant,
        name: String,
        rules: &Value,
    ) -> Result<ComplianceProfile, Error> {
        let now = self.clock.now();
        let profile = ComplianceProfile {
            id: ComplianceProfileId::new(now, self.random.as_ref()),
            tenant,
            name: checked_name(name)?,
            rules: checked_rules(rules)?,
            created_at: now,
            updated_at: now,
        };
        stored(self.storage.create_compliance_profile(&profile).await?)
    }

    /// Changes a profile.
    ///
    /// # Errors
    /// `not_found`, `validation_failed` for its name and rules; storage's.
    pub async fn update_profile(
        &self,
        tenant: Tenant,
        id: ComplianceProfileId,
        name: Option<String>,
        rules: Option<&Value>,
    ) -> Result<ComplianceProfile, Error> {
        let name = name.map(checked_name).transpose()?;
        let rules = rules.map(checked_rules).transpose()?;
        let now = self.clock.now();
        let update = self.storage.update_compliance_profile(tenant, id, name.as_deref(), rules.as_deref(), now);
        stored(update.await?)
    }
}

fn checked_name(name: String) -> Result<String, Error> {
    let name = name.trim().to_owned();
    if name.is_empty() {
        return Err(Error::invalid("name", "`name` must hold more than white space."));
    }
    // Else an analysis could not tell the name from an id.
    if name.starts_with(ComplianceProfileId::PREFIX) {
        return Err(Error::invalid(
            "name",
            "`name` must not look like an id: choose one that does not begin with `cpr_`.",
        ));
    }
    Ok(name)
}

fn checked_rules(rules: &Value) -> Result<String, Error> {
    Ok(Profile::parse(rules).map_err(|error| invalid(&error))?.to_json().to_string())
}

fn stored(outcome: StoreProfile) -> Result<ComplianceProfile, Error> {
    match outcome {
        StoreProfile::Stored(profile) => Ok(profile),
        StoreProfile::NameTaken => {
            Err(Error::invalid("name", "Another compliance profile has this name. Choose another, or change that one."))
        }
        StoreProfile::TooMany => {
            let most = ComplianceProfile::PER_TENANT_MAX;
            Err(Error::invalid(
                "name",
                format!("There are {most} compliance profiles already. Delete one that is not needed."),
            ))
        }
        StoreProfile::NotFound => Err(Error::with(ErrorCode::NotFound, "There is no such compliance profile.")),
    }
}
