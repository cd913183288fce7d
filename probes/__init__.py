"""What can be read from activations: linear probes, their controls, and transfer base → tuned."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
