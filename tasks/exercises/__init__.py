"""Questions with known answers that need no download: what instruction tuning learns and benchmarks ask."""
