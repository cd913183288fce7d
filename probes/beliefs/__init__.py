"""What a model believes, and what it says of it."""
