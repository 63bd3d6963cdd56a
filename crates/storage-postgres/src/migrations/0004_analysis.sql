-- Analyses with who is at work on them, and the profiles that they judge by.

CREATE TABLE analyses (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 26 AND starts_with(id, 'anl_')),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  session_id TEXT COLLATE "C" NOT NULL REFERENCES sessions (id),
  request_id TEXT NOT NULL,
  include TEXT NOT NULL,
  profile_id TEXT,
  profile_name TEXT,
  profile_rules TEXT,
  credits BIGINT NOT NULL CHECK (credits >= 0),
  status TEXT NOT NULL CHECK (status IN ('processing', 'completed', 'failed')),
  attempts BIGINT NOT NULL CHECK (attempts >= 0),
  parts_done BIGINT NOT NULL CHECK (parts_done >= 0),
  claimed_by TEXT,
  claimed_at_us BIGINT,
  due_at_us BIGINT NOT NULL,
  result TEXT,
  failure TEXT,
  failure_message TEXT,
  created_at_us BIGINT NOT NULL,
  completed_at_us BIGINT,
  CHECK ((claimed_by IS NULL) = (claimed_at_us IS NULL)),
  CHECK ((profile_id IS NULL) = (profile_rules IS NULL) AND (profile_id IS NULL) = (profile_name IS NULL)),
  CHECK ((status = 'completed') = (result IS NOT NULL)),
  CHECK ((status = 'failed') = (failure IS NOT NULL) AND (failure IS NULL) = (failure_message IS NULL)),
  CHECK ((status = 'processing') = (completed_at_us IS NULL))
);
CREATE INDEX analyses_by_session ON analyses (session_id, id);
CREATE INDEX analyses_due ON analyses (due_at_us, id) WHERE status = 'processing';

CREATE TABLE compliance_profiles (
  id TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(id) = 26 AND starts_with(id, 'cpr_')),
  organization_id TEXT COLLATE "C" NOT NULL REFERENCES organizations (id),
  environment TEXT COLLATE "C" NOT NULL CHECK (environment IN ('live', 'test')),
  name TEXT NOT NULL,
  rules TEXT NOT NULL,
  created_at_us BIGINT NOT NULL,
  updated_at_us BIGINT NOT NULL,
  UNIQUE (organization_id, environment, name)
);
