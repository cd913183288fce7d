"""verdict.json of a run that others sent: read within limits, and of the shape its readers rely on."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interp.untrusted.limits import RUN
from interp.untrusted.reading import inside, read_json

#: A finite number, where a shape says `float`.
_INTERVAL = {key: float for key in ("estimate", "low", "high", "floor", "ceiling", "n")}
_TEXTS = [str]
_PLACE = {
    "where": str, "term": str, "cut": float, "block_span": [float], "share_lower": _INTERVAL,
    "reasons": _TEXTS, "coupling": _INTERVAL,
}  # fmt: skip
_ITEM = {
    **{f"{key}!": str for key in ("text", "group", "answer", "said_base", "said_tuned")},
    "form": str, "contrast": str, "word": str, "site": str, "where": str, "what": str,
    "share_lower": float, "metric_base": float, "metric_tuned": float,
}  # fmt: skip
_CLAIM = {
    **{f"{key}!": str for key in ("attribute", "model", "site", "position", "grade")},
    "selectivity": _INTERVAL, "effect": _INTERVAL, "controls": {"control_task": _INTERVAL},
    "p_adjusted": float, "pieces": {}, "notes": _TEXTS,
}  # fmt: skip
_SHIFT = {
    "boundary": float, "levels": {}, "reasons": _TEXTS,
    "output_words": [{"word!": str, "estimate!": float, "n": float, "groups!": _TEXTS, **_INTERVAL}],
    **{key: _INTERVAL for key in ("sufficiency", "retention", "persistence")},
}  # fmt: skip
_READING = {
    "reading!": str,
    **{key: _INTERVAL for key in ("old", "new", "base_old", "base_new", "permuted")},
}  # fmt: skip

#: What a verdict holds: a key that ends in ! must be there, any other may be absent or null; keys that
#: are not named here may hold anything.
SHAPE: Mapping[str, Any] = {
    "sentence!": str, "asked": str, "changed!": str, "where": str, "where_fact": str, "what": str,
    "share_lower": _INTERVAL, "handover_layer": _INTERVAL, "block_span": [float],
    "handover": {"reason": str}, "notes": _TEXTS, "items": [_ITEM], "unknown_items": [_ITEM],
    "output_contrast": _PLACE, "fact_contrast": _PLACE, "shared_shift": _SHIFT, "claims": [_CLAIM],
    "responsibility": {"embedding": _INTERVAL, "blocks": [_INTERVAL], "unembedding": _INTERVAL},
    "change": {"reasons": _TEXTS, "share_differing": _INTERVAL, "log_p_gain": _INTERVAL},
    "counts": {key: float for key in ("known", "changed", "unknown", "untuned")},
    "depth": {
        "old!": str, "new!": str, "reasons": {"old": str, "new": str}, "facts": float,
        "readings": [_READING], "not_asked": {},
        "relearning": dict.fromkeys(
            ("old", "control", "saved", "recovered", "recovered_control"), _INTERVAL
        ),
    },
    "thresholds": {},
    "provenance": {
        "warnings": _TEXTS, "base": {"source": str}, "tuned": {"source": str}, "facts": {"name": str},
        "prompts": {"name": str},
    },
}  # fmt: skip

_WORDS = {str: "text", float: "a finite number"}


def read_verdict(folder: str | Path) -> dict[str, Any]:
    """The verdict.json of a finished run.

    Args:
        folder: that `interp compare` or `Comparison.save` wrote.

    Raises:
        ValueError: one line, if the folder holds none, or one that cannot be read or lacks what a
            verdict has.
    """
    folder = Path(os.path.expanduser(folder))
    path = folder / "verdict.json"
    if not os.path.isfile(path):
        raise ValueError(
            f"no finished run in {folder}: it holds no verdict.json; give the folder that "
            "`interp compare` printed behind 'report:'"
        )
    read = read_json(inside(folder, path.name), RUN)
    problem = _problem(read, SHAPE, "")
    if problem:
        raise ValueError(f"{path} is no verdict: {problem}; run the comparison again")
    return read


def _problem(value: Any, shape: Any, name: str) -> str:
    """What of a value differs from its shape, or nothing."""
    if isinstance(shape, type):
        fits = isinstance(value, str) if shape is str else _is_number(value)
        return "" if fits else f"{name} must be {_WORDS[shape]}, got {_said(value)}"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{name} must be a list, got {_said(value)}"
        entries = ((part, shape[0], f"{name}[{i}]") for i, part in enumerate(value))
        return next(filter(None, (_problem(*entry) for entry in entries)), "")
    if not isinstance(value, dict):
        return f"{name} must be an object, got {_said(value)}"
    for key, part in shape.items():
        inner = value.get(key.removesuffix("!"))
        path = f"{name}.{key}".strip(".!")
        if inner is None and key.endswith("!"):
            return f"it has no {path}"
        problem = "" if inner is None else _problem(inner, part, path)
        if problem:
            return problem
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 2**63 and math.isfinite(value)


def _said(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:40]!r}"
