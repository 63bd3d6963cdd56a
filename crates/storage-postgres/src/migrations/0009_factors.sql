-- What lets people in beside their password.

CREATE TABLE passkeys (
  id TEXT COLLATE "C" PRIMARY KEY CHECK (length(id) = 26 AND starts_with(id, 'psk_')),
  person_id TEXT COLLATE "C" NOT NULL REFERENCES people (id),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  -- What authenticators know it by.
  credential BYTEA NOT NULL UNIQUE CHECK (length(credential) BETWEEN 1 AND 1023),
  public_key BYTEA NOT NULL,
  sign_count BIGINT NOT NULL CHECK (sign_count >= 0),
  backup_eligible BIGINT NOT NULL CHECK (backup_eligible IN (0, 1)),
  backed_up BIGINT NOT NULL CHECK (backed_up IN (0, 1)),
  created_at_us BIGINT NOT NULL,
  last_used_at_us BIGINT
);
CREATE INDEX passkeys_by_person ON passkeys (person_id, id);

-- A person's authenticator app. Codes up to that of the last step are used up.
CREATE TABLE totp (
  person_id TEXT COLLATE "C" PRIMARY KEY REFERENCES people (id),
  sealed_secret BYTEA NOT NULL,
  last_step BIGINT NOT NULL,
  created_at_us BIGINT NOT NULL
);

-- Codes that stand in for it, each once, by their SHA-256: a row is a code that was not used.
CREATE TABLE recovery_codes (
  person_id TEXT COLLATE "C" NOT NULL REFERENCES people (id),
  hash BYTEA NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (person_id, hash)
);

-- Accounts at the single sign-on provider.
CREATE TABLE oidc_identities (
  issuer TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL CHECK (length(subject) BETWEEN 1 AND 255),
  person_id TEXT COLLATE "C" NOT NULL REFERENCES people (id),
  email TEXT NOT NULL,
  created_at_us BIGINT NOT NULL,
  last_used_at_us BIGINT,
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX oidc_identities_by_person ON oidc_identities (person_id, created_at_us);

-- What was used and must not be again, by its SHA-256, until it would have expired anyway.
CREATE TABLE spent_challenges (
  hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
  expires_at_us BIGINT NOT NULL
);
CREATE INDEX spent_challenges_to_forget ON spent_challenges (expires_at_us);
