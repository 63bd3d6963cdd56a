//! The repository of usage, made of this crate's functions.

/// Implements [`UsageRepository`](kallglot_storage::UsageRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! usage_repository {
    ($storage:ty) => {
        const _: () = {
            use $crate::names::core::Timestamp;
            use $crate::names::core::id::{ApiKeyId, OrganizationId};
            use $crate::names::core::session::Tenant;
            use $crate::names::core::usage::{Slice, Totals, Usage};
            use $crate::names::storage::{CreditFlow, RequestBatch, SessionSpan, Span, StorageError, UsageRepository};
            use $crate::usage;

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl UsageRepository for $storage {
                async fn append_requests(&self, batch: &RequestBatch) -> Result<()> {
                    self.write(batch.clone(), |db, batch| Box::pin(usage::append(db, batch))).await
                }

                async fn usage(
                    &self,
                    tenant: Tenant,
                    key: Option<ApiKeyId>,
                    slice: Slice,
                    span: Span,
                ) -> Result<Vec<(Timestamp, Usage)>> {
                    self.read((tenant, key, slice, span), |db, (tenant, key, slice, span)| {
                        Box::pin(usage::over(db, *tenant, *key, *slice, *span))
                    })
                    .await
                }

                async fn usage_totals(
                    &self,
                    tenant: Tenant,
                    key: Option<ApiKeyId>,
                    slice: Slice,
                    span: Span,
                ) -> Result<Vec<(Timestamp, Totals)>> {
                    self.read((tenant, key, slice, span), |db, (tenant, key, slice, span)| {
                        Box::pin(usage::totals(db, *tenant, *key, *slice, *span))
                    })
                    .await
                }

                async fn usage_by_key(
                    &self,
                    tenant: Tenant,
                    slice: Slice,
                    span: Span,
                    limit: u32,
                ) -> Result<Vec<(ApiKeyId, Totals)>> {
                    self.read((tenant, slice, span, limit), |db, (tenant, slice, span, limit)| {
                        Box::pin(usage::by_key(db, *tenant, *slice, *span, *limit))
                    })
                    .await
                }

                async fn session_spans(&self, tenant: Tenant, span: Span, limit: u32) -> Result<Vec<SessionSpan>> {
                    self.read((tenant, span, limit), |db, (tenant, span, limit)| {
                        Box::pin(usage::session_spans(db, *tenant, *span, *limit))
                    })
                    .await
                }

                async fn credit_flows(
                    &self,
                    organization: OrganizationId,
                    span: Span,
                    slice_s: u32,
                ) -> Result<Vec<CreditFlow>> {
                    self.read((organization, span, slice_s), |db, (organization, span, slice_s)| {
                        Box::pin(usage::credit_flows(db, *organization, *span, *slice_s))
                    })
                    .await
                }
            }
        };
    };
}
