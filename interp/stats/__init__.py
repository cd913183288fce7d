"""Statistics over groups: intervals, tests, one bootstrap, and the handover of a curve."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
