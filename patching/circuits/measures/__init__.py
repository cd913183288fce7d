"""What circuits carry, and how those of two models differ."""
