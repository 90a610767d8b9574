"""From documents to memory-mapped token shards."""
