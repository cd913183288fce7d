"""The verdict on prompts of any kind: what it is told of, and its controls."""
