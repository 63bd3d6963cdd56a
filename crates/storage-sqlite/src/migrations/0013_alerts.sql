-- Rules of alerts with who is looking at them, alerts, and who has seen them.

CREATE TABLE alert_rules (
  id TEXT PRIMARY KEY CHECK (id GLOB 'alr_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment = 'live' OR environment = 'test'),
  name TEXT NOT NULL,
  metric TEXT NOT NULL,
  key_id TEXT,
  method TEXT,
  route TEXT,
  code TEXT,
  comparison TEXT NOT NULL CHECK (comparison = 'above' OR comparison = 'below'),
  threshold INTEGER NOT NULL,
  window_minutes INTEGER NOT NULL CHECK (window_minutes > 0),
  mail_members INTEGER NOT NULL CHECK (mail_members IN (0, 1)),
  -- Separated by spaces.
  mail_to TEXT NOT NULL,
  webhook INTEGER NOT NULL CHECK (webhook IN (0, 1)),
  enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
  created_at_us INTEGER NOT NULL,
  updated_at_us INTEGER NOT NULL,
  -- The alert that is not resolved.
  firing TEXT,
  claimed_by TEXT,
  claimed_at_us INTEGER,
  -- How many claims there have been: who has not the last one changes nothing.
  claims INTEGER NOT NULL DEFAULT 0,
  due_at_us INTEGER NOT NULL DEFAULT 0,
  CHECK ((method IS NULL) = (route IS NULL)),
  CHECK ((claimed_by IS NULL) = (claimed_at_us IS NULL))
) STRICT;
CREATE INDEX alert_rules_by_tenant ON alert_rules (organization_id, environment, id);
CREATE INDEX alert_rules_due ON alert_rules (due_at_us, id) WHERE enabled = 1;

CREATE TABLE alerts (
  id TEXT PRIMARY KEY CHECK (id GLOB 'alt_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment = 'live' OR environment = 'test'),
  rule_id TEXT NOT NULL,
  rule_name TEXT NOT NULL,
  metric TEXT NOT NULL,
  condition TEXT NOT NULL,
  value INTEGER NOT NULL,
  fired_at_us INTEGER NOT NULL,
  resolved_at_us INTEGER,
  resolution TEXT,
  CHECK ((resolved_at_us IS NULL) = (resolution IS NULL))
) STRICT;
CREATE INDEX alerts_by_tenant ON alerts (organization_id, environment, id);
CREATE INDEX alerts_by_time ON alerts (fired_at_us);

-- Until when each person has seen the alerts.
CREATE TABLE alert_views (
  person_id TEXT NOT NULL REFERENCES people (id),
  organization_id TEXT NOT NULL,
  environment TEXT NOT NULL,
  seen_at_us INTEGER NOT NULL,
  PRIMARY KEY (person_id, organization_id, environment)
) STRICT, WITHOUT ROWID;
