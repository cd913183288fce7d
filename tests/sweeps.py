"""Grids, budgets and runs by plain hooks that tests of the engine share."""

from __future__ import annotations

import tiny
import torch

from interp.sites import Kind
from patching.context import intervened
from patching.engine.block_cost import BlockCost
from patching.engine.schedule import MAX_BYTES
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Replace

CLOSE = 1e-4
RESIDUAL = (Kind.RESID_PRE, Kind.ATTN_OUT, Kind.MLP_OUT, Kind.RESID_POST)


def tight(model, examples):
    """The least a sweep may be given: one prompt and one edited copy at a time."""
    shape, width = BlockCost.of(model), int(examples.lengths.max())
    return 2 * shape.row_bytes(width, 0) + width * shape.kept_bytes


def roomy(model, examples):
    """What a sweep is given when nothing is said."""
    return MAX_BYTES


def grid(model, contrast, sites, source):
    """One cell per site and position that writes the source's activation."""
    width = contrast.clean.tokens.shape[1]
    return [
        Cell((Edit(s, tiny.one_position(contrast.corrupted, p), Replace(source[s].values)),))
        for s in sites
        for p in range(width)
    ]


def hooked(model, examples, edits, metric):
    """The metric of a full forward with the edits attached, prompts one by one, unpadded."""
    found = []
    for i in range(len(examples)):
        row = torch.tensor([i])
        real = examples.mask[i].nonzero()[:, 0]
        tokens = examples.tokens[i, real][None]
        cut = [
            Edit(e.site, e.where[i, real][None], _Row(e.intervention, i, real, e.where.shape[1]))
            for e in edits
        ]
        with intervened(model, cut) as inside:
            logits = inside.logits(tokens)[:, int(metric.positions[i]) - int(real[0])]
        logits = logits if metric.tokens is None else logits[:, metric.tokens]
        found.append(metric(logits, row)[0])
    return torch.stack(found)


class _Row:
    """An intervention made for padded examples, seen by one unpadded example."""

    def __init__(self, intervention, row, real, width):
        self.parts = intervention, row, real, width

    def __call__(self, act, example):
        intervention, row, real, width = self.parts
        full = act.new_zeros(1, width, *act.shape[2:])
        full[:, real] = act
        return intervention(full, torch.tensor([row]))[:, real]
