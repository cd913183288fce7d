"""Moving weights between two models."""
