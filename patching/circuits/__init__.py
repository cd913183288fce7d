"""Circuits: edges that carry a behaviour, how stable they are, and what tuning changes of them."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
