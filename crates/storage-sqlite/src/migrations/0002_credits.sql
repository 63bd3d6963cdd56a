-- Credits: an append-only ledger. What an organization has is the sum of its entries.

CREATE TABLE credit_ledger (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  organization_id TEXT NOT NULL REFERENCES organizations (id),
  kind TEXT NOT NULL CHECK (kind IN ('grant', 'spend', 'refund', 'expiry')),
  amount INTEGER NOT NULL CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount > 0 ELSE amount < 0 END),
  -- The request that it is for; none for what an operator does.
  request_id TEXT,
  at_us INTEGER NOT NULL
) STRICT;
CREATE INDEX credit_ledger_by_organization ON credit_ledger (organization_id);

CREATE TRIGGER credit_ledger_keeps BEFORE UPDATE ON credit_ledger
BEGIN SELECT RAISE(ABORT, 'the credit ledger is append-only'); END;
CREATE TRIGGER credit_ledger_loses_nothing BEFORE DELETE ON credit_ledger
BEGIN SELECT RAISE(ABORT, 'the credit ledger is append-only'); END;
