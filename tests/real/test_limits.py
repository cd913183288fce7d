"""Limits on the real language model: memory that is kept, and every site against plain hooks."""

from __future__ import annotations

import threading
import time

import psutil
import pytest
import torch

import interp
from benchmarks.patching import random_pairs
from interp.activations import collect
from interp.sites import Kind, Site
from patching.engine.sweeping import sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace
from patching.methods.grids import patch_sites

pytestmark = pytest.mark.real
GIB = 2**30


@pytest.fixture(scope="module")
def model():
    return interp.load_model("smollm2")


class Watch:
    """The largest resident size of this process while inside, above what it was on entering."""

    def __enter__(self):
        self.process, self.stopped = psutil.Process(), threading.Event()
        self.start = self.peak = self.process.memory_info().rss
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def _look(self):
        while not self.stopped.is_set():
            self.peak = max(self.peak, self.process.memory_info().rss)
            time.sleep(0.005)

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    @property
    def growth(self):
        return self.peak - self.start


def test_a_grid_stays_within_its_budget_with_the_same_numbers(model):
    pairs = random_pairs(16, 18)
    sites = interp.every_layer(Kind.RESID_PRE, model.n_layers)
    metric = interp.logit_difference(pairs)
    sweep(model, pairs.clean, [], {"m": metric})
    tables = {}
    for budget in (GIB, GIB // 8):
        with Watch() as watch:
            tables[budget] = patch_sites(model, pairs, sites, metric, max_bytes=budget)
        assert watch.growth <= max(budget, GIB // 2), f"grew by {watch.growth / GIB:.3f} GiB"
    first, second = (t.where(condition="patched")["value"].to_numpy() for t in tables.values())
    assert abs(first - second).max() <= 1e-4 * max(1.0, abs(first).max())
    assert first.std() > 0.5


@pytest.mark.parametrize("kind", [Kind.Q, Kind.K, Kind.V, Kind.Z, Kind.PATTERN, Kind.MLP_POST])
def test_inner_sites_equal_plain_hooks(model, kind):
    pairs = random_pairs(2, 6)
    head = None if kind is Kind.MLP_POST else 1
    metric, row = interp.logit_difference(pairs), torch.arange(2)
    sites = [Site(kind, layer, head) for layer in (0, 11, 23)]
    source = collect(model, pairs.clean, sites, positions="all")
    where = pairs.corrupted.span_mask("last")
    cells = [Cell((Edit(s, where, Replace(source[s].values)),)) for s in sites]
    swept = sweep(model, pairs.corrupted, cells, {"m": metric})
    _, cache = model.bridge.run_with_cache(pairs.clean.tokens)
    for mine, site in zip(swept.values["m"], sites, strict=True):

        def write(act, hook, head=site.head):
            out = act.clone()
            if kind is Kind.PATTERN:
                out[:, head, -1] = cache[hook.name][:, head, -1]
            elif head is None:
                out[:, -1] = cache[hook.name][:, -1]
            else:
                out[:, -1, head] = cache[hook.name][:, -1, head]
            return out

        hooks = [(site.hook_name, write)]
        logits = model.bridge.run_with_hooks(pairs.corrupted.tokens, fwd_hooks=hooks)[:, -1]
        theirs = logits[row, pairs.answers] - logits[row, pairs.foils]
        assert (mine - theirs).abs().max() <= 1e-4 * max(1.0, float(theirs.abs().max()))
    assert (swept.values["m"] - swept.baseline["m"]).abs().max() > 1e-3
