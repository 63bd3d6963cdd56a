-- Recordings of sessions: what clients name, what lies where, and the work that is to be done after a session's end.

ALTER TABLE organizations ADD COLUMN recording INTEGER NOT NULL DEFAULT 0 CHECK (recording IN (0, 1));
ALTER TABLE organizations ADD COLUMN recordings_kept_days INTEGER NOT NULL DEFAULT 30 CHECK (recordings_kept_days > 0);

-- `recording_heard`: what the node that has the session last did of it.
ALTER TABLE sessions ADD COLUMN recording TEXT NOT NULL DEFAULT 'off' CHECK (recording IN ('off', 'on', 'paused'));
ALTER TABLE sessions ADD COLUMN recording_heard TEXT CHECK (recording_heard IN ('on', 'paused'));

-- One that is gone stays as a name, so that its reader is told what became of it.
CREATE TABLE recordings (
  id TEXT PRIMARY KEY CHECK (id GLOB 'rec_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  session_id TEXT NOT NULL REFERENCES sessions (id),
  channel TEXT NOT NULL CHECK (channel IN ('mixed', 'customer', 'agent')),
  status TEXT NOT NULL CHECK (status IN ('processing', 'ready', 'failed')),
  error TEXT CHECK ((status = 'failed') = (error IS NOT NULL)),
  duration_ms INTEGER CHECK ((status = 'ready') = (duration_ms IS NOT NULL)),
  dropped_ms INTEGER NOT NULL CHECK (dropped_ms >= 0),
  incomplete INTEGER NOT NULL CHECK (incomplete IN (0, 1)),
  created_at_us INTEGER NOT NULL,
  expires_at_us INTEGER NOT NULL,
  removed TEXT CHECK (removed IN ('deleted', 'expired')),
  UNIQUE (session_id, channel)
) STRICT;
CREATE INDEX recordings_by_tenant ON recordings (organization_id, environment, id);
CREATE INDEX recordings_to_expire ON recordings (expires_at_us) WHERE removed IS NULL;

-- The audio that recordings are made of, by the name under which it is stored.
CREATE TABLE recording_tracks (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  track TEXT NOT NULL CHECK (track IN ('customer.original', 'customer.translated', 'agent.original', 'agent.translated')),
  object TEXT NOT NULL,
  bytes INTEGER NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (session_id, track)
) STRICT, WITHOUT ROWID;

-- What one life of a node recorded of a session: a file on that node's disk until it has an `object`.
CREATE TABLE recording_parts (
  session_id TEXT NOT NULL REFERENCES sessions (id),
  name TEXT NOT NULL,
  node_id TEXT NOT NULL,
  object TEXT,
  dropped_ms INTEGER NOT NULL CHECK (dropped_ms >= 0),
  PRIMARY KEY (session_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX recording_parts_of_node ON recording_parts (node_id) WHERE object IS NULL;

-- Sessions that have ended and whose recordings are to be made.
CREATE TABLE recording_work (
  session_id TEXT PRIMARY KEY REFERENCES sessions (id),
  ended_at_us INTEGER NOT NULL,
  next_at_us INTEGER NOT NULL,
  attempts INTEGER NOT NULL CHECK (attempts >= 0),
  claimed_by TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX recording_work_due ON recording_work (next_at_us);

-- Objects that nothing needs any more.
CREATE TABLE object_deletions (
  object TEXT PRIMARY KEY,
  next_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX object_deletions_due ON object_deletions (next_at_us);
