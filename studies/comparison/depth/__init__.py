"""What became of the old answers of changed facts, and what the new ones are."""
