"""Measurements by intervention, one module each."""
