-- Rules of alerts with who is looking at them, alerts, and who has seen them.

CREATE TABLE alert_rules (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) = 26 AND starts_with(id, 'alr_')),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment = 'live' OR environment = 'test'),
  name TEXT NOT NULL,
  metric TEXT NOT NULL,
  key_id TEXT COLLATE "C",
  method TEXT,
  route TEXT,
  code TEXT,
  comparison TEXT NOT NULL CHECK (comparison = 'above' OR comparison = 'below'),
  threshold BIGINT NOT NULL,
  window_minutes BIGINT NOT NULL CHECK (window_minutes > 0),
  mail_members BIGINT NOT NULL CHECK (mail_members IN (0, 1)),
  -- Separated by spaces.
  mail_to TEXT NOT NULL,
  webhook BIGINT NOT NULL CHECK (webhook IN (0, 1)),
  enabled BIGINT NOT NULL CHECK (enabled IN (0, 1)),
  created_at_us BIGINT NOT NULL,
  updated_at_us BIGINT NOT NULL,
  -- The alert that is not resolved.
  firing TEXT,
  claimed_by TEXT,
  claimed_at_us BIGINT,
  -- How many claims there have been: who has not the last one changes nothing.
  claims BIGINT NOT NULL DEFAULT 0,
  due_at_us BIGINT NOT NULL DEFAULT 0,
  CHECK ((method IS NULL) = (route IS NULL)),
  CHECK ((claimed_by IS NULL) = (claimed_at_us IS NULL))
);
CREATE INDEX alert_rules_by_tenant ON alert_rules (organization_id, environment, id);
CREATE INDEX alert_rules_due ON alert_rules (due_at_us, id) WHERE enabled = 1;

CREATE TABLE alerts (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) = 26 AND starts_with(id, 'alt_')),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment = 'live' OR environment = 'test'),
  rule_id TEXT COLLATE "C" NOT NULL,
  rule_name TEXT NOT NULL,
  metric TEXT NOT NULL,
  condition TEXT NOT NULL,
  value BIGINT NOT NULL,
  fired_at_us BIGINT NOT NULL,
  resolved_at_us BIGINT,
  resolution TEXT,
  CHECK ((resolved_at_us IS NULL) = (resolution IS NULL))
);
CREATE INDEX alerts_by_tenant ON alerts (organization_id, environment, id);
CREATE INDEX alerts_by_time ON alerts (fired_at_us);

-- Until when each person has seen the alerts.
CREATE TABLE alert_views (
  person_id TEXT COLLATE "C" NOT NULL REFERENCES people (id),
  organization_id TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  seen_at_us BIGINT NOT NULL,
  PRIMARY KEY (person_id, organization_id, environment)
);
