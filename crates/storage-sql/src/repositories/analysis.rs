//! The repository of analyses and compliance profiles, made of this crate's functions.

/// Implements [`AnalysisRepository`](kallglot_storage::AnalysisRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! analysis_repository {
    ($storage:ty) => {
        const _: () = {
            use std::time::Duration;

            use $crate::analysis;
            use $crate::names::core::Timestamp;
            use $crate::names::core::analysis::{Analysis, AnalysisFailure, ComplianceProfile};
            use $crate::names::core::event::Event;
            use $crate::names::core::id::{AnalysisId, ComplianceProfileId, NodeId, SessionId};
            use $crate::names::core::session::Tenant;
            use $crate::names::storage::{
                AnalysisRepository, Claim, CreatePaid, NewAnalysis, Page, PageRequest, StorageError, StoreProfile,
            };

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl AnalysisRepository for $storage {
                async fn create_analysis(&self, new: &NewAnalysis) -> Result<CreatePaid> {
                    self.write(new.clone(), |db, new| Box::pin(analysis::create(db, new))).await
                }

                async fn analysis(&self, tenant: Tenant, id: AnalysisId) -> Result<Option<Analysis>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(analysis::by_id(db, *tenant, *id))).await
                }

                async fn analyses(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    page: &PageRequest<AnalysisId>,
                ) -> Result<Page<Analysis>> {
                    self.read((tenant, session, *page), |db, (tenant, session, page)| {
                        Box::pin(analysis::of_session(db, *tenant, *session, page))
                    })
                    .await
                }

                async fn claim_analysis(
                    &self,
                    node: NodeId,
                    lapses_after: Duration,
                ) -> Result<Option<(Claim, Analysis)>> {
                    self.write((node, lapses_after), |db, (node, lapses_after)| {
                        Box::pin(analysis::claim(db, *node, *lapses_after))
                    })
                    .await
                }

                async fn note_analysis_progress(&self, claim: Claim, parts_done: u32) -> Result<bool> {
                    self.write((claim, parts_done), |db, (claim, parts_done)| {
                        Box::pin(analysis::progress(db, *claim, *parts_done))
                    })
                    .await
                }

                async fn release_analysis(&self, claim: Claim, delay: Duration, counts: bool) -> Result<bool> {
                    self.write((claim, delay, counts), |db, (claim, delay, counts)| {
                        Box::pin(analysis::release(db, *claim, *delay, *counts))
                    })
                    .await
                }

                async fn complete_analysis(
                    &self,
                    claim: Claim,
                    result: &str,
                    at: Timestamp,
                    event: &Event,
                ) -> Result<bool> {
                    let arguments = (claim, result.to_owned(), at, event.clone());
                    self.write(arguments, |db, (claim, result, at, event)| {
                        Box::pin(analysis::complete(db, *claim, result, *at, event))
                    })
                    .await
                }

                async fn fail_analysis(
                    &self,
                    claim: Claim,
                    failure: AnalysisFailure,
                    message: &str,
                    at: Timestamp,
                    event: &Event,
                ) -> Result<bool> {
                    let arguments = (claim, failure, message.to_owned(), at, event.clone());
                    self.write(arguments, |db, (claim, failure, message, at, event)| {
                        Box::pin(analysis::fail(db, *claim, *failure, message, *at, event))
                    })
                    .await
                }

                async fn create_compliance_profile(&self, profile: &ComplianceProfile) -> Result<StoreProfile> {
                    self.write(profile.clone(), |db, profile| Box::pin(analysis::create_profile(db, profile))).await
                }

                async fn compliance_profile(
                    &self,
                    tenant: Tenant,
                    id: ComplianceProfileId,
                ) -> Result<Option<ComplianceProfile>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(analysis::profile(db, *tenant, *id))).await
                }

                async fn compliance_profile_named(
                    &self,
                    tenant: Tenant,
                    name: &str,
                ) -> Result<Option<ComplianceProfile>> {
                    self.read((tenant, name.to_owned()), |db, (tenant, name)| {
                        Box::pin(analysis::profile_named(db, *tenant, name))
                    })
                    .await
                }

                async fn compliance_profiles(
                    &self,
                    tenant: Tenant,
                    page: &PageRequest<ComplianceProfileId>,
                ) -> Result<Page<ComplianceProfile>> {
                    self.read((tenant, *page), |db, (tenant, page)| Box::pin(analysis::profiles(db, *tenant, page)))
                        .await
                }

                async fn update_compliance_profile(
                    &self,
                    tenant: Tenant,
                    id: ComplianceProfileId,
                    name: Option<&str>,
                    rules: Option<&str>,
                    at: Timestamp,
                ) -> Result<StoreProfile> {
                    let arguments = (tenant, id, name.map(str::to_owned), rules.map(str::to_owned), at);
                    self.write(arguments, |db, (tenant, id, name, rules, at)| {
                        Box::pin(analysis::update_profile(db, *tenant, *id, name.as_deref(), rules.as_deref(), *at))
                    })
                    .await
                }

                async fn delete_compliance_profile(&self, tenant: Tenant, id: ComplianceProfileId) -> Result<bool> {
                    self.write((tenant, id), |db, (tenant, id)| Box::pin(analysis::delete_profile(db, *tenant, *id)))
                        .await
                }
            }
        };
    };
}
