-- What lets people in beside their password.

CREATE TABLE passkeys (
  id TEXT PRIMARY KEY CHECK (id GLOB 'psk_*' AND length(id) = 26),
  person_id TEXT NOT NULL REFERENCES people (id),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  -- What authenticators know it by.
  credential BLOB NOT NULL UNIQUE CHECK (length(credential) BETWEEN 1 AND 1023),
  public_key BLOB NOT NULL,
  sign_count INTEGER NOT NULL CHECK (sign_count >= 0),
  backup_eligible INTEGER NOT NULL CHECK (backup_eligible IN (0, 1)),
  backed_up INTEGER NOT NULL CHECK (backed_up IN (0, 1)),
  created_at_us INTEGER NOT NULL,
  last_used_at_us INTEGER
) STRICT;
CREATE INDEX passkeys_by_person ON passkeys (person_id, id);

-- A person's authenticator app. Codes up to that of the last step are used up.
CREATE TABLE totp (
  person_id TEXT PRIMARY KEY REFERENCES people (id),
  sealed_secret BLOB NOT NULL,
  last_step INTEGER NOT NULL,
  created_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Codes that stand in for it, each once, by their SHA-256: a row is a code that was not used.
CREATE TABLE recovery_codes (
  person_id TEXT NOT NULL REFERENCES people (id),
  hash BLOB NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (person_id, hash)
) STRICT, WITHOUT ROWID;

-- Accounts at the single sign-on provider.
CREATE TABLE oidc_identities (
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
  person_id TEXT NOT NULL REFERENCES people (id),
  email TEXT NOT NULL,
  created_at_us INTEGER NOT NULL,
  last_used_at_us INTEGER,
  PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX oidc_identities_by_person ON oidc_identities (person_id, created_at_us);

-- What was used and must not be again, by its SHA-256, until it would have expired anyway.
CREATE TABLE spent_challenges (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
  expires_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_challenges_to_forget ON spent_challenges (expires_at_us);
