"""What stands beside a figure: a title that says what is seen, how to read it, its interval and n."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from interp.report.prose import sentence_of
from interp.verdict.prompts.asked import told_of
from interp.verdict.summary import number, share

BCA = "95%, BCa bootstrap over facts"

#: Kind of figure -> (what its intervals are, what its n counts).
INTERVALS: Mapping[str, tuple[str, str]] = {
    "stitch": (BCA, "facts"),
    "responsibility": ("95%, Fieller's, over facts", "changed facts"),
    "cross_patch": (BCA, "changed facts"),
    "shared_shift": ("95%, Wilson's", "changed facts"),
    "handover": ("95%, BCa bootstrap over pairs", "pairs of facts"),
    "handover_pairs": ("none: single measurements are shown", "pairs of facts"),
    "patch": ("none: one measurement a cell", "pair of facts"),
    "probes": (BCA, "facts or statements"),
    "transfer": (f"{BCA}; of cosines the central 95% of the draws", "facts or statements"),
    "claims": ("95%, bootstrap over facts; orange: the range of the control-task directions", "claims"),
}


@dataclass(frozen=True)
class FigureWords:
    """The words beside one figure.

    Attributes:
        title: what is seen.
        interval: which intervals are drawn.
        n: how many units are behind it.
    """

    title: str
    interval: str
    n: str


def figure_words(kind: str, data: pd.DataFrame, verdict: Mapping[str, Any]) -> FigureWords:
    """The words beside a figure, with the numbers of the table that it draws.

    Args:
        kind: one of the kinds of figure.
        data: the table that is drawn.
        verdict: has the keys of verdict.json.
    """
    interval, unit = (told_of(text, verdict.get("asked")) for text in INTERVALS[kind])
    seen = {"share": share, **_SEEN.get(kind, _nothing)(data)}
    title = sentence_of("titles.txt.j2", kind, verdict, seen)
    return FigureWords(title, interval, f"{_n(kind, data, verdict)} {unit}")


def _n(kind: str, data: pd.DataFrame, verdict: Mapping[str, Any]) -> str:
    """How many units are behind a figure, as a number or a range."""
    if kind == "responsibility":
        return str((verdict.get("share_lower") or {}).get("n", "–"))
    if kind == "transfer":  # a cosine is one number of two directions; its n counts draws
        data = data[~data["condition"].astype(str).str.startswith("cosine")]
    if "n" in data and data["n"].notna().any():
        low, high = int(data["n"].min()), int(data["n"].max())
        return str(low) if low == high else f"{low} to {high}"
    return str(_parts(data)["parts"])


def _nothing(data: pd.DataFrame) -> dict[str, Any]:
    return {}


def _parts(data: pd.DataFrame) -> dict[str, Any]:
    """How many pairs, or else rows, a table has."""
    return {"parts": data["pair"].nunique() if "pair" in data else len(data)}


def _pair(data: pd.DataFrame) -> dict[str, Any]:
    return {"pair": str(data["pair"].iloc[0])}


def _probed(data: pd.DataFrame) -> dict[str, Any]:
    """What was probed, and the best accuracy of the probe in each model and of any control."""
    probe = data[data["condition"] == "probe"].dropna(subset=["estimate"])
    best = [
        f"{number(rows['estimate'].max())} correct in the {model}{' model' if model == 'tuned' else ''}"
        for model, rows in probe.groupby("model", observed=True)
    ]
    best_control = data[data["condition"] != "probe"]["estimate"].max()
    control = "" if pd.isna(best_control) else number(best_control)
    return {"name": str(data["metric"].iloc[0]), "best": ", ".join(best) or "–", "control": control}


def _transferred(data: pd.DataFrame) -> dict[str, Any]:
    """What was probed, and the best accuracy of the base's probe as it is on the tuned model."""
    frozen = data[data["condition"] == "frozen"]["estimate"].dropna()
    best = number(frozen.max()) if len(frozen) else "–"
    return {"name": str(data["metric"].iloc[0]), "best": best}


def _graded(data: pd.DataFrame) -> dict[str, Any]:
    return {**_parts(data), "supported": int((data["grade"] == "supported").sum())}


#: Kind of figure -> what its title needs of its table.
_SEEN: Mapping[str, Callable[[pd.DataFrame], dict[str, Any]]] = {
    "handover_pairs": _parts,
    "patch": _pair,
    "probes": _probed,
    "transfer": _transferred,
    "claims": _graded,
}
