"""Metrics: logits -> one number per example, with a unit and a name. They never average."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
