"""Questions in a chat template: rendered once, read alike, compared by the ids that are used."""

import copy
from dataclasses import replace

import pytest
import tiny
from tiny import facts
from tokenizers import processors

from interp.models.loading import wrap
from interp.models.pair import ModelPair
from patching.methods.slots import Layout
from studies.comparison.questions import ask

CHAT = "{% for m in messages %}The old {{ m['content'] }} . {% endfor %}new"


@pytest.fixture(scope="module")
def pair(tiny_pair) -> ModelPair:
    return tiny_pair("llama")


@pytest.fixture(scope="module")
def chatty(tokenizer, tiny_model) -> ModelPair:
    """The same weights; only the tuned model's tokenizer has a chat template."""
    with_template = copy.deepcopy(tokenizer)
    with_template.chat_template = CHAT
    tuned = wrap(tiny.hf_model("llama", 1), with_template, name="chatty")
    return ModelPair(tiny_model("llama"), tuned)


def test_a_chat_template_is_rendered_once_and_read_alike(chatty: ModelPair):
    queries = ask(chatty, facts(3), prompt="chat")
    text = queries.examples.texts[0]
    assert text.startswith("The old Complete the sentence: The capital of land0 is .")
    assert text.endswith("The capital of land0 is"), "the assistant's turn begins with the prompt"
    start, stop = queries.subjects[0]
    assert text[start:stop] == "land0" and start > text.index("land0"), "the second occurrence"
    ids = chatty.base.tokenizer(text, add_special_tokens=False).input_ids
    assert queries.examples.tokens[0][queries.examples.mask[0]].tolist() == ids
    assert not queries.special
    raw = ask(chatty, facts(3))
    assert raw.examples.texts[0] == "The capital of land0 is"
    again = queries.rendered(chatty.tuned, [1], [(5,)])
    assert again.texts == (queries.examples.texts[1],)
    assert again.spans["subject"].tolist() == queries.examples.spans["subject"][1:2].tolist()


def test_chats_of_one_form_line_up_however_many_tokens_a_subject_has(chatty: ModelPair):
    short = facts(3)
    longer = replace(short.facts[1], subject="land1 land2")
    asked = replace(short, facts=(short.facts[0], longer, short.facts[2]))
    examples = ask(chatty, asked, prompt="chat").examples
    assert examples.lengths.unique().numel() > 1, "the subject stands twice"
    for form in sorted(set(examples.templates)):
        rows = [i for i, template in enumerate(examples.templates) if template == form]
        layout = Layout.of(examples.subset(rows))
        assert layout.present.sum(1).tolist() == examples.lengths[rows].tolist()


def test_chat_without_a_template_is_refused(pair: ModelPair):
    with pytest.raises(ValueError, match="--prompt chat needs a chat template; llama has none"):
        ask(pair, facts(), prompt="chat")


def test_chat_prompts_are_compared_by_the_ids_that_are_used(chatty: ModelPair):
    """Only the base's tokenizer would put a token before a text; a chat rendering gets none."""
    before = copy.deepcopy(chatty.base.tokenizer)
    before.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<eos> $A", special_tokens=[("<eos>", 2)]
    )
    pair = ModelPair(replace(chatty.base, tokenizer=before), chatty.tuned)
    queries = ask(pair, facts(3), prompt="chat")
    assert (queries.examples.tokens[:, 0] != 2).all()
    with pytest.raises(ValueError, match="base and tuned tokenise .* differently"):
        ask(pair, facts(3))


def test_a_chat_template_that_refuses_is_one_line(chatty: ModelPair):
    strict = copy.deepcopy(chatty.tuned.tokenizer)
    strict.chat_template = "{{ raise_exception('a system message must come first') }}"
    pair = ModelPair(chatty.base, replace(chatty.tuned, tokenizer=strict))
    with pytest.raises(ValueError, match="of chatty cannot .*a system message must come first"):
        ask(pair, facts(3), prompt="chat")
