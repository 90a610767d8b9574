"""Scaling laws: fits of (parameters, tokens, loss) tables, and what they say of a budget."""
