//! The repository of recordings, made of this crate's functions.

/// Implements [`RecordingRepository`](kallglot_storage::RecordingRepository); a part of [`repositories!`](crate::repositories), which says of what it is made.
#[doc(hidden)]
#[macro_export]
macro_rules! recording_repository {
    ($storage:ty) => {
        const _: () = {
            use std::time::Duration;

            use $crate::names::core::Timestamp;
            use $crate::names::core::audit::Change;
            use $crate::names::core::id::{NodeId, RecordingId, SessionId};
            use $crate::names::core::recording::{Channel, Recording, RecordingMode};
            use $crate::names::core::session::{Session, Tenant};
            use $crate::names::storage::{
                MadeRecordings, Page, PageRequest, RecordingPart, RecordingRepository, RecordingWork, StorageError,
                StoredTrack,
            };
            use $crate::recording;

            type Result<T> = std::result::Result<T, StorageError>;

            #[$crate::names::async_trait]
            impl RecordingRepository for $storage {
                async fn set_recording(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    mode: RecordingMode,
                ) -> Result<Option<Session>> {
                    let arguments = (tenant, session, mode);
                    self.write(arguments, |db, (tenant, session, mode)| {
                        Box::pin(recording::set_mode(db, *tenant, *session, *mode))
                    })
                    .await
                }

                async fn recording_heard(&self, session: SessionId, mode: RecordingMode) -> Result<()> {
                    self.write((session, mode), |db, (session, mode)| Box::pin(recording::heard(db, *session, *mode)))
                        .await
                }

                async fn recording_mode(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                ) -> Result<Option<(RecordingMode, bool)>> {
                    let arguments = (tenant, session);
                    self.read(arguments, |db, (tenant, session)| Box::pin(recording::mode(db, *tenant, *session))).await
                }

                async fn save_recording_part(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    part: &RecordingPart,
                ) -> Result<()> {
                    let arguments = (tenant, session, part.clone());
                    self.write(arguments, |db, (tenant, session, part)| {
                        Box::pin(recording::save_part(db, *tenant, *session, part))
                    })
                    .await
                }

                async fn adopt_recording_part(&self, session: SessionId, name: &str, node: NodeId) -> Result<bool> {
                    let arguments = (session, name.to_owned(), node);
                    self.write(arguments, |db, (session, name, node)| {
                        Box::pin(recording::adopt_part(db, *session, name, *node))
                    })
                    .await
                }

                async fn parts_to_store(&self, node: NodeId, limit: u32) -> Result<Vec<(SessionId, String)>> {
                    self.read((node, limit), |db, (node, limit)| Box::pin(recording::parts_to_store(db, *node, *limit)))
                        .await
                }

                async fn reserve_objects(&self, objects: &[String], delete_at: Timestamp) -> Result<()> {
                    self.write((objects.to_vec(), delete_at), |db, (objects, delete_at)| {
                        Box::pin(recording::reserve(db, objects, *delete_at))
                    })
                    .await
                }

                async fn part_stored(&self, session: SessionId, name: &str, object: &str) -> Result<bool> {
                    let arguments = (session, name.to_owned(), object.to_owned());
                    self.write(arguments, |db, (session, name, object)| {
                        Box::pin(recording::part_stored(db, *session, name, object))
                    })
                    .await
                }

                async fn recording_work(
                    &self,
                    node: NodeId,
                    now: Timestamp,
                    away_after: Duration,
                    limit: u32,
                ) -> Result<Vec<RecordingWork>> {
                    let arguments = (node, now, away_after, limit);
                    self.read(arguments, |db, (node, now, away, limit)| {
                        Box::pin(recording::work(db, *node, *now, *away, *limit))
                    })
                    .await
                }

                async fn recording_work_count(&self) -> Result<u64> {
                    self.read((), |db, ()| Box::pin(recording::work_count(db))).await
                }

                async fn claim_recording_work(
                    &self,
                    session: SessionId,
                    node: NodeId,
                    away_after: Duration,
                ) -> Result<bool> {
                    let arguments = (session, node, away_after);
                    self.write(arguments, |db, (session, node, away)| {
                        Box::pin(recording::claim(db, *session, *node, *away))
                    })
                    .await
                }

                async fn postpone_recording_work(
                    &self,
                    session: SessionId,
                    node: NodeId,
                    next_at: Timestamp,
                    failed: bool,
                ) -> Result<()> {
                    let arguments = (session, node, next_at, failed);
                    self.write(arguments, |db, (session, node, next_at, failed)| {
                        Box::pin(recording::postpone(db, *session, *node, *next_at, *failed))
                    })
                    .await
                }

                async fn finish_recordings(
                    &self,
                    session: SessionId,
                    node: NodeId,
                    made: &MadeRecordings,
                ) -> Result<bool> {
                    let arguments = (session, node, made.clone());
                    self.write(arguments, |db, (session, node, made)| {
                        Box::pin(recording::finish(db, *session, *node, made))
                    })
                    .await
                }

                async fn fail_recordings(
                    &self,
                    session: SessionId,
                    node: NodeId,
                    error: &str,
                    at: Timestamp,
                ) -> Result<bool> {
                    let arguments = (session, node, error.to_owned(), at);
                    self.write(arguments, |db, (session, node, error, at)| {
                        Box::pin(recording::fail(db, *session, *node, error, *at))
                    })
                    .await
                }

                async fn recording(&self, tenant: Tenant, id: RecordingId) -> Result<Option<Recording>> {
                    self.read((tenant, id), |db, (tenant, id)| Box::pin(recording::by_id(db, *tenant, *id))).await
                }

                async fn recordings(&self, tenant: Tenant, page: &PageRequest<RecordingId>) -> Result<Page<Recording>> {
                    self.read((tenant, *page), |db, (tenant, page)| Box::pin(recording::of_tenant(db, *tenant, page)))
                        .await
                }

                async fn recordings_of(
                    &self,
                    tenant: Tenant,
                    session: SessionId,
                    channel: Option<Channel>,
                ) -> Result<Vec<Recording>> {
                    let arguments = (tenant, session, channel);
                    self.read(arguments, |db, (tenant, session, channel)| {
                        Box::pin(recording::of_session(db, *tenant, *session, *channel))
                    })
                    .await
                }

                async fn recording_tracks(&self, tenant: Tenant, session: SessionId) -> Result<Vec<StoredTrack>> {
                    let arguments = (tenant, session);
                    self.read(arguments, |db, (tenant, session)| Box::pin(recording::tracks(db, *tenant, *session)))
                        .await
                }

                async fn delete_recording(&self, tenant: Tenant, id: RecordingId, change: &Change) -> Result<bool> {
                    let arguments = (tenant, id, *change);
                    self.write(arguments, |db, (tenant, id, change)| {
                        Box::pin(recording::delete(db, *tenant, *id, change))
                    })
                    .await
                }

                async fn expire_recordings(&self, now: Timestamp, limit: u32) -> Result<u64> {
                    self.write((now, limit), |db, (now, limit)| Box::pin(recording::expire(db, *now, *limit))).await
                }

                async fn objects_to_delete(&self, now: Timestamp, limit: u32) -> Result<Vec<String>> {
                    self.read((now, limit), |db, (now, limit)| Box::pin(recording::to_delete(db, *now, *limit))).await
                }

                async fn objects_deleted(&self, objects: &[String]) -> Result<()> {
                    self.write(objects.to_vec(), |db, objects| Box::pin(recording::deleted(db, objects))).await
                }

                async fn objects_not_deleted(&self, objects: &[String], next_at: Timestamp) -> Result<()> {
                    self.write((objects.to_vec(), next_at), |db, (objects, next_at)| {
                        Box::pin(recording::not_deleted(db, objects, *next_at))
                    })
                    .await
                }
            }
        };
    };
}
