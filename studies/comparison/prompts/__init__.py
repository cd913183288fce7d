"""Prompts of any kind: where two models part, and what causes it."""
