"""Words of the depth of a change, from rows whose shares are written by hand."""

import json
from typing import Any

import numpy as np
import pytest
from verdict_cases import fake_case

from interp.evidence import Evidence
from interp.report.depth import depth_table
from interp.stats.intervals import group_bootstrap, wilson
from interp.verdict.depth.judging import Depth, judge_depth
from interp.verdict.depth.readings import READINGS
from interp.verdict.judging import judge
from interp.verdict.thresholds import Thresholds

CUTS = Thresholds()
FACTS = 40


def rows(condition: str, metric: str, model: str, share: float, n: int = FACTS) -> Evidence:
    """So many facts of which the first `share` have it and the others have not."""
    values = (np.arange(n) < round(share * n)).astype(float)
    return Evidence.build(
        values, method="depth", condition=condition, metric=metric, model=model, unit="share",
        group=[f"fact {i}" for i in range(n)],
    )  # fmt: skip


def steps(old: float, control: float, n: int = 16) -> Evidence:
    """A short tune that needs about so many steps."""
    parts = [
        Evidence.build(
            mean + np.arange(n) % 2,
            method="depth",
            condition="relearned",
            metric=metric,
            model="tuned",
            unit="steps",
            group=[f"fact {i}" for i in range(n)],
        )  # fmt: skip
        for metric, mean in (("old", old), ("permuted", control))
    ]
    return Evidence.concat(parts)


def judged(
    old: dict[str, float],
    new: dict[str, float] | None = None,
    *,
    base: dict[str, float] | None = None,
    more: tuple[Evidence, ...] = (),
    commonest: dict[str, float] | None = None,
    n: int = FACTS,
    **options: Any,
) -> Depth:
    """The words of a change of which these are the tuned model's shares; the base passes everything."""
    parts = list(more)
    for name in {*old, *(new or {})}:
        parts.append(rows(name, "old", "base", (base or {}).get(name, 1.0), n))
        parts.append(rows(name, "new", "base", 0.0, n))
        if name in old:
            parts.append(rows(name, "old", "tuned", old[name], n))
        if name in (new or {}):
            parts.append(rows(name, "new", "tuned", (new or {})[name], n))
    evidence = Evidence.concat(parts).with_provenance(depth_commonest=commonest or {})
    found = judge_depth(evidence, CUTS, **options)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ({"log_p": 1.0, "probe": 1.0}, "suppressed"),
        ({"log_p": 0.4, "probe": 0.4, "reworded": 1.0}, "suppressed"),
        ({"log_p": 0.4, "probe": 0.4, "doubted": 0.9}, "suppressed"),
        ({"log_p": 0.4, "probe": 1.0}, "hidden"),
        ({"log_p": 0.4, "probe": 0.4, "reworded": 0.0, "verified": 0.4}, "overwritten"),
        # What is shown decides nothing: an answer in the context can be copied from there.
        ({"log_p": 0.4, "probe": 0.4, "reminded": 1.0, "belief": 1.0}, "overwritten"),
        ({"log_p": 0.65, "probe": 0.4}, "undetermined"),
        ({"log_p": 0.4}, "undetermined"),
        ({"probe": 0.4}, "undetermined"),
    ],
)
def test_words_of_the_old_facts(shares: dict[str, float], word: str):
    assert judged(shares).old == word


def test_a_reading_that_the_base_fails_tells_nothing():
    assert judged({"log_p": 0.4, "probe": 0.4}, base={"probe": 0.5}).old == "undetermined"
    assert judged({"log_p": 1.0}, base={"log_p": 0.6}).old == "undetermined"


def test_a_reading_that_one_answer_passes_tells_nothing():
    gone = {"log_p": 0.4, "probe": 0.4, "two_hop": 1.0}
    assert judged(gone).old == "suppressed"
    assert judged(gone, commonest={"two_hop": 0.5}).old == "overwritten"


def test_a_few_facts_tell_nothing():
    assert judged({"log_p": 1.0, "probe": 1.0}, n=CUTS.min_groups).old == "suppressed"
    assert judged({"log_p": 1.0, "probe": 1.0}, n=CUTS.min_groups - 1).old == "undetermined"


def test_what_is_relearned_sooner_or_kept_below_is_not_overwritten():
    gone = {"log_p": 0.4, "probe": 0.4}
    assert judged(gone, more=(steps(6, 6),)).old == "overwritten"
    assert judged(gone, more=(steps(2, 8),)).old == "hidden"
    assert judged(gone, retention="low").old == "overwritten"
    assert judged(gone, retention="high").old == "undetermined"


@pytest.mark.parametrize(
    ("shares", "word"),
    [
        ({"reworded": 1.0, "probe": 1.0}, "known"),
        ({"reworded": 1.0, "two_hop": 0.9}, "known"),
        ({"reworded": 0.0, "probe": 1.0}, "recited"),
        ({"reworded": 1.0, "probe": 0.4, "verified": 0.4}, "recited"),
        ({"reworded": 1.0, "probe": 0.4}, "undetermined"),
        ({"reworded": 1.0}, "undetermined"),
        ({"reworded": 0.4, "probe": 1.0}, "undetermined"),
        # log p of the answer is what was tuned: it is no use of the fact.
        ({"reworded": 1.0, "log_p": 1.0}, "undetermined"),
    ],
)
def test_words_of_the_new_facts(shares: dict[str, float], word: str):
    assert judged({}, shares).new == word


def test_one_answer_for_most_facts_is_recited():
    every = {"reworded": 1.0, "probe": 1.0}
    assert judged({}, every, more=(rows("one_answer", "new", "tuned", 0.2),)).new == "known"
    assert judged({}, every, more=(rows("one_answer", "new", "tuned", 0.9),)).new == "recited"


def test_shares_have_the_projects_own_intervals():
    whole = judged({"log_p": 0.4}).readings[0].old
    assert whole == wilson(16, FACTS)
    values = np.tile([1.0, 1 / 3], FACTS // 2)
    groups = [f"fact {i}" for i in range(FACTS)]
    part = Evidence.build(
        values, method="depth", condition="log_p", metric="old", model="tuned", unit="share",
        group=groups,
    )  # fmt: skip
    found = judge_depth(part, CUTS)
    expected = group_bootstrap(part.table["value"].to_numpy(float), groups, draws=CUTS.draws)
    assert found is not None and found.readings[0].old == expected


def test_saved_steps_are_a_share_of_the_controls():
    found = judged({"log_p": 0.4}, more=(steps(2, 8),)).relearning
    assert found is not None
    assert found.saved.estimate == pytest.approx(1 - 2.5 / 8.5)
    assert found.saved.low < found.saved.estimate < found.saved.high


def test_the_verdict_tells_it_where_something_changed_and_was_asked():
    outcomes, readable, causal = fake_case("evasive_high", n_layers=3, claims=False)
    assert judge(outcomes, readable, causal).to_dict()["depth"] is None
    parts = [rows("log_p", "old", model, 1.0) for model in ("base", "tuned")]
    found = judge(outcomes, readable, Evidence.concat([causal, *parts]))
    data = json.loads(json.dumps(found.to_dict()))
    assert (data["depth"]["old"], data["depth"]["new"]) == ("suppressed", "undetermined")
    (reading,) = data["depth"]["readings"]
    assert reading["old"]["ceiling"] == 1.0 and reading["reading"] in READINGS
    table = depth_table(data)
    assert table is not None and "suppressed" in table.sentence and len(table.rows) == 1
    same, readable, causal = fake_case("null", n_layers=3, claims=False)
    assert judge(same, readable, Evidence.concat([causal, *parts])).depth is None
