"""A direction written into a model by hand: found by the probe, and graded by whether it is read."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import interp
import probes
from interp.examples import Examples
from interp.models.loading import wrap
from interp.verdict.claims import grade_claims
from patching.methods.claims import Claim, measure_use

ENTITIES, WIDTH = 160, 32


def planted():
    """A model whose blocks write nothing: entity i's state is noise + z_i u + y_i v + w to the end.

    z and y are independent over entities. The unembedding reads v and nothing of u: z is in the
    states and nothing uses it, y is and makes the answer. The constant w makes most of the norm, as in
    a real model; without it the last norm would read z through the length of the state.
    """
    words = {"<unk>": 0, "<eos>": 1, "about": 2, "plus": 3, "minus": 4}
    words |= {f"entity{i}": 5 + i for i in range(ENTITIES)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>", pad_token="<eos>"
    )
    made = tiny.hf_model("llama", vocab_size=len(words), hidden_size=WIDTH)
    generator = torch.Generator().manual_seed(0)
    u, v, w = torch.linalg.qr(torch.randn(WIDTH, 3, generator=generator))[0].T
    noise = 0.2 * torch.randn(ENTITIES, WIDTH, generator=generator)
    z, y = torch.arange(ENTITIES) % 2, torch.arange(ENTITIES) // 2 % 2
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                parameter.zero_()
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
        signs = 2.0 * torch.stack([z, y], 1) - 1
        made.model.embed_tokens.weight[5:] = noise + 2 * signs @ torch.stack([u, v]) + 12 * w
        made.lm_head.weight.zero_()
        made.lm_head.weight[words["plus"]], made.lm_head.weight[words["minus"]] = 3 * v, -3 * v
    return wrap(made, tokenizer, name="planted"), {"inert": (z, u), "used": (y, v)}, z, y


@pytest.fixture(scope="module")
def graded():
    """Claims on the written direction, the unread one and a placebo, each with its probe's cosine."""
    model, directions, z, y = planted()
    generator = np.random.default_rng(0)
    directions["placebo"] = (torch.from_numpy(generator.permutation(z.numpy())), None)
    names = [f"entity{i}" for i in range(ENTITIES)]
    held = set(range(0, 48))  # of every combination of z and y twelve
    sites = interp.boundaries(model.n_layers)
    readable, used, cosine = [], [], {}
    for attribute, (labels, vector) in directions.items():
        examples = Examples.from_text(
            model, [f"about {name}" for name in names], groups=names, labels=labels.double().tolist()
        )
        states = interp.collect(model, examples, sites)
        surface = probes.bag_of_tokens(examples.tokens, examples.mask)
        readable += [
            probes.cross_validate(states, surface=surface, attribute=attribute, seed=0),
            probes.permutation_null(states, attribute=attribute, seed=0),
        ]
        kept = [i for i in range(ENTITIES) if i not in held]
        train = interp.collect(model, examples.subset(kept), sites)
        found = [
            probes.fit(train[site], estimator="mass_mean", seed=0).direction() for site in sites[1:]
        ]
        if vector is not None:
            unit = found[0].vector / found[0].vector.norm()
            cosine[attribute] = float(unit @ vector)
        controls = probes.control_directions(train[sites[1]], draws=99, seed=0)
        claim = Claim(attribute, 1, found[0], tuple(controls), tuple(found))
        # Held-out pairs differ in the attribute and in the answer.
        above = [i for i in held if labels[i] == 1 and y[i] == 1]
        below = [i for i in held if labels[i] == 0 and y[i] == 0]
        n = min(len(above), len(below))
        pairs = interp.Contrast.from_text(
            model, [f"about {names[i]}" for i in above[:n]], [f"about {names[i]}" for i in below[:n]],
            ["plus"] * n, ["minus"] * n,
            groups=[f"{names[i]} -> {names[j]}" for i, j in zip(above, below, strict=False)][:n],
        )  # fmt: skip
        used.append(measure_use(model, pairs, [claim], interp.logit_difference(pairs), seed=0))
    rows = interp.Evidence.concat(readable).by_boundary(model.n_layers)
    claims = grade_claims(rows, interp.Evidence.concat(used), interp.Thresholds())
    return {claim.attribute: claim for claim in claims}, cosine


def test_a_planted_direction_is_found_and_graded_used(graded):
    claims, cosine = graded
    assert cosine["used"] >= 0.95
    assert claims["used"].grade == "supported", claims["used"]
    assert claims["used"].use.swap.estimate > 0.8


def test_the_same_where_nothing_reads_it_is_decodable_and_inert(graded):
    claims, cosine = graded
    assert cosine["inert"] >= 0.95
    assert claims["inert"].grade == "decodable-inert", claims["inert"]
    assert abs(claims["inert"].use.swap.estimate) < 0.05 < claims["inert"].use.whole.low


def test_labels_given_at_random_are_never_supported(graded):
    claims, _ = graded
    assert claims["placebo"].reading.readable is False
    assert claims["placebo"].grade not in ("supported", "decodable-inert")
