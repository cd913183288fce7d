"""From evidence of patched pairs to the tables that figures draw: recovery by span, pair and token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import pandas as pd

from interp.evidence import Evidence
from interp.evidence.pairs import UNEDITED, pair_runs
from interp.evidence.recovery import recovery_bounds
from interp.figures.text import visible
from interp.verdict.thresholds import Thresholds

#: Behind a token in whose place other pairs have other ones.
_OTHERS = ", …"

#: Between the clean and the corrupted side of a pair where it is shown.
ARROW = " ← "


def handover_curves(evidence: Evidence, *, seed: int = 0) -> pd.DataFrame:
    """Recovery (m[patched] − m[corrupted]) / (m[clean] − m[corrupted]) by span and boundary.

    Means over pairs are taken before dividing. Entities are resampled, a pair weighs the product of
    its two entities' counts.

    Args:
        evidence: with the rows method ``handover``.
        seed: of the bootstrap.

    Returns:
        Columns span, layer, estimate, low, high, n (pairs that were patched at every boundary).

    Raises:
        ValueError: without such rows.
    """
    rows = evidence.needed("patching.handover", method="handover")
    tables = []
    for span, part in rows.groupby(rows["span"].astype(object)):
        runs = pair_runs(part, ["layer"]).complete()
        estimate, low, high = recovery_bounds(runs, resamples=Thresholds.draws, seed=seed)
        columns = {"span": str(span), "layer": list(runs.edited.columns), "estimate": estimate}
        tables.append(pd.DataFrame({**columns, "low": low, "high": high, "n": len(runs)}))
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"intervals": "95%, BCa bootstrap over entities", "seed": seed}
    return table


def handover_pairs(evidence: Evidence, *, smallest: float, most: int = 24) -> pd.DataFrame:
    """Recovery of single pairs, without intervals.

    Args:
        evidence: with the rows method ``handover``.
        smallest: where clean − corrupted is below it, in logits, recovery is null.
        most: the pairs with the largest difference are kept, up to so many.

    Returns:
        Columns span, pair, layer, value. The letter of its wording precedes the name of a pair where
        there are several wordings.

    Raises:
        ValueError: without such rows.
    """
    rows = evidence.needed("patching.handover", method="handover")
    columns = ["span", "pair", "layer", "value"]
    tables = []
    for span, part in rows.groupby(rows["span"].astype(object)):
        runs = pair_runs(part, ["layer"]).complete()
        effect = pd.Series(runs.effect, index=runs.edited.index)
        recovery = runs.recovery().where(effect.abs() >= smallest, axis=0)
        recovery = recovery.loc[effect.sort_values(ascending=False).index[:most]]
        sides = zip(runs.clean_groups, runs.corrupted_groups, strict=True)
        forms = _wordings(rows)
        names = {
            example: forms.get(example, "") + ARROW.join(pair)
            for example, pair in zip(effect.index, sides, strict=True)
        }
        long = recovery.rename_axis(columns="layer").reset_index().melt("example", value_name="value")
        label = [names[example] for example in long["example"]]
        tables.append(long.assign(span=str(span), pair=label)[columns])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def patch_grid(evidence: Evidence, *, smallest: float) -> pd.DataFrame:
    """Recovery of every pair on the layer × position grid, with the tokens at each position.

    The grid is of one kind of site: the residual stream's where there is one, else the first kind.

    Args:
        evidence: with the rows of `patching.patch_sites` at every position.
        smallest: pairs whose |clean − corrupted| is below it, in the metric's unit, are left out.

    Returns:
        Columns example, pair, model, kind, layer, position, clean, corrupted (tokens), value. The
        letter of its wording precedes the name of a pair where there are several wordings.

    Raises:
        ValueError: without such rows.
    """
    rows = evidence.needed('patching.patch_sites with positions="each"', method="patch")
    unedited = rows["condition"].isin(UNEDITED)
    cells = rows[~unedited & rows["position"].notna()]
    kinds = [str(kind) for kind in cells["kind"].dropna().unique()]
    kind = "resid_pre" if "resid_pre" in kinds or not kinds else kinds[0]
    cells = cells[(cells["kind"] == kind) & (cells["condition"] == "patched")]
    columns = ["example", "pair", "model", "kind", "layer", "position", "clean", "corrupted", "value"]
    runs = pair_runs(pd.concat([rows[unedited], cells]), ["layer", "position"])
    runs = runs.where(abs(runs.effect) >= smallest)
    first_rows = cells.drop_duplicates("example").astype({"model": str, "group": str})
    about: dict[Any, Any] = first_rows.set_index("example")[["model", "group"]].to_dict("index")
    forms, tables = _wordings(rows), []
    for example, recovery in runs.recovery().iterrows():
        example = cast(int, example)
        grid = recovery.dropna().rename("value").reset_index()
        if grid.empty:
            continue
        tokens = tokens_of(evidence, example)
        for side in UNEDITED:
            words = dict(enumerate(tokens.get(side, [])))
            grid[side] = [words.get(int(p), str(p)) for p in grid["position"]]
        pair = forms.get(example, "") + (pair_title(grid, tokens) or about[example]["group"])
        tables.append(grid.assign(example=example, pair=pair, model=about[example]["model"], kind=kind))
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _wordings(rows: pd.DataFrame) -> dict[Any, str]:
    """The letter of each example's wording, as it precedes its name; none where all share one."""
    asked = rows.dropna(subset=["template"]).drop_duplicates("example")
    if asked["template"].nunique() < 2:
        return {}
    return {example: f"{form} · " for example, form in asked[["example", "template"]].to_numpy()}


def tokens_of(evidence: Evidence, example: Any) -> Mapping[str, Any]:
    """Tokens of a pair by side, as `patch_sites` notes them under "grid_tokens"; empty without."""
    noted = evidence.provenance.get("grid_tokens", {})
    return noted.get(str(example)) or noted.get(int(example)) or {}


def with_tokens(table: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """The table with the tokens of every position in the columns clean and corrupted, behind it.

    Of several pairs they are those of the first, with ", …" where another pair has another token.
    Without them the table stays as it is: where the evidence notes none, or pairs of several lengths.

    Args:
        table: with the column position.
        evidence: whose tokens `patch_sites` noted.
    """
    pairs = [tokens_of(evidence, example) for example in evidence.table["example"].dropna().unique()]
    if not all(pairs) or len({len(pair["clean"]) for pair in pairs}) != 1:
        return table
    numbers = table["position"].astype(int)
    behind = list(table).index("position") + 1
    for i, side in enumerate(UNEDITED):
        columns = zip(*(pair[side] for pair in pairs), strict=True)
        words = [word if set(others) <= {word} else word + _OTHERS for word, *others in columns]
        table.insert(behind + i, side, [words[number] for number in numbers])
    return table


def position_labels(table: pd.DataFrame) -> dict[int, str]:
    """Label of every position in order: its tokens, clean | corrupted, or its number."""
    first = table.astype({"position": int}).drop_duplicates("position").sort_values("position")
    numbers = list(first["position"])
    if "clean" not in first:
        return {number: str(number) for number in numbers}
    return dict(zip(numbers, token_labels(first["clean"], first["corrupted"]), strict=True))


def token_labels(clean: Iterable[object], corrupted: Iterable[object]) -> list[str]:
    """Token of each position; both sides where they differ, and ", …" once where pairs differ."""
    labels = []
    for pair in zip(clean, corrupted, strict=True):
        bare = [visible(str(side).removesuffix(_OTHERS)) for side in pair]
        varies = _OTHERS if any(str(side).endswith(_OTHERS) for side in pair) else ""
        labels.append(" | ".join(dict.fromkeys(bare)) + varies)
    return labels


def pair_title(grid: pd.DataFrame, tokens: Mapping[str, Any]) -> str:
    """What tells the two prompts of a pair apart, clean ← corrupted; empty where nothing is known."""
    sides = tokens.get("differs")
    if not sides:
        differing = grid[grid["clean"] != grid["corrupted"]].drop_duplicates("position")
        sides = [_joined(differing.sort_values("position")[side]) for side in UNEDITED]
    return ARROW.join(sides) if all(sides) else ""


def _joined(tokens: pd.Series) -> str:
    """Tokens as text: joined as they are where some carry their own spaces, else by spaces."""
    words = [str(token) for token in tokens]
    spaced = any(word[:1].isspace() for word in words)
    return ("" if spaced else " ").join(words).strip()
