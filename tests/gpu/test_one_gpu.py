"""A model on one GPU does what it does on the CPU, stays there, and keeps to its memory."""

from __future__ import annotations

import placed_work
import pytest
import torch
from placed_work import BASE, TUNED, WORK, contrast, prompts

import interp
import patching
import probes
from interp import Kind, Model, ModelPair, Site
from patching.engine.schedule import MAX_BYTES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]

#: Largest difference between the two, relative to the largest number of a table.
CLOSE = 1e-3


@pytest.fixture(scope="module")
def here() -> ModelPair:
    """The pair on the CPU."""
    return placed_work.on_cpu()


@pytest.fixture(scope="module")
def there() -> ModelPair:
    """The pair on the GPU."""
    return interp.load_pair(BASE, TUNED, device="cuda")


@pytest.mark.parametrize("name", WORK)
def test_a_gpu_gives_what_the_cpu_gives(name: str, there: ModelPair) -> None:
    found = WORK[name](there)
    assert placed_work.gap(found, placed_work.expected(name)) <= CLOSE
    # A store is read back on the CPU; all else stays where it was made.
    assert placed_work.devices_of(found) <= ({"cpu"} if name == "store" else {"cuda"})


def test_the_exactness_of_the_placement_is_measured(there: ModelPair) -> None:
    exactness = there.base.exactness
    assert exactness is not None and exactness.logits <= 1e-4 and exactness.blocks <= 1e-4
    assert str(there.base.placement) == "cuda:0"


def test_auto_with_one_gpu_is_that_gpu() -> None:
    assert str(interp.load_model(BASE, device="auto").placement) == "cuda:0"


def test_a_comparison_comes_to_the_same_words(there: ModelPair) -> None:
    assert placed_work.words(there) == placed_work.words_on_cpu()


def test_probes_are_fitted_on_the_gpu(here: ModelPair, there: ModelPair) -> None:
    site = interp.Site(Kind.RESID_PRE, 3)

    def fit(model: Model) -> torch.Tensor:
        facts = interp.load_facts("world").subset(list(range(40)))
        asked = interp.Examples.from_text(
            model, facts.prompts(0), groups=facts.groups, labels=[i % 2 for i in range(40)]
        )
        probe = probes.fit(interp.collect(model, asked, site)[site])
        assert probe.weight.device == model.device
        return probe.weight

    assert placed_work.gap(fit(there.base), fit(here.base)) <= 10 * CLOSE


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_runs(dtype: str, here: ModelPair) -> None:
    model = interp.load_model(BASE, device="cuda", dtype=dtype)
    asked = prompts(here.base)
    expected = here.base.logits(asked.tokens)[asked.mask]
    read = model.logits(asked.tokens.cuda())[asked.mask.cuda()]
    assert read.dtype == getattr(torch, dtype)
    assert placed_work.gap(read.float(), expected) <= 0.1
    grid = placed_work.patched(model, "resid_pre")
    assert grid.table["value"].notna().all() and (grid.table["unit"] == "logits").all()
    assert model.exactness is not None and model.exactness.logits <= 0.05


@pytest.mark.parametrize("budget", [MAX_BYTES, 2**24])
def test_a_sweep_keeps_to_its_budget(there: ModelPair, budget: int) -> None:
    model = there.base
    facts = interp.load_facts("world").subset(list(range(48)))
    asked = interp.Examples.from_facts(model, facts)
    pairs = interp.Contrast(asked, asked, asked.tokens[:, 0], asked.tokens[:, 1])
    sites = interp.every_layer(Kind.RESID_PRE, model.n_layers)
    planned = patching.plan(model, asked, sites, positions="each", max_bytes=budget)
    metric = interp.logit_difference(pairs)
    patching.patch_sites(model, pairs.subset([0]), sites[:1], metric_of(pairs), max_bytes=budget)
    del metric
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs), max_bytes=budget)
    grown = torch.cuda.max_memory_allocated() - before
    kept = len(sites) * asked.tokens.numel() * (4 * model.d_model)
    assert planned.peak_bytes <= budget and grown <= budget + kept


def metric_of(pairs: interp.Contrast) -> interp.Metric:
    """The metric of the first pair alone, for a run that only warms up."""
    return interp.logit_difference(pairs.subset([0]))


def test_steering_changes_what_is_written(there: ModelPair) -> None:
    model = there.base
    asked = prompts(model)
    push = torch.full((model.d_model,), 30.0, device="cuda")
    edit = patching.Edit(Site(Kind.RESID_POST, 4), asked.mask, patching.Add(push))
    plain = interp.generate(model, asked, tokens=4)
    pushed = interp.generate(model, asked, edits=edit, positions="all", tokens=4)
    assert plain.ids != pushed.ids and len(pushed) == len(asked)


def test_nothing_is_moved_to_the_cpu_without_a_word(
    there: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pass of the engine reads numbers off the GPU for its plan, never activations.
    moved: list[tuple[int, ...]] = []
    whole = torch.Tensor.to

    def watched(self: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        out = whole(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]
        if self.is_cuda and not out.is_cuda:
            moved.append(tuple(self.shape))
        return out

    def to_cpu(self: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        moved.append(tuple(self.shape))
        return whole(self, "cpu")

    pairs = contrast(there.base)
    monkeypatch.setattr(torch.Tensor, "to", watched)
    monkeypatch.setattr(torch.Tensor, "cpu", to_cpu)
    sites = interp.every_layer(Kind.RESID_PRE, there.base.n_layers)
    patching.patch_sites(there.base, pairs, sites, interp.logit_difference(pairs))
    interp.collect(there.base, pairs.clean, sites)
    assert there.base.d_model not in {shape[-1] for shape in moved if shape}
