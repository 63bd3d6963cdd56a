-- What the gate needs: running balances, idempotent answers, the audit log, events, the request log, and what caches must hear of.
--
-- Checks of what is written often name each value in an OR of its own: for an IN of more than two SQLite builds a temporary table
-- each time, which costs as much as the row.

ALTER TABLE organizations ADD COLUMN leak_policy TEXT NOT NULL DEFAULT 'revoke'
  CHECK (leak_policy IN ('revoke', 'quarantine', 'notify'));
ALTER TABLE organizations ADD COLUMN low_credits_threshold INTEGER NOT NULL DEFAULT 10 CHECK (low_credits_threshold >= 0);

ALTER TABLE api_keys ADD COLUMN quarantined_at_us INTEGER;
ALTER TABLE api_keys ADD COLUMN old_secret_last_used_at_us INTEGER;

ALTER TABLE api_key_secrets ADD COLUMN pepper INTEGER NOT NULL DEFAULT 1 CHECK (pepper > 0);
-- The policies by which a leak of this secret has been dealt with, separated by spaces.
ALTER TABLE api_key_secrets ADD COLUMN leaked_under TEXT NOT NULL DEFAULT '';

-- Sessions anew: with `joinable_until_us`, and with checks that cost less. What refers to them must be made anew with them.
CREATE TABLE sessions_3 (
  id TEXT PRIMARY KEY CHECK (id GLOB 'sess_*' AND length(id) = 27),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment = 'live' OR environment = 'test'),
  created_by TEXT NOT NULL REFERENCES api_keys (id),
  mode TEXT NOT NULL
    CHECK (mode = 'bidirectional_translation' OR mode = 'assistive_translation' OR mode = 'ai_agent' OR mode = 'help_chat_voice'),
  source_language TEXT,
  target_language TEXT,
  voice TEXT,
  vocabulary TEXT NOT NULL CHECK (json_valid(vocabulary)),
  metadata TEXT NOT NULL CHECK (json_valid(metadata)),
  created_at_us INTEGER NOT NULL,
  last_activity_at_us INTEGER NOT NULL,
  joinable_until_us INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status = 'created' OR status = 'active' OR status = 'ended'),
  started_at_us INTEGER,
  ended_at_us INTEGER,
  end_reason TEXT
    CHECK (end_reason IS NULL OR end_reason = 'completed' OR end_reason = 'customer_hangup' OR end_reason = 'agent_hangup'
      OR end_reason = 'error' OR end_reason = 'timeout' OR end_reason = 'explicit_end'),
  CHECK (status <> 'created' OR started_at_us IS NULL),
  CHECK ((status = 'ended') = (ended_at_us IS NOT NULL) AND (status = 'ended') = (end_reason IS NOT NULL))
) STRICT;
CREATE TABLE turns_3 (
  session_id TEXT NOT NULL REFERENCES sessions_3 (id),
  sequence INTEGER NOT NULL CHECK (sequence > 0),
  id TEXT NOT NULL CHECK (id GLOB 'seg_*' AND length(id) = 26),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  language TEXT NOT NULL,
  text TEXT NOT NULL,
  translation_language TEXT,
  translation_text TEXT,
  timestamp_us INTEGER NOT NULL,
  start_ms INTEGER NOT NULL CHECK (start_ms >= 0),
  end_ms INTEGER NOT NULL CHECK (end_ms >= 0),
  confidence REAL NOT NULL CHECK (confidence BETWEEN 0 AND 1),
  PRIMARY KEY (session_id, sequence),
  UNIQUE (session_id, id),
  CHECK ((translation_language IS NULL) = (translation_text IS NULL))
) STRICT, WITHOUT ROWID;
CREATE TABLE utterance_lags_3 (
  session_id TEXT NOT NULL REFERENCES sessions_3 (id),
  id TEXT NOT NULL CHECK (id GLOB 'seg_*' AND length(id) = 26),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  first_partial_ms INTEGER CHECK (first_partial_ms >= 0),
  final_ms INTEGER NOT NULL CHECK (final_ms >= 0),
  first_audio_ms INTEGER CHECK (first_audio_ms >= 0),
  PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE stream_statistics_3 (
  session_id TEXT NOT NULL REFERENCES sessions_3 (id),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  frames_in INTEGER NOT NULL,
  audio_in_ms INTEGER NOT NULL,
  duplicate_frames INTEGER NOT NULL,
  late_frames INTEGER NOT NULL,
  gaps INTEGER NOT NULL,
  gap_ms INTEGER NOT NULL,
  refused_messages INTEGER NOT NULL,
  audio_out_ms INTEGER NOT NULL,
  dropped_out_ms INTEGER NOT NULL,
  PRIMARY KEY (session_id, speaker)
) STRICT, WITHOUT ROWID;
INSERT INTO sessions_3 SELECT id, organization_id, environment, created_by, mode, source_language, target_language, voice,
  vocabulary, metadata, created_at_us, last_activity_at_us, created_at_us + 3600000000, status, started_at_us, ended_at_us,
  end_reason FROM sessions ORDER BY id;
INSERT INTO turns_3 SELECT * FROM turns;
INSERT INTO utterance_lags_3 SELECT * FROM utterance_lags;
INSERT INTO stream_statistics_3 SELECT * FROM stream_statistics;
DROP TABLE turns;
DROP TABLE utterance_lags;
DROP TABLE stream_statistics;
DROP TABLE sessions;
-- Renaming carries the references along.
ALTER TABLE sessions_3 RENAME TO sessions;
ALTER TABLE turns_3 RENAME TO turns;
ALTER TABLE utterance_lags_3 RENAME TO utterance_lags;
ALTER TABLE stream_statistics_3 RENAME TO stream_statistics;
CREATE INDEX sessions_by_tenant ON sessions (organization_id, environment, id);
CREATE INDEX sessions_not_ended ON sessions (last_activity_at_us) WHERE status <> 'ended';

-- The ledger with what it comes to after each entry, so that a balance is one row and not a sum. Nothing is ever deleted from it, so
-- its numbers grow without AUTOINCREMENT. A period is a calendar month: months since January of the year 0.
CREATE TABLE credit_ledger_3 (
  sequence INTEGER PRIMARY KEY,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  kind TEXT NOT NULL CHECK (kind = 'grant' OR kind = 'spend' OR kind = 'refund' OR kind = 'expiry'),
  amount INTEGER NOT NULL CHECK (CASE WHEN kind = 'grant' OR kind = 'refund' THEN amount > 0 ELSE amount < 0 END),
  balance_after INTEGER NOT NULL CHECK (balance_after >= 0),
  period INTEGER NOT NULL,
  -- What was spent, less what was refunded, in the period.
  used_after INTEGER NOT NULL,
  -- The request that it is for; none for what an operator does.
  request_id TEXT,
  -- The id of what was paid for.
  object TEXT,
  at_us INTEGER NOT NULL
) STRICT;
INSERT INTO credit_ledger_3
  (sequence, organization_id, kind, amount, balance_after, period, used_after, request_id, object, at_us)
SELECT sequence, organization_id, kind, amount,
  sum(amount) OVER (PARTITION BY organization_id ORDER BY sequence), period,
  sum(CASE WHEN kind IN ('spend', 'refund') THEN -amount ELSE 0 END)
    OVER (PARTITION BY organization_id, period ORDER BY sequence),
  request_id, NULL, at_us
FROM (
  SELECT *, 12 * CAST(strftime('%Y', at_us / 1000000, 'unixepoch') AS INTEGER)
    + CAST(strftime('%m', at_us / 1000000, 'unixepoch') AS INTEGER) - 1 AS period
  FROM credit_ledger
);
DROP TABLE credit_ledger;
ALTER TABLE credit_ledger_3 RENAME TO credit_ledger;
-- An index ends with the row's number, so the last entry of an organization is one step.
CREATE INDEX credit_ledger_by_organization ON credit_ledger (organization_id);
CREATE TRIGGER credit_ledger_keeps BEFORE UPDATE ON credit_ledger
BEGIN SELECT RAISE(ABORT, 'the credit ledger is append-only'); END;
CREATE TRIGGER credit_ledger_loses_nothing BEFORE DELETE ON credit_ledger
BEGIN SELECT RAISE(ABORT, 'the credit ledger is append-only'); END;

-- What caches of keys and organizations must hear of, in the order it happened. Its last row is never deleted, so numbers grow
-- without AUTOINCREMENT, which would be looked up whenever a trigger below might fire. The time is the machine's own, since not every change brings one along; it only says when the row can be forgotten.
CREATE TABLE gate_changes (
  sequence INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind = 'key' OR kind = 'organization' OR kind = 'close_streams'),
  id TEXT NOT NULL,
  at_us INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
INSERT INTO gate_changes (sequence, kind, id, at_us) SELECT sequence, 'close_streams', key_id, at_us FROM stream_closures;
DROP TABLE stream_closures;

-- By triggers, so that nobody who changes something can forget to say so. When a key was last used is nothing to hear of.
CREATE TRIGGER gate_hears_of_keys AFTER UPDATE OF id, organization_id, environment, name, permissions, expires_at_us,
  allowed_networks, requests_per_minute_max, edition, created_at_us, revoked_at_us, last4, old_secret_valid_until_us,
  quarantined_at_us ON api_keys
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.id); END;
-- The first secret of a new key is nothing to hear of either: nobody can have asked for it.
CREATE TRIGGER gate_hears_of_new_secrets AFTER INSERT ON api_key_secrets
  WHEN EXISTS (SELECT 1 FROM api_key_secrets WHERE key_id = NEW.key_id AND hash <> NEW.hash)
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.key_id); END;
CREATE TRIGGER gate_hears_of_changed_secrets AFTER UPDATE OF hash, key_id, valid_until_us ON api_key_secrets
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.key_id); END;
CREATE TRIGGER gate_hears_of_deleted_secrets AFTER DELETE ON api_key_secrets
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', OLD.key_id); END;
CREATE TRIGGER gate_hears_of_organizations AFTER UPDATE ON organizations
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.id); END;
CREATE TRIGGER gate_hears_of_credits AFTER INSERT ON credit_ledger WHEN NEW.kind <> 'spend'
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.organization_id); END;

CREATE TABLE audit_log (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL CHECK (id GLOB 'aud_*' AND length(id) = 26),
  environment TEXT CHECK (environment IN ('live', 'test')),
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  who TEXT NOT NULL CHECK (who IN ('key', 'operator', 'leak_reporter')),
  key_id TEXT CHECK ((who = 'key') = (key_id IS NOT NULL)),
  address TEXT,
  request_id TEXT,
  changes TEXT NOT NULL CHECK (json_valid(changes)),
  at_us INTEGER NOT NULL,
  PRIMARY KEY (organization_id, id)
) STRICT, WITHOUT ROWID;

-- Events that wait to be delivered. Its last row is never deleted either.
CREATE TABLE outbox (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  organization_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  type TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL,
  at_us INTEGER NOT NULL
) STRICT;

-- Answers to give again. Rows lie in the order of time, which is the order in which they are forgotten; only the small index is
-- sorted by what clients call their requests.
CREATE TABLE idempotency_answers (
  sequence INTEGER PRIMARY KEY,
  organization_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  key TEXT NOT NULL,
  fingerprint BLOB NOT NULL,
  request_id TEXT NOT NULL,
  status INTEGER NOT NULL,
  sealed_body BLOB NOT NULL,
  at_us INTEGER NOT NULL,
  UNIQUE (organization_id, environment, key)
) STRICT;

CREATE TABLE key_permission_uses (
  key_id TEXT NOT NULL REFERENCES api_keys (id),
  permission TEXT NOT NULL,
  last_used_at_us INTEGER NOT NULL,
  PRIMARY KEY (key_id, permission)
) STRICT, WITHOUT ROWID;

CREATE TABLE request_blocks (
  sequence INTEGER PRIMARY KEY,
  organization_id TEXT NOT NULL,
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  first_at_us INTEGER NOT NULL,
  last_at_us INTEGER NOT NULL CHECK (last_at_us >= first_at_us),
  packed BLOB NOT NULL
) STRICT;
CREATE INDEX request_blocks_by_tenant ON request_blocks (organization_id, environment, last_at_us);
