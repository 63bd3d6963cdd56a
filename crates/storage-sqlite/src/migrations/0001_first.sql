-- Organizations, keys, sessions and what was said.
--
-- Ids are their text form: all of one length, and sorted by time of creation. Times are microseconds since 1970.

CREATE TABLE organizations (
  id TEXT PRIMARY KEY CHECK (id GLOB 'org_*' AND length(id) = 26),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  plan TEXT NOT NULL CHECK (plan IN ('starter', 'pro', 'enterprise')),
  requests_per_minute_max INTEGER CHECK (requests_per_minute_max > 0),
  concurrent_sessions_max INTEGER CHECK (concurrent_sessions_max > 0),
  stream_messages_per_second_max INTEGER CHECK (stream_messages_per_second_max > 0),
  stream_audio_bytes_per_second_max INTEGER CHECK (stream_audio_bytes_per_second_max > 0),
  active INTEGER NOT NULL CHECK (active IN (0, 1)),
  edition INTEGER NOT NULL CHECK (edition IN (1, 2)),
  engine TEXT,
  vocabulary TEXT NOT NULL CHECK (json_valid(vocabulary)),
  created_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
  id TEXT PRIMARY KEY CHECK (id GLOB 'key_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  permissions TEXT NOT NULL,
  expires_at_us INTEGER,
  allowed_networks TEXT NOT NULL,
  requests_per_minute_max INTEGER CHECK (requests_per_minute_max > 0),
  edition INTEGER CHECK (edition IN (1, 2)),
  created_at_us INTEGER NOT NULL,
  last_used_at_us INTEGER,
  revoked_at_us INTEGER,
  last4 TEXT NOT NULL CHECK (length(last4) = 4),
  old_secret_valid_until_us INTEGER
) STRICT;
CREATE INDEX api_keys_by_tenant ON api_keys (organization_id, environment, id);

-- A key has one current secret (without an end) and, after a rotation, the ones before it.
CREATE TABLE api_key_secrets (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
  key_id TEXT NOT NULL REFERENCES api_keys (id),
  valid_until_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX api_key_secrets_current ON api_key_secrets (key_id) WHERE valid_until_us IS NULL;
CREATE INDEX api_key_secrets_by_key ON api_key_secrets (key_id);

-- Requests to close the streams of a key's sessions, in the order they came. AUTOINCREMENT: a number is never used again.
CREATE TABLE stream_closures (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  key_id TEXT NOT NULL REFERENCES api_keys (id),
  at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
  id TEXT PRIMARY KEY CHECK (id GLOB 'sess_*' AND length(id) = 27),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  created_by TEXT NOT NULL REFERENCES api_keys (id),
  mode TEXT NOT NULL
    CHECK (mode IN ('bidirectional_translation', 'assistive_translation', 'ai_agent', 'help_chat_voice')),
  source_language TEXT,
  target_language TEXT,
  voice TEXT,
  vocabulary TEXT NOT NULL CHECK (json_valid(vocabulary)),
  metadata TEXT NOT NULL CHECK (json_valid(metadata)),
  created_at_us INTEGER NOT NULL,
  last_activity_at_us INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('created', 'active', 'ended')),
  started_at_us INTEGER,
  ended_at_us INTEGER,
  end_reason TEXT
    CHECK (end_reason IN ('completed', 'customer_hangup', 'agent_hangup', 'error', 'timeout', 'explicit_end')),
  CHECK (status <> 'created' OR started_at_us IS NULL),
  CHECK ((status = 'ended') = (ended_at_us IS NOT NULL) AND (status = 'ended') = (end_reason IS NOT NULL))
) STRICT;
CREATE INDEX sessions_by_tenant ON sessions (organization_id, environment, id);
CREATE INDEX sessions_not_ended ON sessions (last_activity_at_us) WHERE status <> 'ended';

CREATE TABLE turns (
  session_id TEXT NOT NULL REFERENCES sessions (id),
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

CREATE TABLE utterance_lags (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  id TEXT NOT NULL CHECK (id GLOB 'seg_*' AND length(id) = 26),
  speaker TEXT NOT NULL CHECK (speaker IN ('customer', 'agent')),
  first_partial_ms INTEGER CHECK (first_partial_ms >= 0),
  final_ms INTEGER NOT NULL CHECK (final_ms >= 0),
  first_audio_ms INTEGER CHECK (first_audio_ms >= 0),
  PRIMARY KEY (session_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE stream_statistics (
  session_id TEXT NOT NULL REFERENCES sessions (id),
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
