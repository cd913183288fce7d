"""A report of a fabricated pair, among whose texts are two that would be markup if not escaped."""

from __future__ import annotations

import pytest
from report_pages import ATTRIBUTE, HOSTILE, Page
from verdict_cases import fake_case

from interp.evidence import Evidence
from interp.report.gallery import Drawn, gallery
from interp.report.page import Written, write_report
from interp.verdict.judging import judge
from interp.verdict.outcomes import Outcomes
from interp.verdict.result import Verdict


@pytest.fixture(scope="session")
def case() -> tuple[Verdict, Outcomes, Evidence]:
    """A changed pair with hostile texts."""
    outcomes, probes, causal = fake_case("evasive_high", n_groups=24, n_layers=6)
    table = outcomes.table.copy()
    table.loc[table.index[0], "said_tuned"] = HOSTILE
    table.loc[table.index[1], "said_base"] = ATTRIBUTE
    tokens = {key: {side: [HOSTILE, *words[1:]] for side, words in pair.items()}
              for key, pair in causal.provenance["grid_tokens"].items()}  # fmt: skip
    causal = causal.with_provenance(grid_tokens=tokens)
    outcomes = Outcomes(table, [(HOSTILE, "markup & more")])
    return judge(outcomes, probes, causal), outcomes, Evidence.concat([probes, causal])


@pytest.fixture(scope="session")
def written(case, tmp_path_factory) -> Written:
    verdict, outcomes, evidence = case
    folder = tmp_path_factory.mktemp("report")
    return write_report(verdict, outcomes, evidence, folder, provenance={"note": HOSTILE},
                        base="the base", tuned=HOSTILE, svg=False)  # fmt: skip


@pytest.fixture(scope="session")
def page(written: Written) -> Page:
    return Page(written.report.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def drawn(case) -> list[Drawn]:
    """The figures of the report."""
    verdict, outcomes, evidence = case
    return gallery(verdict.to_dict(), outcomes, evidence)
