-- Webhook endpoints, the deliveries of events to them, and which events have been fanned out.

-- Anew, with one more who changes something: the server itself.
CREATE TABLE audit_log_6 (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL CHECK (id GLOB 'aud_*' AND length(id) = 26),
  environment TEXT CHECK (environment IN ('live', 'test')),
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  who TEXT NOT NULL CHECK (who IN ('key', 'operator', 'leak_reporter', 'server')),
  key_id TEXT CHECK ((who = 'key') = (key_id IS NOT NULL)),
  address TEXT,
  request_id TEXT,
  changes TEXT NOT NULL CHECK (json_valid(changes)),
  at_us INTEGER NOT NULL,
  PRIMARY KEY (organization_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO audit_log_6 (organization_id, id, environment, action, object, who, key_id, address, request_id, changes, at_us)
  SELECT organization_id, id, environment, action, object, who, key_id, address, request_id, changes, at_us FROM audit_log;
DROP TABLE audit_log;
ALTER TABLE audit_log_6 RENAME TO audit_log;

CREATE TABLE webhooks (
  id TEXT PRIMARY KEY CHECK (id GLOB 'wh_*' AND length(id) = 25),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  -- Separated by spaces; empty for all.
  event_types TEXT NOT NULL,
  disabled_reason TEXT CHECK (disabled_reason IN ('by_owner', 'failing', 'gone')),
  disabled_at_us INTEGER,
  sealed_secret BLOB NOT NULL,
  old_sealed_secret BLOB,
  old_secret_valid_until_us INTEGER,
  created_at_us INTEGER NOT NULL,
  updated_at_us INTEGER NOT NULL,
  -- Grows with each change that who delivers must know of.
  version INTEGER NOT NULL DEFAULT 1,
  -- Events up to this place of the outbox are from before it wanted any.
  events_after INTEGER NOT NULL,
  failing_since_us INTEGER,
  last_success_at_us INTEGER,
  last_failure_at_us INTEGER,
  -- When its next delivery is due, while it is enabled.
  due_at_us INTEGER,
  -- The node that delivers to it.
  claimed_by TEXT,
  deleted_at_us INTEGER,
  CHECK ((disabled_reason IS NULL) = (disabled_at_us IS NULL)),
  CHECK ((old_sealed_secret IS NULL) = (old_secret_valid_until_us IS NULL))
) STRICT;
CREATE INDEX webhooks_by_tenant ON webhooks (organization_id, environment, id) WHERE deleted_at_us IS NULL;
CREATE INDEX webhooks_due ON webhooks (due_at_us) WHERE claimed_by IS NULL AND due_at_us IS NOT NULL;
CREATE INDEX webhooks_claimed ON webhooks (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX webhooks_deleted ON webhooks (deleted_at_us) WHERE deleted_at_us IS NOT NULL;

-- Ids are in the order of the events' times.
CREATE TABLE deliveries (
  id TEXT PRIMARY KEY CHECK (id GLOB 'dlv_*' AND length(id) = 26),
  webhook_id TEXT NOT NULL REFERENCES webhooks (id),
  event_place INTEGER NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  event_at_us INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Attempts since it was begun.
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  begun_at_us INTEGER NOT NULL,
  due_at_us INTEGER,
  created_at_us INTEGER NOT NULL,
  finished_at_us INTEGER,
  CHECK ((status = 'pending') = (due_at_us IS NOT NULL)),
  CHECK ((status = 'pending') = (finished_at_us IS NULL))
) STRICT;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_due ON deliveries (webhook_id, due_at_us, event_place) WHERE status = 'pending';
CREATE INDEX deliveries_failed ON deliveries (webhook_id, id) WHERE status = 'failed';

CREATE TABLE delivery_attempts (
  delivery_id TEXT NOT NULL,
  at_us INTEGER NOT NULL,
  url TEXT NOT NULL,
  duration_ms INTEGER NOT NULL,
  status INTEGER,
  error TEXT,
  error_detail TEXT NOT NULL,
  answer_headers TEXT NOT NULL,
  answer_body TEXT NOT NULL,
  PRIMARY KEY (delivery_id, at_us)
) STRICT;

-- Whether an event's deliveries have been made. By event and not by a place up to which all is done, since events become visible in another
-- order than they get their places. What was there before anybody could have an endpoint is nobody's.
ALTER TABLE outbox ADD COLUMN fanned_out INTEGER NOT NULL DEFAULT 0 CHECK (fanned_out IN (0, 1));
UPDATE outbox SET fanned_out = 1;
CREATE INDEX outbox_to_fan_out ON outbox (sequence) WHERE fanned_out = 0;

-- One row, which whoever fans out locks.
CREATE TABLE fan_out (only_row INTEGER PRIMARY KEY CHECK (only_row = 1)) STRICT;
INSERT INTO fan_out (only_row) VALUES (1);
