"""Gates, the decision to promote, and the report that explains it."""
