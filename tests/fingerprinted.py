"""Values of every kind that determines a result, made alike in any process; run it to print hashes."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tiny
import torch

from interp.metrics import logit_difference, metric
from interp.runs.fingerprint import fingerprint
from interp.sites import Kind, Site
from interp.verdict.thresholds import Thresholds
from patching.interventions.cells import Cell, Edit
from patching.interventions.values import Add, Replace

WEIGHTS = {"city0": 1.0, "city1": 2.0}


def weighted(logits: torch.Tensor) -> torch.Tensor:
    """A metric that reads a global, and helps itself with a function."""
    return halved(logits[..., 3] * WEIGHTS["city0"])


def halved(value: torch.Tensor) -> torch.Tensor:
    """What `weighted` calls."""
    return value / 2


def countdown(n: int) -> int:
    """A function that names itself."""
    return 0 if n == 0 else countdown(n - 1)


def margin(of: int) -> Callable[..., Any]:
    """A metric that closes over a number."""
    return lambda logits: logits[..., of] - logits[..., 7]


@dataclass
class Scaled:
    """An intervention of one's own."""

    factor: float

    def __call__(self, act: torch.Tensor, example: torch.Tensor) -> torch.Tensor:
        """The scaled activation."""
        return self.factor * act


class Plain:
    """An object of a class of one's own."""

    def __init__(self) -> None:
        self.words = {"one", "two", "three"}


def values() -> dict[str, Any]:
    """Name -> value."""
    prompts = tiny.examples(tiny.token_rows(4, 6))
    pairs = tiny.contrast(5, 5)
    site = Site(Kind.Z, 2, 1)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(3, 5, generator=generator)
    frame = pd.DataFrame({"a": [1.0, None], "b": ["x", None], "c": pd.array([1, None], dtype="Int64")})
    return {
        "numbers": (1, 1.0, True, None, -0.0, float("nan"), 3 + 4j, 10**30),
        "texts": ["é", "", b"\x00bytes", "line\nline"],
        "sets": {frozenset({"a", "b"}), "c", 4},
        "mapping": {"b": 1, "a": [2, {"deep": (3,)}], 5: None},
        "tensor": noise,
        "half": noise.bfloat16(),
        "strided": noise.T[1:, ::2],
        "one of many": noise.reshape(-1)[::7][:1],
        "mask": noise > 0,
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "objects": np.array(["a", None, 2.5], dtype=object),
        "frame": frame,
        "series": pd.Series(["p", "q"], index=[3, 4], name="s", dtype="category"),
        "site": site,
        "path": Path("a/b"),
        "prompts": prompts,
        "thresholds": Thresholds(),
        "cell": Cell((Edit(Site(Kind.MLP_OUT, 1), prompts.mask, Replace(torch.ones(32))),)),
        "own intervention": Cell((Edit(Site(Kind.MLP_OUT, 1), prompts.mask, Scaled(2.0)),)),
        "added": Add(noise[0], 0.5),
        "metric": logit_difference(pairs),
        "own metric": metric(weighted, prompts),
        "lambda": margin(3),
        "partial": functools.partial(halved, noise),
        "names itself": countdown,
        "library": (torch.relu, torch.nn.functional.softmax, len, np.mean),
        "object": Plain(),
        "random state": (torch.Generator().manual_seed(1), np.random.default_rng(1)),
    }


if __name__ == "__main__":
    print(json.dumps({name: fingerprint(value) for name, value in values().items()}))  # noqa: T201
