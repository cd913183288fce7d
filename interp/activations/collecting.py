"""`collect`: the activations of many sites in one pass, into memory or into a store."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations.hooks import check_sites, observed
from interp.activations.reading import Positions, Wanted, batches, forwards, run_up_to
from interp.activations.storing import collect_into
from interp.activations.values import Activations
from interp.arguments import at_least_one, sites_of
from interp.examples import Examples
from interp.models.alike import alike
from interp.models.block_calls import entering
from interp.progress import tracked
from interp.sites import RESIDUAL_KINDS, Site, last_layer

if TYPE_CHECKING:
    from interp.models.model import Model
    from interp.models.pair import ModelPair


def collect(
    model: Model,
    examples: Examples | str | Sequence[str],
    sites: Site | str | Sequence[Site | str],
    *,
    positions: Positions = "last",
    batch_size: int = 64,
    store: Path | str | None = None,
    dtype: str | None = None,
) -> dict[Site, Activations]:
    """Collect the activations of many sites in one pass over the examples.

    Only the wanted positions are ever copied, inside the hook, so that memory beside the forward's
    own grows with what is asked for. The pass stops after the last layer needed (no logits are
    computed), and examples are batched by length, so that no padding is. Every kept tensor is a copy.

    Args:
        model: whose activations.
        examples: the prompts, or their texts.
        sites: one or several of any kind, or names of TransformerLens hooks; a head's own slice where
            a site names one.
        positions: what becomes a row. One token of each example: "last", "subject_last",
            "subject_first" (or so of another span); one number for all, which counts each prompt's
            tokens from 0, or from −1, the last; or one column per example. Several tokens of each
            example, a row for each: the name of a span, such as "subject", or "each" for all real
            tokens; `example_index` and `token_index` then tell whose row it is. "all" for the
            rectangle [example, position, d] with NaN at padding.
        batch_size: prompts per forward.
        store: a folder to keep the activations in, shard by shard. What it holds already is not
            computed again: a call that was interrupted goes on behind the last complete shard, more
            prompts are appended, damaged shards are named in a warning and collected anew. Batches
            are those of a call without a store.
        dtype: what they are stored as: "float32", "float16" or "bfloat16"; by default the model's.

    Returns:
        The activations of each site, in the order of the sites, [row, d] in the model's dtype; rows
        are in the order of the examples, and of the tokens within one. Those of a store stay on disk
        and are read when they are used.

    Raises:
        ValueError: if a site is not in this model, or `positions` are unknown or of another length;
            if the store is of another model, other sites, positions or another dtype, or is being
            written by another process; if a number is too large for float16.

    Example:
        >>> import interp
        >>> model, facts = interp.load_model("organism-base"), interp.load_facts("world")
        >>> examples = interp.Examples.from_facts(model, facts).subset([0, 1, 2])
        >>> site = interp.Site(interp.Kind.RESID_PRE, 1)
        >>> last = interp.collect(model, examples, site)[site]
        >>> tuple(last.values.shape) == (3, model.d_model)
        True
        >>> each = interp.collect(model, examples, "blocks.1.hook_resid_pre", positions="each")[site]
        >>> len(each) == int(examples.lengths.sum()), each.example_index.unique().tolist()
        (True, [0, 1, 2])
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept = interp.collect(model, examples, site, store=folder)[site]
        ...     kept.shape == last.shape, bool((kept.values == last.values).all())
        (True, True)
    """
    if not isinstance(examples, Examples):
        texts = [examples] if isinstance(examples, str) else list(examples)
        examples = Examples.from_text(model, texts)
    chosen: list[Site] = list(dict.fromkeys(sites_of(sites)))
    check_sites(model, chosen)
    wanted, size = Wanted(examples, positions), at_least_one("batch_size", batch_size)
    if store is not None:
        return dict(collect_into(Path(store), model, wanted, chosen, size, dtype))
    if dtype is not None:
        raise ValueError(
            f"dtype got {dtype!r} without a store; it says what a store holds: give store="
        )
    kept = _Kept(model, wanted, chosen)
    for _ in forwards(model, wanted, chosen, batches(examples, size), kept.see):
        pass
    return {site: kept.activations(site) for site in chosen}


def collect_both(
    pair: ModelPair,
    examples: Examples,
    sites: Sequence[Site],
    positions: Sequence[str],
    *,
    batch_size: int = 64,
) -> dict[tuple[str, str], dict[Site, Activations]]:
    """The activations of both models at several positions, from one pass over the examples.

    The blocks that tuning left as they were run once for both models.

    Args:
        pair: the models.
        examples: the prompts.
        sites: one or several of any kind.
        positions: what becomes a row, each as `collect` takes it.
        batch_size: prompts per forward.

    Returns:
        By role and position, what `collect` gives.

    Raises:
        ValueError: as `collect`.
    """
    check_sites(pair.base, sites)
    same, stop = alike(pair.base, pair.tuned), last_layer(sites) + 1
    moved = [site for site in sites if not same.same_at(site)]
    wanted = {name: Wanted(examples, name) for name in positions}
    base, tuned = (
        {name: _Kept(model, each, chosen) for name, each in wanted.items()}
        for model, chosen in ((pair.base, sites), (pair.tuned, moved))
    )
    first = max(same.below, 0)
    for rows in tracked(batches(examples, batch_size), "activations"):
        columns = [each.begin(rows) for each in wanted.values()][0]
        tokens = examples.tokens[rows].gather(1, columns)
        with torch.no_grad(), entering(pair.base.bridge, first) as entered:
            with observed(pair.base, sites, partial(_see, base)):
                run_up_to(pair.base, tokens, stop)
            with observed(pair.tuned, moved, partial(_see, tuned)):
                if moved and same.below > 0:
                    entered.through(pair.tuned.bridge, stop)
                elif moved:
                    run_up_to(pair.tuned, tokens, stop)
    both = {}
    for name in wanted:
        ours = {site: base[name].activations(site) for site in sites}
        theirs = {site: tuned[name].activations(site) for site in moved}
        both[pair.base.role, name] = ours
        both[pair.tuned.role, name] = {
            s: theirs.get(s) or replace(ours[s], model=pair.tuned.role) for s in sites
        }
    return both


def _see(kept: Mapping[str, _Kept], site: Site, value: Tensor) -> None:
    """Keep of a batch's activation what each position wants."""
    for each in kept.values():
        each.see(site, each.wanted.of(site, value))


class _Kept:
    """The wanted tokens' activations, gathered batch by batch.

    Every wanted token has a row of its own in what is kept; for the whole rectangle its row is
    example · width + column.
    """

    def __init__(self, model: Model, wanted: Wanted, sites: Sequence[Site]) -> None:
        n, width = wanted.examples.tokens.shape
        self.model, self.wanted, self.whole = model, wanted, wanted.name == "all"
        self.shape = (n, width) if self.whole else (len(wanted.example),)
        every = torch.arange(len(wanted.example), device=wanted.example.device)
        self.row = wanted.example * width + wanted.column if self.whole else every
        self.kept: dict[Site, Tensor] = {}
        for site in sites:
            if site.kind in RESIDUAL_KINDS:
                self.prepare(site, (model.d_model,))

    def prepare(self, site: Site, d: Sequence[int]) -> None:
        """Make room for a site before the forwards.

        Kept tensors made between the forwards' passing ones would leave the memory in pieces.
        """
        shape = (math.prod(self.shape), *d)
        self.kept[site] = torch.full(
            shape, float("nan"), dtype=self.model.dtype, device=self.model.device
        )

    def see(self, site: Site, rows: Float[Tensor, "chosen *d"]) -> None:
        """Keep the wanted rows of a batch."""
        if site not in self.kept:
            self.prepare(site, rows.shape[1:])
        self.kept[site][self.row[self.wanted.chosen]] = rows

    def activations(self, site: Site) -> Activations:
        """What was kept of a site, [row, *d] or [example, position, *d]."""
        examples, wanted = self.wanted.examples, self.wanted
        whole = (examples.groups, examples.labels, None, None)
        groups, labels, example_index, token_index = whole if self.whole else wanted.per_row()
        values = self.kept[site].unflatten(0, self.shape)
        return Activations(
            site, values, groups, labels, wanted.name, self.model.role, example_index, token_index
        )
