-- People who sign in to the Developer Portal: who they are, what they belong to, and what lets them in.

CREATE TABLE people (
  id TEXT PRIMARY KEY CHECK (id GLOB 'usr_*' AND length(id) = 26),
  -- In small letters: by it a person is found.
  email TEXT NOT NULL UNIQUE CHECK (length(email) BETWEEN 3 AND 254),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
  is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
  -- Argon2id in the PHC string format; none for who signs in otherwise.
  password_hash TEXT,
  password_changed_at_us INTEGER CHECK ((password_hash IS NULL) = (password_changed_at_us IS NULL)),
  created_at_us INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
  person_id TEXT NOT NULL REFERENCES people (id),
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  role TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'read_only')),
  created_at_us INTEGER NOT NULL,
  PRIMARY KEY (person_id, organization_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_by_organization ON memberships (organization_id, person_id);

-- A signed-in browser, or (`pending`) one that has shown the password and must show the second factor. Of its cookie there is only the
-- SHA-256: who has the database has nobody's session.
CREATE TABLE portal_sessions (
  hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
  id TEXT NOT NULL UNIQUE CHECK (id GLOB 'pss_*' AND length(id) = 26),
  person_id TEXT NOT NULL REFERENCES people (id),
  pending INTEGER NOT NULL CHECK (pending IN (0, 1)),
  created_at_us INTEGER NOT NULL,
  seen_at_us INTEGER NOT NULL,
  expires_at_us INTEGER NOT NULL,
  -- Until when sensitive acts need no confirmation.
  fresh_until_us INTEGER,
  user_agent TEXT NOT NULL,
  address TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX portal_sessions_by_person ON portal_sessions (person_id, id);
CREATE INDEX portal_sessions_to_forget ON portal_sessions (expires_at_us);

-- Links that work once, by the SHA-256 of their code.
CREATE TABLE portal_links (
  id TEXT PRIMARY KEY CHECK (id GLOB 'plk_*' AND length(id) = 26),
  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  kind TEXT NOT NULL CHECK (kind IN ('setup', 'invitation', 'password_reset')),
  -- To whom it goes; none for the first owner's.
  email TEXT,
  organization_id TEXT REFERENCES organizations (id),
  role TEXT CHECK (role IN ('owner', 'admin', 'developer', 'read_only')),
  -- Whose password it resets.
  person_id TEXT REFERENCES people (id),
  -- Who has made it; none at the command line.
  made_by TEXT REFERENCES people (id),
  created_at_us INTEGER NOT NULL,
  expires_at_us INTEGER NOT NULL,
  used_at_us INTEGER,
  CHECK ((kind = 'invitation') = (organization_id IS NOT NULL AND role IS NOT NULL AND email IS NOT NULL)),
  CHECK ((kind = 'password_reset') = (person_id IS NOT NULL))
) STRICT;
CREATE INDEX portal_links_by_organization ON portal_links (organization_id, id) WHERE used_at_us IS NULL;
CREATE INDEX portal_links_to_forget ON portal_links (expires_at_us);

-- Attempts to sign in since the last success, by whose they are: a person's id, or one of a bounded number of names for those whom there is not.
CREATE TABLE sign_in_attempts (
  account TEXT PRIMARY KEY,
  attempts INTEGER NOT NULL CHECK (attempts >= 0),
  last_at_us INTEGER NOT NULL,
  locked_until_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_attempts_to_forget ON sign_in_attempts (last_at_us);
