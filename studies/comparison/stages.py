"""The stages of a comparison and their rough shares of the time, for the bar of the whole job."""

from __future__ import annotations

#: What `studies.compare` does with a loaded pair.
ASKED = {
    "asking": 6,
    "stitching": 22,
    "patching": 18,
    "shared shift": 20,
    "probing": 22,
    "judging": 4,
    "writing": 8,
}

#: What it does when it is asked for the depth of a change.
DEPTH = {"depth": 40}

#: What `interp compare` does before: facts and models are read first.
LOADING = {"reading the facts": 2, "loading the base": 6, "loading the tuned model": 4}

#: All that `interp compare` does.
WHOLE = {**LOADING, **ASKED}


def with_depth(stages: dict[str, int], depth: bool) -> dict[str, int]:
    """The stages of a comparison, the depth of the change before the writing where it is asked for."""
    if not depth:
        return stages
    rest = dict(stages)
    writing = {"writing": rest.pop("writing")}
    return {**rest, **DEPTH, **writing}
