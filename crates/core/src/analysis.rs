//! An analysis of a session: what is asked, where it stands, and what came of it (contract section 13).

use jiff::Timestamp;

use crate::id::{AnalysisId, ComplianceProfileId, SessionId};
use crate::session::{Tenant, named};

named! {
    /// A part of an analysis.
    Part {
        /// What was said that matters.
        Summary = "summary",
        /// How each party felt.
        Sentiment = "sentiment",
        /// Whether a profile's rules were kept.
        Compliance = "compliance",
        /// What it was about.
        Keywords = "keywords",
        /// How it went, by the clock.
        Performance = "performance",
    }
}

named! {
    /// Where an analysis stands.
    AnalysisStatus {
        /// It waits, or somebody is at work on it.
        Processing = "processing",
        /// It is done.
        Completed = "completed",
        /// It could not be made.
        Failed = "failed",
    }
}

named! {
    /// Why an analysis could not be made.
    AnalysisFailure {
        /// It took too long, each time.
        Timeout = "timeout",
        /// The server failed, each time.
        InternalError = "internal_error",
        /// None of the parts could be made.
        NothingMade = "nothing_made",
    }
}

/// An organization's rules for what must and must not be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComplianceProfile {
    /// Its id.
    pub id: ComplianceProfileId,
    /// Whose.
    pub tenant: Tenant,
    /// Its name, another one than those of the tenant's other profiles.
    pub name: String,
    /// The rules, as JSON: a list, in the form that the analysis writes.
    pub rules: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl ComplianceProfile {
    /// Most profiles of one tenant.
    pub const PER_TENANT_MAX: u32 = 200;
    /// Most characters of a name.
    pub const NAME_CHARS_MAX: usize = 100;
}

/// The profile that an analysis is made by, as it was when the analysis was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedProfile {
    /// Its id.
    pub id: ComplianceProfileId,
    /// Its name.
    pub name: String,
    /// Its rules, as JSON.
    pub rules: String,
}

/// An analysis as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analysis {
    /// Its id.
    pub id: AnalysisId,
    /// Whose.
    pub tenant: Tenant,
    /// Of which session.
    pub session: SessionId,
    /// Which parts are asked for, in the order of [`Part::ALL`].
    pub include: Vec<Part>,
    /// By which profile compliance is judged.
    pub profile: Option<UsedProfile>,
    /// What it cost, to be given back when it fails.
    pub credits: u32,
    /// How often somebody began to work on it.
    pub attempts: u32,
    /// How many parts the last one who did has made.
    pub parts_done: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Where it stands.
    pub state: AnalysisState,
}

/// Where an analysis stands; each state has what is known in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalysisState {
    /// It waits, or somebody is at work on it.
    Processing,
    /// It is done.
    Completed {
        /// When.
        at: Timestamp,
        /// The parts, as a JSON object.
        result: String,
    },
    /// It could not be made.
    Failed {
        /// When that was clear.
        at: Timestamp,
        /// Why.
        failure: AnalysisFailure,
        /// The same as a sentence.
        message: String,
    },
}

impl AnalysisState {
    /// The state's name.
    pub const fn status(&self) -> AnalysisStatus {
        match self {
            Self::Processing => AnalysisStatus::Processing,
            Self::Completed { .. } => AnalysisStatus::Completed,
            Self::Failed { .. } => AnalysisStatus::Failed,
        }
    }
}
