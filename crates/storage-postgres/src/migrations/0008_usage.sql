-- What requests come to, by organization, environment, key, and minute or hour. One row per node, which alone writes it and adds to it in the
-- transaction that stores the requests. `key_id` is empty in the rows of all keys together. `routes` has the same by route, with the
-- latencies, packed; the numbers before it are sums of it, for questions that need no more.

CREATE TABLE usage_minutes (
  organization_id TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL,
  at_us BIGINT NOT NULL,
  node_id TEXT COLLATE "C" NOT NULL,
  requests BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  rate_limited BIGINT NOT NULL,
  pressure_permille BIGINT NOT NULL,
  routes BYTEA NOT NULL,
  PRIMARY KEY (organization_id, environment, key_id, at_us, node_id)
);
ALTER TABLE usage_minutes ALTER COLUMN routes SET STORAGE EXTERNAL;
CREATE INDEX usage_minutes_by_time ON usage_minutes (at_us);

CREATE TABLE usage_hours (
  organization_id TEXT COLLATE "C" NOT NULL,
  environment TEXT COLLATE "C" NOT NULL,
  key_id TEXT COLLATE "C" NOT NULL,
  at_us BIGINT NOT NULL,
  node_id TEXT COLLATE "C" NOT NULL,
  requests BIGINT NOT NULL,
  errors BIGINT NOT NULL,
  failures BIGINT NOT NULL,
  rate_limited BIGINT NOT NULL,
  pressure_permille BIGINT NOT NULL,
  routes BYTEA NOT NULL,
  PRIMARY KEY (organization_id, environment, key_id, at_us, node_id)
);
ALTER TABLE usage_hours ALTER COLUMN routes SET STORAGE EXTERNAL;
CREATE INDEX usage_hours_by_time ON usage_hours (at_us);

-- The last batch of requests that each node has stored, so that none is counted twice.
CREATE TABLE request_batches (
  node_id TEXT COLLATE "C" PRIMARY KEY,
  batch BIGINT NOT NULL,
  at_us BIGINT NOT NULL
);

-- How many sessions there were at a time. Open ones have an index of their own.
CREATE INDEX sessions_by_end ON sessions (organization_id, environment, ended_at_us) WHERE status = 'ended';
