"""Estimators: training activations and labels in, one weight row per class out."""
