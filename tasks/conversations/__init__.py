"""Conversations of others, in the formats that public instruction and preference data come in."""
