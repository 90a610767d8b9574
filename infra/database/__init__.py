"""The SQL ledger: runs and stages, versions, gate reports, promotions, the audit and the outbox, in SQLite or Postgres."""
