//! Analyses, who is at work on them, and the profiles that they judge by.

use std::time::Duration;

use async_trait::async_trait;
use kallglot_core::Timestamp;
use kallglot_core::analysis::{Analysis, AnalysisFailure, ComplianceProfile};
use kallglot_core::event::Event;
use kallglot_core::id::{AnalysisId, ComplianceProfileId, NodeId, RequestId, SessionId};
use kallglot_core::session::Tenant;

use crate::{CreatePaid, NewAnswer, Page, PageRequest, StorageError};

type Result<T> = std::result::Result<T, StorageError>;

/// An analysis that is to be made, with all that commits with it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAnalysis {
    /// The analysis, processing.
    pub analysis: Analysis,
    /// The request that asks for it.
    pub request: RequestId,
    /// What is raised when its price crosses the organization's threshold for low credits; its detail gets `remaining` and
    /// `threshold`.
    pub low_credits_event: Event,
    /// The answer, when the client wants to be able to repeat the request.
    pub idempotency: Option<NewAnswer>,
}

/// That a node is at work on an analysis: the node, and which attempt it is. Who has lost its claim changes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The analysis.
    pub analysis: AnalysisId,
    /// Who works on it.
    pub node: NodeId,
    /// Which attempt it is, from 1.
    pub attempt: u32,
}

/// What becomes of a profile that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreProfile {
    /// It is there, as it is now.
    Stored(ComplianceProfile),
    /// Another one of the tenant has its name.
    NameTaken,
    /// The tenant has [`ComplianceProfile::PER_TENANT_MAX`] already.
    TooMany,
    /// There is none with this id.
    NotFound,
}

/// Analyses and the profiles for them.
#[async_trait]
pub trait AnalysisRepository: Send + Sync {
    /// Stores a new one, its spend and its idempotency record: all or nothing (contract section 7). `Conflict` when its id is
    /// taken or there is no such session.
    async fn create_analysis(&self, new: &NewAnalysis) -> Result<CreatePaid>;

    /// An analysis of this tenant.
    async fn analysis(&self, tenant: Tenant, id: AnalysisId) -> Result<Option<Analysis>>;

    /// A page of a session's analyses, newest first. Empty for an unknown session.
    async fn analyses(
        &self,
        tenant: Tenant,
        session: SessionId,
        page: &PageRequest<AnalysisId>,
    ) -> Result<Page<Analysis>>;

    /// Of all tenants: gives the analysis that has waited longest to `node`, if one is due: nobody is at work on it, or who was has
    /// not said for `lapses_after` (by the database's clock) that it still is. For the server's worker.
    async fn claim_analysis(&self, node: NodeId, lapses_after: Duration) -> Result<Option<(Claim, Analysis)>>;

    /// Who has the claim is still at work, and has made so many parts. False when the claim is lost.
    async fn note_analysis_progress(&self, claim: Claim, parts_done: u32) -> Result<bool>;

    /// Who has the claim gives it back: the analysis is due again after `delay`. Without `counts` the attempt was none: a node that stops.
    async fn release_analysis(&self, claim: Claim, delay: Duration, counts: bool) -> Result<bool>;

    /// It is done, and `event` is raised. False, and nothing happens, when the claim is lost.
    async fn complete_analysis(&self, claim: Claim, result: &str, at: Timestamp, event: &Event) -> Result<bool>;

    /// It can't be made: `event` is raised, and what it cost is given back. False, and nothing happens, when the claim is lost.
    async fn fail_analysis(
        &self,
        claim: Claim,
        failure: AnalysisFailure,
        message: &str,
        at: Timestamp,
        event: &Event,
    ) -> Result<bool>;

    /// Stores a new profile.
    async fn create_compliance_profile(&self, profile: &ComplianceProfile) -> Result<StoreProfile>;

    /// A profile of this tenant.
    async fn compliance_profile(&self, tenant: Tenant, id: ComplianceProfileId) -> Result<Option<ComplianceProfile>>;

    /// The tenant's profile of this name.
    async fn compliance_profile_named(&self, tenant: Tenant, name: &str) -> Result<Option<ComplianceProfile>>;

    /// A page of the tenant's profiles, newest first.
    async fn compliance_profiles(
        &self,
        tenant: Tenant,
        page: &PageRequest<ComplianceProfileId>,
    ) -> Result<Page<ComplianceProfile>>;

    /// Changes a profile's name, its rules, or both. Analyses that are asked for already are judged by what it was.
    async fn update_compliance_profile(
        &self,
        tenant: Tenant,
        id: ComplianceProfileId,
        name: Option<&str>,
        rules: Option<&str>,
        at: Timestamp,
    ) -> Result<StoreProfile>;

    /// Deletes a profile. False when there is none.
    async fn delete_compliance_profile(&self, tenant: Tenant, id: ComplianceProfileId) -> Result<bool>;
}
