"""Ways of scheduling that tests of the engine and of its methods run under."""

from __future__ import annotations

import pytest

from patching.engine import schedule


@pytest.fixture(params=["whole prompts", "a pass for each first position", "packed"])
def layout(request, monkeypatch):
    """Prices under which the schedule always chooses one layout."""
    monkeypatch.setattr(schedule, "CALL_FLOPS", 1e18 if request.param == "whole prompts" else 0.0)
    monkeypatch.setattr(schedule, "PACKED_PRICE", -1e-9 if request.param == "packed" else 1e9)
