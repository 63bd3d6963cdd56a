-- One more who changes something: a person at the Developer Portal.
ALTER TABLE audit_log ADD COLUMN person_id TEXT COLLATE "C",
  DROP CONSTRAINT audit_log_who_check,
  ADD CONSTRAINT audit_log_who_check CHECK (who IN ('key', 'person', 'operator', 'leak_reporter', 'server')),
  ADD CONSTRAINT audit_log_person_check CHECK ((who = 'person') = (person_id IS NOT NULL));
