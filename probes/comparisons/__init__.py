"""Probes across sets, models and erasures."""
