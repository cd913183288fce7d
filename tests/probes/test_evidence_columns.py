"""The table of docs/evidence/probes.md is what every measurement of probes writes."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import tiny
import torch
from probe_toys import Toy, halves, planted

import probes
from interp.activations import Activations
from interp.evidence import Evidence
from interp.evidence.schema import COLUMNS, FORMER
from interp.facts.types import Statements
from interp.models.loading import wrap

TABLE = Path(__file__).parents[2] / "docs" / "evidence" / "probes.md"


class Row(NamedTuple):
    """A row of the table: what the rows of a method hold that a function makes."""

    conditions: frozenset[str]
    units: frozenset[str]
    varying: frozenset[str]


def documented() -> dict[tuple[str, str], Row]:
    """(method, the function that makes it) -> what the table says."""
    rows = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("| `"):
            continue
        method, makers, conditions, units, varying = (cell.strip() for cell in line.split("|")[1:-1])
        told = Row(
            frozenset(re.findall(r"`(\w+)`", conditions)),
            frozenset(units.split(", ")),
            frozenset(varying.split(", ")),
        )
        for maker in re.findall(r"`(\w+)`", makers):
            rows[method.strip("`"), maker] = told
    return rows


def measured(table: pd.DataFrame) -> Row:
    """What rows of one method hold; the former columns are filled by the table and do not count."""
    varying = {
        name
        for name in COLUMNS
        if name not in ("value", "method", *FORMER) and table[name].nunique(dropna=False) > 1
    }
    conditions, units = (frozenset(table[name].astype(str)) for name in ("condition", "unit"))
    return Row(conditions, units, frozenset(varying))


def agrees(rows: Row, told: Row) -> bool:
    """Whether rows are what the table says; capitals in a condition stand for anything."""
    patterns = [re.sub("[A-Z]+", r"\\w+", condition) for condition in told.conditions]
    known = all(any(re.fullmatch(p, c) for p in patterns) for c in rows.conditions)
    used = all(any(re.fullmatch(p, c) for c in rows.conditions) for p in patterns)
    return known and used and rows.units == told.units and rows.varying == told.varying


def tuned(toy: Toy) -> Toy:
    """The same examples in another model."""
    return {
        s: Activations(s, 2 * a.values, a.groups, a.labels, a.position, "tuned") for s, a in toy.items()
    }


def surface(n: int) -> list[torch.Tensor | dict[str, torch.Tensor]]:
    """Features of one trivial reader, and of one by name."""
    features = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    return [features, {"length": features}]


def statements() -> Statements:
    """True and false sentences of the toy vocabulary about 12 lands."""
    words = [(i, word) for i in range(12) for word in ("new", "old")]
    texts = tuple(f"The city of land{i} is {word}" for i, word in words)
    groups = tuple(f"land{i}" for i, _ in words)
    return Statements("lands", texts, tuple(w == "new" for _, w in words), groups, texts, groups)


def questions() -> list[probes.Question]:
    """Two wordings in the toy vocabulary."""
    yes, no = ("filler0",), ("filler2",)
    return [probes.Question("{statement} is", yes, no), probes.Question("The {statement} in", yes, no)]


@pytest.fixture(scope="module")
def toy() -> Toy:
    """A truth planted in the second of three layers."""
    return planted(n_groups=30, layers=3)[0]


Maker = Callable[[Toy], list[Evidence]]


def claimed(tokenizer) -> list[Evidence]:
    """Claims asked as they are and in a chat template."""
    model = wrap(tiny.hf_model("llama"), tokenizer)
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    try:
        return [
            probes.claims(model, statements(), questions=questions(), prompt=prompt)
            for prompt in ("raw", "chat")
        ]
    finally:
        tokenizer.chat_template = None


MAKERS: dict[str, Maker] = {
    "cross_validate": lambda toy: [
        probes.cross_validate(toy, surface=s, repeats=2) for s in surface(60)
    ],
    "train_test": lambda toy: [
        probes.train_test(*halves(toy), surface=s, repeats=2) for s in surface(60)
    ],
    "cross_validate_labels": lambda toy: [
        probes.cross_validate_labels(toy, {"x": [0, 1] * 30}, surface=s, repeats=2) for s in surface(60)
    ],
    "learning_curve": lambda toy: [probes.learning_curve(toy, shares=(0.5, 1.0), repeats=2)],
    "held_out_margins": lambda toy: [probes.held_out_margins(toy, repeats=2)],
    "cross_validate_quantity": lambda toy: [
        probes.cross_validate_quantity(toy, surface=s, repeats=2) for s in surface(60)
    ],
    "description_length": lambda toy: [probes.description_length(toy, repeats=2)],
    "permutation_null": lambda toy: [probes.permutation_null(toy, permutations=9, planted=2)],
    "transfer": lambda toy: [
        probes.transfer(halves(toy)[0], tuned(halves(toy)[0]), tuned(halves(toy)[1]), repeats=2)
    ],
    "generalisation": lambda toy: [probes.generalisation({"a": toy, "b": toy})],
    "check_erasure": lambda toy: [probes.check_erasure(list(toy.values())[1])],
    "posterior": lambda toy: [probes.posterior(dict(list(toy.items())[1:]), folds=5)],
}


def rows_of(maker: str, toy: Toy, tokenizer) -> pd.DataFrame:
    """The rows that a function makes, those beside them included."""
    if maker == "claims":
        made = claimed(tokenizer)
    elif maker == "belief":
        model = wrap(tiny.hf_model("llama"), tokenizer)
        made = [probes.belief(model, statements(), folds=5)]
    else:
        made = MAKERS[maker](toy)
    return pd.concat([part.table for e in made for part in (e, e.beside) if part is not None])


DOCUMENTED = documented()


@pytest.mark.parametrize("maker", sorted({maker for _, maker in DOCUMENTED}))
@pytest.mark.filterwarnings("ignore::probes.SmallSample")
def test_every_measurement_writes_what_the_table_says(maker: str, toy: Toy, tokenizer):
    table = rows_of(maker, toy, tokenizer)
    for method, part in table.groupby("method", observed=True):
        if (method, maker) not in DOCUMENTED:
            assert method == "margin" and maker == "cross_validate_labels"  # as cross_validate
            continue
        rows, told = measured(part), DOCUMENTED[str(method), maker]
        if maker == "claims":
            rows = rows._replace(varying=rows.varying - {"condition"})  # one prompt in a call
        if method == "belief":
            rows, told = (r._replace(varying=r.varying - {"layer"}) for r in (rows, told))
        assert agrees(rows, told), (rows, told)
    assert {method for method, m in DOCUMENTED if m == maker} <= set(table["method"].astype(str))


def test_a_wrong_table_is_told_apart(toy: Toy):
    rows = measured(probes.learning_curve(toy, shares=(0.5, 1.0), repeats=2).table)
    told = DOCUMENTED["probe", "learning_curve"]
    assert agrees(rows, told)
    wrong = [
        told._replace(varying=told.varying - {"draw"}),
        told._replace(varying=told.varying | {"fold"}),
        told._replace(conditions=told.conditions | {"probe"}),
        told._replace(conditions=frozenset({"probe"})),
        told._replace(units=frozenset({"bits"})),
    ]
    assert not any(agrees(rows, other) for other in wrong)


def test_every_method_that_probes_make_is_in_the_table():
    source = "".join(p.read_text(encoding="utf-8") for p in Path(probes.__file__).parent.rglob("*.py"))
    written = set(re.findall(r'method="(\w+)", metric=', source)) | {"transfer_control"}
    assert written == {method for method, _ in DOCUMENTED}


def test_former_columns_are_filled_from_the_new_ones(toy: Toy):
    table = probes.cross_validate(toy, repeats=2).table
    assert table["seed"].equals(table["draw"].fillna(0).rename("seed"))
    assert table["strength"].equals(table["label"].rename("strength"))
    assert table.loc[table["condition"] == "probe", "draw"].isna().all()
    carried = probes.generalisation({"a": toy, "b": tuned(toy)}).table
    assert (carried["donor"].astype(str) == carried["train_set"].astype(str)).all()
    assert (carried["template"].astype(str) == carried["test_set"].astype(str)).all()
