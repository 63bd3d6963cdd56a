//! From one database into another: everything that lasts as lines of JSON, and the proof that nothing differs.
//!
//! The text is the same whichever backend it comes from: a line that says what it is; for each table in [`TABLES`] a line with its
//! columns, one line per row in the order of the table's key, and a line with how many rows that were and the SHA-256 of their lines;
//! a last line. So two databases that give the same text hold the same.
//!
//! The database must be left alone meanwhile: no server may run on it. Rows are read and written in parts, so memory does not grow.
//! What is not in it: which nodes are there, how far each has stored its requests, and what caches have to hear of, none of which says
//! anything about another database.

mod export;
mod import;
mod record;

use async_trait::async_trait;
use kallglot_storage::StorageError;

pub use export::{export, verify};
pub use import::import;
pub use record::{Cell, Record, insert, is_empty, renumber, rows};

/// Rows that are read or written at once. Bounded for memory's sake: a row may be a megabyte.
const ROWS_AT_ONCE: usize = 100;

/// What is carried over of one table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// How many of the columns, from the first, are its key, by which its rows are in order.
    key_columns: usize,
    columns: &'static [&'static str],
}

impl Table {
    const fn new(name: &'static str, key_columns: usize, columns: &'static [&'static str]) -> Self {
        Self { name, key_columns, columns }
    }
}

/// Every table that is carried over. What a row refers to comes before it.
pub static TABLES: [Table; 39] = [
    Table::new(
        "organizations",
        1,
        &[
            "id",
            "name",
            "plan",
            "requests_per_minute_max",
            "concurrent_sessions_max",
            "stream_messages_per_second_max",
            "stream_audio_bytes_per_second_max",
            "active",
            "edition",
            "engine",
            "vocabulary",
            "created_at_us",
            "leak_policy",
            "low_credits_threshold",
            "recording",
            "recordings_kept_days",
        ],
    ),
    Table::new(
        "api_keys",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "name",
            "permissions",
            "expires_at_us",
            "allowed_networks",
            "requests_per_minute_max",
            "edition",
            "created_at_us",
            "last_used_at_us",
            "revoked_at_us",
            "last4",
            "old_secret_valid_until_us",
            "quarantined_at_us",
            "old_secret_last_used_at_us",
        ],
    ),
    Table::new("api_key_secrets", 1, &["hash", "key_id", "valid_until_us", "pepper", "leaked_under"]),
    Table::new("key_permission_uses", 2, &["key_id", "permission", "last_used_at_us"]),
    Table::new(
        "sessions",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "created_by",
            "mode",
            "source_language",
            "target_language",
            "voice",
            "vocabulary",
            "metadata",
            "created_at_us",
            "last_activity_at_us",
            "joinable_until_us",
            "status",
            "started_at_us",
            "ended_at_us",
            "end_reason",
            "home_node",
            "events",
            "recording",
            "recording_heard",
        ],
    ),
    Table::new(
        "analyses",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "session_id",
            "request_id",
            "include",
            "profile_id",
            "profile_name",
            "profile_rules",
            "credits",
            "status",
            "attempts",
            "parts_done",
            "claimed_by",
            "claimed_at_us",
            "due_at_us",
            "result",
            "failure",
            "failure_message",
            "created_at_us",
            "completed_at_us",
        ],
    ),
    Table::new(
        "compliance_profiles",
        1,
        &["id", "organization_id", "environment", "name", "rules", "created_at_us", "updated_at_us"],
    ),
    Table::new(
        "turns",
        2,
        &[
            "session_id",
            "sequence",
            "id",
            "speaker",
            "language",
            "text",
            "translation_language",
            "translation_text",
            "timestamp_us",
            "start_ms",
            "end_ms",
            "confidence",
        ],
    ),
    Table::new("utterance_lags", 2, &["session_id", "id", "speaker", "first_partial_ms", "final_ms", "first_audio_ms"]),
    Table::new(
        "stream_statistics",
        2,
        &[
            "session_id",
            "speaker",
            "frames_in",
            "audio_in_ms",
            "duplicate_frames",
            "late_frames",
            "gaps",
            "gap_ms",
            "refused_messages",
            "audio_out_ms",
            "dropped_out_ms",
        ],
    ),
    Table::new(
        "credit_ledger",
        1,
        &[
            "sequence",
            "organization_id",
            "kind",
            "amount",
            "balance_after",
            "period",
            "used_after",
            "request_id",
            "object",
            "at_us",
        ],
    ),
    Table::new(
        "audit_log",
        2,
        &[
            "organization_id",
            "id",
            "environment",
            "action",
            "object",
            "who",
            "key_id",
            "person_id",
            "address",
            "request_id",
            "changes",
            "at_us",
        ],
    ),
    Table::new(
        "outbox",
        1,
        &[
            "sequence",
            "id",
            "organization_id",
            "environment",
            "type",
            "object",
            "detail",
            "at_us",
            "session_id",
            "session_sequence",
            "fanned_out",
        ],
    ),
    Table::new(
        "webhooks",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "url",
            "description",
            "event_types",
            "disabled_reason",
            "disabled_at_us",
            "sealed_secret",
            "old_sealed_secret",
            "old_secret_valid_until_us",
            "created_at_us",
            "updated_at_us",
            "version",
            "events_after",
            "failing_since_us",
            "last_success_at_us",
            "last_failure_at_us",
            "due_at_us",
            "deleted_at_us",
        ],
    ),
    Table::new(
        "deliveries",
        1,
        &[
            "id",
            "webhook_id",
            "event_place",
            "event_id",
            "event_type",
            "event_at_us",
            "status",
            "attempts",
            "tries",
            "begun_at_us",
            "due_at_us",
            "created_at_us",
            "finished_at_us",
        ],
    ),
    Table::new(
        "delivery_attempts",
        2,
        &[
            "delivery_id",
            "at_us",
            "url",
            "duration_ms",
            "status",
            "error",
            "error_detail",
            "answer_headers",
            "answer_body",
        ],
    ),
    Table::new(
        "idempotency_answers",
        1,
        &[
            "sequence",
            "organization_id",
            "environment",
            "key",
            "fingerprint",
            "request_id",
            "status",
            "sealed_body",
            "at_us",
        ],
    ),
    Table::new(
        "request_blocks",
        1,
        &["sequence", "organization_id", "environment", "first_at_us", "last_at_us", "packed"],
    ),
    Table::new(
        "usage_minutes",
        5,
        &[
            "organization_id",
            "environment",
            "key_id",
            "at_us",
            "node_id",
            "requests",
            "errors",
            "failures",
            "rate_limited",
            "pressure_permille",
            "routes",
        ],
    ),
    Table::new(
        "usage_hours",
        5,
        &[
            "organization_id",
            "environment",
            "key_id",
            "at_us",
            "node_id",
            "requests",
            "errors",
            "failures",
            "rate_limited",
            "pressure_permille",
            "routes",
        ],
    ),
    Table::new(
        "alert_rules",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "name",
            "metric",
            "key_id",
            "method",
            "route",
            "code",
            "comparison",
            "threshold",
            "window_minutes",
            "mail_members",
            "mail_to",
            "webhook",
            "enabled",
            "created_at_us",
            "updated_at_us",
            "firing",
            "claimed_by",
            "claimed_at_us",
            "claims",
            "due_at_us",
        ],
    ),
    Table::new(
        "alerts",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "rule_id",
            "rule_name",
            "metric",
            "condition",
            "value",
            "fired_at_us",
            "resolved_at_us",
            "resolution",
        ],
    ),
    Table::new(
        "recordings",
        1,
        &[
            "id",
            "organization_id",
            "environment",
            "session_id",
            "channel",
            "status",
            "error",
            "duration_ms",
            "dropped_ms",
            "incomplete",
            "created_at_us",
            "expires_at_us",
            "removed",
        ],
    ),
    Table::new("recording_tracks", 2, &["session_id", "track", "object", "bytes"]),
    Table::new("recording_parts", 2, &["session_id", "name", "node_id", "object", "dropped_ms"]),
    Table::new("recording_work", 1, &["session_id", "ended_at_us", "next_at_us", "attempts", "claimed_by"]),
    Table::new("object_deletions", 1, &["object", "next_at_us"]),
    Table::new(
        "people",
        1,
        &["id", "email", "name", "is_operator", "password_hash", "password_changed_at_us", "created_at_us"],
    ),
    Table::new("memberships", 2, &["person_id", "organization_id", "role", "created_at_us"]),
    Table::new(
        "portal_sessions",
        1,
        &[
            "hash",
            "id",
            "person_id",
            "pending",
            "created_at_us",
            "seen_at_us",
            "expires_at_us",
            "fresh_until_us",
            "user_agent",
            "address",
        ],
    ),
    Table::new(
        "portal_links",
        1,
        &[
            "id",
            "hash",
            "kind",
            "email",
            "organization_id",
            "role",
            "person_id",
            "made_by",
            "created_at_us",
            "expires_at_us",
            "used_at_us",
        ],
    ),
    Table::new("sign_in_attempts", 1, &["account", "attempts", "last_at_us", "locked_until_us"]),
    Table::new(
        "passkeys",
        1,
        &[
            "id",
            "person_id",
            "name",
            "credential",
            "public_key",
            "sign_count",
            "backup_eligible",
            "backed_up",
            "created_at_us",
            "last_used_at_us",
        ],
    ),
    Table::new("totp", 1, &["person_id", "sealed_secret", "last_step", "created_at_us"]),
    Table::new("recovery_codes", 2, &["person_id", "hash"]),
    Table::new("oidc_identities", 2, &["issuer", "subject", "person_id", "email", "created_at_us", "last_used_at_us"]),
    Table::new("spent_challenges", 1, &["hash", "expires_at_us"]),
    Table::new("marks", 1, &["name", "mark"]),
    Table::new("alert_views", 3, &["person_id", "organization_id", "environment", "seen_at_us"]),
];

/// A storage whose rows can be read and written as they are; [`crate::repositories!`] makes every backend one.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// Up to `limit` rows of a table after the row with this key (none for from the start), in the order of their keys.
    async fn rows(
        &self,
        table: &'static Table,
        after: Option<Record>,
        limit: usize,
    ) -> Result<Vec<Record>, StorageError>;

    /// Writes rows, all or none.
    async fn insert(&self, table: &'static Table, rows: Vec<Record>) -> Result<(), StorageError>;

    /// Whether the table has no rows.
    async fn is_empty(&self, table: &'static Table) -> Result<bool, StorageError>;

    /// Lets numbers that are given out go on after those that were written.
    async fn renumber(&self) -> Result<(), StorageError>;
}

/// What a table held: the same for two tables that hold the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The table.
    pub table: &'static str,
    /// How many rows.
    pub rows: u64,
    /// SHA-256 of their lines, in lower-case hex.
    pub sha256: String,
}

/// How far it has come: told after every part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The table that is at work.
    pub table: &'static str,
    /// How many of its rows are done.
    pub rows: u64,
}

/// Why not everything was carried over.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The database refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file could not be read or written.
    #[error("the file: {0}")]
    File(#[from] std::io::Error),
    /// The file is not what [`export`] writes, was cut, or was changed.
    #[error("line {line} of the file is not as it was exported: {what}")]
    Line {
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// There is something in the database already.
    #[error("the database is not empty: there is something in `{table}`; import into a new one")]
    NotEmpty {
        /// Where.
        table: &'static str,
    },
    /// What the database holds is not what the file holds.
    #[error("`{table}` differs: {expected_rows} rows were exported, {found_rows} are there, and they are not the same")]
    Differs {
        /// Which table.
        table: &'static str,
        /// Rows in the file.
        expected_rows: u64,
        /// Rows in the database.
        found_rows: u64,
    },
}
