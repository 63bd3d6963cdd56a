-- Nodes that share a database, on which of them a session lives, and requests to end a session that lives elsewhere.

-- A node that runs alone is not in it.
CREATE TABLE nodes (
  id TEXT PRIMARY KEY CHECK (id GLOB 'node_*' AND length(id) = 27),
  url TEXT NOT NULL UNIQUE,
  version TEXT NOT NULL,
  seen_at_us INTEGER NOT NULL
) STRICT;

-- What all nodes must have alike.
CREATE TABLE marks (
  name TEXT PRIMARY KEY,
  mark TEXT NOT NULL
) STRICT;

ALTER TABLE sessions ADD COLUMN home_node TEXT;

-- Anew with `detail`, and without a list of kinds: the next kind needs no new table. The triggers name the table, so they go with it.
DROP TRIGGER gate_hears_of_keys;
DROP TRIGGER gate_hears_of_new_secrets;
DROP TRIGGER gate_hears_of_changed_secrets;
DROP TRIGGER gate_hears_of_deleted_secrets;
DROP TRIGGER gate_hears_of_organizations;
DROP TRIGGER gate_hears_of_credits;
CREATE TABLE gate_changes_4 (
  sequence INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  id TEXT NOT NULL,
  detail TEXT,
  at_us INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
INSERT INTO gate_changes_4 (sequence, kind, id, at_us) SELECT sequence, kind, id, at_us FROM gate_changes;
DROP TABLE gate_changes;
ALTER TABLE gate_changes_4 RENAME TO gate_changes;

CREATE TRIGGER gate_hears_of_keys AFTER UPDATE OF id, organization_id, environment, name, permissions, expires_at_us,
  allowed_networks, requests_per_minute_max, edition, created_at_us, revoked_at_us, last4, old_secret_valid_until_us,
  quarantined_at_us ON api_keys
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.id); END;
-- The first secret of a new key is nothing to hear of either: nobody can have asked for it.
CREATE TRIGGER gate_hears_of_new_secrets AFTER INSERT ON api_key_secrets
  WHEN EXISTS (SELECT 1 FROM api_key_secrets WHERE key_id = NEW.key_id AND hash <> NEW.hash)
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.key_id); END;
CREATE TRIGGER gate_hears_of_changed_secrets AFTER UPDATE OF hash, key_id, valid_until_us ON api_key_secrets
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', NEW.key_id); END;
CREATE TRIGGER gate_hears_of_deleted_secrets AFTER DELETE ON api_key_secrets
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('key', OLD.key_id); END;
CREATE TRIGGER gate_hears_of_organizations AFTER UPDATE ON organizations
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.id); END;
CREATE TRIGGER gate_hears_of_credits AFTER INSERT ON credit_ledger WHEN NEW.kind <> 'spend'
BEGIN INSERT INTO gate_changes (kind, id) VALUES ('organization', NEW.organization_id); END;
