"""Abilities against size: generated tasks, a study of small decoders, smooth measures beside exact match, a verdict."""
