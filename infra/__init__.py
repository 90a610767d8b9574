"""Everything an operator could swap."""
