"""Scores of edges and nodes."""
