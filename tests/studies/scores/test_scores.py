"""What is right, wrong and not decided, counted on tables whose counts are known."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from verdict_cases import fake_case

from interp.facts.loading import load_facts
from interp.models.loading import load_pair
from interp.runs.run import ShareDone, resumable
from interp.verdict.claims.grading import GradedClaim, Use
from interp.verdict.claims.readable import Reading
from interp.verdict.depth.judging import Depth
from interp.verdict.judging import judge
from interp.verdict.profile import Profile
from interp.verdict.result import Verdict
from interp.verdict.thresholds import Thresholds
from studies.organisms import lab, source_path, surgery
from studies.scores.coverage import covered
from studies.scores.figures import confusion_heatmap
from studies.scores.rates import confusion, methods, rates
from studies.scores.scorecard import Scorecard, scorecard
from studies.scores.scoring import RIGHT, UNDECIDED, UNSCORED, WRONG, judged, score
from studies.scores.single_methods import KINDS, PLACES, Changed, weight_change
from studies.scores.truths import FREE, Known, shipped_organisms

PLAIN = {
    "world": "w", "installed": True, "decoy": False, "strength": 1.0, "opposite": False,
    "placebos_supported": 0,
    "true_grade": None, "grade": None, "grade_right": UNSCORED,
    "true_old": None, "old": None, "old_right": UNSCORED,
    "true_new": None, "new": None, "new_right": UNSCORED,
    "covered": None, "outputs": None, "outputs_right": None,
    "outputs_opposite": None, "changed": "changed",
    **dict.fromkeys((*PLACES, *KINDS)),
}  # fmt: skip


def row(organism: str, true_where, where, true_what, what, **more):
    def verdict(truth, said):
        if truth in (None, FREE):
            return UNSCORED
        if said in (None, "undetermined"):
            return UNDECIDED
        return RIGHT if truth == said else WRONG

    words = {"true_where": true_where, "where": where, "true_what": true_what, "what": what}
    marks = {"where_right": verdict(true_where, where), "what_right": verdict(true_what, what)}
    return {"split": "shipped", "organism": organism, **PLAIN, **words, **marks, **more}


TABLE = pd.DataFrame(
    [
        row("a", "lower", "lower", "knowledge", "knowledge", true_new="known", new="recited",
            new_right=WRONG),
        row("b", "upper", "undetermined", "knowledge", "behaviour", true_new="known", new="known",
            new_right=RIGHT),
        row("c", "upper", "lower", "behaviour", "behaviour", opposite=True, decoy=True),
        row("d", FREE, "distributed", "mixed", "mixed", outputs=10, outputs_right=8,
            outputs_opposite=1, decoy=True),
        row("null", None, None, None, None, changed="unchanged"),
        row("null 2", None, "lower", None, "behaviour", placebos_supported=1),
        row("lost", "lower", "upper", "behaviour", "knowledge", installed=False,
            where_right=UNSCORED, what_right=UNSCORED),
        row("sealed", None, None, None, None, changed="unchanged", true_grade="decodable-inert",
            grade="undetermined", grade_right=UNDECIDED),
    ]
)  # fmt: skip


def test_rates_count_what_was_counted_by_hand():
    made = rates(TABLE).set_index("measure")
    counts = {name: (int(r["count"]), int(r["n"])) for name, r in made.iterrows()}
    assert counts == {
        "where_right": (1, 3),
        "where_decided": (2, 3),
        "where_right_when_decided": (1, 2),
        "opposite": (1, 3),
        "where_right_without_decoys": (1, 2),
        "what_right": (3, 4),
        "what_decided": (4, 4),
        "what_right_when_decided": (3, 4),
        "what_right_without_decoys": (1, 2),
        "grade_right": (0, 1),
        "grade_decided": (0, 1),
        "new_right": (1, 2),
        "new_decided": (2, 2),
        "new_right_when_decided": (1, 2),
        "false_positive": (1, 3),
        "change_found": (4, 4),
        "decoy_wrong": (1, 2),
        "decoy_undetermined": (0, 2),
        "inert_supported": (1, 8),
        "outputs_right": (8, 10),
        "outputs_opposite": (1, 10),
    }
    assert ((made["low"] <= made["estimate"]) & (made["estimate"] <= made["high"])).all()


def test_a_decoy_that_is_undetermined_is_counted_and_is_not_wrong():
    words = [("lower", "knowledge"), ("undetermined", "behaviour"), ("lower", "undetermined")]
    rows = [row("echo", "lower", w, "behaviour", k, decoy=True) for w, k in words]
    rows.append(row("edited", "lower", "upper", "knowledge", "behaviour"))
    made = rates(pd.DataFrame(rows)).set_index("measure")
    assert made["count"][["decoy_wrong", "decoy_undetermined"]].tolist() == [1, 2]
    # Beside them stands what is left without decoys, here one organism that is wrong.
    assert made.loc["what_right", ["count", "n"]].tolist() == [1, 4]
    assert made.loc["what_right_without_decoys", ["count", "n"]].tolist() == [0, 1]


def test_coverage_is_a_mean_over_organisms_with_their_spread():
    made = rates(TABLE.assign(covered=[0.9, 1.0, *[None] * (len(TABLE) - 2)])).set_index("measure")
    row = made.loc["interval_coverage"]
    assert (row["estimate"], row["n"]) == (pytest.approx(0.95), 2)
    assert row["high"] - row["low"] == pytest.approx(2 * 12.706 * 0.05, rel=1e-3)


def test_a_confusion_figure_says_the_counts():
    figure = confusion_heatmap(confusion(TABLE, "where"), word="where")
    matrix = confusion(TABLE, "where")
    shown = [note.text for note in figure.layout.annotations if note.text.isdigit()]
    assert list(map(int, shown)) == matrix.to_numpy().flatten().tolist()
    shares = np.array(figure.data[0].z, dtype=float)
    assert np.allclose(shares.sum(1), 1)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (0, 1), "a share is never negative"


def test_a_confusion_matrix_names_who_was_called_what_and_leaves_out_the_uninstalled():
    matrix = confusion(TABLE, "where")
    assert int(matrix.to_numpy().sum()) == len(TABLE) - 1
    assert matrix.loc["upper", "lower"] == 1 and matrix.loc["nothing", "nothing"] == 2
    grades = confusion(TABLE, "grade")
    assert grades.to_dict() == {"undetermined": {"decodable-inert": 1}}


def test_a_method_that_always_says_one_thing_fails_somewhere():
    table = TABLE.assign(CKA="upper", **{"probe only": "knowledge"})
    made = methods(table).set_index("method")
    assert (made.loc["CKA", "count"], made.loc["CKA", "n"], made.loc["CKA", "fails_on"]) == (2, 3, "a")
    assert made.loc["probe only", "fails_on"] == "c"


def test_a_scorecard_is_kept_as_it_is(tmp_path: Path):
    card = Scorecard(TABLE.assign(split=["shipped"] * (len(TABLE) - 1) + ["fresh"]))
    card.save(str(tmp_path / "card"))
    told = json.loads((tmp_path / "card" / "scorecard.json").read_text())
    looked_at, held_out = told["development"], told["held_out"]
    assert looked_at["n"] == 7 and looked_at["opposite"]["estimate"] == pytest.approx(1 / 3)
    assert held_out["n"] == 1 and held_out["opposite"] is None, "nothing to count"
    assert told["families"] == {"shipped": looked_at, "fresh": held_out}
    assert {p.name for p in (tmp_path / "card").iterdir()} >= {
        "organisms.csv",
        "rates.svg",
        "methods.csv",
        "confusion_where.svg",
        "confusion_grade.html",
        "confusion_new.svg",
    }
    assert repr(card) == "Scorecard(7 shipped, 1 fresh)" and "not scored: lost" in str(card)


def test_what_does_not_exist_is_one_line():
    with pytest.raises(ValueError, match=r"families must be some of .*, got \['all'\]"):
        scorecard(["all"])
    with pytest.raises(ValueError, match=r"only got \['nobody'\], none of which"):
        scorecard(["shipped"], only=["nobody"])
    with pytest.raises(
        ValueError, match=r"seeds and first_seed choose worlds, got them for \['shipped'\]"
    ):
        scorecard(["fresh", "shipped"], first_seed=107)
    with pytest.raises(ValueError, match="only fresh takes a first seed, got 7 for held-out"):
        scorecard(["held-out"], first_seed=7)


def test_the_worlds_that_were_built_are_those_that_are_scored(monkeypatch: pytest.MonkeyPatch):
    built: list[tuple[int, str]] = []
    module = "studies.scores.scorecard"

    def organism(home, name):
        return replace(shipped_organisms()[0], name=name, world=home.folder.name)

    monkeypatch.setattr(f"{module}.make", lambda wanted, root, jobs: built.extend(wanted) or ())
    monkeypatch.setattr(f"{module}.known_organism", organism)
    monkeypatch.setattr(
        f"{module}.score",
        lambda known, *, seed: row(known.name, known.where, "lower", known.what, "behaviour"),
    )
    card = scorecard(["fresh"], only=["null"], seeds=2, first_seed=107)
    assert [(m.seed, m.name) for m in built] == [(107, "null"), (108, "null")] and len(card.table) == 2
    built.clear()
    scorecard(["fresh"], only=["null"])
    assert [m.seed for m in built] == [100], "the control: without them the family's own"


def test_scores_are_kept_and_shared_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scored: list[str] = []

    def fake(known: Known, *, seed: int):
        scored.append(known.name)
        return row(known.name, known.where, "lower", known.what, "behaviour", strength=float(seed))

    monkeypatch.setattr("studies.scores.scorecard.score", fake)
    asked = partial(scorecard, ["shipped"], only=["edited-low", "evasive-high", "null"])
    with resumable(tmp_path):
        first = asked(seed=3).table
    with resumable(tmp_path):
        again = asked(seed=3).table
    assert first.equals(again) and len(scored) == len(first) == 3
    scored.clear()
    shared = tmp_path / "shared"
    for part in ("1/2", "2/2"):
        with pytest.raises(ShareDone), resumable(shared, shard=part):
            asked(seed=3)
    assert sorted(scored) == sorted(first["organism"])
    with resumable(shared):
        assert asked(seed=3).table.equals(first)
    with resumable(tmp_path):
        assert asked(seed=4).table["strength"].eq(4).all(), "another seed is another score"


@pytest.fixture(scope="module")
def evasive() -> Known:
    torch.set_num_threads(1)
    (known,) = (known for known in shipped_organisms() if known.name == "evasive-low")
    return replace(known, facts=known.facts.subset(list(range(24))))


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    """On a made-up change of the same kind."""
    return judge(*fake_case("evasive_low", n_layers=6))


def test_words_are_marked_against_the_known_answer_and_only_where_it_is_known(
    evasive: Known, verdict: Verdict
):
    marks = ("changed_right", "where_right", "what_right", "opposite")

    def mark(**truth):
        made = judged(replace(evasive, **truth), verdict)
        return tuple(made[name] for name in marks)

    assert mark() == (RIGHT, RIGHT, RIGHT, False)
    assert mark(where="upper", what="knowledge") == (RIGHT, WRONG, WRONG, True)
    assert mark(where=None, what=None) == (WRONG, UNSCORED, UNSCORED, False)
    assert mark(where=FREE)[1] == UNSCORED
    assert mark(installed=False) == (UNSCORED, UNSCORED, UNSCORED, False)
    assert judged(replace(evasive, blocks=(0, 1, 2)), verdict)["blocks_beyond"] == 0
    assert judged(replace(evasive, where="upper", blocks=(4, 5)), verdict)["blocks_beyond"] >= 2


def test_abstention_is_no_error_and_no_success(evasive: Known):
    verdict = judge(*fake_case("weight_noise", n_layers=6))
    made = judged(evasive, verdict)
    assert (made["where_right"], made["what_right"]) == (UNDECIDED, UNDECIDED)
    null = judged(replace(evasive, where=None, what=None), judge(*fake_case("null", n_layers=6)))
    assert null["changed_right"] == RIGHT and null["opposite"] is False


def test_a_planted_attribute_is_found_by_its_column_and_its_grade_is_marked(
    evasive: Known, verdict: Verdict
):
    known = replace(
        evasive,
        facts=replace(evasive.facts, placebos=("sealed",)),
        grades={"sealed": "decodable-inert"},
    )
    marks = {}
    for grade in ("supported", "decodable-inert", "undetermined"):
        claim = GradedClaim(
            "sealed = same", "base", "resid_pre.3", "subject_last", grade, Reading(), Use(0)
        )
        made = judged(known, replace(verdict, claims=(claim, replace(claim, position="last"))))
        marks[grade] = (made["grade_right"], made["placebos_supported"])
    assert marks == {
        "supported": (WRONG, 2), "decodable-inert": (RIGHT, 0), "undetermined": (UNDECIDED, 0),
    }  # fmt: skip
    assert judged(evasive, verdict)["grade_right"] == UNSCORED


def test_the_words_of_depth_are_marked_where_a_change_imposes_them(evasive: Known, verdict: Verdict):
    deep = Depth("suppressed", "undetermined", (), None, None, {}, {}, facts=24)
    marks = ("true_old", "old_right", "true_new", "new_right")

    def mark(known: Known, told=verdict):
        made = judged(known, told)
        return tuple(made[name] for name in marks)

    assert mark(evasive, replace(verdict, depth=deep)) == (
        "suppressed", RIGHT, "recited", UNDECIDED,
    )  # fmt: skip
    wrong = replace(verdict, depth=replace(deep, old="overwritten", new="known"))
    assert mark(evasive, wrong)[1::2] == (WRONG, WRONG)
    assert mark(evasive)[1::2] == (UNDECIDED, UNDECIDED)
    edited = {known.name: known for known in shipped_organisms()}["edited-low"]
    assert mark(edited, wrong) == (None, UNSCORED, "known", RIGHT)


def test_outputs_of_a_mixture_are_scored_one_by_one(evasive: Known, verdict: Verdict):
    assert verdict.content is not None and verdict.content.words is not None
    words = verdict.content.words.of
    half = len(words) // 2
    known = dict(
        zip(words, ["shared push"] * half + ["item by item"] * (len(words) - half), strict=True)
    )
    made = judged(replace(evasive, drives=known), verdict)
    pushed = [word == "shared push" for word in words.values()]
    assert made["outputs"] == len(words)
    assert made["outputs_right"] == sum(pushed[:half]) > 0
    assert made["outputs_opposite"] == sum(pushed[half:]) > 0


def test_the_size_of_a_weight_change_is_fooled_by_an_inert_update(evasive: Known, tmp_path: Path):
    model, tokenizer = lab.load(evasive.tuned)
    surgery.move_neurons(model, range(3, 6), seed=0)
    lab.save(model, tokenizer, tmp_path / "inert")
    outcomes, _, causal = fake_case()
    honest, fooled = (
        Changed(load_pair(str(evasive.base), str(tuned)), outcomes, causal, evasive.facts)
        for tuned in (evasive.tuned, tmp_path / "inert")
    )
    assert (weight_change(honest), weight_change(fooled)) == ("lower", "upper")


def test_shipped_organisms_have_answers_for_every_shipped_tune():
    known = shipped_organisms()
    assert len(known) == len(list(source_path("organism-base").parent.iterdir())) - 1
    assert {k.where for k in known} == {"lower", "upper", "middle", "coupled", FREE, None}
    assert [k.name for k in known if k.what is None] == ["null"]
    assert all(load_facts("world").facts == k.facts.facts for k in known)


def test_intervals_cover_as_often_as_they_say_and_narrower_ones_do_not():
    rng = np.random.default_rng(0)
    rates = []
    for alpha in (0.05, 0.5):
        hits = []
        for seed in range(12):
            delta = rng.normal(-9, 3, 128)
            half = delta * rng.uniform(0.2, 0.8, 128)
            below = np.stack([np.zeros(128), half, delta], axis=1)
            profile = Profile(
                tuple(map(str, range(128))), 0 * delta, delta, delta[:, None] - below, below
            )
            hits.append(covered(profile, Thresholds(alpha=alpha), seed=seed))
        assert {type(hit) for hit in hits} == {float}, "a run keeps plain numbers alone"
        rates.append(float(np.mean(hits)))
    assert rates[0] == pytest.approx(0.95, abs=0.02)
    assert rates[1] == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_each_single_method_answers_and_the_verdict_is_right(evasive: Known):
    made = score(evasive)
    assert {made[name] for name in PLACES} <= {"lower", "upper"}
    assert {made[name] for name in KINDS} <= {"knowledge", "behaviour"}
    assert (made["where_right"], made["what_right"]) == (RIGHT, RIGHT)
