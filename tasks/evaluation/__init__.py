"""Held-out measures, answers, baselines and suites."""
