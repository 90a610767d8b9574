"""Everything fitted to data, and nothing about running it."""
