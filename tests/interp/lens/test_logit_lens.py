"""The logit lens reads as TransformerLens does, ends in the model's own output, and ranks as told."""

import pytest
import torch

import interp
from interp.lens.logit_lens import log_probabilities


def states_of(model, examples):
    """The residual stream at every boundary, [boundary, token, d_model]."""
    sites = interp.boundaries(model.n_layers)
    read = interp.collect(model, examples, sites, positions="each")
    return torch.stack([read[site].values for site in sites])


def test_it_equals_transformer_lens_and_another_norm_does_not():
    model = interp.load_model("organism-base")
    examples = interp.Examples.from_text(model, interp.load_facts("world").prompts(0)[0])
    _, cache = model.bridge.run_with_cache(examples.tokens)
    theirs = cache.accumulated_resid(apply_ln=True)[:, 0] @ model.bridge.unembed.W_U
    bare = cache.accumulated_resid(apply_ln=False)[:, 0] @ model.bridge.unembed.W_U
    ours = torch.stack([log_probabilities(model, one) for one in states_of(model, examples)])
    assert torch.allclose(ours, theirs.log_softmax(-1), atol=1e-4)
    assert not torch.allclose(ours, bare.log_softmax(-1), atol=1e-1), "the control: without the norm"


@pytest.mark.parametrize("family", ["gpt2", "neox", "llama", "gemma2"])
def test_the_last_boundary_is_the_models_own_output(family: str, tiny_model):
    model = tiny_model(family)
    examples = interp.Examples.from_text(model, ["land0 is new", "the capital of land1 is"])
    lens = interp.logit_lens(model, examples, top=model.vocabulary)
    logits = model.logits(examples.tokens, examples.mask)
    rows = torch.arange(2)
    own = logits[rows, examples.lengths - 1].log_softmax(-1)
    for boundary, same in ((model.n_layers, True), (0, False)):
        part = lens.table[lens.table["boundary"] == boundary].sort_values(["example", "id"])
        read = torch.tensor(part["log_prob"].to_numpy()).reshape(2, -1)
        assert torch.allclose(read.to(own), own, atol=1e-4) is same


def test_answers_have_their_probability_and_rank_at_every_boundary():
    pair = interp.load_pair("organism-base", "organism-evasive-high")
    facts = interp.load_facts("world")
    lens = interp.logit_lens(pair, facts.prompts(0)[:4], answers=facts.answers[:4], top=2)
    answers = lens.table[lens.table["answer"]]
    assert len(answers) == 2 * 4 * (pair.base.n_layers + 1)
    top = answers[answers["boundary"] == pair.base.n_layers].set_index(["model", "example"])["rank"]
    assert (top["base"] == 1).all() and (top["tuned"] > 1).all(), "the tuned one says something else"
    assert set(lens.evidence.table["metric"].unique()) == {"log_prob", "rank"}
    assert str(lens).startswith(facts.prompts(0)[0]) and "unknown" in str(lens)
    wide = lens.table.groupby(["model", "example", "boundary"])["rank"].apply(list)
    assert all(ranks[:2] == [1, 2] for ranks in wide)


def test_what_cannot_be_read_is_told():
    model, facts = interp.load_model("organism-base"), interp.load_facts("world")
    prompts = list(facts.prompts(0)[:2])
    with pytest.raises(ValueError, match="answers got 1; expected one for each of 2 prompts"):
        interp.logit_lens(model, prompts, answers=["Lomond"])
    lens = interp.logit_lens(model, prompts)
    with pytest.raises(ValueError, match="expected logit_lens"):
        _ = lens.evidence
    with pytest.raises(ValueError, match=r"example got 9; expected one of 0\.\.1"):
        lens.grid(example=9)


def test_the_figure_shows_the_tokens_of_both_models():
    pair = interp.load_pair("organism-base", "organism-evasive-high")
    lens = interp.logit_lens(pair, interp.load_facts("world").prompts(0)[0], positions="each")
    base, tuned = interp.figures.logit_lens(lens).data
    grid = lens.grid(column="probability")
    assert len(base.z) == pair.base.n_layers + 1 and len(base.z[0]) == len(grid["base"].columns)
    assert base.z[-1][-1] == pytest.approx(grid["base"].iloc[-1, -1])
    assert tuned.text[-1][-1] == "unknown" != base.text[-1][-1]
