-- An organization's sessions that are not over are found without passing by all that are.
CREATE INDEX sessions_open_by_tenant ON sessions (organization_id, environment, id) WHERE status <> 'ended';
