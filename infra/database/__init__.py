"""The SQL ledger: versions, gate reports, promotions, events."""
