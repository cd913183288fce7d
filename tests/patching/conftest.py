"""Ways of scheduling that tests of the engine and of its methods run under."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import pytest

from patching.engine import block_cost, reuse, splitting


@pytest.fixture(params=["whole prompts", "a pass for each first position", "packed"])
def layout(request, monkeypatch):
    """Prices under which the schedule always chooses one layout."""
    monkeypatch.setattr(block_cost, "CALL_FLOPS", 1e18 if request.param == "whole prompts" else 0.0)
    monkeypatch.setattr(splitting, "PACKED_PRICE", -1e-9 if request.param == "packed" else 1e9)


@pytest.fixture
def untried(monkeypatch):
    """Models whose ways of reuse are tried anew, whatever ran before in this process."""
    monkeypatch.setattr(reuse, "_FOUND", WeakKeyDictionary())
