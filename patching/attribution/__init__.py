"""Gradients that screen for effects, and their exact verification."""
