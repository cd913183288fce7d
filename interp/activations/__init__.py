"""Activations at sites and named positions: read, kept in memory or on disk, and read back."""

from interp.activations.collecting import collect, collect_both
from interp.activations.hooks import capture, check_sites, in_columns, observed, without_logits
from interp.activations.loading import load_activations, verify_activations
from interp.activations.values import Activations, StoredActivations

__all__ = [
    "Activations",
    "StoredActivations",
    "capture",
    "check_sites",
    "collect",
    "collect_both",
    "in_columns",
    "load_activations",
    "observed",
    "verify_activations",
    "without_logits",
]
