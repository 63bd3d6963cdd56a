-- Analyses with who is at work on them, and the profiles that they judge by.

CREATE TABLE analyses (
  id TEXT NOT NULL PRIMARY KEY CHECK (id GLOB 'anl_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  session_id TEXT NOT NULL REFERENCES sessions (id),
  request_id TEXT NOT NULL,
  include TEXT NOT NULL,
  profile_id TEXT,
  profile_name TEXT,
  profile_rules TEXT,
  credits INTEGER NOT NULL CHECK (credits >= 0),
  status TEXT NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
  attempts INTEGER NOT NULL CHECK (attempts >= 0),
  parts_done INTEGER NOT NULL CHECK (parts_done >= 0),
  claimed_by TEXT,
  claimed_at_us INTEGER,
  due_at_us INTEGER NOT NULL,
  result TEXT,
  failure TEXT,
  failure_message TEXT,
  created_at_us INTEGER NOT NULL,
  completed_at_us INTEGER,
  CHECK ((claimed_by IS NULL) = (claimed_at_us IS NULL)),
  CHECK ((profile_id IS NULL) = (profile_rules IS NULL) AND (profile_id IS NULL) = (profile_name IS NULL)),
  CHECK ((status = 'completed') = (result IS NOT NULL)),
  CHECK ((status = 'failed') = (failure IS NOT NULL) AND (failure IS NULL) = (failure_message IS NULL)),
  CHECK ((status = 'processing') = (completed_at_us IS NULL))
) STRICT;
CREATE INDEX analyses_by_session ON analyses (session_id, id);
CREATE INDEX analyses_due ON analyses (due_at_us, id) WHERE status = 'processing';

CREATE TABLE compliance_profiles (
  id TEXT NOT NULL PRIMARY KEY CHECK (id GLOB 'cpr_*' AND length(id) = 26),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  environment TEXT NOT NULL CHECK (environment IN ('live', 'test')),
  name TEXT NOT NULL,
  rules TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  updated_at_us INTEGER NOT NULL,
  UNIQUE (organization_id, environment, name)
) STRICT;
