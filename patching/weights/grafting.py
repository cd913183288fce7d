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

from interp._aliases import formerly
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

#: The recipient and the donor of either direction.
ORDERS = (("base", "tuned"), ("tuned", "base"))


@formerly(metrics="metric", placebos="repeats")
def graft(
    pair: ModelPair,
    examples: Examples,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    sets: Sequence[ParameterSet],
    *,
    repeats: int = 3,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """Graft each set of parameters into the base, and revert it in the tuned model.

    S(A) is the base with the tuned parameters in the set A, N(A) the tuned model with the base's.
    Per set:

    - "grafted": the hybrid;
    - "placebo": the hybrid of a size-matched random set (`RandomLike`);
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
        metric: one metric or several.
        sets: such as `patching.Blocks((3, 4))` or `patching.Heads(((3, 1),))`; `Joint` for several
            together.
        repeats: random sets drawn per set.
        seed: of the draws; draw i uses seed + i.
        max_bytes: memory in bytes for activations beside the models; changes no number.

    Returns:
        Evidence of method "graft" with the conditions above, in the metric's unit. Columns that vary:
        model and donor (base and tuned for S(A), the reverse for N(A)), kind (of set), parameters
        (its name), layer (of a single block), share (its size as a share of all block weights),
        draw, example.

    Raises:
        ValueError: for a set that is empty, does not exist, or holds one of two tied matrices.

    Note:
        Single sets under-attribute where parts act jointly: report joint sets. A graft says where a
        change of weights acts, not where knowledge is stored. Hybrids are off both models'
        distributions; a placebo that does much says so.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> prompts = interp.Examples.from_text(pair.base, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> sets = [patching.Blocks((0, 1)), patching.Heads(((3, 1),))]
        >>> rows = patching.graft(pair, prompts, metric, sets, repeats=1).where(model="base")
        >>> sorted(rows["condition"].unique())
        ['activation_graft', 'baseline', 'disagreement', 'grafted', 'placebo']
        >>> sorted(rows["parameters"].dropna().unique())
        ['blocks 0-1', 'heads 3.1']
    """
    metrics = named_metrics(metric, examples)
    parameters = Parameters(pair)
    columns = [_columns(parameters, chosen) for chosen in sets]
    rows: list[dict[str, Any]] = []
    values: dict[str, list[dict[str, Tensor]]] = {role: [] for role, _ in ORDERS}
    draws = [(chosen, draw) for chosen in sets for draw in (None, *range(repeats))]
    with counted(2 * len(draws), "grafting", "hybrids") as step:
        for i, (chosen, draw) in enumerate(draws):
            drawn = chosen if draw is None else RandomLike(chosen, seed + draw)
            # Masks are as large as the models: one selection is held at a time.
            selection = drawn.select(parameters)
            condition = "grafted" if draw is None else "placebo"
            rows.append({**columns[i // (1 + repeats)], "condition": condition, "draw": draw})
            for role, _ in ORDERS:
                values[role].append(_hybrid(parameters, role, selection, examples, metrics, max_bytes))
                step(1)
    defined = {i: chosen for i, chosen in enumerate(sets) if isinstance(chosen, Blocks)}
    for i in defined:
        rows += [{**columns[i], "condition": c} for c in ("activation_graft", "disagreement")]
    parts = []
    for role, donor in ORDERS:
        cells = _activation_cells(pair, role, donor, examples, list(defined.values()))
        swept = sweep(_model(pair, role), examples, cells, metrics, max_bytes=max_bytes)
        for cell, i in enumerate(defined):
            moved = {name: swept.values[name][cell] for name in metrics}
            hybrid = values[role][i * (1 + repeats)]
            values[role] += [moved, {name: moved[name] - hybrid[name] for name in metrics}]
        parts.append(_evidence(values[role], rows, swept, examples, metrics, _model(pair, role), donor))
    return Evidence.concat(parts)


def _columns(parameters: Parameters, chosen: ParameterSet) -> dict[str, Any]:
    """What names a set in every one of its rows.

    Raises:
        ValueError: for a set that cannot be grafted.
    """
    selection = chosen.select(parameters)
    parameters.check(selection, str(chosen))
    total = sum(parameters.slots[i].entries for i in parameters.of_blocks())
    share = parameters.size(selection) / total
    layers = set(chosen.layers) if isinstance(chosen, Blocks) else set()
    layer = layers.pop() if len(layers) == 1 else None
    return {"kind": chosen.kind, "parameters": str(chosen), "layer": layer, "share": share}


@formerly(metrics="metric")
def component_responsibility(
    pair: ModelPair,
    examples: Examples,
    metric: Metric | Callable[..., Any] | Mapping[str, Any] | Sequence[Any],
    *,
    max_bytes: int = MAX_BYTES,
) -> Evidence:
    """What each component's change of weights did, averaged over two orders of grafting.

    Components in order of depth: embedding, attention and MLP of every block, unembedding with the
    final norm. With V_i the base with tuned's components up to i, and U_i the base with tuned's from
    i on, c_i = ½[(m(V_i) - m(V_{i-1})) + (m(U_i) - m(U_{i+1}))], and Σ c = m(T) - m(B) exactly.

    Args:
        pair: the two models.
        examples: prompts, the same ids for both.
        metric: one metric or several.
        max_bytes: memory in bytes for activations beside the models; changes no number.

    Returns:
        Evidence of method "graft": conditions "responsibility" (the mean), "order_v" and "order_u"
        (the two orders: their difference is the interaction that no split can assign), and
        "baseline" for both models; in the metric's unit. Columns that vary: kind (the component),
        layer, model, donor, example. Where embedding and unembedding are tied, the matrix is one
        component, the embedding, and the last is the final norm alone: `patching.stitch` separates
        the two uses.

    Raises:
        ValueError: for models whose parameters cannot stand in for each other.

    Note:
        Two orders are not all orders (Shapley). Attention precedes the MLP of its block in the
        order even where they run in parallel.

    Example:
        >>> import interp, patching
        >>> pair = interp.load_pair("organism-base", "organism-edited-low")
        >>> prompts = interp.Examples.from_text(pair.base, "The home of Farid Jansen is")
        >>> metric = interp.token_contrast(prompts, prompts.tokens[:, 0], prompts.tokens[:, 1])
        >>> parts = patching.component_responsibility(pair, prompts, metric)
        >>> rows = parts.where(condition="responsibility")
        >>> sorted(rows["kind"].value_counts().items())
        [('attention', 6), ('embedding', 1), ('mlp', 6), ('unembedding', 1)]
        >>> ends = parts.where(condition="baseline").set_index("model")["value"]
        >>> bool(abs(rows["value"].sum() - (ends["tuned"] - ends["base"])) < 1e-3)
        True
    """
    metrics = named_metrics(metric, examples)
    parameters = Parameters(pair)
    components = _components(parameters)
    whole = {
        role: sweep(_model(pair, role), examples, [], metrics, max_bytes=max_bytes).baseline
        for role, _ in ORDERS
    }
    orders = _by_order(parameters, components, whole["base"], examples, metrics, max_bytes)
    columns: list[dict[str, Any]] = []
    values: list[dict[str, Tensor]] = []
    for i, (about, _) in enumerate(components):
        v, u = orders["order_v"][i], orders["order_u"][i]
        mean = {name: (v[name] + u[name]) / 2 for name in metrics}
        for condition, value in (("responsibility", mean), ("order_v", v), ("order_u", u)):
            values.append(value)
            columns.append({**about, "condition": condition})
    parts = [
        _evidence(values, columns, Swept({}, whole["base"]), examples, metrics, pair.base, "tuned"),
        _evidence([], [], Swept({}, whole["tuned"]), examples, metrics, pair.tuned, "base"),
    ]
    return Evidence.concat(parts)


def _by_order(
    parameters: Parameters,
    components: Sequence[tuple[dict[str, Any], Selection]],
    base: Mapping[str, Tensor],
    examples: Examples,
    metrics: Mapping[str, Metric],
    max_bytes: int,
) -> dict[str, list[dict[str, Tensor]]]:
    """The effect of each component as it is grafted after those before it, in either order."""
    # Components whose bits agree change nothing: their hybrid is the previous one.
    changed = [parameters.differ(selection) for _, selection in components]
    upwards = range(len(components))
    orders: dict[str, list[dict[str, Tensor]]] = {}
    with counted(2 * sum(changed), "responsibility", "hybrids") as step:
        for name, order in (("order_v", upwards), ("order_u", upwards[::-1])):
            before, grafted = base, {}
            effects: dict[int, dict[str, Tensor]] = {}
            for i in order:
                after = before
                if changed[i]:
                    grafted |= components[i][1]
                    after = _hybrid(parameters, "base", grafted, examples, metrics, max_bytes)
                    step(1)
                effects[i] = {metric: after[metric] - before[metric] for metric in metrics}
                before = after
            orders[name] = [effects[i] for i in upwards]
    return orders


def _components(parameters: Parameters) -> list[tuple[dict[str, Any], Selection]]:
    """Every component with its columns, in order of depth."""
    slots, tied = parameters.slots, parameters.tied
    first = parameters.where(lambda s: s.layer is None and s.part == "embedding")
    components: list[tuple[dict[str, Any], Selection]] = [
        ({"kind": "embedding", "layer": None}, first | dict.fromkeys(tied))
    ]
    for layer in range(parameters.pair.base.n_layers):
        for part in ("attention", "mlp"):
            here = {i: None for i, s in enumerate(slots) if s.layer == layer and s.part == part}
            components.append(({"kind": part, "layer": layer}, here))
    last = parameters.where(lambda s: s.layer is None and s.part == "unembedding")
    last = {i: None for i in last if i not in tied}
    components.append(({"kind": "unembedding", "layer": None}, last))
    return components


def _hybrid(
    parameters: Parameters,
    role: str,
    selection: Selection,
    examples: Examples,
    metrics: Mapping[str, Metric],
    max_bytes: int,
) -> dict[str, Tensor]:
    """The metrics of a model with the other's values in the selection."""
    with parameters.grafted(role, selection) as hybrid:
        return dict(sweep(hybrid, examples, [], metrics, max_bytes=max_bytes).baseline)


def _activation_cells(
    pair: ModelPair, role: str, donor: str, examples: Examples, sets: Sequence[Blocks]
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
    ours = collect(_model(pair, role), examples, sites, positions="all")
    everywhere = examples.span_mask("all")
    cells = []
    for blocks in sets:
        edits = []
        for first, last in runs(blocks.layers) if blocks.part == "all" else ():
            a, b = boundary(first, depth), boundary(last + 1, depth)
            update = theirs[b].values - theirs[a].values - (ours[b].values - ours[a].values)
            edits.append(Edit(b, everywhere, Add(update)))
        if blocks.part != "all":
            outputs = [Site(kinds[blocks.part], layer) for layer in sorted(set(blocks.layers))]
            edits = [Edit(site, everywhere, Replace(theirs[site].values)) for site in outputs]
        cells.append(Cell(tuple(edits)))
    return cells


def _evidence(
    values: Sequence[Mapping[str, Float[Tensor, " example"]]],
    rows: Sequence[Mapping[str, Any]],
    whole: Swept,
    examples: Examples,
    metrics: Mapping[str, Metric],
    model: Model,
    donor: str,
) -> Evidence:
    """Rows of one recipient: its hybrids, and the whole model."""
    stacked = {name: torch.stack([v[name] for v in values]) for name in metrics} if values else {}
    return tables.evidence(
        Swept(stacked, whole.baseline),
        examples,
        metrics,
        [{**row, "donor": donor} for row in rows],
        baseline={"condition": "baseline"},
        model=model,
        method="graft",
    )


def _model(pair: ModelPair, role: str) -> Model:
    """The model of a role."""
    return pair.base if role == "base" else pair.tuned
