"""What linear probes read in one model: truth, how far its probe carries, attributes, belief and claim.

`interp study knowing [--model smollm2] [--base B] [--out DIR]` prints four tables:

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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

import probes
from interp._files import write_atomically, write_csv, write_text
from interp.activations import Activations, collect
from interp.display.html import Shown
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.attributes import attribute_sets, entity_attributes
from interp.facts.truth import truth_statements
from interp.figures.paper.files import svg_of
from interp.figures.probes import generalisation_heatmap
from interp.models.loading import load_model
from interp.models.model import Model
from interp.progress import announce
from interp.sites import Kind, boundaries, boundary
from probes.beliefs.claims import statement_examples
from studies.knowing_text import attributes_text, curve_text, sincerity_text, square_text

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
class Knowing(Shown):
    """The four tables and the rows behind them.

    Attributes:
        model: the name of the model that was read.
        middle: the boundary at which `matrix` and `attributes` are read.
        truth: balanced accuracy by boundary and condition (`probes.balanced_accuracy`).
        matrix: the same by training set, test set and condition (`probes.generalisation_matrix`).
        attributes: per attribute set the probe's score (balanced accuracy, or R² of a quantity), the
            best trivial reader's, and the gain over that reader.
        sincerity: belief and claim about city statements (`probes.belief_claim_summary`).
        evidence: every measurement behind the tables.
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
            curve_text(self.truth),
            f"truth probes at boundary {self.middle}: trained on (rows), tested on (columns), percent",
            square_text(self.matrix, "probe"),
            "the same after the sets' difference in level is taken away (recentred), percent",
            square_text(self.matrix, "recentred"),
            f"attributes at the name's last token, boundary {self.middle}",
            attributes_text(self.attributes),
            "belief (a held-out probe) and claim (what the model says), city statements",
            sincerity_text(self.sincerity),
        ]
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        """How many rows each table has, on one line."""
        sizes = ", ".join(
            f"{name} {len(getattr(self, name))}"
            for name in ("truth", "matrix", "attributes", "sincerity")
        )
        return f"Knowing(rows of {sizes}; {len(self.evidence):,} rows of evidence)"

    def save(self, folder: str | Path) -> None:
        """Write the tables as CSV, the evidence, and the matrix as figures (HTML, SVG).

        Every file is written under a temporary name and renamed, so a failure leaves none half-written.

        Args:
            folder: a new folder.

        Raises:
            FileExistsError: if the folder exists.
        """
        folder = Path(folder)
        folder.mkdir(parents=True)
        for name in ("truth", "matrix", "attributes", "sincerity"):
            table: pd.DataFrame = getattr(self, name)
            write_csv(folder / f"{name}.csv", table)
        self.evidence.save(folder)
        figures = {
            f"generalisation_{condition}": generalisation_heatmap(self.matrix, condition=condition)
            for condition in ("probe", "recentred")
        }
        for name, figure in figures.items():
            write = partial(figure.write_html, include_plotlyjs="directory")
            write_atomically(folder / f"{name}.html", write)
            write_text(folder / f"{name}.svg", svg_of(figure).decode())


def know(
    model: Model,
    *,
    sets: Sequence[str] = TRUTH_SETS,
    attributes: Sequence[str] | None = None,
    seed: int = 0,
) -> Knowing:
    """What linear probes read in one model: truth, attributes, belief beside claim.

    Truth of city statements is read at every boundary; how far a truth probe carries to other sets,
    and attributes of entities, at the middle one. Strengths are chosen inside the training groups.

    Args:
        model: the model that is read; its tokenizer must tell the English statements apart.
        sets: names of truth sets, two or more (`interp.truth_sets`).
        attributes: names of attribute sets (`interp.attribute_sets`); every one when None.
        seed: of splits, controls and resampling.

    Returns:
        Four tables (shares, or R²; 95% intervals over groups of entities) and the evidence: methods
        ``probe``, ``generalisation``, ``quantity``, ``belief`` and ``claim`` of `probes`.

    Raises:
        ValueError: for an unknown truth or attribute set, fewer than two truth sets, or a model whose
            tokenizer reads most statements as the same.

    Source:
        2310.06824 (truth sets and their directions), 1909.03368 (control tasks).

    Note:
        A probe shows what can be read, not what is used; `patching` tests that.

    Example:
        The tables of SmolLM2 take a few minutes:

        >>> import interp, studies
        >>> print(studies.know(interp.load_model("smollm2")))  # doctest: +SKIP

        A model that has no words of English is refused:

        >>> studies.know(interp.load_model("organism-base"))
        Traceback (most recent call last):
        ...
        ValueError: organism-base tells ... city statements apart...
    """
    middle, reader = model.n_layers // 2, probes.Logistic(c=STRENGTHS)
    cities = truth_statements("cities", seed=seed)
    examples = statement_examples(model, cities.texts, cities)
    _require_read(model, examples)
    states = collect(model, examples, boundaries(model.n_layers))
    truth = probes.cross_validate(
        states,
        estimator=reader,
        controls=CONTROLS,
        repeats=DRAWS,
        attribute="truth",
        seed=seed,
        surface=probes.surface_features(examples.tokens, examples.mask),
    )
    carried = probes.generalisation(
        {name: _truth_set(model, name, middle, seed) for name in sets},
        estimator=reader,
        seed=seed,
    )
    names = list(attribute_sets()) if attributes is None else attributes
    scored = [_attribute(model, name, middle, reader, seed) for name in names]
    belief = probes.belief(model, cities, estimator=reader, seed=seed)
    claims = probes.claims(model, cities)
    return Knowing(
        model.name,
        middle,
        _by_boundary(probes.balanced_accuracy(truth)),
        probes.generalisation_matrix(carried),
        pd.DataFrame([row for row, _ in scored]),
        probes.belief_claim_summary(probes.belief_claim_table(belief, claims)),
        Evidence.concat([truth, carried, *(rows for _, rows in scored), belief, claims]),
    )


def _require_read(model: Model, examples: Examples) -> None:
    """Refuse a model for which most statements are the same tokens: no probe could tell them apart."""
    rows = {tuple(ids[real].tolist()) for ids, real in zip(examples.tokens, examples.mask, strict=True)}
    texts = set(examples.texts)
    if len(rows) < len(texts) / 2:
        raise ValueError(
            f"{model.name} tells {len(rows)} of {len(texts)} city statements apart, since its "
            "tokenizer does not have their words; give a model of English, such as smollm2"
        )


def _truth_set(model: Model, name: str, middle: int, seed: int) -> Activations:
    """The middle states of a truth set, its entities dealt into blocks that all sets share."""
    statements = truth_statements(name, decks=DECKS, seed=seed)
    site = boundary(middle, model.n_layers)
    return collect(model, statement_examples(model, statements.texts, statements), [site])[site]


def _attribute(
    model: Model, name: str, middle: int, reader: probes.Logistic, seed: int
) -> tuple[dict[str, object], Evidence]:
    """One attribute set's row of the table, and the rows behind it."""
    entities = entity_attributes(name)
    examples = Examples.from_attributes(model, entities)
    site = boundary(middle, model.n_layers)
    states = collect(model, examples, [site], positions="subject_last")[site]
    trivial = probes.surface_features(examples.tokens, examples.mask, names=entities.subjects)
    if entities.quantity:
        rows = probes.cross_validate_quantity(
            states, estimator=probes.Ridge(alpha=ALPHAS), surface=trivial, attribute=name, seed=seed
        )
        score, score_beyond = probes.r_squared, probes.r_squared_gain
    else:
        rows = probes.cross_validate(
            states, estimator=reader, controls=CONTROLS, surface=trivial, attribute=name, seed=seed
        )
        score, score_beyond = probes.balanced_accuracy, probes.selectivity
    table = score(rows).set_index("condition")
    best = str(table.loc[[f"surface_{features}" for features in trivial], "estimate"].idxmax())
    gain = score_beyond(rows, against=best).iloc[0]
    columns = ("estimate", "low", "high")
    row = {
        "attribute": name,
        "score": "R²" if entities.quantity else "balanced accuracy",
        "classes": len(entities.classes),
        "entities": len(entities),
        **{column: table.loc["probe", column] for column in columns},
        "control_task": table.loc["control_task", "estimate"],
        "best_trivial": best.removeprefix("surface_"),
        **{f"trivial_{column}": table.loc[best, column] for column in columns},
        **{f"gain_{column}": gain[column] for column in columns},
    }
    return row, rows


def _by_boundary(table: pd.DataFrame) -> pd.DataFrame:
    """With a column `boundary`: what follows block k is boundary k + 1."""
    after = table["kind"].astype(str) == str(Kind.RESID_POST)
    return table.assign(boundary=table["layer"].astype(int) + after)


def report(
    model: str = "smollm2", *, base: str | None = None, out: Path | None = None, seed: int = 0
) -> str:
    """The tables of a model as text, with progress on the way; kept with `out`.

    Args:
        model: name, folder or hub id.
        base: the base of an adapter folder.
        out: a new folder; None writes nothing.
        seed: of `know`.

    Returns:
        The tables for a person.

    Raises:
        ValueError: as `know`; if `out` exists, or for a model that cannot be loaded.
    """
    if out is not None and out.exists():
        raise ValueError(f"--out must be a new folder, got {out}; choose another")
    announce(f"reading {model}: truth, generalisation, attributes, belief and claim …")
    tables = know(load_model(model, base=base), seed=seed)
    if out is not None:
        tables.save(out)
    return str(tables)


def main() -> None:
    """Print the tables for a model; keep them with --out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2", help="name, folder or hub id of a model")
    parser.add_argument("--base", default=None, help="the base of an adapter folder")
    parser.add_argument("--out", type=Path, default=None, help="a new folder that keeps the tables")
    parser.add_argument("--seed", type=int, default=0, help="of splits, controls and resampling")
    options = parser.parse_args()
    try:
        text = report(options.model, base=options.base, out=options.out, seed=options.seed)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
