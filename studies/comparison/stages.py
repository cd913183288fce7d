"""The stages of a comparison and their rough shares of the time, for the bar of the whole job."""

from __future__ import annotations

#: What `studies.compare` does with a loaded pair.
ASKED = {
    "asking": 8,
    "stitching": 12,
    "patching": 8,
    "shared shift": 22,
    "probing": 35,
    "judging": 5,
    "writing": 10,
}

#: What `interp compare` does besides: facts and models are read first.
WHOLE = {"reading the facts": 2, "loading the base": 6, "loading the tuned model": 4, **ASKED}
