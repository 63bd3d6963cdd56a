-- The audit log anew, with one more who changes something: a person at the Developer Portal.
CREATE TABLE audit_log_9 (
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  id TEXT NOT NULL CHECK (id GLOB 'aud_*' AND length(id) = 26),
  environment TEXT CHECK (environment IN ('live', 'test')),
  action TEXT NOT NULL,
  object TEXT NOT NULL,
  who TEXT NOT NULL CHECK (who IN ('key', 'person', 'operator', 'leak_reporter', 'server')),
  key_id TEXT CHECK ((who = 'key') = (key_id IS NOT NULL)),
  person_id TEXT CHECK ((who = 'person') = (person_id IS NOT NULL)),
  address TEXT,
  request_id TEXT,
  changes TEXT NOT NULL CHECK (json_valid(changes)),
  at_us INTEGER NOT NULL,
  PRIMARY KEY (organization_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO audit_log_9 (organization_id, id, environment, action, object, who, key_id, address, request_id, changes, at_us)
  SELECT organization_id, id, environment, action, object, who, key_id, address, request_id, changes, at_us FROM audit_log;
DROP TABLE audit_log;
ALTER TABLE audit_log_9 RENAME TO audit_log;
