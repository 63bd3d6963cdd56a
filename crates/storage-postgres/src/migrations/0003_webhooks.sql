-- Webhook endpoints, the deliveries of events to them, and which events have been fanned out.

-- One more who changes something: the server itself.
ALTER TABLE audit_log DROP CONSTRAINT audit_log_who_check,
  ADD CONSTRAINT audit_log_who_check CHECK (who IN ('key', 'operator', 'leak_reporter', 'server'));

CREATE TABLE webhooks (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (id ~ '^wh_.{22}$'),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  -- Separated by spaces; empty for all.
  event_types TEXT NOT NULL,
  disabled_reason TEXT CHECK (disabled_reason IN ('by_owner', 'failing', 'gone')),
  disabled_at_us BIGINT,
  sealed_secret BYTEA NOT NULL,
  old_sealed_secret BYTEA,
  old_secret_valid_until_us BIGINT,
  created_at_us BIGINT NOT NULL,
  updated_at_us BIGINT NOT NULL,
  -- Grows with each change that who delivers must know of.
  version BIGINT NOT NULL DEFAULT 1,
  -- Events up to this place of the outbox are from before it wanted any.
  events_after BIGINT NOT NULL,
  failing_since_us BIGINT,
  last_success_at_us BIGINT,
  last_failure_at_us BIGINT,
  -- When its next delivery is due, while it is enabled.
  due_at_us BIGINT,
  -- The node that delivers to it.
  claimed_by TEXT COLLATE "C",
  deleted_at_us BIGINT,
  CHECK ((disabled_reason IS NULL) = (disabled_at_us IS NULL)),
  CHECK ((old_sealed_secret IS NULL) = (old_secret_valid_until_us IS NULL))
);
CREATE INDEX webhooks_by_tenant ON webhooks (organization_id, environment, id) WHERE deleted_at_us IS NULL;
CREATE INDEX webhooks_due ON webhooks (due_at_us) WHERE claimed_by IS NULL AND due_at_us IS NOT NULL;
CREATE INDEX webhooks_claimed ON webhooks (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX webhooks_deleted ON webhooks (deleted_at_us) WHERE deleted_at_us IS NOT NULL;

-- Ids are in the order of the events' times.
CREATE TABLE deliveries (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (id ~ '^dlv_.{22}$'),
  webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhooks (id),
  event_place BIGINT NOT NULL,
  event_id TEXT COLLATE "C" NOT NULL,
  event_type TEXT NOT NULL,
  event_at_us BIGINT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
  attempts BIGINT NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  -- Attempts since it was begun.
  tries BIGINT NOT NULL DEFAULT 0 CHECK (tries >= 0),
  begun_at_us BIGINT NOT NULL,
  due_at_us BIGINT,
  created_at_us BIGINT NOT NULL,
  finished_at_us BIGINT,
  CHECK ((status = 'pending') = (due_at_us IS NOT NULL)),
  CHECK ((status = 'pending') = (finished_at_us IS NULL))
);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_due ON deliveries (webhook_id, due_at_us, event_place) WHERE status = 'pending';
CREATE INDEX deliveries_failed ON deliveries (webhook_id, id) WHERE status = 'failed';

CREATE TABLE delivery_attempts (
  delivery_id TEXT COLLATE "C" NOT NULL,
  at_us BIGINT NOT NULL,
  url TEXT NOT NULL,
  duration_ms BIGINT NOT NULL,
  status BIGINT,
  error TEXT,
  error_detail TEXT NOT NULL,
  answer_headers TEXT NOT NULL,
  answer_body TEXT NOT NULL,
  PRIMARY KEY (delivery_id, at_us)
);

-- Whether an event's deliveries have been made. By event and not by a place up to which all is done, since events become visible in another
-- order than they get their places. What was there before anybody could have an endpoint is nobody's.
ALTER TABLE outbox ADD COLUMN fanned_out BIGINT NOT NULL DEFAULT 1 CHECK (fanned_out IN (0, 1));
ALTER TABLE outbox ALTER COLUMN fanned_out SET DEFAULT 0;
CREATE INDEX outbox_to_fan_out ON outbox (sequence) WHERE fanned_out = 0;

-- One row, which whoever fans out locks.
CREATE TABLE fan_out (only_row BIGINT PRIMARY KEY CHECK (only_row = 1));
INSERT INTO fan_out (only_row) VALUES (1);
