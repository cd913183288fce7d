"""Evidence: one tidy table, with units and provenance, that every measurement returns."""

from interp.evidence.schema import COLUMNS, INTEGER, REAL, TEXT
from interp.evidence.table import Evidence

__all__ = ["COLUMNS", "INTEGER", "REAL", "TEXT", "Evidence"]
