"""Belief is calibrated and held out, claims are the model's own log-odds, and a liar is found out."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
import toy_tokenizers as toys
from probe_toys import planted

from interp.activations import Activations, collect
from interp.evidence import Evidence
from interp.examples import Examples
from interp.facts.types import Statements
from interp.models.loading import wrap
from interp.models.model import Model
from interp.sites import Kind, Site, boundary
from probes.beliefs.agreement import belief_claim_summary, belief_claim_table
from probes.beliefs.belief import belief, platt, posterior
from probes.beliefs.claims import Question, claims

ASK = (
    Question("{statement} is", ("filler0", "filler1"), ("filler2", "filler3")),
    Question("The {statement} in", ("filler0",), ("filler2",)),
)
LANDS = 24


def statements(seed: int | None = None) -> Statements:
    """A land is new (true) or old (false); with a seed the labels are dealt at random instead."""
    texts, labels, groups = [], [], []
    coin = None if seed is None else np.random.default_rng(seed)
    for i in range(LANDS):
        flip = False if coin is None else bool(coin.integers(2))
        for word, label in (("new", True), ("old", False)):
            texts.append(f"The city of land{i} is {word}")
            labels.append(label != flip)
            groups.append(f"land{i}")
    empty = ("",) * len(texts)
    return Statements("lands", tuple(texts), tuple(labels), tuple(groups), empty, tuple(groups))


@pytest.fixture(scope="module")
def speakers(tokenizer) -> dict[str, Model]:
    """Two models equal but for the words they say yes and no with: one honest, one not."""
    out = {}
    for name, sign in (("honest", 1.0), ("liar", -1.0)):
        model = wrap(tiny.hf_model("llama"), tokenizer, name=name)
        said = statements()
        states = []
        for question in ASK:
            texts = [question.text.replace("{statement}", text) for text in said.texts]
            top = boundary(model.n_layers, model.n_layers)
            found = collect(model, Examples.from_text(model, texts), [top])[top].values
            states.append(model.bridge.ln_final(found))
        target = torch.tensor([1.0 if label else -1.0 for label in said.labels]).repeat(len(ASK))
        along = torch.linalg.lstsq(torch.cat(states), target[:, None]).solution[:, 0]
        head = model.bridge.original_model.get_output_embeddings().weight
        for word, way in (("filler0", 1.0), ("filler1", 1.0), ("filler2", -1.0), ("filler3", -1.0)):
            head[tokenizer(word, add_special_tokens=False).input_ids[0]] = sign * way * along
        out[name] = model
    return out


def share(table: pd.DataFrame, measure: str, of: str = "all", says: str = "raw") -> float:
    rows = table[(table.measure == measure) & (table.of == of) & (table.says == says)]
    return float(rows.estimate.iloc[0])


def test_an_honest_model_says_what_it_believes_and_a_liar_does_not(speakers):
    found = {}
    for name, model in speakers.items():
        said = statements()
        table = belief_claim_table(belief(model, said, seed=0), claims(model, said, questions=ASK))
        assert len(table) == 2 * LANDS and (table.believes == table.label).all()
        found[name] = belief_claim_summary(table, resamples=200)
    assert share(found["honest"], "claim_right") > 0.95 and share(found["honest"], "agree") > 0.95
    assert share(found["liar"], "claim_right") < 0.05
    assert share(found["liar"], "said_against_belief") > 0.95
    assert share(found["liar"], "says_true_believes_false", "false") > 0.95
    assert share(found["liar"], "says_true_believes_false", "true") == 0
    assert share(found["liar"], "belief_auroc") == 1 and share(found["liar"], "claim_auroc") < 0.05
    honest = found["honest"]
    assert ((honest.low <= honest.estimate) & (honest.estimate <= honest.high)).all()
    assert (honest[honest.of == "all"].groups == LANDS).all()


def test_labels_at_random_are_not_believed(speakers):
    # Control: the same statements, their truth dealt by coin to each land.
    right = []
    for seed in range(4):
        said = statements(seed)
        table = belief_claim_table(
            belief(speakers["honest"], said, seed=0), claims(speakers["honest"], said, questions=ASK)
        )
        right.append(share(belief_claim_summary(table, resamples=50), "belief_right"))
        assert table.belief.sub(0.5).abs().mean() < 0.25, "a probe at chance is unsure"
    assert abs(np.mean(right) - 0.5) < 0.2


def test_claims_are_the_bare_models_log_odds(speakers):
    model, said = speakers["honest"], statements()
    evidence = claims(model, said, questions=ASK)
    assert len(evidence) == len(ASK) * len(said)
    for number, question in enumerate(ASK, start=1):
        rows = evidence.where(question=number)["value"].to_numpy(dtype=float)
        for i in (0, 1, 17):
            ids = model.tokenizer(question.text.replace("{statement}", said.texts[i])).input_ids
            chance = model.logits(torch.tensor([ids]))[0, -1].softmax(-1)
            yes, no = (
                sum(chance[model.tokenizer(w, add_special_tokens=False).input_ids[0]] for w in part)
                for part in (question.yes, question.no)
            )
            assert rows[i] == pytest.approx(float(torch.log(yes / no)), abs=1e-3)


def test_words_have_the_ids_that_follow_the_question():
    """A tokenizer that puts a space before every text would make another token of each word."""
    tokenizer = toys.prepending()
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer)
    texts, names = ("Paris is so", "Madrid is so"), ("a", "b")
    said = Statements("toy", texts, (True, False), names, ("", ""), names)
    question = Question("{statement} True or false? Answer:", (" Yes",), (" No",))
    values = claims(model, said, questions=[question]).table["value"].tolist()
    yes, no = tokenizer.convert_tokens_to_ids(["▁Yes", "▁No"])
    assert tokenizer(" Yes", add_special_tokens=False).input_ids[0] != yes, "the control"
    for value, text in zip(values, said.texts, strict=True):
        ids = tokenizer(question.text.replace("{statement}", text)).input_ids
        logits = model.logits(torch.tensor([ids]))[0, -1]
        assert value == pytest.approx(float(logits[yes] - logits[no]), abs=1e-3)


def test_a_template_that_refuses_a_question_is_one_line():
    tokenizer = toys.bytewise()
    tokenizer.chat_template = "{{ raise_exception('a system message must come first') }}"
    model = wrap(tiny.hf_model("llama", vocab_size=toys.SIZE), tokenizer, name="strict")
    said = Statements("toy", ("Paris is so",), (True,), ("a",), ("",), ("a",))
    with pytest.raises(ValueError, match="of strict cannot .*a system message must come first"):
        claims(model, said, prompt="chat")


def test_posterior_is_calibrated_and_picks_the_layer_that_tells():
    toy, _ = planted(n_groups=300, strength=2.0, layers=3)
    blank = Site(Kind.RESID_PRE, 0)
    evidence = posterior(toy, seed=0)
    p = evidence.table["value"].to_numpy(dtype=float)
    label = evidence.table["label"].to_numpy(dtype=float)
    assert set(evidence.table["layer"]) <= {1, 2} and len(p) == 600
    assert 0.75 < np.mean((p > 0.5) == (label == 1)) < 0.95
    edges = np.quantile(p, np.linspace(0, 1, 6))
    bins = np.clip(np.searchsorted(edges, p) - 1, 0, 4)
    gaps = [abs(p[bins == b].mean() - label[bins == b].mean()) for b in range(5)]
    assert max(gaps) < 0.1
    # Control: where nothing can be read the posterior says so.
    nothing = posterior({blank: toy[blank]}, seed=0).table["value"].to_numpy(dtype=float)
    assert np.abs(nothing - 0.5).mean() < 0.1


def test_an_entity_split_over_folds_would_be_a_leak():
    # Labels at random per entity, every entity with a vector of its own, shown four times.
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(40, 200, generator=generator).repeat_interleave(4, 0)
    labels = torch.randint(2, (40,), generator=generator).repeat_interleave(4)
    site = Site(Kind.RESID_PRE, 1)

    def right(groups: tuple[str, ...]) -> float:
        table = posterior(Activations(site, own, groups, labels), seed=0).table
        return float(np.mean((table["value"] > 0.5) == (table["label"] == 1)))

    assert right(tuple(f"{i // 4}" for i in range(160))) < 0.65
    assert right(tuple(f"{i}" for i in range(160))) > 0.9


def test_platt_finds_the_scale_and_never_turns_round():
    generator = np.random.default_rng(0)
    margin = generator.normal(size=20_000) * 3
    label = generator.random(20_000) < 1 / (1 + np.exp(-(0.5 * margin - 1)))
    slope, offset, loss = platt(margin, label)
    assert slope == pytest.approx(0.5, abs=0.03) and offset == pytest.approx(-1, abs=0.06)
    turned, _, flat = platt(-margin, label)
    assert turned == 0 and flat > loss


def _pair(
    beliefs: list[float], claim: list[float], labels: list[bool], fold: list[int]
) -> pd.DataFrame:
    same = {"group": [f"g{i // 2}" for i in range(len(labels))], "example": np.arange(len(labels))}
    truth = np.array(labels, dtype=float)
    one = Evidence.build(beliefs, method="belief", label=truth, fold=np.array(fold), **same)
    two = Evidence.build(claim, method="claim", label=truth, **same)
    return belief_claim_table(one, two)


def test_counts_are_right_and_the_habit_is_taken_from_other_folds():
    table = _pair([0.9, 0.1, 0.8, 0.4], [3.0, 1.0, 5.0, 4.0], [True, False, True, False], [0, 0, 1, 1])
    assert table.centred.tolist() == [-1.5, -3.5, 3.0, 2.0]
    assert table.says.all() and table.says_centred.tolist() == [False, False, True, True]
    counts = belief_claim_summary(table, resamples=50)
    rows = counts[(counts.says == "raw") & (counts.of == "false")].set_index("measure")
    assert rows.loc["says_true_believes_false", "count"] == 2
    assert rows.loc["claim_right", "estimate"] == 0 and rows.loc["belief_right", "estimate"] == 1
    surely = belief_claim_summary(table, sure=0.75, resamples=50)
    assert surely[(surely.of == "all") & (surely.measure == "agree")].statements.tolist() == [3, 3]


def test_shares_are_of_statements_whatever_the_size_of_their_groups():
    table = _pair([0.9] * 12, [1.0] * 11 + [-1.0], [True] * 12, [0, 1] * 6)
    table["group"] = ["big"] * 10 + ["one", "two"]
    rows = belief_claim_summary(table, resamples=50).set_index(["says", "of", "measure"])
    assert rows.loc[("raw", "all", "agree"), "estimate"] == pytest.approx(11 / 12)
    assert rows.loc[("raw", "all", "agree"), "groups"] == 3


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: claims(m, statements(), questions=()), "at least one question"),
        (lambda m: claims(m, statements(), prompt="chat"), "no chat template"),
        (lambda m: claims(m, statements(), questions=(Question("x", ("new",), ("old",)),)), "once"),
        (
            lambda m: claims(m, statements(), questions=(Question("{statement}", ("a",), ("a",)),)),
            "different tokens",
        ),
        (lambda m: belief(m, statements(), folds=2, seed=0), "3 or more folds, got 2"),
        (lambda m: belief(m, statements(), folds=30, seed=0), "at least as many groups"),
        (lambda m: posterior(planted(classes=3, per_group=3)[0], seed=0), "two classes, got 3"),
        (lambda m: belief_claim_summary(_pair([0.6], [1.0], [True], [0]), sure=0.9), "no statement"),
        (lambda m: belief_claim_summary(_pair([0.6], [1.0], [True], [0]), sure=1.0), "sure must lie"),
    ],
)
def test_errors_say_what_to_do(speakers, call, said: str):
    with pytest.raises(ValueError, match=said) as caught:
        call(speakers["honest"])
    assert len(str(caught.value).splitlines()) == 1


def test_other_statements_are_not_paired():
    left = Evidence.build([0.5], method="belief", label=1.0, fold=0, group="a", example=0)
    right = Evidence.build([0.5], method="claim", label=0.0, group="a", example=0)
    with pytest.raises(ValueError, match="same statements"):
        belief_claim_table(left, right)
