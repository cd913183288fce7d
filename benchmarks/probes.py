"""`python -m benchmarks.probes`: all logistic probes of a model against a loop over scikit-learn.

30 layers × 576 features × 1,000 statements × 5 folds × 8 strengths on SmolLM2-135M's residuals after
each block: 1,200 fits of the same objective on features standardised in each training fold, balanced
classes. Ours runs one layer per thread; scikit-learn's LogisticRegression runs one layer and fold per
joblib worker, on as many workers. Three rows: ours; scikit-learn at a tolerance that brings its
objective within 1e-6 of the optimum, as ours is ("same optimum"); scikit-learn at its default
tolerance, which stops short. Runs alternate and medians are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import joblib
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks import machine
from interp.activations import collect
from interp.examples import Examples
from interp.facts.truth import truth_statements
from interp.models.loading import load_model
from interp.sites import boundaries
from probes.estimators.logistic import solve_logistic
from probes.parallel import each
from probes.splits import group_folds, masked, splits_of

LAYERS, EXAMPLES, FEATURES, FOLDS = 30, 1_000, 576, 5
STRENGTHS = tuple(np.logspace(-4, 0, 8).tolist())
SAME_OPTIMUM, DEFAULT = 5e-6, 1e-4
Weights = np.ndarray  # layer, strength, fold, feature + intercept


def main() -> None:
    """Time both and print a table; with --json, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2", help='a model, or "synthetic"')
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    data = synthetic() if options.model == "synthetic" else statements(options.model)
    values, labels, groups = data[0][: options.layers], data[1], data[2]
    fold = group_folds(groups, FOLDS, seed=0, labels=labels)
    threads = torch.get_num_threads()
    runs: dict[str, Callable[[], Weights]] = {
        "ours": lambda: ours(values, labels, fold),
        "scikit-learn, same optimum": lambda: theirs(values, labels, fold, threads, SAME_OPTIMUM),
        "scikit-learn, default": lambda: theirs(values, labels, fold, threads, DEFAULT),
    }
    theirs(values[:2], labels, fold, threads, DEFAULT)  # starts the workers
    times: dict[str, list[float]] = {name: [] for name in runs}
    weights_of: dict[str, Weights] = {}
    for _ in range(options.repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            weights_of[name] = run()
            times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(t) for name, t in times.items()}
    weights_of["ours"] = standardised(weights_of["ours"], values, fold)
    fits = len(values) * len(STRENGTHS) * FOLDS
    print(machine.described())
    print(f"{options.model}, {fits} fits, {threads} threads, medians of {options.repeats}")
    reports = {name: measured(values, labels, fold, weights) for name, weights in weights_of.items()}
    best = np.min([objective for objective, _ in reports.values()], axis=0)
    for name, (objective, _) in reports.items():
        print(
            f"{name}: {seconds[name]:.2f} s, {seconds[name] / seconds['ours']:.1f} x ours, "
            f"largest excess of the objective {(objective / best - 1).max():.1e}"
        )
    same = "scikit-learn, same optimum"
    a, b = weights_of["ours"][..., :-1], weights_of[same][..., :-1]
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    apart = np.abs(reports["ours"][1] - reports[same][1]).max()
    print(f"smallest cosine {cosine.min():.6f}, largest difference of accuracy {apart:.4f}")
    if options.json:
        numbers = {
            "speedup_vs_sklearn": seconds[same] / seconds["ours"],
            "min_coefficient_cosine": float(cosine.min()),
            "max_accuracy_difference": float(apart),
            "speedup_vs_sklearn_default": seconds["scikit-learn, default"] / seconds["ours"],
            "max_objective_excess": float((reports["ours"][0] / best - 1).max()),
            "seconds": seconds,
        }
        print(json.dumps(numbers))


def statements(name: str) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Residuals after each block at the end of true and false statements, labels and groups."""
    model = load_model(name)
    sets = [truth_statements(s, seed=0) for s in ("cities", "capitals", "element_symbols")]
    sets.append(truth_statements("larger_than", n=200, seed=0))
    texts, labels, groups = (
        [x for s in sets for x in part(s)][:EXAMPLES]
        for part in (lambda s: s.texts, lambda s: s.labels, lambda s: s.blocks)
    )
    examples = Examples.from_text(model, texts, groups=groups, labels=[float(v) for v in labels])
    states = collect(model, examples, boundaries(model.n_layers)[1:])
    values = torch.stack([a.values for a in states.values()])
    return values, np.array(labels, dtype=np.int64), np.unique(groups, return_inverse=True)[1]


def synthetic(seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Activations with a decaying spectrum, a label direction and noise; pairs share an entity."""
    generator = torch.Generator().manual_seed(seed)
    spectrum = torch.arange(1, FEATURES + 1) ** -0.75
    labels = torch.arange(EXAMPLES) % 2
    layers = []
    for _ in range(LAYERS):
        turn = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=generator))[0]
        values = (torch.randn(EXAMPLES, FEATURES, generator=generator) * spectrum) @ turn
        along = torch.nn.functional.normalize(torch.randn(FEATURES, generator=generator), dim=0)
        noise = 0.03 * torch.randn(EXAMPLES, FEATURES, generator=generator)
        layers.append(values + noise + 0.3 * (labels[:, None] - 0.5) * along)
    return torch.stack(layers), labels.numpy(), np.arange(EXAMPLES) // 2


def ours(values: torch.Tensor, labels: np.ndarray, fold: np.ndarray) -> Weights:
    """All fits of a layer together, layers on all threads."""
    parts = np.stack([masked(labels, train) for train, _ in splits_of(fold)])
    drawn = torch.from_numpy(np.tile(parts, (len(STRENGTHS), 1)))
    strengths = torch.tensor(STRENGTHS, dtype=torch.float64).repeat_interleave(FOLDS)

    def solve(layer: torch.Tensor) -> np.ndarray:
        weight, bias = solve_logistic(layer, drawn, strengths, 2)
        whole = torch.cat([weight, bias[..., None]], 2)
        return (whole[:, 1] - whole[:, 0]).reshape(len(STRENGTHS), FOLDS, -1).numpy()

    return np.stack(each(solve, values))


def standardised(raw: Weights, values: torch.Tensor, fold: np.ndarray) -> Weights:
    """Ours are in raw coordinates: the same in those of scikit-learn's standardised features."""
    out = raw.copy()
    for layer, weights in zip(values, out, strict=True):
        for k, (train, _) in enumerate(splits_of(fold)):
            scaler = StandardScaler().fit(layer[train].double().numpy())
            weights[:, k, -1] += weights[:, k, :-1] @ scaler.mean_
            weights[:, k, :-1] *= scaler.scale_
    return out


def theirs(
    values: torch.Tensor, labels: np.ndarray, fold: np.ndarray, jobs: int, tolerance: float
) -> Weights:
    """One LogisticRegression per layer, fold and strength."""

    def fit(layer: np.ndarray, train: np.ndarray) -> np.ndarray:
        rows = StandardScaler().fit_transform(layer[train])
        out = []
        for c in STRENGTHS:
            model = LogisticRegression(
                C=c, class_weight="balanced", tol=tolerance, max_iter=10_000
            ).fit(rows, labels[train])
            out.append(np.append(model.coef_[0], model.intercept_))
        return np.stack(out)

    tasks = [(layer.double().numpy(), train) for layer in values for train, _ in splits_of(fold)]
    done = joblib.Parallel(n_jobs=jobs)(joblib.delayed(fit)(*task) for task in tasks)
    return np.array(list(done)).reshape(len(values), FOLDS, len(STRENGTHS), -1).swapaxes(1, 2)


def measured(
    values: torch.Tensor, labels: np.ndarray, fold: np.ndarray, weights: Weights
) -> tuple[np.ndarray, np.ndarray]:
    """The objective of every fit, and the held-out accuracy per layer and strength."""
    objective, right = [], []
    for layer, fitted in zip(values.double().numpy(), weights, strict=True):
        hits = np.zeros(len(STRENGTHS))
        for k, (train, test) in enumerate(splits_of(fold)):
            scaler = StandardScaler().fit(layer[train])
            rows, held, y = scaler.transform(layer[train]), scaler.transform(layer[test]), labels[train]
            weight, bias = fitted[:, k, :-1], fitted[:, k, -1]
            z = rows @ weight.T + bias
            each_row = len(y) / (2 * np.bincount(y))[y, None] * (np.logaddexp(0, z) - y[:, None] * z)
            ridge = 0.5 * np.square(weight).sum(1)
            objective.append(ridge + np.array(STRENGTHS) * each_row.sum(0))
            hits += (((held @ weight.T + bias) > 0) == (labels[test, None] == 1)).sum(0)
        right.append(hits / len(labels))
    return np.stack(objective), np.stack(right)


if __name__ == "__main__":
    main()
