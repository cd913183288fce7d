"""The entity of each statement where no column names it: read from how the sentences begin.

The words before the verb name the entity: "Acme | engages in the sale of steel." A verb is one of a
short list, or a word that follows many different beginnings in the same file, as "means" follows
"The Spanish word 'con'", "The Spanish word 'uno'", and so on. Where a choice remains, the shorter
name is taken: two entities under one name cost a little precision, one entity under two names would
stand on both sides of a split.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

#: Words that begin or join a name but are none: articles, pronouns, prepositions, conjunctions, and
#: what sentences about sentences begin with ("It is true that ...").
_SMALL = frozenset(
    "true false case fact known said correct wrong wahr falsch fall "
    "a an the this that these those it its he she they we you i one his her their our my your "
    "there here who which what when where if in on at by to of for from with as and or not no all "
    "both either neither every each some any many most much few several more less than into over "
    "under about after before during between among according because while although since "
    "der die das den dem des ein eine einen einem einer es er sie wir ihr ich im in am an auf aus bei "
    "von vom zu zum zur mit und oder nicht kein keine alle jeder jede jedes einige viele sowohl "
    "le la les l' un une des du de d' il elle ils elles et ou en dans au aux ce cette ces "
    "el los las una unos unas lo y o del al que se su il i gli uno e di da nel nella "
    "o os as um uma do da dos das no na het een van".split()
)

_VERBS = frozenset(
    "is isn't are aren't was wasn't were weren't be been has hasn't have haven't had hadn't does "
    "doesn't do don't did didn't can cannot can't could couldn't will won't would wouldn't may might "
    "must should shall means engages lived lives "
    "ist sind war waren hat haben hatte hatten wird werden wurde wurden kann können konnte muss soll "
    "est sont était étaient a ont avait peut es son era eran tiene tienen fue sono ha hanno fu".split()
)

_UNSPACED = r"\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Japanese, Chinese

#: A word, or one character of a script that puts no space between words.
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")

_SHARE, _FEWEST = 0.1, 3  # of the beginnings that a verb of this file follows

_LONGEST = 6  # words of a name that is looked for in other statements


def entities(texts: Sequence[str]) -> tuple[str, ...]:
    """The entity of every statement, read from the statements alone.

    Statements that are equal but for their last word share one, and so do those with the same words
    before the verb.
    """
    heads = [words[:-1] or words for words in map(_WORD.findall, texts)]
    verbs = _VERBS | _followers(heads)
    names = [_name(head, verbs) for head in heads]
    if len(set(map(_key, names))) == 1:
        inner = [_name(head, verbs) for head in _without_opening(heads)]
        if all(name and _is_name(name[0]) for name in inner):
            names = inner
    spelled: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        spelled[_key(name)].add(_stripped(" ".join(name)))
    return tuple(min(spelled[_key(name)]) for name in names)


def naming_another(texts: Sequence[str], names: Sequence[str]) -> int:
    """How many statements also hold the entity of another statement, as conjunctions do."""
    entities = {tuple(map(_bare, _WORD.findall(name))) for name in names}
    sizes = {len(name) for name in entities if len(name) <= _LONGEST}
    count = 0
    for text, name in zip(texts, names, strict=True):
        words = [_bare(word) for word in _WORD.findall(text)]
        runs = {tuple(words[i : i + n]) for n in sizes for i in range(len(words))}
        entity = tuple(map(_bare, _WORD.findall(name)))
        within = {entity[i:j] for i in range(len(entity)) for j in range(i, len(entity) + 1)}
        count += bool((runs & entities) - within)
    return count


def _followers(heads: Sequence[Sequence[str]]) -> frozenset[str]:
    """Words in lower case that follow many different beginnings where they first occur."""
    before: defaultdict[str, set[str]] = defaultdict(set)
    for head in heads:
        for word in {word for word in head[1:] if word.islower() and word.isalpha()} - _SMALL:
            before[word].add(" ".join(head[: head.index(word)]))
    least = max(_FEWEST, _SHARE * len(heads))
    return frozenset(word for word, beginnings in before.items() if len(beginnings) >= least)


def _without_opening(heads: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The beginnings without the words that all of them begin with."""
    common = next(
        (k for k, words in enumerate(zip(*heads, strict=False)) if len(set(words)) > 1),
        min(map(len, heads)),
    )
    return [head[common:] for head in heads]


def _name(head: Sequence[str], verbs: frozenset[str]) -> Sequence[str]:
    """The words that name the entity: in front of the first verb that stands behind a name.

    A sentence that begins with a name is about it ("Acme from Norway"); one that begins with an
    article is about the name last in front of the verb ("The Spanish word 'con'").
    """
    start = 0
    while start < len(head):
        verb = next((k for k in range(start + 1, len(head)) if _bare(head[k]) in verbs), len(head))
        named = [k for k in range(start, verb) if head[k].casefold().strip(",.;:") not in _SMALL]
        capital = [k for k in named if _is_name(head[k])]
        if named and (named[0] == start or verb == len(head)):
            stop = named[0] + 1
            while stop in capital:
                stop += 1
            return head[named[0] : stop]
        if named:
            first = named[-1]
            while first in capital and first - 1 in capital:
                first -= 1
            return head[first : named[-1] + 1]
        start = verb + 1
    return head


def _is_name(word: str) -> bool:
    """Whether a word begins with a capital, a digit or a quotation mark."""
    return word[0].isupper() or word[0].isdigit() or not word[0].isalnum()


def _key(name: Sequence[str]) -> str:
    return " ".join(map(_bare, name))


def _bare(word: str) -> str:
    """A word in lower case without punctuation around it and without a possessive s."""
    return _stripped(re.sub(r"['’]s$", "", word)).casefold()


def _stripped(text: str) -> str:
    """Text without punctuation around it, unless it is nothing else."""
    return re.sub(r"^\W+|\W+$", "", text) or text
