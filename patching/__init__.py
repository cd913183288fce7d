"""What a model uses: interventions, the sweep engine, stitching, ablation and steering."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
