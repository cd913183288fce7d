"""The middle of a network read as if it were its end."""
