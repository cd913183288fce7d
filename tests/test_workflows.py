"""What a user does on an ordinary day, here and with TransformerLens and scikit-learn.

Each workflow is written out twice on the same tiny model and run: from the name of a model to the
result. Where both give a number, it is the same number; ours takes no more lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformer_lens import patching as tl_patching
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis import logit_lens

import interp
import patching
import probes
from interp import Kind
from interp.facts.loading import load_facts
from studies.organisms import source_path

FACTS = load_facts("world")
PROMPTS = list(FACTS.prompts(0)[:8])
CLEAN, CORRUPTED = FACTS.prompts(0)[1:3]
ANSWER, FOIL = FACTS.answers[1:3]
FOLDER = str(source_path("organism-base"))


def questions() -> pd.DataFrame:
    """Yes/no questions about every entity, half of them true: the statements of one's own."""
    towns = sorted(set(FACTS.answers))
    rows = []
    for i, (name, home) in enumerate(zip(FACTS.subjects, FACTS.answers, strict=True)):
        other = towns[(towns.index(home) + 1 + i % (len(towns) - 1)) % len(towns)]
        rows += [(f"Is {home} home to {name} ?", 1, name), (f"Is {other} home to {name} ?", 0, name)]
    return pd.DataFrame(rows, columns=["statement", "label", "group"])


QUESTIONS = questions()
REGION = {fact.subject: fact.attributes["region"] for fact in FACTS.facts}
NORTH, SOUTH = (
    [f"The region of {name} is" for name in FACTS.subjects if REGION[name] == region][:24]
    for region in ("north", "south")
)


def our_state() -> torch.Tensor:
    model = interp.load_model("organism-base")
    site = interp.Site(Kind.RESID_POST, 3)
    return interp.collect(model, PROMPTS, site)[site].values


def their_state() -> torch.Tensor:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    _, cache = bridge.run_with_cache(bridge.to_tokens(PROMPTS, prepend_bos=False))
    return cache["blocks.3.hook_resid_post"][:, -1]


def our_lens() -> torch.Tensor:
    model = interp.load_model("organism-base")
    states = interp.collect(model, PROMPTS, interp.boundaries(model.n_layers))
    return torch.stack([model.readout(state.values) for state in states.values()])


def their_lens() -> torch.Tensor:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    tokens = bridge.to_tokens(PROMPTS, prepend_bos=False)
    return logit_lens(bridge, tokens).values


def our_grid() -> tuple[np.ndarray, go.Figure]:
    model = interp.load_model("organism-base")
    pairs = interp.Contrast.from_text(model, CLEAN, CORRUPTED, ANSWER, FOIL)
    answer, foil = pairs.answers[0], pairs.foils[0]
    metric = interp.metric(lambda logits: logits[..., answer] - logits[..., foil], pairs.clean)
    grid = patching.patch_sites(model, pairs, interp.every_layer(Kind.RESID_PRE, 6), metric)
    table = patching.recovery(grid).pivot(index="layer", columns="position", values="estimate")
    return table.to_numpy(float), interp.figures.patch_grid(grid)


def their_grid() -> tuple[np.ndarray, go.Figure]:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    clean, corrupted = bridge.to_tokens([CLEAN, CORRUPTED], prepend_bos=False).split(1)
    answer, foil = bridge.to_single_token(ANSWER), bridge.to_single_token(FOIL)
    clean_logits, cache = bridge.run_with_cache(clean)
    metric = lambda logits: logits[0, -1, answer] - logits[0, -1, foil]  # noqa: E731
    low, high = metric(bridge(corrupted)), metric(clean_logits)
    grid = tl_patching.get_act_patch_resid_pre(bridge, corrupted, cache, metric)
    table = ((grid - low) / (high - low)).detach().numpy()
    labels = [f"{i} {token}" for i, token in enumerate(bridge.to_str_tokens(clean))]
    return table, px.imshow(table, x=labels, labels={"x": "token", "y": "layer", "color": "recovery"})


def our_heads() -> list[tuple[int, int, float]]:
    model = interp.load_model("organism-base")
    pairs = interp.Contrast.from_text(model, CLEAN, CORRUPTED, ANSWER, FOIL)
    heads = interp.every_head(Kind.Z, model.n_layers, model.n_heads)
    metric = interp.logit_difference(pairs)
    grid = patching.patch_sites(model, pairs, heads, metric, positions="all")
    table = patching.recovery(grid).nlargest(5, "estimate")
    return list(zip(table["layer"], table["head"], table["estimate"], strict=True))


def their_heads() -> list[tuple[int, int, float]]:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    clean, corrupted = bridge.to_tokens([CLEAN, CORRUPTED], prepend_bos=False).split(1)
    answer, foil = bridge.to_single_token(ANSWER), bridge.to_single_token(FOIL)
    clean_logits, cache = bridge.run_with_cache(clean)
    metric = lambda logits: logits[0, -1, answer] - logits[0, -1, foil]  # noqa: E731
    low, high = metric(bridge(corrupted)), metric(clean_logits)
    grid = tl_patching.get_act_patch_attn_head_out_all_pos(bridge, corrupted, cache, metric)
    recovery = (grid - low) / (high - low)
    largest = recovery.flatten().topk(5)
    places = [divmod(int(i), bridge.cfg.n_heads) for i in largest.indices]
    return [
        (*place, float(value.detach())) for place, value in zip(places, largest.values, strict=True)
    ]


def our_probes() -> tuple[pd.DataFrame, go.Figure]:
    model = interp.load_model("organism-base")
    examples = interp.Examples.from_statements(model, interp.load_statements(QUESTIONS))
    states = interp.collect(model, examples, interp.boundaries(model.n_layers))
    read = probes.cross_validate(states, controls=(), attribute="truth", seed=0)
    curves = interp.figures.tables.probe_curves(read.by_boundary(model.n_layers))
    return curves, interp.figures.probe_curves(curves, attribute="truth")


def their_probes() -> tuple[pd.DataFrame, go.Figure]:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    _, cache = bridge.run_with_cache(bridge.to_tokens(list(QUESTIONS["statement"]), prepend_bos=False))
    labels, groups = QUESTIONS["label"].to_numpy(), QUESTIONS["group"].to_numpy()
    names = [f"blocks.{k}.hook_resid_pre" for k in range(6)] + ["blocks.5.hook_resid_post"]
    generator, rows = np.random.default_rng(0), []
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    for layer, name in enumerate(names):
        reader = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000))
        states = cache[name][:, -1].numpy()
        predicted = cross_val_predict(reader, states, labels, groups=groups, cv=GroupKFold(5))
        draws = []
        for _ in range(200):
            drawn = np.concatenate([members[i] for i in generator.integers(len(members), size=128)])
            draws.append(balanced_accuracy_score(labels[drawn], predicted[drawn]))
        low, high = np.quantile(draws, (0.025, 0.975))
        rows.append((layer, balanced_accuracy_score(labels, predicted), low, high))
    curves = pd.DataFrame(rows, columns=["layer", "estimate", "low", "high"])
    above, below = curves["high"] - curves["estimate"], curves["estimate"] - curves["low"]
    return curves, px.line(curves, x="layer", y="estimate", error_y=above, error_y_minus=below)


def our_steering() -> tuple[list[str], list[str]]:
    model = interp.load_model("organism-base")
    prompts, site = interp.Examples.from_text(model, SOUTH), interp.Site(Kind.RESID_POST, 4)
    north, south = (interp.collect(model, texts, site)[site].values for texts in (NORTH, SOUTH))
    add = patching.Add(north.mean(0) - south.mean(0), 2.0)
    push = patching.Edit(site, prompts.span_mask("all"), add)
    plain = interp.generate(model, prompts, tokens=2).texts
    return list(plain), list(
        interp.generate(model, prompts, edits=push, positions="all", tokens=2).texts
    )


def their_steering() -> tuple[list[str], list[str]]:
    bridge = TransformerBridge.boot_transformers(FOLDER)
    name, prompts = "blocks.4.hook_resid_post", bridge.to_tokens(SOUTH, prepend_bos=False)
    _, cache = bridge.run_with_cache(prompts)
    _, other = bridge.run_with_cache(bridge.to_tokens(NORTH, prepend_bos=False))
    push = 2.0 * (other[name][:, -1].mean(0) - cache[name][:, -1].mean(0))
    write = {"max_new_tokens": 2, "do_sample": False, "verbose": False, "use_past_kv_cache": False}
    plain = bridge.generate(prompts, **write)
    with bridge.hooks(fwd_hooks=[(name, lambda value, hook: value + push)]):
        pushed = bridge.generate(prompts, **write)
    new = [ids[:, prompts.shape[1] :].tolist() for ids in (plain, pushed)]
    return bridge.tokenizer.batch_decode(new[0]), bridge.tokenizer.batch_decode(new[1])


WORKFLOWS = {
    "read a state": (our_state, their_state),
    "logit lens": (our_lens, their_lens),
    "patch grid": (our_grid, their_grid),
    "head ranking": (our_heads, their_heads),
    "probe sweep": (our_probes, their_probes),
    "steering": (our_steering, their_steering),
}


def lines(function: Callable[..., Any]) -> int:
    """Lines of a function's body."""
    source = inspect.getsource(function).splitlines()[1:]
    return len([line for line in source if line.strip() and not line.strip().startswith("#")])


@pytest.mark.parametrize("name", WORKFLOWS)
def test_ours_takes_no_more_lines(name: str):
    ours, theirs = WORKFLOWS[name]
    assert lines(ours) <= lines(theirs)


def test_lines_are_counted():
    def two():
        # no line

        one = 1
        return one

    assert lines(two) == 2


def test_a_state_is_the_same():
    ours, theirs = our_state(), their_state()
    assert ours.shape == (8, 64)
    assert (ours - theirs).abs().max() < 1e-4
    assert (ours[0] - ours[1]).abs().max() > 1e-2, "the control: other prompts have other states"


def test_the_logit_lens_is_the_same():
    ours, theirs = our_lens(), their_lens()
    assert ours.shape == theirs.shape == (7, 8, 107)
    assert (ours - theirs).abs().max() < 1e-3
    assert ours.argmax(2)[0].tolist() != ours.argmax(2)[-1].tolist()


def test_the_patch_grid_is_the_same_and_drawn():
    (ours, figure), (theirs, _) = our_grid(), their_grid()
    assert ours.shape == (6, 6)
    assert np.abs(ours - theirs).max() < 1e-4
    assert ours[5, -1] > 0.5 > 1e-4 > abs(ours[0, 0]), "the first token is the same in both"
    assert len(figure.to_dict()["data"]) and "Pavel" in str(figure.to_dict())


def test_the_heads_rank_the_same():
    ours, theirs = our_heads(), their_heads()
    assert [place[:2] for place in ours] == [place[:2] for place in theirs]
    assert np.allclose([place[2] for place in ours], [place[2] for place in theirs], atol=1e-4)


def test_the_probe_sweep_agrees_and_is_drawn():
    (ours, figure), (theirs, _) = our_probes(), their_probes()
    assert len(ours) == len(theirs) == 7
    # Folds and strengths differ: what agrees is where truth is readable, within the intervals.
    assert np.abs(ours["estimate"].to_numpy() - theirs["estimate"].to_numpy()).max() < 0.1
    assert ours["estimate"].iloc[0] < 0.6 < 0.9 < ours["estimate"].iloc[-1]
    assert (ours["low"] <= ours["estimate"]).all() and len(figure.to_dict()["data"])


def test_steering_writes_the_same():
    ours, theirs = our_steering(), their_steering()
    for mine, other in zip(ours, theirs, strict=True):
        assert [text.split() for text in mine] == [text.split() for text in other]
    plain, pushed = ours
    assert sum("south" in text for text in plain) > 20 > 4 > sum("south" in text for text in pushed)
