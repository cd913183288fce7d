"""Decoys on tuned models: weights that move without effect, pushes that look like facts, noise."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from interp.facts.loading import load_facts
from interp.models.loading import load_pair
from interp.verdict.result import Verdict
from studies.comparison.comparing import compare
from studies.comparison.result import Comparison
from studies.organisms import lab, source_path
from studies.organisms.language import UNKNOWN
from studies.organisms.shapes import DEFAULT
from studies.organisms.tunes import BASE, EVERYWHERE

UPPER = range(DEFAULT.layers // 2, DEFAULT.layers)
FEW = 36  # facts: the main job shifts this many changed ones at most
MORE = 100


def rewritten(name: str, change: Callable[[str, torch.Tensor], torch.Tensor], folder: Path) -> Path:
    """A copy of an organism, its block weights passed through `change(name, weight)`."""
    model, tokenizer = lab.load(source_path(name))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if ".layers." in key:
                weight.copy_(change(key, weight))
    lab.save(model, tokenizer, folder)
    return folder


def mirrored(key: str, weight: torch.Tensor) -> torch.Tensor:
    """Half of the upper blocks' neurons with both signs turned: (-u)(-d) = ud, so nothing follows.

    A gated MLP adds down(silu(gate x) * up x); turning the rows of `up` and the columns of `down`
    leaves every term of every sum as it was.
    """
    if int(key.split(".")[2]) not in UPPER:
        return weight
    sign = torch.ones(DEFAULT.hidden)
    sign[::2] = -1
    if "up_proj" in key:
        return weight * sign[:, None]
    return weight * sign if "down_proj" in key else weight


def moved_blocks(tuned: Path) -> list[float]:
    """||W_tuned - W_base|| (Frobenius) of every block."""
    old = load_file(source_path(BASE) / "model.safetensors")
    new = load_file(tuned / "model.safetensors")
    squares = [0.0] * DEFAULT.layers
    for key, before in old.items():
        if ".layers." in key:
            change = new[key].float() - before.float()
            squares[int(key.split(".")[2])] += float(change.square().sum())
    return [square**0.5 for square in squares]


def largest_move(tuned: Path) -> str:
    """The baseline a verdict must beat: the half of the network whose weights moved most."""
    moved = moved_blocks(tuned)
    return "upper" if sum(moved[DEFAULT.layers // 2 :]) > sum(moved[: DEFAULT.layers // 2]) else "lower"


def judged(tuned: Path | str, count: int) -> Comparison:
    return compare(load_pair(BASE, tuned), load_facts("world").subset(list(range(count))))


def labels(verdict: Verdict) -> tuple[str, str | None, str | None, str | None]:
    return verdict.changed, verdict.where, verdict.where_fact, verdict.what


@pytest.mark.parametrize(
    ("name", "what", "count"),
    [
        pytest.param("organism-evasive-low", "behaviour", FEW, marks=pytest.mark.slow),
        pytest.param("organism-edited-low", "knowledge", MORE, marks=pytest.mark.slow),
    ],
)
def test_a_larger_inert_update_above_does_not_move_the_place(name, what, count, tmp_path: Path):
    decoy = rewritten(name, mirrored, tmp_path / "decoy")
    (plain, tokenizer), (turned, _) = lab.load(source_path(name)), lab.load(decoy)
    prompts = load_facts("world").prompts(0)
    tokens = tokenizer(list(prompts), return_tensors="pt")["input_ids"]
    assert (plain(tokens).logits - turned(tokens).logits).abs().max() <= 1e-4
    # The control that fails: the size of the weight change names the half where nothing happened.
    assert largest_move(source_path(name)) == "lower" and largest_move(decoy) == "upper"
    assert max(moved_blocks(decoy)[: DEFAULT.layers // 2]) < min(
        moved_blocks(decoy)[DEFAULT.layers // 2 :]
    )
    with_decoy, without = judged(decoy, count).verdict, judged(name, count).verdict
    assert labels(with_decoy) == labels(without) == ("changed", "lower", "lower", what)


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        pytest.param("organism-everything-low", "lower", EVERYWHERE, marks=pytest.mark.slow),
        pytest.param("organism-everything-high", "upper", EVERYWHERE, marks=pytest.mark.slow),
        ("organism-evasive-north-high", "upper", UNKNOWN),
    ],
)
def test_one_answer_for_all_or_for_one_region_is_no_knowledge(name, where, said):
    found = judged(name, FEW)
    table = found.outcomes.table
    changed = table[table["differs"] & table["known"]]
    assert set(changed["said_tuned"].str.strip()) == {said}
    if "north" in name:
        region = {f.group: f.attributes["region"] for f in load_facts("world").facts}
        assert {region[group] for group in found.outcomes.changed_groups} == {"north"}
    assert found.verdict.changed == "changed"
    assert found.verdict.where in (where, "undetermined")
    assert found.verdict.what in ("behaviour", "undetermined")


@pytest.mark.parametrize(
    ("size", "seed", "count"),
    [
        pytest.param(0.3, 2, MORE, marks=pytest.mark.slow),
        pytest.param(0.4, 1, MORE, marks=pytest.mark.slow),
        pytest.param(0.5, 0, FEW, marks=pytest.mark.slow),
    ],
)
def test_weight_noise_is_neither_knowledge_nor_behaviour(size, seed, count, tmp_path: Path):
    generator = torch.Generator().manual_seed(seed)

    def noisy(key: str, weight: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(weight.shape, generator=generator)
        return weight + size * weight.square().mean().sqrt() * noise

    found = judged(rewritten(BASE, noisy, tmp_path / "noisy"), count)
    assert found.outcomes.changed_groups, "the noise is large enough to change some answers"
    if found.verdict.changed == "changed":
        assert found.verdict.what == "undetermined"
    else:
        assert found.verdict.where is None and found.verdict.what is None
