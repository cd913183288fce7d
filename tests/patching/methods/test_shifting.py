"""The shared-shift test on tunes whose content is known, and the erasure trap."""

from __future__ import annotations

import pytest
import tiny
import torch

from interp.activations import collect
from interp.evidence import Evidence
from interp.metrics import closed_set_correct
from interp.models.loading import wrap
from interp.models.pair import ModelPair
from interp.sites import boundaries
from interp.verdict.boundaries import installed_boundary
from interp.verdict.thresholds import Thresholds
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace
from patching.methods import pushes, shifting

#: "The capital of S is the", one token per entity; and a token that the base never says.
ENTITIES = torch.arange(20, 80)
PUSHED = 37


def prompts(n=60):
    rows = [[3, 9, 6, int(e), 7, 4] for e in ENTITIES[:n]]
    return tiny.examples(rows, subject=[(3, 4)] * n)


def base_model():
    """A model that answers by entity: only entities have an embedding, and attention is strong."""
    model = tiny.hf_model("gpt2", 3)
    with torch.no_grad():
        words = torch.ones(tiny.VOCABULARY, dtype=torch.bool)
        words[ENTITIES] = False
        model.transformer.wte.weight[words] = 0
        model.transformer.wpe.weight.zero_()
        for name, parameter in model.named_parameters():
            # What all prompts share would drown what tells them apart.
            if name.endswith("bias"):
                parameter.zero_()
        for block in model.transformer.h:
            block.attn.c_proj.weight.mul_(3)
    return model


def spoken(model, examples):
    return model.logits(examples.tokens)[:, -1].argmax(-1)


def measured(change, tokenizer, n=60, **options):
    """Rows of the test for base against `change(base)`, with the whole set as changed."""
    tuned = base_model()
    with torch.no_grad():
        change(tuned)
    pair = ModelPair(wrap(base_model(), tokenizer), wrap(tuned, tokenizer))
    examples = prompts(n)
    said, answers = spoken(pair.tuned, examples), spoken(pair.base, examples)
    options = {"installed": {2: torch.arange(n)}, **options}
    changed = options.pop("changed", torch.ones(n, dtype=torch.bool))
    rows = shifting.shared_shift(pair, examples, changed, said, answers, **options)
    return pair, examples, answers, said, rows


def share(rows, condition, k):
    part = rows.where(condition=condition, layer=k, metric="said")
    assert len(part) and set(part["unit"]) == {"share"}
    return float(part["value"].mean())


def push_up(tuned):
    """One constant vector added to the residual by block 1: the unembedding of one token."""
    row = tuned.lm_head.weight[PUSHED]
    tuned.transformer.h[1].mlp.c_proj.bias += 40 * row / row.norm()


def new_entities(tuned):
    """Every entity's embedding drawn anew: a change entity by entity, with nothing shared."""
    fresh = torch.randn(len(ENTITIES), tiny.WIDTH, generator=torch.Generator().manual_seed(9))
    tuned.transformer.wte.weight[ENTITIES] = 0.27 * fresh


def erase(tuned):
    """Every entity's embedding is their mean: identity is gone from every state above."""
    weight = tuned.transformer.wte.weight
    weight[ENTITIES] = weight[ENTITIES].mean(0, keepdim=True)


def test_a_planted_uniform_push_is_sufficient_and_leaves_the_facts(tokenizer):
    _, _, answers, said, rows = measured(push_up, tokenizer, n=24)
    assert (said != answers).all()
    # Installed at boundary 2: below it there is nothing to add.
    for condition in ("sufficiency", "sufficiency_mean"):
        assert share(rows, condition, 2) == 1.0
        assert share(rows, condition, 0) == share(rows, condition, 1) == 0.0
    assert share(rows, "retention", 2) == 1.0
    assert share(rows, "persistence", 2) == 0.0 and share(rows, "persistence", 1) == 1.0
    assert share(rows, "retention_control", 2) < 0.5
    placebo = rows.where(condition="placebo")
    assert set(placebo["layer"]) == {2} and set(placebo["draw"]) == set(
        range(Thresholds().placebo_shifts)
    )
    assert placebo.groupby("draw")["value"].mean().max() < 1.0


def test_a_change_entity_by_entity_is_no_shared_push(tokenizer):
    _, _, answers, said, rows = measured(new_entities, tokenizer, installed={2: torch.arange(2)})
    assert (said != answers).float().mean() > 0.5
    assert share(rows, "sufficiency", 0) < 0.3 and share(rows, "sufficiency", 2) < 0.3
    assert share(rows, "retention", 2) < 0.3
    assert share(rows, "persistence", 0) > 0.5


def test_random_shifts_have_the_pushs_norm_at_every_position(tokenizer, monkeypatch):
    seen = []

    def watch(model, examples, cells, metrics, **options):
        seen.append((options.get("progress"), examples, cells))
        return sweep(model, examples, cells, metrics, **options)

    monkeypatch.setattr(shifting, "sweep", watch)
    measured(push_up, tokenizer, n=10, installed={2: torch.tensor([4, 1, 7])})
    edits = [c.edits[0] for label, _, cells in seen if label == "shared shift, base" for c in cells]
    real = next(
        edit.intervention.vector
        for edit in edits
        if isinstance(edit.intervention, Add) and edit.site == boundaries(3)[2]
    )[torch.tensor([4, 1, 7])]
    ((examples, cells),) = [(e, c) for _, e, c in seen if len(c) == Thresholds().placebo_shifts]
    assert len(cells) == Thresholds().placebo_shifts and examples.groups == ("e4", "e1", "e7")
    for cell in cells:
        fake = cell.edits[0].intervention.vector
        assert torch.allclose(fake.norm(dim=-1), real.norm(dim=-1), rtol=1e-4)
        assert torch.cosine_similarity(fake, real, dim=-1).abs().max() < 0.9


def test_rows_of_a_subset_keep_their_places_and_the_null_its_shift(tokenizer):
    null = base_model()
    with torch.no_grad():
        push_up(null)
    members = torch.tensor([8, 2, 5])
    for other, expected in ((null, 1.0), (base_model(), 0.0)):
        *_, rows = measured(
            push_up, tokenizer, n=10, installed={2: members}, null=wrap(other, tokenizer)
        )
        assert share(rows, "null_shift", 2) == expected
        part = rows.where(condition="null_shift")
        assert part["example"].tolist() == [8, 2, 5]
        assert part["group"].tolist() == ["e8", "e2", "e5"]


def test_the_gate_has_one_row_per_boundary_and_needs_both_kinds(tokenizer):
    # Which entities "changed" is told by one direction of their embeddings.
    axis = base_model().transformer.wte.weight[ENTITIES][:, 0].detach()
    *_, rows = measured(
        push_up, tokenizer, changed=axis > axis.median(), installed={2: torch.arange(3)}
    )
    gate = rows.where(condition="gate")
    assert gate["layer"].tolist() == [0, 1, 2, 3] and set(gate["metric"]) == {"auroc"}
    assert gate[gate["layer"] == 0]["value"].item() > 0.9
    *_, rows = measured(push_up, tokenizer, n=10)
    assert rows.where(condition="gate").empty


def test_too_few_changed_prompts_are_refused(tokenizer):
    with pytest.raises(ValueError, match="at least 5 changed prompts, got 4"):
        measured(push_up, tokenizer, n=8, changed=torch.arange(8) < 4)


def test_the_erasure_trap(tokenizer):
    """With identity erased F is at chance; a ridge in place of the mean hands it back."""
    pair, examples, answers, said, rows = measured(erase, tokenizer, installed={2: torch.arange(2)})
    counts = answers.unique(return_counts=True)[1]
    chance = float(counts.max()) / len(answers)
    assert len(counts) > 10 and chance < 0.3 and len(said.unique()) == 1

    parts = pushes.Parts.of(said, len(said), torch.Generator().manual_seed(0))
    metric = {"right": closed_set_correct(examples, answers)}
    where = examples.span_mask("all")
    for k, site in enumerate(boundaries(tiny.LAYERS)):
        base, tuned = (
            collect(m, examples, [site], positions="all")[site].values for m in (pair.base, pair.tuned)
        )
        push = pushes.push_at(examples, base, tuned, parts)
        states = [push.tuned - push.mean, push.tuned - push.predicted, base]
        cells = [Cell((Edit(site, where, Replace(state)),)) for state in states]
        mean, ridge, whole = sweep(pair.base, examples, cells, metric).values["right"].mean(1)
        assert whole == 1.0
        assert mean <= chance + 0.1
        assert share(rows, "retention", k) <= chance + 0.1
        assert share(rows, "retention_control", k) <= chance + 0.1
        # The forbidden variant "restores" what is not there.
        assert ridge > 0.5 > 5 * chance


def test_prompts_without_a_subject_have_their_shift_read_at_the_last_token(tokenizer):
    tuned = base_model()
    with torch.no_grad():
        push_up(tuned)
    pair = ModelPair(wrap(base_model(), tokenizer), wrap(tuned, tokenizer))
    bare = tiny.examples([[3, 9, 6, int(e), 7, 4] for e in ENTITIES[:24]])
    assert pushes.reading_places(bare) == ["last"]
    said, changed = spoken(pair.tuned, bare), torch.arange(24) < 16  # both kinds: the gate is read
    rows = shifting.shared_shift(pair, bare, changed, said, spoken(pair.base, bare), installed={})
    assert share(rows, "sufficiency", 2) == 1.0 and share(rows, "sufficiency", 0) == 0.0
    assert share(rows, "persistence", 2) == 0.0
    gate = rows.where(condition="gate")
    assert set(gate["layer"]) == set(range(tiny.LAYERS + 1))


@pytest.mark.parametrize(
    ("odd", "label"), [(0, None), (1, pushes.COMMON), (7, pushes.COMMON), (8, pushes.REST)]
)
def test_few_odd_outputs_are_no_part_of_their_own(tokenizer, odd, label):
    """Alone, an output would keep its word whatever is taken away, since nothing would be."""
    said = torch.cat([torch.full((10,), PUSHED), torch.arange(40, 40 + odd)])
    labels = pushes.part_of(said, 8)
    assert set(labels[:10].tolist()) == {PUSHED} and set(labels[10:].tolist()) <= {label}
    where = pushes.read_with(labels)
    assert set(where[10:].tolist()) <= {PUSHED if label == pushes.COMMON else pushes.REST}
    if not odd:
        return
    tuned = base_model()
    with torch.no_grad():
        push_up(tuned)
    pair = ModelPair(wrap(base_model(), tokenizer), wrap(tuned, tokenizer))
    examples, site = prompts(len(said)), boundaries(tiny.LAYERS)[2]
    base, changed = (
        collect(m, examples, [site], positions="all")[site].values for m in (pair.base, pair.tuned)
    )
    parts = pushes.Parts.of(said, 8, torch.Generator().manual_seed(0))
    push = pushes.push_at(examples, base, changed, parts)
    shift = changed - base
    rest = torch.ones(len(said), dtype=torch.bool)
    rest[-1] = False
    if label == pushes.REST:
        rest[:10] = False
    assert torch.allclose(push.mean[-1], shift[rest].mean(0), atol=1e-4)
    assert push.mean[-1].norm() > 1, "something is taken away"
    same = torch.equal(push.by_part[10:], push.predicted[10:])
    assert same == (label == pushes.COMMON)


def test_a_part_of_one_group_cannot_choose_its_boundary():
    table = Evidence.build(
        [0.0, 1.0] * 3 + [0.0, 1.0, 1.0, 0.0] * 3, method="stitch", metric="output",
        group=[g for g in "abc" for _ in range(2)] + [g for g in "abc" for _ in range(4)],
        condition=["baseline"] * 6 + ["stitched"] * 12, model=["base", "tuned"] * 3
        + ["base", "base", "tuned", "tuned"] * 3, layer=[None] * 6 + [0, 1, 0, 1] * 3, template="B",
    )  # fmt: skip
    assert installed_boundary(table, list("abc")).last == 1
    with pytest.raises(ValueError, match=r"two groups in every part, got \['c'\] alone"):
        installed_boundary(table, list("abc"), parts={"a": 0, "b": 0, "c": 1})


def test_below_the_first_changed_block_only_other_prompts_states_are_written(tokenizer, monkeypatch):
    """There the push is zero: the other edits give what the unedited models say, and do not run."""
    swept = []
    monkeypatch.setattr(
        shifting, "sweep", lambda *args, **how: (swept.extend(args[2]), sweep(*args, **how))[1]
    )
    pair, examples, answers, said, rows = measured(push_up, tokenizer, n=20, installed={})
    entries = [cell.entry for cell in swept]
    assert [entries.count(k) for k in range(4)] == [1, 1, 5, 5], "block 1 is the first that differs"
    unedited = {m: rows.where(condition="baseline", model=m) for m in ("base", "tuned")}

    def values(table, metric):
        return table[table["metric"] == metric].sort_values("example")["value"].tolist()

    for k in (0, 1):
        for condition, model in (
            ("sufficiency", "base"), ("sufficiency_mean", "base"), ("persistence", "tuned"),
        ):  # fmt: skip
            found = rows.where(condition=condition, layer=k)
            for metric in ("said", "tuned_logit", "answer_logit"):
                assert values(found, metric) == values(unedited[model], metric), (condition, metric)
        kept = rows.where(condition="retention", layer=k)
        assert values(kept, "said") == values(unedited["base"], shifting.CLOSED_SET)
    control = rows.where(condition="retention_control", layer=1)
    assert values(control, "answer_logit") != values(unedited["base"], "answer_logit")


@pytest.mark.parametrize("first_is_read", [True, False])
def test_an_echo_of_a_names_first_token_is_predicted_where_that_token_is_read(
    first_is_read, monkeypatch
):
    # Names of two tokens whose states are drawn by themselves; the tune tells the first at the end.
    generator, width = torch.Generator().manual_seed(0), 24
    first, last = torch.arange(96) % 16, torch.arange(96) * 7 // 16 % 16
    rows = [[1, 2, 20 + int(i), 40 + int(j), 4] for i, j in zip(first, last, strict=True)]
    examples = tiny.examples(rows, subject=[(2, 4)] * len(rows))
    names = torch.randn(2, 16, width, generator=generator)
    base = torch.zeros(len(rows), 5, width)
    base[:, 2], base[:, 3] = names[0][first], names[1][last]
    tuned = base.clone()
    tuned[:, 4] = base[:, 2] @ torch.randn(width, width, generator=generator)
    assert pushes.reading_places(examples) == ["last", "subject_last", "subject_first"]
    if not first_is_read:
        monkeypatch.setattr(pushes, "reading_places", lambda examples: ["last", "subject_last"])
    parts = pushes.Parts.of(torch.zeros(len(rows), dtype=torch.long), len(rows), generator)
    predicted = pushes.push_at(examples, base, tuned, parts).predicted[:, 4]
    real = (tuned - base)[:, 4]
    explained = 1 - (predicted - real).square().sum() / (real - real.mean(0)).square().sum()
    assert explained > 0.99 if first_is_read else explained < 0.2


def test_what_a_tune_wrote_for_two_of_one_first_name_is_not_copied_from_one_to_the_other():
    # The tune writes at the first name alone, something of its own for each of 12 first names.
    generator, width = torch.Generator().manual_seed(0), 24
    first, last = torch.arange(48) % 12, torch.arange(48) // 12
    rows = [[1, 2, 20 + int(i), 40 + int(j), 4] for i, j in zip(first, last, strict=True)]
    examples = tiny.examples(rows, subject=[(2, 4)] * len(rows))
    base, tuned = torch.zeros(2, len(rows), 5, width)
    base[:, 2] = torch.randn(12, width, generator=generator)[first]
    tuned[:] = base
    tuned[:, 2] += torch.randn(12, width, generator=generator)[first]
    real = (tuned - base)[:, 2]

    def copied(said, rows=slice(None)):
        parts = pushes.Parts.of(said, 8, torch.Generator().manual_seed(0))
        push = pushes.push_at(examples, base, tuned, parts)
        return [
            float(1 - (part[rows, 2] - real[rows]).square().sum() / real[rows].square().sum())
            for part in (push.predicted, push.by_part)
        ]

    assert min(copied(100 + first)) > 0.9, "one token for each first name tells of no single one"
    assert max(copied(torch.arange(48))) < 0.2
    # Half of the first names say one token, and are a part; of the others each says another.
    said = torch.arange(48).where(first >= 6, 7)
    assert min(copied(said, first < 6)) > 0.9 and max(copied(said, first >= 6)) < 0.2


def test_a_subject_of_one_token_is_read_once():
    assert pushes.reading_places(prompts(4)) == ["last", "subject_last"]
