"""Prompts of any kind: a user's own, and those that are shipped."""
