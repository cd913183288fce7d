"""Score the toolkit on organisms whose answer is known.

Every organism is compared with its base as a user would, from model folders that tell nothing of how
they were made; the verdict is put beside the known answer, and beside what single methods would have
said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from interp._files import write_csv, write_text
from interp.display.html import Shown
from interp.figures.paper.files import svg_of
from interp.figures.ranking import forest
from interp.progress import counted
from interp.runs.run import require_whole, series, unkept
from studies.adapters.family import ADAPTERS, make_adapters
from studies.adapters.recipes import FAMILY
from studies.organisms.catalogue import SHIPPED, folder_of
from studies.organisms.family.homes import Home
from studies.organisms.family.members import (
    COVERAGE,
    DEVELOPMENT,
    EXPERTS,
    FAMILIES,
    make,
    members,
)
from studies.scores.figures import confusion_heatmap
from studies.scores.known_adapters import known_adapters
from studies.scores.rates import WORDS, confusion, methods, rates
from studies.scores.scoring import score
from studies.scores.truths import Known, known_organism, shipped_organisms

#: Names of what can be scored: shipped and development are looked at, the others are not.
SPLITS = (SHIPPED, *(family for family in FAMILIES if family != EXPERTS), ADAPTERS)

#: Splits of which rules and thresholds may follow.
LOOKED_AT = (SHIPPED, DEVELOPMENT, COVERAGE, ADAPTERS)
#: Name in scorecard.json -> the measure.
NAMES = {
    "where_accuracy": "where_right",
    "what_accuracy": "what_right",
    "where_accuracy_without_decoys": "where_right_without_decoys",
    "what_accuracy_without_decoys": "what_right_without_decoys",
    "null_false_positive_rate": "false_positive",
    "inert_supported": "inert_supported",
    "decoy_wrong": "decoy_wrong",
    "decoy_undetermined": "decoy_undetermined",
    "coverage": "where_decided",
    "opposite": "opposite",
    "grade_accuracy": "grade_right",
    "old_fact_accuracy": "old_right",
    "new_fact_accuracy": "new_right",
    "interval_coverage": "interval_coverage",
}

#: The sources that determine a score.
CODE = ("interp", "probes", "patching", "studies")


@dataclass(frozen=True, eq=False, repr=False)
class Scorecard(Shown):
    """Verdicts beside known answers.

    Attributes:
        table: a row per organism: split, world, the known words, the verdict's, which are right, the
            numbers behind them, and what each single method says.
    """

    table: pd.DataFrame

    @property
    def splits(self) -> list[str]:
        """The splits there are, in order."""
        return [split for split in SPLITS if (self.table["split"] == split).any()]

    def of(self, split: str) -> pd.DataFrame:
        """Rows of a split."""
        return self.table[self.table["split"] == split]

    def rates(self) -> pd.DataFrame:
        """How often each word is right, split by split, with 95% Wilson intervals over organisms."""
        return pd.concat(
            [rates(self.of(split)).assign(split=split) for split in self.splits], ignore_index=True
        )

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Content of scorecard.json: rates of all that was looked at and of all that was not.

        Under "families" stand the same of every family.
        """
        looked_at = self.table["split"].isin(LOOKED_AT)
        return {
            "development": _told(self.table[looked_at]),
            "held_out": _told(self.table[~looked_at]),
            "families": {split: _told(self.of(split)) for split in self.splits},
        }

    def __repr__(self) -> str:
        """How many organisms of which splits, on one line."""
        parts = ", ".join(f"{len(self.of(split))} {split}" for split in self.splits)
        return f"Scorecard({parts})"

    def _rows_shown(self) -> tuple[Sequence[str], Any, int]:
        shown = self.rates()[["split", "measure", "estimate", "low", "high", "n"]]
        return list(shown.columns), shown.round(3).to_numpy().tolist(), len(shown)

    def __str__(self) -> str:
        """Organism by organism, then rates, confusions and single methods, as text for a person."""
        parts = []
        words = ["organism", "world", "true_where", "where", "true_what", "what", "changed"]
        for split in self.splits:
            part = self.of(split)
            lost = part[~part["installed"]]["organism"].tolist()
            alone = methods(part)
            parts += [
                f"{split}: {len(part)} organisms",
                part[words].fillna("–").to_string(index=False),
                f"not installed, so not scored: {', '.join(lost) or 'none'}",
                rates(part).round(3).to_string(index=False),
                *(str(matrix) for matrix in (confusion(part, word) for word in WORDS) if len(matrix)),
                alone.round(3).to_string(index=False)
                if len(alone)
                else "single methods: none of these has a place or kind that they could tell",
            ]
        return "\n\n".join(parts)

    def save(self, folder: str | Path) -> None:
        """Write scorecard.json, the tables as CSV, and figures (HTML, SVG): rates, confusions.

        Args:
            folder: a new folder.

        Raises:
            FileExistsError: if the folder exists.
        """
        folder = Path(folder)
        folder.mkdir(parents=True)
        write_text(folder / "scorecard.json", json.dumps(self.to_dict(), indent=1) + "\n")
        write_csv(folder / "organisms.csv", self.table)
        write_csv(folder / "rates.csv", self.rates())
        write_csv(folder / "methods.csv", self.methods())
        figures = {"rates": self.figure()}
        for word in WORDS:
            matrix = confusion(self.table, word)
            if len(matrix):
                write_csv(folder / f"confusion_{word}.csv", matrix.reset_index())
                figures[f"confusion_{word}"] = confusion_heatmap(matrix, word=word)
        for name, figure in figures.items():
            figure.write_html(folder / f"{name}.html", include_plotlyjs="directory")
            write_text(folder / f"{name}.svg", svg_of(figure).decode())

    def methods(self) -> pd.DataFrame:
        """How often the verdict, and each single method alone, is right, split by split."""
        return pd.concat(
            [methods(self.of(split)).assign(split=split) for split in self.splits], ignore_index=True
        )

    def figure(self) -> Any:
        """Share of right words of the verdict and of every single method, with their intervals."""
        table = self.methods()
        named = table.assign(
            run=table["split"] + ": " + table["word"] + ", " + table["method"],
            right=table["estimate"],
            right_low=table["low"],
            right_high=table["high"],
        )
        return forest(named, measures=["right"])


def scorecard(
    families: Sequence[str],
    *,
    models: str | Path | None = None,
    jobs: int = 1,
    only: Sequence[str] | None = None,
    seeds: int | None = None,
    first_seed: int | None = None,
    seed: int = 0,
) -> Scorecard:
    """Score verdicts on models whose place and kind of change are known by construction.

    Organisms that are missing are trained first, which takes a minute or so each; scoring takes half a
    minute each. Adapters of SmolLM2 take five to twenty minutes to train and a few to score. Inside of
    an `interp.resumable` run every organism is a unit: a killed call goes on, and
    shards share them out.

    Args:
        families: of "shipped", "development", "held-out", "coverage", "fresh" and "smollm2".
        models: folder of the trained organisms; the user's cache when None.
        jobs: processes that train at a time.
        only: names of organisms; all of the families' when None.
        seeds: how many worlds of a family that is trained; all that it has when None, one of "fresh".
        first_seed: of the first world of "fresh", as it was built.
        seed: of every comparison.

    Returns:
        A row per organism, from which rates, confusions and comparisons with single methods follow.

    Raises:
        ValueError: for a family, a world or an organism that does not exist.

    Note:
        Undetermined counts as not right wherever the answer is known. Organisms that missed their
        installation gate stay in the table and are not scored. A good score here says nothing about
        changes of kinds that the family does not have.

    Source: truth by construction behind gradient masks; 2503.13401 on why reading alone is no evidence.

    Example:
        Half a minute for each organism:

        >>> import studies
        >>> card = studies.scorecard(["shipped"], only=["evasive-high"])  # doctest: +SKIP
        >>> card.table[["true_where", "where", "true_what", "what"]]  # doctest: +SKIP

        An organism that nobody has made a recipe for is refused:

        >>> studies.scorecard(["shipped"], only=["forgetful"])
        Traceback (most recent call last):
        ...
        ValueError: only got ['forgetful'], none of which the families ['shipped'] have; ...
    """
    unknown = [name for name in families if name not in SPLITS]
    if unknown or not families:
        raise ValueError(f"families must be some of {list(SPLITS)}, got {list(families)}; choose some")
    whole = [name for name in families if name in (SHIPPED, ADAPTERS)]
    if whole and (seeds is not None or first_seed is not None):
        raise ValueError(
            f"seeds and first_seed choose worlds, got them for {whole}, which have none; leave them out"
        )
    root = folder_of(models)
    listed = [
        (family, known)
        for family in families
        for known in _family(family, root, jobs, only, seeds, first_seed)
    ]
    if not listed:
        raise ValueError(
            f"only got {list(only or ())}, none of which the families {list(families)} have; leave it "
            "out to score all"
        )
    rows = []
    with counted(len(listed), "scoring", "organisms") as step:
        for number, (family, known) in enumerate(listed):
            kept = series(f"score of {known.world}/{known.name}", CODE, *_inputs(known), seed)
            row = kept.unit(number, partial(_scored, known, seed))
            rows += [] if row is None else [{"split": family, **row}]
            step(1)
    require_whole()
    return Scorecard(pd.DataFrame(rows))


def _told(table: pd.DataFrame) -> dict[str, Any]:
    """Rates of some organisms by the names of scorecard.json, None where there is nothing to count."""
    of = rates(table).set_index("measure") if len(table) else pd.DataFrame()
    told: dict[str, Any] = dict.fromkeys(NAMES)
    for name, measure in NAMES.items():
        if measure in of.index:
            numbers = of.loc[measure, ["estimate", "low", "high", "n"]].to_dict()
            told[name] = {**numbers, "n": int(numbers["n"])}
    return {**told, "n": len(table)}


def _scored(known: Known, seed: int) -> dict[str, Any]:
    """A row; only this is kept of the comparison behind it."""
    with unkept():
        return score(known, seed=seed)


def _inputs(known: Known) -> tuple[object, ...]:
    """What determines a score beside the code: the weights and the known answer, not where they lie."""
    files = [
        file for folder in (known.base, known.tuned) for file in sorted(folder.glob("*.safetensors"))
    ]
    weights = [hashlib.blake2b(file.read_bytes(), digest_size=20).hexdigest() for file in files]
    truth = (known.name, known.world, known.where, known.what, known.old, known.new)
    more = (known.installed, dict(known.drives), known.strength)
    return (*weights, truth, *more, known.facts)


def _family(
    family: str,
    root: Path,
    jobs: int,
    only: Sequence[str] | None,
    seeds: int | None,
    first: int | None,
) -> list[Known]:
    """The organisms of a family, made where they are missing."""
    if family == SHIPPED:
        return [known for known in shipped_organisms() if only is None or known.name in only]
    if family == ADAPTERS:
        make_adapters([n for n in FAMILY if only is None or n in only], root, jobs=jobs)
        return known_adapters(root, only)
    wanted = [m for m in members(family, seeds, first) if only is None or m.name in only]
    for _ in make(wanted, root, jobs=jobs):
        pass
    return [known_organism(Home.at(root, m.shape, m.seed), m.name) for m in wanted]
