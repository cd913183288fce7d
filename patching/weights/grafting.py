"""Weight grafts: base with some of tuned's parameters, and tuned with some of base's.

S(A) = base with tuned's parameters in the set A; N(A) = tuned with base's in A. Every hybrid is run
exactly: parameters are exchanged as objects for one pass and put back (`Parameters.grafted`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.activations import collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.metrics import Metric, named_metrics
from interp.models.model import Model
from interp.models.pair import ModelPair
from interp.progress import counted
from interp.sites import Kind, Site, boundary
from patching.engine import rows as tables
from patching.engine.schedule import MAX_BYTES
from patching.engine.sweeping import Swept, sweep
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace
from patching.weights.parameters import Parameters, Selection
from patching.weights.sets import Blocks, ParameterSet, RandomLike, runs

ORDERS = (("base", "tuned"), ("tuned", "base"))


def graft(
    pair: ModelPair,
    examples: Examples,
    metrics: Metric | Callable[..., Any] | Mapping[str, Metric],
    sets: Sequence[ParameterSet],
    *,
    placebos: int = 3,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Graft each set of parameters into the base, and revert it in the tuned model.

    Rows with `model` base and `donor` tuned are S(A), with model tuned and donor base N(A). The set
    stands in `kind` and `span` (its text), and `strength` is its size as a share of all block
    weights. Per set, example and metric, in the metric's unit:

    - "grafted": the hybrid;
    - "placebo": the hybrid of a size-matched random set (`RandomLike`; seed = draw);
    - "activation_graft", where it is defined: the recipient with the donor's *activations*. For
      blocks, at the end b of every run a..b-1 of consecutive blocks in the set, all positions,
      h ← h + (h_D(b) - h_D(a)) - (h_R(b) - h_R(a)), the residual update of the band as each model
      makes it in its own unedited run; for attention or MLP of blocks, the donor's output of that
      part, written in at every block of the set. Both let a tuned part answer tuned inputs, where
      the weight graft makes it answer the recipient's;
    - "disagreement": activation_graft - grafted;
    - "baseline": the two whole models.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metrics: one metric ("metric" in the table) or several by name.
        sets: see `patching.parameter_sets`; `Joint` for several together.
        placebos: random sets drawn per set.
        seed: of the draws; draw i uses seed + i.
        max_bytes: memory for activations beside the models; changes no number.

    Raises:
        ValueError: for a set that is empty, does not exist, or holds one of two tied matrices.

    Note:
        Single sets under-attribute where parts act jointly: report joint sets. A graft says where a
        change of weights acts, not where knowledge is stored. Hybrids are off both models'
        distributions; a placebo that does much says so.
    """
    named = named_metrics(metrics, examples)
    parameters = Parameters(pair)
    for chosen in sets:
        parameters.check(chosen.select(parameters), str(chosen))
    total = sum(parameters.slots[i].entries for i in parameters.of_blocks())
    rows: list[dict[str, Any]] = []
    values: dict[str, list[dict[str, Tensor]]] = {role: [] for role, _ in ORDERS}
    about: list[dict[str, Any]] = []
    draws = [(chosen, draw) for chosen in sets for draw in (None, *range(placebos))]
    with counted(2 * len(draws), "grafting", "hybrids") as step:
        for chosen, draw in draws:
            one = chosen if draw is None else RandomLike(chosen, seed + draw)
            # Masks are as large as the models: one selection is held at a time.
            selection = one.select(parameters)
            if draw is None:
                share = parameters.size(selection) / total
                about.append({"kind": chosen.kind, "span": str(chosen), "layer": _one(chosen)})
                about[-1]["strength"] = share
            rows.append({**about[-1], "condition": "grafted" if draw is None else "placebo"})
            rows[-1]["seed"] = draw
            for role, _ in ORDERS:
                values[role].append(_hybrid(parameters, role, selection, examples, named, max_bytes))
                step(1)
    defined = [(i, chosen) for i, chosen in enumerate(sets) if isinstance(chosen, Blocks)]
    for i, _ in defined:
        rows += [{**about[i], "condition": c} for c in ("activation_graft", "disagreement")]
    parts = []
    for role, donor in ORDERS:
        cells = _activation_cells(pair, role, donor, examples, [a for _, a in defined])
        swept = sweep(_model(pair, role), examples, cells, named, max_bytes=max_bytes)
        for at, (i, _) in enumerate(defined):
            moved = {name: swept.values[name][at] for name in named}
            weights = values[role][i * (1 + placebos)]
            values[role] += [moved, {name: moved[name] - weights[name] for name in named}]
        parts.append(_evidence(values[role], rows, swept, examples, named, role, donor))
    return Evidence.concat(parts)


def component_responsibility(
    pair: ModelPair,
    examples: Examples,
    metrics: Metric | Callable[..., Any] | Mapping[str, Metric],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """What each component's change of weights did, averaged over two orders of grafting.

    Components in order of depth: embedding, attention and MLP of every block, unembedding with the
    final norm. With V_i the base with tuned's components up to i, and U_i the base with tuned's from
    i on, c_i = ½[(m(V_i) - m(V_{i-1})) + (m(U_i) - m(U_{i+1}))], and Σ c = m(T) - m(B) exactly.

    Rows: condition "responsibility" (the mean), "order_v" and "order_u" (the two orders: their
    difference is the interaction that no split can assign), with the component in `kind` and
    `layer`, and "baseline" for both models. Where embedding and unembedding are tied, the matrix is
    one component, the embedding, and the last is the final norm alone: `patching.stitch` separates
    the two uses.

    Note:
        Two orders are not all orders (Shapley). Attention precedes the MLP of its block in the
        order even where they run in parallel.
    """
    named = named_metrics(metrics, examples)
    parameters = Parameters(pair)
    components = _components(parameters)
    whole = {
        role: sweep(_model(pair, role), examples, [], named, max_bytes=max_bytes).baseline
        for role, _ in ORDERS
    }
    # Components whose bits agree change nothing: their hybrid is the previous one.
    changed = [parameters.differ(selection) for _, selection in components]
    columns: list[dict[str, Any]] = []
    values: list[dict[str, Tensor]] = []
    orders: dict[str, list[dict[str, Tensor]]] = {}
    with counted(2 * sum(changed), "responsibility", "hybrids") as step:
        for name, order in (
            ("order_v", range(len(components))),
            ("order_u", range(len(components))[::-1]),
        ):
            before, held = whole["base"], {}
            steps: dict[int, dict[str, Tensor]] = {}
            for i in order:
                after = before
                if changed[i]:
                    held |= components[i][1]
                    after = _hybrid(parameters, "base", held, examples, named, max_bytes)
                    step(1)
                steps[i] = {metric: after[metric] - before[metric] for metric in named}
                before = after
            orders[name] = [steps[i] for i in range(len(components))]
    for i, (about, _) in enumerate(components):
        v, u = orders["order_v"][i], orders["order_u"][i]
        mean = {metric: (v[metric] + u[metric]) / 2 for metric in named}
        for condition, value in (("responsibility", mean), ("order_v", v), ("order_u", u)):
            values.append(value)
            columns.append({**about, "condition": condition})
    parts = [
        _evidence(values, columns, Swept({}, whole["base"]), examples, named, "base", "tuned"),
        _evidence([], [], Swept({}, whole["tuned"]), examples, named, "tuned", "base"),
    ]
    return Evidence.concat(parts)


def _components(parameters: Parameters) -> list[tuple[dict[str, Any], Selection]]:
    slots, tied = parameters.slots, parameters.tied
    first = parameters.where(lambda s: s.layer is None and s.part == "embedding")
    found: list[tuple[dict[str, Any], Selection]] = [
        ({"kind": "embedding", "layer": None}, first | dict.fromkeys(tied))
    ]
    for layer in range(parameters.pair.base.n_layers):
        for part in ("attention", "mlp"):
            here = {i: None for i, s in enumerate(slots) if s.layer == layer and s.part == part}
            found.append(({"kind": part, "layer": layer}, here))
    last = parameters.where(lambda s: s.layer is None and s.part == "unembedding")
    last = {i: None for i in last if i not in tied}
    found.append(({"kind": "unembedding", "layer": None}, last))
    return found


def _hybrid(
    parameters: Parameters,
    role: str,
    selection: Selection,
    examples: Examples,
    named: Mapping[str, Metric],
    max_bytes: int,
) -> dict[str, Tensor]:
    with parameters.grafted(role, selection) as hybrid:
        return dict(sweep(hybrid, examples, [], named, max_bytes=max_bytes).baseline)


def _activation_cells(
    pair: ModelPair, role: str, donor: str, examples: Examples, sets: Sequence[Any]
) -> list[Cell]:
    """One cell per set of blocks: the donor's updates, or outputs of parts, at all positions."""
    depth = pair.base.n_layers
    kinds = {"attention": Kind.ATTN_OUT, "mlp": Kind.MLP_OUT}
    sites: list[Site] = []
    for blocks in sets:
        if blocks.part == "all":
            ends = [k for first, last in runs(blocks.layers) for k in (first, last + 1)]
            sites += [boundary(k, depth) for k in ends]
        else:
            sites += [Site(kinds[blocks.part], layer) for layer in blocks.layers]
    if not sites:
        return []
    sites = list(dict.fromkeys(sites))
    theirs = collect(_model(pair, donor), examples, sites, positions="all")
    own = collect(_model(pair, role), examples, sites, positions="all")
    everywhere = examples.span_mask("all")
    cells = []
    for blocks in sets:
        edits = []
        for first, last in runs(blocks.layers) if blocks.part == "all" else ():
            a, b = boundary(first, depth), boundary(last + 1, depth)
            update = theirs[b].values - theirs[a].values - (own[b].values - own[a].values)
            edits.append(Edit(b, everywhere, Add(update)))
        if blocks.part != "all":
            outs = [Site(kinds[blocks.part], layer) for layer in sorted(set(blocks.layers))]
            edits = [Edit(site, everywhere, Replace(theirs[site].values)) for site in outs]
        cells.append(Cell(tuple(edits)))
    return cells


def _evidence(
    values: Sequence[Mapping[str, Float[Tensor, " example"]]],
    rows: Sequence[Mapping[str, Any]],
    own: Swept,
    examples: Examples,
    named: Mapping[str, Metric],
    role: str,
    donor: str,
) -> Evidence:
    stacked = {name: torch.stack([v[name] for v in values]) for name in named} if values else {}
    return tables.evidence(
        Swept(stacked, own.baseline),
        examples,
        named,
        [{**row, "donor": donor} for row in rows],
        baseline={"condition": "baseline"},
        model=role,
        method="graft",
    )


def _model(pair: ModelPair, role: str) -> Model:
    return pair.base if role == "base" else pair.tuned


def _one(chosen: ParameterSet) -> int | None:
    """The block of a set that lies in one."""
    layers = set(chosen.layers) if isinstance(chosen, Blocks) else set()
    return layers.pop() if len(layers) == 1 else None
