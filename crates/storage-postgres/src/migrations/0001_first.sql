-- Everything that SQLite's schema has in its version 4, with the same tables and columns.
--
-- Ids are their text form: all of one length, sorted by time of creation, compared byte by byte. Times are microseconds since 1970.
-- Truth is 0 or 1, as in SQLite. Named constraints are those that the program looks at.

CREATE TABLE organizations (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (id ~ '^org_.{22}$'),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  plan TEXT NOT NULL CHECK (plan IN ('starter', 'pro', 'enterprise')),
  requests_per_minute_max BIGINT CHECK (requests_per_minute_max > 0),
  concurrent_sessions_max BIGINT CHECK (concurrent_sessions_max > 0),
  stream_messages_per_second_max BIGINT CHECK (stream_messages_per_second_max > 0),
  stream_audio_bytes_per_second_max BIGINT CHECK (stream_audio_bytes_per_second_max > 0),
  active BIGINT NOT NULL CHECK (active IN (0, 1)),
  edition BIGINT NOT NULL CHECK (edition IN (1, 2)),
  engine TEXT,
  vocabulary TEXT NOT NULL,
  created_at_us BIGINT NOT NULL,
  leak_policy TEXT NOT NULL DEFAULT 'revoke' CHECK (leak_policy IN ('revoke', 'quarantine', 'notify')),
  low_credits_threshold BIGINT NOT NULL DEFAULT 10 CHECK (low_credits_threshold >= 0)
);

CREATE TABLE api_keys (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (id ~ '^key_.{22}$'),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  permissions TEXT NOT NULL,
  expires_at_us BIGINT,
  allowed_networks TEXT NOT NULL,
  requests_per_minute_max BIGINT CHECK (requests_per_minute_max > 0),
  edition BIGINT CHECK (edition IN (1, 2)),
  created_at_us BIGINT NOT NULL,
  last_used_at_us BIGINT,
  revoked_at_us BIGINT,
  last4 TEXT NOT NULL CHECK (length(last4) = 4),
  old_secret_valid_until_us BIGINT,
  quarantined_at_us BIGINT,
  old_secret_last_used_at_us BIGINT
);
CREATE INDEX api_keys_by_tenant ON api_keys (organization_id, environment, id);

-- A key has one current secret (without an end) and, after a rotation, the ones before it.
CREATE TABLE api_key_secrets (
  hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
  key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
  valid_until_us BIGINT,
  pepper BIGINT NOT NULL DEFAULT 1 CHECK (pepper > 0),
  -- The policies by which a leak of this secret has been dealt with, separated by spaces.
  leaked_under TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX api_key_secrets_current ON api_key_secrets (key_id) WHERE valid_until_us IS NULL;
CREATE INDEX api_key_secrets_by_key ON api_key_secrets (key_id);

CREATE TABLE key_permission_uses (
  key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
  permission TEXT COLLATE "C" NOT NULL,
  last_used_at_us BIGINT NOT NULL,
  PRIMARY KEY (key_id, permission)
);

CREATE TABLE sessions (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) = 27 AND starts_with(id, 'sess_')),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  created_by TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
  mode TEXT NOT NULL CHECK (mode IN ('bidirectional_translation', 'assistive_translation', 'ai_agent', 'help_chat_voice')),
  source_language TEXT,
  target_language TEXT,
  voice TEXT,
  vocabulary TEXT NOT NULL,
  metadata TEXT NOT NULL,
  created_at_us BIGINT NOT NULL,
  last_activity_at_us BIGINT NOT NULL,
  joinable_until_us BIGINT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('created', 'active', 'ended')),
  started_at_us BIGINT,
  ended_at_us BIGINT,
  end_reason TEXT
    CHECK (end_reason IN ('completed', 'customer_hangup', 'agent_hangup', 'error', 'timeout', 'explicit_end')),
  home_node TEXT COLLATE "C",
  CHECK (status <> 'created' OR started_at_us IS NULL),
  CHECK ((status = 'ended') = (ended_at_us IS NOT NULL) AND (status = 'ended') = (end_reason IS NOT NULL))
);
CREATE INDEX sessions_by_tenant ON sessions (organization_id, environment, id);
-- The first two serve the server's own look-ups, the third an organization's slots; each holds only what has not ended.
CREATE INDEX sessions_not_ended ON sessions (last_activity_at_us) WHERE status <> 'ended';
CREATE INDEX sessions_open ON sessions (id) WHERE status <> 'ended';
CREATE INDEX sessions_open_by_tenant ON sessions (organization_id, environment, id) WHERE status <> 'ended';

CREATE TABLE turns (
  session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
  sequence BIGINT NOT NULL CHECK (sequence > 0),
  id TEXT COLLATE "C" NOT NULL CHECK (length(id) = 26 AND starts_with(id, 'seg_')),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  language TEXT NOT NULL,
  text TEXT NOT NULL,
  translation_language TEXT,
  translation_text TEXT,
  timestamp_us BIGINT NOT NULL,
  start_ms BIGINT NOT NULL CHECK (start_ms >= 0),
  end_ms BIGINT NOT NULL CHECK (end_ms >= 0),
  confidence DOUBLE PRECISION NOT NULL CHECK (confidence BETWEEN 0 AND 1),
  PRIMARY KEY (session_id, sequence),
  UNIQUE (session_id, id),
  CHECK ((translation_language IS NULL) = (translation_text IS NULL))
);

CREATE TABLE utterance_lags (
  session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
  id TEXT COLLATE "C" NOT NULL CHECK (length(id) = 26 AND starts_with(id, 'seg_')),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  first_partial_ms BIGINT CHECK (first_partial_ms >= 0),
  final_ms BIGINT NOT NULL CHECK (final_ms >= 0),
  first_audio_ms BIGINT CHECK (first_audio_ms >= 0),
  PRIMARY KEY (session_id, id)
);

CREATE TABLE stream_statistics (
  session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
  speaker TEXT COLLATE "C" NOT NULL CHECK (speaker IN ('customer', 'agent')),
  frames_in BIGINT NOT NULL,
  audio_in_ms BIGINT NOT NULL,
  duplicate_frames BIGINT NOT NULL,
  late_frames BIGINT NOT NULL,
  gaps BIGINT NOT NULL,
  gap_ms BIGINT NOT NULL,
  refused_messages BIGINT NOT NULL,
  audio_out_ms BIGINT NOT NULL,
  dropped_out_ms BIGINT NOT NULL,
  PRIMARY KEY (session_id, speaker)
);

-- The ledger with what it comes to after each entry, so that a balance is one row and not a sum. Who appends to it holds the lock of
-- the organization's row, so an organization's numbers grow in the order of its entries. A period is a calendar month.
CREATE TABLE credit_ledger (
  sequence BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  organization_id TEXT COLLATE "C" NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('grant', 'spend', 'refund', 'expiry')),
  amount BIGINT NOT NULL CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount > 0 ELSE amount < 0 END),
  balance_after BIGINT NOT NULL CHECK (balance_after >= 0),
  period BIGINT NOT NULL,
  -- What was spent, less what was refunded, in the period.
  used_after BIGINT NOT NULL,
  -- The request that it is for; none for what an operator does.
  request_id TEXT,
  -- The id of what was paid for.
  object TEXT,
  at_us BIGINT NOT NULL
);
CREATE INDEX credit_ledger_by_organization ON credit_ledger (organization_id, sequence);
CREATE FUNCTION credit_ledger_keeps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the credit ledger is append-only';
END $$;
CREATE TRIGGER credit_ledger_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON credit_ledger
  FOR EACH STATEMENT EXECUTE FUNCTION credit_ledger_keeps();

-- What caches of keys and organizations must hear of. Transactions commit in another order than they take numbers, so who reads goes
-- by the transaction: once no transaction up to some number is under way, nothing can appear there any more.
CREATE TABLE gate_changes (
  sequence BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  detail TEXT,
  at_us BIGINT NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
  transaction BIGINT NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
  -- Which program made the change.
  writer TEXT NOT NULL DEFAULT current_setting('application_name')
);
CREATE INDEX gate_changes_by_transaction ON gate_changes (transaction, sequence);

-- One row: the last transaction of which changes have been forgotten.
CREATE TABLE gate_feed (
  only_row BIGINT PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
  forgotten BIGINT NOT NULL
);
INSERT INTO gate_feed (forgotten) VALUES (0);
CREATE FUNCTION gate_feed_forgets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A row that came out of a backup of another server may have a number from this one's future.
  UPDATE gate_feed SET forgotten = greatest(forgotten, past.last) FROM (
    SELECT max(transaction) AS last FROM gone WHERE transaction < pg_current_xact_id()::text::bigint
  ) AS past WHERE past.last IS NOT NULL;
  RETURN NULL;
END $$;
CREATE TRIGGER gate_feed_forgets AFTER DELETE ON gate_changes
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gate_feed_forgets();

-- By triggers, so that nobody who changes something can forget to say so. When a key was last used is nothing to hear of.
CREATE FUNCTION gate_hears_of_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER gate_hears_of_keys AFTER UPDATE OF id, organization_id, environment, name, permissions, expires_at_us,
  allowed_networks, requests_per_minute_max, edition, created_at_us, revoked_at_us, last4, old_secret_valid_until_us,
  quarantined_at_us ON api_keys FOR EACH ROW EXECUTE FUNCTION gate_hears_of_key();

CREATE FUNCTION gate_hears_of_secret() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    INSERT INTO gate_changes (kind, id) VALUES ('key', OLD.key_id);
  -- The first secret of a new key is nothing to hear of: nobody can have asked for it.
  ELSIF TG_OP = 'UPDATE' OR EXISTS (SELECT 1 FROM api_key_secrets WHERE key_id = NEW.key_id AND hash <> NEW.hash) THEN
    INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.key_id);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER gate_hears_of_secrets AFTER INSERT OR DELETE OR UPDATE OF hash, key_id, valid_until_us ON api_key_secrets
  FOR EACH ROW EXECUTE FUNCTION gate_hears_of_secret();

CREATE FUNCTION gate_hears_of_organization() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.id);
  RETURN NULL;
END $$;
CREATE TRIGGER gate_hears_of_organizations AFTER UPDATE ON organizations
  FOR EACH ROW EXECUTE FUNCTION gate_hears_of_organization();

CREATE FUNCTION gate_hears_of_credit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.organization_id);
  RETURN NULL;
END $$;
CREATE TRIGGER gate_hears_of_credits AFTER INSERT ON credit_ledger
  FOR EACH ROW WHEN (NEW.kind <> 'spend') EXECUTE FUNCTION gate_hears_of_credit();

CREATE TABLE audit_log (
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  id TEXT COLLATE "C" NOT NULL CHECK (id ~ '^aud_.{22}$'),
  environment TEXT CHECK (environment IN ('live', 'test')),
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  who TEXT NOT NULL CHECK (who IN ('key', 'operator', 'leak_reporter')),
  key_id TEXT CHECK ((who = 'key') = (key_id IS NOT NULL)),
  address TEXT,
  request_id TEXT,
  changes TEXT NOT NULL,
  at_us BIGINT NOT NULL,
  PRIMARY KEY (organization_id, id)
);

-- Events that wait to be delivered. Who reads stops before what a transaction that is under way may still add.
CREATE TABLE outbox (
  sequence BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  id TEXT NOT NULL,
  organization_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  type TEXT NOT NULL,
  object TEXT NOT NULL,
  detail TEXT NOT NULL,
  at_us BIGINT NOT NULL,
  transaction BIGINT NOT NULL DEFAULT pg_current_xact_id()::text::bigint
);

-- Answers to give again.
CREATE TABLE idempotency_answers (
  sequence BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  organization_id TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  key TEXT COLLATE "C" NOT NULL,
  fingerprint BYTEA NOT NULL,
  request_id TEXT NOT NULL,
  status BIGINT NOT NULL,
  sealed_body BYTEA NOT NULL,
  at_us BIGINT NOT NULL,
  CONSTRAINT idempotency_answers_once UNIQUE (organization_id, environment, key)
);

CREATE TABLE request_blocks (
  sequence BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  organization_id TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  first_at_us BIGINT NOT NULL,
  last_at_us BIGINT NOT NULL,
  packed BYTEA NOT NULL,
  CHECK (last_at_us >= first_at_us)
);
-- Packed before it comes here.
ALTER TABLE request_blocks ALTER COLUMN packed SET STORAGE EXTERNAL;
ALTER TABLE idempotency_answers ALTER COLUMN sealed_body SET STORAGE EXTERNAL;
CREATE INDEX request_blocks_by_tenant ON request_blocks (organization_id, environment, last_at_us, sequence);

-- Nodes that share the database.
CREATE TABLE nodes (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (id ~ '^node_.{22}$'),
  url TEXT COLLATE "C" NOT NULL UNIQUE,
  version TEXT NOT NULL,
  seen_at_us BIGINT NOT NULL
);

-- What all nodes must have alike.
CREATE TABLE marks (
  name TEXT COLLATE "C" PRIMARY KEY,
  mark TEXT NOT NULL
);
