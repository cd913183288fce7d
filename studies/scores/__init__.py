"""The scorecard: verdicts on models whose answer is known, counted."""
