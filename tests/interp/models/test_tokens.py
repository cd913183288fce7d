"""Answers have the ids of running text, whatever the tokenizer does at the start of a text."""

import pytest
import toy_tokenizers as toys

from interp.models import tokens
from interp.models.tokens import (
    encode,
    find_name,
    following,
    separator,
    token_span,
    token_text,
    user_turn,
)

PROMPT = "The capital of France is the city of"


@pytest.fixture(scope="module", params=sorted(toys.KINDS))
def tokenizer(request):
    return toys.KINDS[request.param]()


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("answer", ["Paris", " Paris", "Madrid", "1914", "the city of Madrid"])
def test_an_answer_has_the_ids_of_the_joint_text(tokenizer, answer: str, special: bool):
    joint = encode(tokenizer, f"{PROMPT} {answer.strip()}", special=special)
    head = encode(tokenizer, PROMPT, special=special)
    assert [*head, *following(tokenizer, PROMPT, answer, special=special)] == joint
    assert tokenizer.decode(joint[len(head) :]).strip() == answer.strip()


def test_alone_the_answer_would_have_had_other_ids():
    """The control: what was done before is wrong for a tokenizer that puts a space first."""
    tokenizer = toys.prepending()
    alone = tokenizer(" Paris", add_special_tokens=False).input_ids
    right = following(tokenizer, PROMPT, "Paris")
    assert tokenizer.convert_ids_to_tokens(list(right)) == ["▁Paris"]
    assert tokenizer.convert_ids_to_tokens(alone)[0] != "▁Paris"
    assert tokens.continued(tokenizer, " Paris") == right
    assert tokenizer.convert_ids_to_tokens(list(tokens.continued(tokenizer, "Paris"))) == ["Paris"]


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ('{"France": "', "Paris"),
        ("Spain -> (", "Madrid"),
        ("France is ", "Paris"),
        ("法国的首都是", "巴黎"),
        ("The post-", "war"),
        ("The f(", "Paris"),
    ],
)
def test_prompt_and_answer_together_are_the_running_text(tokenizer, prompt: str, answer: str):
    """Also where tokens would merge across the boundary: the model reads the prompt's own ids."""
    ids = following(tokenizer, prompt, answer)
    whole = tokenizer.decode([*encode(tokenizer, prompt), *ids], skip_special_tokens=True)
    assert ids and whole == prompt + answer


def test_a_merge_across_the_boundary_is_met():
    """The control: for one of these, the joint ids do not begin with the prompt's."""
    tokenizer, prompt = toys.bytewise(toys.QWEN), "France is "
    head, joint = encode(tokenizer, prompt), encode(tokenizer, prompt + "Paris")
    assert joint[: len(head)] != head
    assert tokenizer.decode(list(following(tokenizer, prompt, "Paris"))) == "Paris"


@pytest.mark.parametrize(
    ("prompt", "answer", "between"),
    [
        ("The capital is", "Paris", " "),
        ("A:", "Paris", " "),
        ("France ->", "Paris", " "),
        ("France -", "Paris", " "),
        ("France —", "Paris", " "),
        ("the post-", "war", ""),
        ("France is ", "Paris", ""),
        ("France is", " Paris", ""),
        ("France is\n", "Paris", ""),
        ("", "Paris", ""),
        ("It is called “", "Paris", ""),
        ("It is called “Paris”", "and", " "),
        ("Es heißt «", "Paris", ""),
        ('{"France": "', "Paris", ""),
        ('{"France":"', "Paris", ""),
        ('He said "Paris."', "Then", " "),
        ("['France', '", "Paris", ""),
        ("['France','", "Paris", ""),
        ("the teachers'", "room", " "),
        ("It's", "Paris", " "),
        ("Japan (", "Tokyo", ""),
        ("Japan [", "Tokyo", ""),
        ("Japan (Tokyo)", "and", " "),
        ("The capital is **", "Paris", ""),
        ("**Q:**", "Paris", " "),
        ("It costs $", "5", ""),
        ("and/", "or", ""),
        ("France", ", which", ""),
        ("法国的首都是", "巴黎", ""),
        ("フランスの首都は", "パリ", ""),
        ("答案：", "Paris", ""),
        ("他说「", "巴黎", ""),
        ("เมืองหลวงคือ", "กรุงเทพ", ""),
        ("프랑스의 수도는", "파리", " "),
        ("Столица Франции —", "Париж", " "),
        ("عاصمة فرنسا هي", "باريس", " "),
    ],
)
def test_running_text_has_a_space_or_none(prompt: str, answer: str, between: str):
    assert separator(prompt, answer) == between


def test_what_the_tokenizer_appends_is_left_out_and_what_it_prepends_is_kept():
    tokenizer = toys.bytewise(appended=True)
    usual = tokenizer(PROMPT).input_ids
    assert usual[0] == 0 and usual[-1] == 1, "the control: it does append"
    assert encode(tokenizer, PROMPT) == usual[:-1]
    assert encode(tokenizer, PROMPT, special=False) == usual[1:-1]
    ended = encode(tokenizer, PROMPT + "<eos>")
    assert ended == usual, "an end that is part of the text is text"
    assert encode(tokenizer, "") == [0]


@pytest.mark.parametrize(
    ("text", "name", "place"),
    [
        ("The capital of Iran, where the Iranian parliament sits, is", "Iran", 15),
        ("Niger is west of Nigeria and", "Niger", 0),
        ("Guinea borders Guinea-Bissau and", "Guinea", 0),
        ("Rome is old, and Rome is", "Rome", 17),
        ("a Nigerian", "Niger", 2),
        ("land1, not land12, is", "land1", 0),
        ("U.S. troops, or U.S.S.R. troops", "U.S.", 0),
        (".NET and ASP.NET", ".NET", 0),
        ("“X” and X’s", "“X”", 0),
        ("日本人は日本の", "日本", 4),
        ("Malé, then Malée", "Malé", 0),
        ("Male\u0301 and Male", "Male", 10),
        ("Oslo_2 in Oslo is", "Oslo", 10),
    ],
)
def test_a_name_is_found_as_words_of_its_own(text: str, name: str, place: int):
    assert find_name(text, name) == (place, place + len(name))


def test_the_tokens_of_a_name_are_found_with_and_without_offsets(tokenizer):
    text = "The capital of Spain is the city"
    ids = encode(tokenizer, text)
    start, stop = token_span(tokenizer, text, find_name(text, "Spain"))
    assert tokenizer.decode(ids[start:stop]).strip() == "Spain"
    with pytest.raises(ValueError, match=r"characters 4\.\.4 of .* holds no token"):
        token_span(tokenizer, text, (4, 4))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('a system message must come first') }}", "a system message must come"),
        ("{{ messages[0]['role'] + 1 }}", "can only concatenate str"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_that_refuses_is_one_line_with_its_own_words(template: str, message: str):
    tokenizer = toys.bytewise()
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=f"chat template of tuned cannot render .*{message}") as caught:
        user_turn(tokenizer, "Who?", "tuned")
    assert "\n" not in str(caught.value)
    tokenizer.chat_template = "{% for m in messages %}U: {{ m['content'] }}{% endfor %} A:"
    assert user_turn(tokenizer, "Who?", "tuned") == "U: Who? A:"


class Bytes:
    """A tokenizer whose pieces may end inside a character, in the two usual spellings of bytes."""

    pieces = ("Ġhome", "æĹ", "Ġ¥", "<0xE6>", "�")

    def decode(self, ids):
        return (" home", "�", " �", "�", "�")[ids[0]]

    def convert_ids_to_tokens(self, ids):
        return [self.pieces[i] for i in ids]


def test_bytes_inside_a_character_are_told_apart():
    read = [token_text(Bytes(), i) for i in range(5)]
    assert read == [" home", "<E6><97>", " <A5>", "<E6>", "�"]


def test_whole_characters_are_shown_as_they_are(tokenizer):
    ids = encode(tokenizer, PROMPT, special=False)
    assert [token_text(tokenizer, i) for i in ids] == [tokenizer.decode([i]) for i in ids]
