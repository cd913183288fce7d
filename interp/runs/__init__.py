"""Runs that survive: results on disk, named by what determines them, so that only what is missing is made."""
