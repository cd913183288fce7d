"""Hashes of contents: the same in every process, another for anything else, and nothing is guessed."""

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import fingerprinted
import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from hypothesis import given, settings, strategies as st

from interp.models.identity import identity
from interp.models.loading import wrap
from interp.runs.fingerprint import fingerprint
from interp.sites import Kind, Site
from patching.context import intervened
from patching.interventions.cells import Edit
from patching.interventions.values import Zero

ROOT = Path(__file__).parents[3]

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
)
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


def hashes(seed: str) -> dict[str, str]:
    """What another process makes of the same values, with another order of its sets."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fingerprinted.py")],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_two_processes_give_everything_the_same_name_and_no_two_things_the_same():
    first, second = hashes("1"), hashes("2")
    assert first == second
    assert len(set(first.values())) == len(first)


def exact(value: object) -> object:
    """The value such that equality tells 1 from True from 1.0, and 0.0 from -0.0."""
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(exact(part) for part in value)
    if isinstance(value, dict):
        return "dict", frozenset((key, exact(part)) for key, part in value.items())
    return type(value).__name__, repr(value)


@settings(max_examples=60, deadline=None)
@given(nested, nested)
def test_hashes_are_equal_exactly_where_contents_are(one, other):
    assert (fingerprint(one) == fingerprint(other)) == (exact(one) == exact(other))


def test_a_change_of_any_part_is_another_name():
    noise = torch.arange(6.0).reshape(2, 3)
    frame = pd.DataFrame({"a": [1, 2]})
    different = [
        noise, noise.T.contiguous(), noise.reshape(3, 2), noise.double(), noise + 1, noise.numpy(),
        noise.numpy().astype(">f4"), frame, frame.rename(columns={"a": "b"}), frame.astype(float),
        frame.set_index(pd.Index([1, 2])), Site(Kind.Z, 1), Site(Kind.Z, 1, 0), Site(Kind.Q, 1), "z.1",
        Kind.Z, Path("z"), (1, 2), [1, 2], {1, 2}, {1: 2}, range(3), slice(3), ..., torch.float16,
        tiny.examples(tiny.token_rows(4)), tiny.examples(tiny.token_rows(4, seed=1)),
    ]  # fmt: skip
    names = [fingerprint(value) for value in different]
    assert len(set(names)) == len(names)
    assert fingerprint(noise.T) == fingerprint(noise.T.contiguous()), "strides are no contents"
    assert fingerprint(noise) == fingerprint(torch.nn.Parameter(noise))


def test_a_function_is_what_it_does_and_what_it_reads(monkeypatch):
    def made(text: str, **names: object):
        held: dict[str, object] = {"__name__": "mine", **names}
        exec(text, held)
        return held["f"]

    plain = made("def f(x):\n    return x + 1")
    assert fingerprint(plain) == fingerprint(made("\n\n\ndef f(x):\n    # moved\n    return x + 1"))
    others = [
        made("def f(x):\n    return x + 2"),
        made("def f(x):\n    return x - 1"),
        made("def f(x, y=2):\n    return x + 1"),
        made("def f(x):\n    return [i + 1 for i in x]"),
        made("def f(x):\n    return x + K", K=1),
        made("def f(x):\n    return x + K", K=2),
        made("def f(x):\n    return g(x)", g=plain),
        made("def f(x):\n    return g(x)", g=made("def f(x):\n    return x + 3")),
        fingerprinted.margin(3), fingerprinted.margin(4),
    ]  # fmt: skip
    names = [fingerprint(f) for f in (plain, *others)]
    assert len(set(names)) == len(names)
    before = fingerprint(fingerprinted.weighted)
    monkeypatch.setitem(fingerprinted.WEIGHTS, "city0", 5.0)
    assert fingerprint(fingerprinted.weighted) != before, "a global that it reads has changed"


def test_what_holds_itself_has_a_name():
    loop: list[object] = [1]
    loop.append(loop)
    assert fingerprint(loop) != fingerprint([1, [1]])


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": [threading.Lock()]}, r"\['a'\]\[0\] \(_thread.lock\)"),
        ((i for i in range(3)), "generator"),
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.nn.Linear(2, 2), "Linear"),
    ],
)
def test_what_cannot_be_told_by_its_contents_is_refused_by_name(value, named):
    with pytest.raises(ValueError, match=named) as error:
        fingerprint(value)
    assert "\n" not in str(error.value)


def test_a_model_is_its_weights_and_settings_not_its_name(tokenizer):
    one, same, other = (
        wrap(tiny.hf_model("llama", seed), tokenizer, name=name)
        for seed, name in ((0, "a"), (0, "b"), (1, "a"))
    )
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    assert fingerprint(one) == fingerprint(dataclasses.replace(one, role="tuned"))
    with torch.no_grad():
        same.bridge.original_model.get_parameter("model.norm.weight").mul_(2)
    assert fingerprint(one) != fingerprint(same), "a weight written in place is seen"
    hotter = wrap(tiny.hf_model("llama", 0, rope_theta=500.0), tokenizer)
    assert fingerprint(one) != fingerprint(hotter), "the control: the same weights, other settings"


def test_a_model_with_a_hook_of_ones_own_is_refused_until_it_is_gone(tiny_model):
    model = tiny_model("gpt2")
    prompts = tiny.examples(tiny.token_rows(4))
    before = identity(model.bridge)
    with intervened(model, Edit(Site(Kind.MLP_OUT, 0), prompts.mask, Zero())):
        with pytest.raises(ValueError, match="hook of one's own at blocks.0.mlp"):
            identity(model.bridge)
    assert identity(model.bridge) == before


def test_numbers_of_numpy_are_arrays_or_floats():
    assert fingerprint(np.float64(2.0)) == fingerprint(2.0)
    assert fingerprint(np.int64(2)) != fingerprint(2)
