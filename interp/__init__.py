"""Did tuning change what a language model knows, or only what it says? The shared vocabulary."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
