"""Organisms: tiny models in which the place and the content of a change are known."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
