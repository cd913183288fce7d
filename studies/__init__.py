"""What probes and interventions say together: the main job, organisms, the command line."""

from interp._lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
