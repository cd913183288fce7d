"""The family behind the scorecard: organisms of many regimes, worlds and shapes, trained on demand."""
