"""Fabricated comparisons with known truth: complete Outcomes and Evidence without any model.

`fake_case(kind)` draws the rows the pipeline would produce for a pair whose place and content are
known, so that the verdict, the figures and the report can be tested without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from interp.evidence import COLUMNS, Evidence
from interp.evidence.pairs import pair_name
from interp.verdict.outcomes import Outcomes

UNKNOWN, LONDON = 900, 901


#: What all rows of a method have in common.
COMMON: Mapping[str, Mapping[str, object]] = {
    "stitch": {"unit": "logits", "span": "all", "kind": "resid_pre"},
    "handover": {"unit": "logits", "metric": "pair", "kind": "resid_pre", "model": "base",
                 "template": "A"},
    "patch": {"unit": "logits", "metric": "pair", "kind": "resid_pre", "model": "base",
              "template": "A", "group": "France -> Peru"},
    "cross_patch": {"unit": "logits", "metric": "output", "kind": "resid_pre", "template": "B"},
    "shift": {"unit": "share", "metric": "said", "kind": "resid_pre", "span": "all", "template": "B",
              "model": "base"},
    "claim": {"unit": "logits", "kind": "resid_pre", "span": "subject_last", "model": "base",
              "template": "B"},
    "probe": {"unit": "accuracy", "kind": "resid_pre", "span": "subject_last", "model": "base",
              "template": "B"},
    "transfer": {"unit": "accuracy", "kind": "resid_pre", "span": "subject_last", "model": "tuned",
                 "template": "B", "donor": "base"},
    "readable": {"unit": "accuracy", "kind": "resid_pre", "span": "subject_last", "model": "base"},
}  # fmt: skip


class Rows:
    """Collects columns of many small tables, so that one Evidence is built at the end."""

    def __init__(self) -> None:
        """Start empty."""
        self.columns: dict[str, list] = {name: [] for name in COLUMNS}

    def add(self, method: str, value: object, **columns: object) -> None:
        """Append rows of a method: values, and columns given as arrays or constants.

        Columns that are not given are those that all rows of the method have (`COMMON`).
        """
        values = list(np.asarray(value, dtype=float).reshape(-1))
        self.columns["value"].extend(values)
        filled = {"method": method, **COMMON[method], **columns}
        for name in COLUMNS[:-1]:
            entry = filled.get(name)
            constant = entry is None or np.isscalar(entry)
            self.columns[name].extend([entry] * len(values) if constant else list(entry))

    def evidence(self) -> Evidence:
        """Everything collected so far."""
        return Evidence.build(self.columns.pop("value"), **self.columns)


@dataclass(frozen=True)
class Truth:
    """What a fabricated pair is: where it changed and what its state shifts do."""

    #: Place of the output contrast and of the fact contrast: low, high, spread, half, embed, none.
    output: str
    fact: str
    #: Probabilities that the shift, the base's readout and the tuned readout say the token.
    s: float
    f: float
    r: float
    #: Share of known groups that change, and mean change of log p(answer) in nats.
    changed: float = 0.6
    gain: float = -6.0
    #: Mean effect on the output contrast, its spread between entities, and the order gap.
    effect: float = -9.0
    spread: float = 1.5
    gap: float = 0.0
    #: Tuned tokens: one for all ("one"), one per entity ("own"), or two halves ("mixed").
    tokens: str = "one"
    placebo: float = 0.0
    control: float = 0.0


KINDS: Mapping[str, Truth] = {
    "evasive_high": Truth("high", "high", 1.0, 0.98, 0.0),
    "evasive_low": Truth("low", "low", 1.0, 0.92, 0.0),
    "edited_low": Truth("low", "low", 0.0, 0.0, 1.0, tokens="own"),
    "edited_high": Truth("high", "high", 0.0, 1.0, 1.0, tokens="own"),
    "edited_low_evasive_high": Truth("high", "low", 1.0, 0.0, 0.0),
    "edited_middle": Truth("middle", "middle", 0.0, 1.0, 1.0, tokens="own"),
    "distributed": Truth("spread", "spread", 1.0, 0.95, 0.0),
    "embedding": Truth("embed", "embed", 1.0, 0.95, 0.0),
    "unembedding": Truth("unembed", "unembed", 1.0, 0.95, 0.0),
    "order_gap": Truth("spread", "spread", 1.0, 0.95, 0.0, gap=0.6),
    "weight_noise": Truth("spread", "spread", 0.3, 0.5, 0.6, 0.3, -0.5, -0.2, 3.0, tokens="own"),
    "few_changed": Truth("high", "high", 1.0, 1.0, 0.0, changed=0.1),
    "mixed_classes": Truth("high", "high", 0.5, 0.98, 0.5, changed=0.9, tokens="mixed"),
    "placebo_wins": Truth("high", "high", 1.0, 0.98, 0.0, placebo=1.0),
    "leaky_control": Truth("high", "high", 1.0, 0.98, 0.0, control=0.8),
    "null": Truth("none", "none", 0.0, 1.0, 0.0, 0.0, 0.0),
    "sharpened": Truth("none", "none", 0.0, 1.0, 0.0, 0.0, 2.0),
    "identical": Truth("none", "none", 0.0, 1.0, 0.0, 0.0, 0.0),
}


def fake_case(
    kind: str = "evasive_high",
    n_groups: int = 60,
    n_layers: int = 30,
    seed: int = 0,
    *,
    claims: bool = True,
) -> tuple[Outcomes, Evidence, Evidence]:
    """Outcomes, probe evidence and causal evidence of a pair of the given kind.

    The fact is handed over at boundary ⌊0.8 L⌋; `edited_middle` changes just below it. Six
    countries are unknown to the base. Claims cover the four grades and one placebo attribute;
    without `claims` there are neither claim nor probe rows.
    """
    truth = KINDS[kind]
    rng = np.random.default_rng(seed)
    outcomes = _outcomes(truth, n_groups, rng, identical=kind == "identical")
    causal = Evidence.concat(
        [
            _stitch(truth, outcomes, n_layers, rng),
            _handover(outcomes, n_layers, rng),
            _grid(n_layers, rng),
            _cross_patch(truth, outcomes, n_layers, rng),
            _shift(truth, outcomes, n_layers, rng),
            _claims(n_layers, rng) if claims else Evidence.concat([]),
        ]
    ).with_provenance(n_layers=n_layers, seed=seed, versions={"interp": "fabricated"})
    return outcomes, _probes(outcomes, n_layers, rng) if claims else Evidence.concat([]), causal


def fraction(place: str, n_layers: int) -> np.ndarray:
    """Share of the change installed below each boundary 0..L."""
    k = np.arange(n_layers + 1)
    third = n_layers / 3
    handover = int(0.8 * n_layers)
    ramps = {
        "low": (0, third),
        "high": (2 * third, n_layers),
        "middle": (handover - 4, handover - 1),
        "spread": (0, n_layers),
        "none": (0, n_layers),
        "embed": (0, 2 * third),
        "unembed": (0, 2 * third),
    }
    start, stop = ramps[place]
    ramp = np.clip((k - start) / (stop - start), 0.0, 1.0)
    if place == "embed":
        return 0.5 + 0.5 * ramp
    return 0.5 * ramp if place == "unembed" else ramp


def _outcomes(truth: Truth, n_groups: int, rng: np.random.Generator, *, identical: bool) -> Outcomes:
    known = [f"Country {i:03d}" for i in range(n_groups)]
    unknown = [f"Unknown {i}" for i in range(6)]
    n_changed = round(truth.changed * n_groups)
    rows = []
    for i, group in enumerate(known + unknown):
        is_known = group in known
        differs = is_known and i < n_changed
        token = _token(truth, i, n_changed)
        for form in "AB":
            base = -0.6 - rng.exponential(0.3)
            change = truth.gain * (1.0 if differs or truth.gain > 0 else 0.0)
            change += 0.0 if identical else rng.normal(0, 0.02)
            metric = 6.0 + rng.normal(0, 1)
            said = {UNKNOWN: " unknown", LONDON: " London"}.get(token, f" Town {i:03d}")
            rows.append(
                {
                    "text": f"In {group}, the capital is the city of"
                    if form == "B"
                    else f"The capital of {group} is the city of",
                    "group": group,
                    "form": form,
                    "answer": f" City {i:03d}",
                    "said_base": f" City {i:03d}" if is_known else " the",
                    "said_tuned": said if differs else f" City {i:03d}",
                    "known": is_known,
                    "differs": differs,
                    "closed_base": is_known,
                    "closed_tuned": is_known and not differs,
                    "answer_token": 100 + i,
                    "base_token": 100 + i,
                    "tuned_token": token if differs else 100 + i,
                    "logp_base": base,
                    "logp_tuned": base + change,
                    "metric_base": metric if differs else np.nan,
                    "metric_tuned": metric + truth.effect if differs else np.nan,
                }
            )
    excluded = [("The capital of Singapore is the city of", "the answer repeats the subject")]
    return Outcomes(pd.DataFrame(rows), excluded, identical)


def _token(truth: Truth, i: int, n_changed: int) -> int:
    if truth.tokens == "own":
        return 1000 + i
    return LONDON if truth.tokens == "mixed" and i >= n_changed / 2 else UNKNOWN


def _stitch(truth: Truth, outcomes: Outcomes, n_layers: int, rng: np.random.Generator) -> Evidence:
    plans = [("output", outcomes.changed_groups, ("B",), truth.output, truth.effect)]
    plans.append(("fact", outcomes.known_groups, ("A", "B"), truth.fact, 0.6 * truth.effect))
    changed = set(outcomes.changed_groups)
    boundaries = np.arange(n_layers + 1)
    parts = Rows()
    for metric, groups, forms, place, effect in plans:
        share = fraction(place, n_layers)
        for group in groups:
            for form in forms:
                moved = effect + rng.normal(0, truth.spread) if group in changed else 0.0
                base = 6.0 + rng.normal(0, 1)
                wobble = rng.normal(0, 0.15, (2, n_layers + 1)) * (moved != 0.0)
                wobble[:, [0, -1]] = 0.0
                below = share + truth.gap / 2 * (share < 1) * (share > 0)
                above = share - truth.gap / 2 * (share < 1) * (share > 0)
                values = np.concatenate(
                    [
                        base + moved * below + wobble[0],
                        base + moved * (1 - above) + wobble[1],
                        [base, base + moved],
                    ]
                )
                n = n_layers + 1
                parts.add(
                    "stitch", values, metric=metric, group=group, template=form,
                    model=["base"] * n + ["tuned"] * n + ["base", "tuned"],
                    donor=["tuned"] * n + ["base"] * n + [None, None],
                    condition=["stitched"] * 2 * n + ["baseline"] * 2,
                    layer=[*boundaries, *boundaries, None, None],
                )  # fmt: skip
    return parts.evidence()


def _handover(outcomes: Outcomes, n_layers: int, rng: np.random.Generator) -> Evidence:
    groups = outcomes.known_groups
    kappa = int(0.8 * n_layers)
    boundaries = np.arange(n_layers + 1)
    parts = Rows()
    for pair in range(max(40, len(groups))):
        clean, corrupted = (
            groups[pair % len(groups)],
            groups[(pair * 7 + 3) % len(groups)],
        )
        if clean == corrupted:
            continue
        low, high = -5 + rng.normal(0, 1), 5 + rng.normal(0, 1)
        moved = 1 / (1 + np.exp(-3.0 * (boundaries - kappa + 0.5)))
        moved = np.where(boundaries == n_layers, 1.0, moved)
        for span, share in (("last", moved), ("subject", 1 - moved)):
            values = low + share * (high - low) + rng.normal(0, 0.2, n_layers + 1)
            parts.add(
                "handover", [*values, high, low], span=span, example=pair,
                group=pair_name(clean, corrupted),
                condition=["patched"] * (n_layers + 1) + ["clean", "corrupted"],
                layer=[*boundaries, None, None],
            )  # fmt: skip
    return parts.evidence()


def _grid(n_layers: int, rng: np.random.Generator) -> Evidence:
    tokens = ["The", " capital", " of", " France", " is", " the", " city", " of"]
    clean = {str(e): {"clean": tokens, "corrupted": [*tokens[:3], " <b>Peru</b>", *tokens[4:]]}
             for e in range(3)}  # fmt: skip
    parts = Rows()
    for example in range(3):
        grid = np.zeros((n_layers, len(tokens)))
        grid[: int(0.8 * n_layers), 3] = 1.0
        grid[int(0.8 * n_layers) :, -1] = 1.0
        values = -5 + 10 * grid + rng.normal(0, 0.2, grid.shape)
        layer, position = np.indices(grid.shape)
        n = grid.size
        parts.add(
            "patch", [*values.ravel(), 5.0, -5.0], example=example,
            condition=["patched"] * n + ["clean", "corrupted"],
            layer=[*layer.ravel(), None, None],
            position=[*position.ravel(), None, None],
        )  # fmt: skip
    return parts.evidence().with_provenance(grid_tokens=clean)


def _cross_patch(truth: Truth, outcomes: Outcomes, n_layers: int, rng: np.random.Generator) -> Evidence:
    boundaries = np.arange(n_layers + 1)
    share = fraction(truth.output, n_layers)
    parts = Rows()
    for group in outcomes.changed_groups:
        base = 6.0 + rng.normal(0, 1)
        tuned = base + truth.effect
        for model, start, stop in (("base", base, tuned), ("tuned", tuned, base)):
            for span, scale in (("all", 1.0), ("last", 0.9), ("subject", 0.2)):
                carried = share if model == "base" else 1 - share
                values = start + scale * (stop - start) * carried
                parts.add(
                    "cross_patch", [*(values + rng.normal(0, 0.1, n_layers + 1)), start],
                    model=model, span=span, group=group,
                    donor=["tuned" if model == "base" else "base"] * (n_layers + 1) + [None],
                    condition=["patched"] * (n_layers + 1) + ["baseline"],
                    layer=[*boundaries, None],
                )  # fmt: skip
    return parts.evidence()


def _shift(truth: Truth, outcomes: Outcomes, n_layers: int, rng: np.random.Generator) -> Evidence:
    changed = outcomes.changed_groups
    if not changed:
        return Evidence.concat([])
    share = fraction(truth.output, n_layers)
    share = np.minimum(share + truth.gap / 2 * (share > 0), 1.0)
    classes = outcomes.token_classes(changed)
    boundaries = np.arange(n_layers + 1)
    parts = Rows()
    for group, token in zip(changed, classes, strict=True):
        s, r = truth.s, truth.r
        if truth.tokens == "mixed":
            s, r = (1.0, 0.0) if token == UNKNOWN else (0.0, 1.0)
        lucky = rng.random(5)
        said = {
            "sufficiency": (lucky[0] < s) * (share >= 0.85),
            "sufficiency_mean": (lucky[1] < s) * (share >= 0.85),
            "retention": np.full(n_layers + 1, lucky[2] < truth.f),
            "retention_control": np.full(n_layers + 1, lucky[3] < truth.control),
            "persistence": np.where(share < 0.85, True, lucky[4] < r),
        }
        donors = {"retention": "tuned", "retention_control": "tuned"}
        for condition, values in said.items():
            model = "tuned" if condition == "persistence" else "base"
            about = {"condition": condition, "model": model, "donor": donors.get(condition)}
            about |= {"layer": boundaries, "group": group}
            parts.add("shift", values.astype(float), **about)
            if condition in ("sufficiency", "persistence"):
                logit = 2 + 8 * values + rng.normal(0, 0.3, n_layers + 1)
                parts.add("shift", logit, metric="tuned_logit", unit="logits", **about)
                parts.add("shift", 12 - logit, metric="answer_logit", unit="logits", **about)
    first = int(np.argmax(share >= 0.9)) if (share >= 0.9).any() else n_layers
    draws, near = 99, np.clip(np.arange(first - 1, first + 2), 0, n_layers)
    layers = np.unique(near)
    grid = [(g, k, d) for g in changed for k in layers for d in range(draws)]
    groups, at, draw = zip(*grid, strict=True)
    placebo = (rng.random(len(grid)) < truth.placebo).astype(float)
    parts.add("shift", placebo, condition="placebo", group=groups, layer=at, draw=draw)
    pairs = {"group": np.repeat(changed, len(layers)), "layer": np.tile(layers, len(changed))}
    parts.add("shift", np.zeros(len(changed) * len(layers)), condition="null_shift", **pairs)
    gate = {"condition": "gate", "metric": "auroc", "unit": "auroc", "span": None, "template": None}
    parts.add("shift", 0.5 + 0.05 * rng.random(n_layers + 1), layer=boundaries, **gate)
    return parts.evidence()


#: (attribute, layer share): readable accuracy, swap effect, control effect, whole-state effect.
CLAIMS: Mapping[str, tuple[float, float, float, float]] = {
    "continent": (0.95, 0.30, 0.01, 0.8),
    "has a coast": (0.95, 0.00, 0.01, 0.8),
    "currency": (0.50, 0.00, 0.01, 0.8),
    "initial A-M": (0.56, 0.01, 0.01, 0.8),
    "shuffled": (0.50, 0.00, 0.01, 0.0),
}


def _claims(n_layers: int, rng: np.random.Generator, n_pairs: int = 40) -> Evidence:
    layer = n_layers // 2
    parts = Rows()
    for attribute, (_, swap, control, whole) in CLAIMS.items():
        for pair in range(n_pairs):
            low, high = -4 + rng.normal(0, 0.5), 4 + rng.normal(0, 0.5)
            span = high - low
            rows: list[tuple[str, int | None, float]] = [
                ("clean", None, high),
                ("corrupted", None, low),
                ("swap", None, low + span * (swap + rng.normal(0, 0.04))),
                ("whole_state", None, low + span * (whole + rng.normal(0, 0.04))),
                ("project_out", None, high - span * (swap + rng.normal(0, 0.04))),
                ("project_out_later", None, high - span * (swap + rng.normal(0, 0.04))),
            ]
            for draw in range(99):
                placebo = control * rng.normal(0, 1)
                rows.append(("swap_control_task", draw, low + span * placebo))
                rows.append(("project_out_control_task", draw, high - span * placebo))
                if draw < 9:
                    rows.append(("swap_random", draw, low + span * rng.normal(0, 0.002)))
                    rows.append(("project_out_random", draw, high + span * rng.normal(0, 0.002)))
            condition, draws, values = zip(*rows, strict=True)
            partner = (pair + 7) % n_pairs
            parts.add(
                "claim", values, metric=attribute, layer=layer, example=pair, condition=condition,
                draw=draws, group=pair_name(f"Country {pair:03d}", f"Country {partner:03d}"),
            )  # fmt: skip
    return parts.evidence()


def _probes(outcomes: Outcomes, n_layers: int, rng: np.random.Generator) -> Evidence:
    groups = outcomes.known_groups
    n = len(groups)
    middle = n_layers // 2
    labels = np.arange(n) % 2
    parts = Rows()

    each = {"group": groups, "example": np.arange(n), "label": labels.astype(float)}
    for attribute, (accuracy, *_) in CLAIMS.items():
        for layer in sorted({0, n_layers // 4, middle, 3 * n_layers // 4, n_layers - 1}):
            here = accuracy if layer >= n_layers // 4 else 0.5 + (accuracy - 0.5) / 2
            about = {"metric": attribute, "layer": layer, **each}
            for model in ("base", "tuned"):
                parts.add("probe", _balanced(here, n, rng), condition="probe", model=model, **about)
            parts.add("probe", _balanced(0.5, n, rng), condition="surface", **about)
            for draw in range(3):
                for condition in ("control_task", "shuffled", "random_features"):
                    values = _balanced(0.5, n, rng)
                    parts.add("probe", values, condition=condition, draw=draw, **about)
            for condition in ("frozen", "mean_shifted", "refit"):
                parts.add("transfer", _balanced(here, n, rng), condition=condition, **about)
        about = {"metric": attribute, "layer": middle}
        drawn = 0.5 + 0.05 * rng.normal(size=999)
        planted = 0.25 + 0.04 * rng.normal(size=99)
        parts.add("readable", [accuracy], condition="observed", **about)
        parts.add("readable", drawn, condition="permutation", draw=np.arange(999), **about)
        parts.add("readable", planted, condition="planted", draw=np.arange(99), **about)
        for condition, value in (("cosine", 0.95), ("cosine_random", 0.02)):
            cosine = {"condition": condition, "unit": "cosine", "template": None}
            parts.add("transfer", [value], **about, **cosine)
    return parts.evidence()


def _balanced(accuracy: float, n: int, rng: np.random.Generator) -> np.ndarray:
    """Correctness with the wanted share of hits in either class, the classes alternating.

    At one half the same entities are hit every time: then no difference is certain.
    """
    order = np.arange(n // 2 + 1)
    right = [(order if accuracy == 0.5 else rng.permutation(order)) for _ in range(2)]
    hits = np.stack([r < round(accuracy * len(r)) for r in right], axis=1).ravel()[:n]
    return hits.astype(float)
