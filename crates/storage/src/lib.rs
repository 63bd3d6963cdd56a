//! What the server asks of its database: repository traits, one error, and one suite that every backend passes.
//!
//! What must stay true:
//! - Every look-up of an object that a client owns takes the [`Tenant`](kallglot_core::session::Tenant); the few that don't say in
//!   their name who may call them (`…_for_operator`, `…_for_token_holder`). A query without the tenant can't be written.
//! - What must be atomic is one method with an intent, since databases lock differently.
//! - A method that changes something has answered only when the change is durable: it survives `kill -9` and a power cut.
//!   A caller that stops waiting does not stop the change.
//! - Times are kept to the microsecond; what is finer is cut off.

pub mod alert;
pub mod analysis;
pub mod changes;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod event;
pub mod factors;
pub mod json;
pub mod page;
pub mod people;
pub mod recordings;
pub mod repository;
pub mod usage;
pub mod webhook;

pub use alert::{AlertRepository, AlertStep, ClaimedRule};
pub use analysis::{AnalysisRepository, Claim, NewAnalysis, StoreProfile};
pub use error::StorageError;
pub use event::{EventFilter, EventMark, EventRepository};
pub use factors::{AddPasskey, FactorRepository, LinkIdentity, OidcIdentity, Passkey, SignUp, Spent, Totp, UsePasskey};
pub use page::{Cursor, Page, PageRequest};
pub use people::{
    Attempt, ChangeMember, CodeHash, FoundSession, Invite, Invited, PasswordHash, PeopleRepository, Shown, UseLink,
};
pub use recordings::{MadeRecordings, RecordingPart, RecordingRepository, RecordingWork, StoredTrack};
pub use repository::{
    AuditFilter, Beat, CreatePaid, EndedSession, GateChange, GateChanges, Home, IdempotencyRepository, KeyRepository,
    KeyUpdate, KeyUse, KnownKey, LeakedKey, LogRepository, NewAnswer, NewSession, NewTurn, Node, NodeRepository, Once,
    OrganizationRepository, OrganizationUpdate, REQUEST_BLOCK_S_MAX, RequestBlock, RotateKey, SessionFilter,
    SessionRepository, Storage, StoredAnswer, TURNS_PAGE_MAX, TurnRepository,
};
pub use usage::{
    CreditFlow, RequestBatch, SESSION_SPANS_MAX, SessionSpan, Span, USAGE_KEYS_MAX, USAGE_SLICES_MAX, UsageRepository,
};
pub use webhook::{
    AttemptReport, ClaimedState, ClaimedWebhook, CreateWebhook, DUE_MAX, DeliveryBacklog, DeliveryFilter, DeliveryLog,
    DueDeliveries, DueDelivery, FAN_OUT_MAX, FannedOut, Queued, SealedSecrets, Verdict, Want, WebhookReport,
    WebhookRepository, WebhookUpdate, WebhookWork,
};
