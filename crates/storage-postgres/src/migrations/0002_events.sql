-- Events have a place among those of their session. A session's count of its events outlives them in the outbox.

ALTER TABLE sessions ADD COLUMN events BIGINT NOT NULL DEFAULT 0 CHECK (events >= 0);
ALTER TABLE outbox ADD COLUMN session_id TEXT COLLATE "C";
ALTER TABLE outbox ADD COLUMN session_sequence BIGINT CHECK (session_sequence > 0);
ALTER TABLE outbox ALTER COLUMN organization_id TYPE TEXT COLLATE "C", ALTER COLUMN environment TYPE TEXT COLLATE "C",
  ALTER COLUMN id TYPE TEXT COLLATE "C";
CREATE INDEX outbox_by_session ON outbox (session_id, session_sequence) WHERE session_id IS NOT NULL;
CREATE INDEX outbox_by_tenant ON outbox (organization_id, environment, id);
-- What is said is most of all events: who looks for it finds it among all others.
CREATE INDEX outbox_by_type ON outbox (organization_id, environment, type, id) WHERE type <> 'transcript.segment';
