"""The stages of a comparison and of a scan, and their rough shares of the time, for a job's bar."""

from __future__ import annotations

#: What `studies.compare` does with a loaded pair.
ASKED = {
    "asking": 16,
    "stitching": 8,
    "patching": 13,
    "shared shift": 21,
    "probing": 35,
    "judging": 2,
    "writing": 5,
}

#: What it does on prompts of any kind.
CONTINUED = {
    "asking": 28,
    "stitching": 28,
    "patching": 8,
    "shared shift": 26,
    "probing": 2,
    "judging": 3,
    "writing": 5,
}

#: What `studies.scan` does with a loaded pair.
SCANNED = {"asking": 91, "findings": 1, "samples": 5, "context": 2, "writing": 1}

#: What the command line does before: facts or prompts, and models, are read first.
LOADING = {"reading the facts": 2, "loading the base": 6, "loading the tuned model": 4}
#: What it does when it is asked for the depth of a change.
DEPTH = {"depth": 40}


def with_depth(stages: dict[str, int], depth: bool) -> dict[str, int]:
    """The stages of a comparison, the depth of the change before the writing where it is asked for."""
    if not depth:
        return stages
    rest = dict(stages)
    writing = {"writing": rest.pop("writing")}
    return {**rest, **DEPTH, **writing}
