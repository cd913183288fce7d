"""Examples and pairs made of statements, facts and attributes are those built by hand."""

import pytest
import torch

import interp
from interp.contrasts import Contrast, aligned_pairs
from interp.examples import Examples
from interp.facts.attributes import entity_attributes
from interp.facts.loading import load_facts
from interp.facts.truth import truth_statements
from interp.models.loading import load_model
from interp.models.model import Model
from interp.prompts import first_token


@pytest.fixture(scope="module")
def organism() -> Model:
    return load_model("organism-base")


def same(one: Examples, other: Examples) -> bool:
    """Whether two sets of examples agree in every part."""
    labels = (one.labels is None) == (other.labels is None)
    if one.labels is not None and other.labels is not None:
        labels = torch.equal(one.labels, other.labels)
    return (
        labels
        and torch.equal(one.tokens, other.tokens)
        and (one.groups, one.texts, one.templates) == (other.groups, other.texts, other.templates)
        and one.spans.keys() == other.spans.keys()
        and all(torch.equal(one.spans[name], other.spans[name]) for name in one.spans)
    )


@pytest.mark.filterwarnings("ignore:.*prompts hold words")
def test_statements_become_examples_labelled_with_their_truth(organism: Model):
    statements = truth_statements("capitals", n=6, seed=0)
    made = Examples.from_statements(organism, statements)
    by_hand = Examples.from_text(
        organism,
        statements.texts,
        groups=statements.blocks,
        labels=[float(v) for v in statements.labels],
    )
    assert same(made, by_hand) and made.labels is not None and made.labels.tolist().count(1.0) == 6
    by_entity = Examples.from_text(organism, statements.texts, groups=statements.groups)
    assert not same(made, by_entity), "the control: other groups and no labels"


def test_facts_become_examples_of_one_form_with_their_subjects(organism: Model):
    facts = load_facts("world")
    first, second = (Examples.from_facts(organism, facts, form) for form in (0, 1))
    assert first.texts == facts.prompts(0) and second.texts == facts.prompts(1) != facts.prompts(0)
    assert first.groups == second.groups == facts.groups
    assert (set(first.templates), set(second.templates)) == ({"A"}, {"B"})
    tokenizer = organism.tokenizer
    for i in (0, len(facts) - 1):
        subject = tokenizer.decode(second.tokens[i][second.span_mask("subject")[i]])
        assert subject.strip() == facts.subjects[i].strip()
    assert same(first, Examples.from_facts(organism, facts)) and not same(first, second)


@pytest.mark.filterwarnings("ignore:.*prompts hold words")
def test_attributes_become_examples_labelled_with_their_values(organism: Model):
    attributes = entity_attributes("element_period")
    made = Examples.from_attributes(organism, attributes, 1)
    assert made.texts == attributes.prompts(1) and made.groups == attributes.groups
    assert made.labels is not None and tuple(made.labels.tolist()) == attributes.labels
    assert "subject" in made.spans and set(made.templates) == {"B"}


def test_other_things_are_refused_in_one_line(organism: Model):
    facts = load_facts("world")
    for make, message in (
        (lambda: interp.Examples.from_statements(organism, "cities"), "interp.truth_statements gives"),
        (lambda: interp.Examples.from_facts(organism, "world"), "interp.load_facts gives"),
        (lambda: interp.Examples.from_attributes(organism, facts), "interp.entity_attributes gives"),
        (lambda: interp.Examples.from_facts(organism, facts, 99), r"form got 99; expected .* 0\.\."),
        (lambda: interp.Examples.from_facts(organism, facts, -1), "form got -1; expected"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            make()
        assert "\n" not in str(refused.value)


def test_pairs_are_those_that_align_with_each_other_as_foils(organism: Model):
    facts = load_facts("world")
    examples = Examples.from_facts(organism, facts).subset(range(20))
    answers = [
        first_token(organism, answer, prompt=text)
        for answer, text in zip(facts.answers, examples.texts, strict=False)
    ]
    pairs = Contrast.pairs(examples, answers)
    ids = torch.tensor(answers)
    clean, corrupted = aligned_pairs(examples, ids)
    assert pairs.clean.groups == tuple(examples.groups[i] for i in clean)
    assert pairs.corrupted.groups == tuple(examples.groups[i] for i in corrupted)
    assert torch.equal(pairs.answers, ids[clean]) and torch.equal(pairs.foils, ids[corrupted])
    assert len(Contrast.pairs(examples, ids, per_example=2)) > len(pairs)
    apart = {group: i % 2 for i, group in enumerate(examples.groups)}
    kept = Contrast.pairs(examples, answers, apart=apart)
    sides = zip(kept.clean.groups, kept.corrupted.groups, strict=True)
    assert all(apart[one] != apart[other] for one, other in sides)
    with pytest.raises(ValueError, match="no two of 20 examples can be paired; expected some that"):
        Contrast.pairs(examples, [answers[0]] * 20)
    with pytest.raises(ValueError, match="answers must have one entry per example, 20; got 19"):
        Contrast.pairs(examples, answers[:19])
