"""The exact sweep engine: one pass for many edited copies of a run."""
