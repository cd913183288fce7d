"""Runs that survive: results on disk, named by what determines them; only what is missing is made."""
