"""What linear probes read in one model: truth, how far its probe carries, attributes, belief and claim.

`python -m studies.knowing [--model smollm2] [--base B] [--out DIR]` prints four tables:

1. truth of "The city of X is in Y." at every boundary of the residual stream, with its controls;
2. generalisation: a truth probe trained on each truth set and tested on each, negations included;
3. attributes and quantities of entities at their name's last token, against trivial readers that see
   tokens, letters or length only;
4. belief and claim: where the model says of a city statement what a held-out probe does not read.

2 and 3 are read at the middle boundary, declared here and not searched for. Strengths are chosen inside
the training groups, for the trivial readers too. Intervals are 95% bootstrap intervals over groups of
entities. `--out` (a new folder) keeps the tables as CSV and every measurement as parquet.

A probe shows what can be read, not what is used; that needs `patching`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import probes
from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.attributes import attribute_sets, entity_attributes
from interp.facts.truth import truth_statements
from interp.figures.export import write_svg
from interp.figures.probes import generalisation_heatmap
from interp.models.loading import load_model
from interp.models.model import Model
from interp.sites import Kind, boundaries, boundary
from probes.beliefs.claims import statement_examples

TRUTH_SETS = (
    "cities", "neg_cities", "capitals", "neg_capitals", "currencies", "continents", "domains",
    "element_symbols", "neg_element_symbols", "larger_than", "neg_larger_than", "smaller_than",
)  # fmt: skip
#: Blocks of entities that all truth sets share, so that a held-out entity is held out of every set.
DECKS = 40
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ALPHAS = (1.0, 10.0, 100.0, 1e3, 1e4)
CONTROLS = ("shuffled", "control_task")
DRAWS = 5


@dataclass(frozen=True, eq=False)
class Knowing:
    """The four tables and the rows behind them.

    truth: balanced accuracy by boundary and condition (`probes.accuracy`). matrix: by train, test and
    condition (`probes.generalisation_matrix`). attributes: per attribute set the probe's score
    (balanced accuracy, or R² of a quantity), the best trivial reader's, and the gain over that reader.
    sincerity: `probes.sincerity` of city statements.
    """

    model: str
    middle: int
    truth: pd.DataFrame
    matrix: pd.DataFrame
    attributes: pd.DataFrame
    sincerity: pd.DataFrame
    evidence: Evidence

    def __str__(self) -> str:
        """The tables as text for a person."""
        parts = [
            f"{self.model}: truth of city statements, balanced accuracy by boundary",
            _curve(self.truth),
            f"truth probes at boundary {self.middle}: trained on (rows), tested on (columns), percent",
            _square(self.matrix, "probe"),
            "the same after the sets' difference in level is taken away (recentred), percent",
            _square(self.matrix, "recentred"),
            f"attributes at the name's last token, boundary {self.middle}",
            _attributes(self.attributes),
            "belief (a held-out probe) and claim (what the model says), city statements",
            _sincerity(self.sincerity),
        ]
        return "\n\n".join(parts)

    def save(self, folder: Path) -> None:
        """The tables as CSV, the evidence, and the matrix as a figure (SVG where a Chrome is found).

        Raises:
            FileExistsError: if the folder exists.
        """
        folder.mkdir(parents=True)
        for name in ("truth", "matrix", "attributes", "sincerity"):
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        self.evidence.save(folder)
        drawn = {
            f"generalisation_{condition}": generalisation_heatmap(self.matrix, condition=condition)
            for condition in ("probe", "recentred")
        }
        for name, figure in drawn.items():
            figure.write_html(folder / f"{name}.html", include_plotlyjs="directory")
        write_svg(drawn, folder)


def know(
    model: Model,
    *,
    sets: Sequence[str] = TRUTH_SETS,
    attributes: Sequence[str] | None = None,
    seed: int = 0,
) -> Knowing:
    """Read one model: the four tables. `attributes` defaults to every attribute set.

    Raises:
        ValueError: an unknown truth or attribute set, or fewer than two truth sets.
    """
    middle, reader = model.n_layers // 2, probes.Logistic(c=STRENGTHS)
    cities = truth_statements("cities", seed=seed)
    read = statement_examples(model, cities.texts, cities)
    states = collect(model, read, boundaries(model.n_layers))
    truth = probes.cross_validate(
        states, estimator=reader, controls=CONTROLS, draws=DRAWS, attribute="truth", seed=seed,
        surface=probes.surface_features(read.tokens, read.mask),
    )  # fmt: skip
    carried = probes.generalisation(
        {name: _truth_set(model, name, middle, seed) for name in sets},
        estimator=reader,
        seed=seed,
    )
    names = list(attribute_sets()) if attributes is None else attributes
    scored = [_attribute(model, name, middle, reader, seed) for name in names]
    believed = probes.belief(model, cities, estimator=reader, seed=seed)
    said = probes.claims(model, cities)
    return Knowing(
        model.name,
        middle,
        _by_boundary(probes.accuracy(truth)),
        probes.generalisation_matrix(carried),
        pd.DataFrame([row for row, _ in scored]),
        probes.sincerity(probes.believed_and_said(believed, said)),
        Evidence.concat([truth, carried, *(rows for _, rows in scored), believed, said]),
    )


def _truth_set(model: Model, name: str, at: int, seed: int) -> Activations:
    said = truth_statements(name, decks=DECKS, seed=seed)
    site = boundary(at, model.n_layers)
    return collect(model, statement_examples(model, said.texts, said), [site])[site]


def _attribute(
    model: Model, name: str, at: int, reader: probes.Logistic, seed: int
) -> tuple[dict[str, object], Evidence]:
    """One attribute set's row of the table, and the rows behind it."""
    known = entity_attributes(name)
    examples = Examples.from_text(
        model, known.prompts(0), subjects=known.subject_spans(0), groups=known.groups,
        labels=known.labels,
    )  # fmt: skip
    site = boundary(at, model.n_layers)
    state = collect(model, examples, [site], positions="subject_last")[site]
    trivial = probes.surface_features(examples.tokens, examples.mask, names=known.subjects)
    if known.quantity:
        rows = probes.cross_validate_quantity(
            state, estimator=probes.Ridge(alpha=ALPHAS), surface=trivial, attribute=name, seed=seed
        )
        score, beyond = probes.explained, probes.explained_beyond
    else:
        rows = probes.cross_validate(
            state, estimator=reader, controls=CONTROLS, surface=trivial, attribute=name, seed=seed
        )
        score, beyond = probes.accuracy, probes.selectivity
    table = score(rows).set_index("condition")
    best = str(table.loc[[f"surface_{one}" for one in trivial], "estimate"].idxmax())
    gain = beyond(rows, against=best).iloc[0]
    columns = ("estimate", "low", "high")
    return {
        "attribute": name,
        "score": "R²" if known.quantity else "balanced accuracy",
        "classes": len(known.classes),
        "entities": len(known),
        **{column: table.loc["probe", column] for column in columns},
        "control_task": table.loc["control_task", "estimate"],
        "best_trivial": best.removeprefix("surface_"),
        **{f"trivial_{column}": table.loc[best, column] for column in columns},
        **{f"gain_{column}": gain[column] for column in columns},
    }, rows


def _by_boundary(table: pd.DataFrame) -> pd.DataFrame:
    """With a column `boundary`: what follows block k is boundary k + 1."""
    after = table["kind"].astype(str) == str(Kind.RESID_POST)
    return table.assign(boundary=table["layer"].astype(int) + after)


def _curve(table: pd.DataFrame) -> str:
    chosen = table.assign(text=[_interval(row) for row in table.to_dict("records")])
    return chosen.pivot(index="boundary", columns="condition", values="text").to_string()


def _square(matrix: pd.DataFrame, condition: str) -> str:
    rows = matrix[matrix["condition"].astype(str) == condition]
    names = list(dict.fromkeys(rows["test"]))
    cells = {(row["train"], row["test"]): _interval(row) for row in rows.to_dict("records")}
    numbered = {name: f"{i}" for i, name in enumerate(names, start=1)}
    table = pd.DataFrame(
        [[cells[train, test] for test in names] for train in names],
        index=pd.Index([f"{numbered[name]} {name}" for name in names]),
        columns=pd.Index(list(numbered.values())),
    )
    return table.to_string()


def _attributes(table: pd.DataFrame) -> str:
    lines = []
    for row in table.to_dict("records"):
        gain = _interval({name: row[f"gain_{name}"] for name in ("estimate", "low", "high")})
        trivial = _interval({name: row[f"trivial_{name}"] for name in ("estimate", "low", "high")})
        beats = "beats" if row["gain_low"] > 0 else "does NOT beat"
        lines.append(
            f"{row['attribute']} ({row['score']}, {row['entities']} entities"
            + (f", {row['classes']} classes" if row["classes"] else "")
            + f"): {_interval(row)}, {beats} {row['best_trivial']} {trivial}, gain {gain}; "
            f"control task {100 * row['control_task']:.0f}"
        )
    return "\n".join(lines)


def _sincerity(table: pd.DataFrame) -> str:
    rows = table[(table["says"] == "centred") | table["measure"].str.endswith("right")]
    lines = [
        f"{row['measure']} ({row['says']}, {row['of']} statements): {_interval(row)}"
        for row in rows[rows["of"] == "all"].to_dict("records")
    ]
    return "\n".join(lines)


def _interval(row: Mapping[Any, Any]) -> str:
    low, high = (f"{100 * row[end]:.0f}" for end in ("low", "high"))
    return f"{100 * row['estimate']:.0f} [{low},{high}]"


def main() -> None:
    """Print the tables for a model; keep them with --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--base", default=None, help="the base of an adapter folder")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.out is not None and given.out.exists():
        parser.error(f"--out must be a new folder, got {given.out}; choose another")
    try:
        found = know(load_model(given.model, base=given.base), seed=given.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if given.out is not None:
        found.save(given.out)
    print(found)  # noqa: T201


if __name__ == "__main__":
    main()
