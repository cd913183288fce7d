"""Circuits chosen from scores, by removal, and by how often they are found again."""
