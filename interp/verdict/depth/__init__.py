"""How deep a change goes: what became of the old facts, and what the new ones are."""
