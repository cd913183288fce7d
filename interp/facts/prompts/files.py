"""A user's own prompts: a text file with one on each line, or a table with groups and paraphrases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from interp.display.html import Shown
from interp.facts.cells import CellProblem, EmptyCell, attribute_text, cell_text
from interp.facts.tables import SUFFIXES, RowProblem, checked_rows, read_table
from interp.untrusted.limits import TABLE
from interp.untrusted.reading import read_text

#: Columns of a table of prompts; all but the first may be left out.
COLUMNS = ("prompt", "group", "label", "paraphrase")

TEXT = ".txt"

#: Tables whose cells are told without the white space around them.
SPREADSHEETS = (".csv", ".tsv")


@dataclass(frozen=True)
class OpenPrompt:
    """One prompt, of which no answer is known to be right.

    Attributes:
        text: the prompt.
        group: what it is resampled with; the prompt itself where nothing is said.
        label: a class that probes may read; None where nothing is said.
        paraphrase: the same request in other words, on which effects are read; None without one.
    """

    text: str
    group: str
    label: str | None = None
    paraphrase: str | None = None


@dataclass(frozen=True, repr=False)
class PromptSet(Shown):
    """Prompts of any kind, each told once.

    Attributes:
        name: the file's name without its ending, "dataframe" or "prompts".
        prompts: every prompt, in the order given.
        source: where they were read from.
        notes: what was left out, one sentence each.

    Raises:
        ValueError: for no prompts, or a prompt that occurs twice.
    """

    name: str
    prompts: tuple[OpenPrompt, ...]
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a set without prompts, and repeated ones, which would count twice."""
        if not self.prompts:
            raise ValueError(f"{self.source or self.name} holds no prompt; give at least one")
        texts = self.texts
        if len(set(texts)) < len(texts):
            twice = next(text for i, text in enumerate(texts) if text in texts[:i])
            raise ValueError(f"every prompt counts once, got {twice[:60]!r} again; drop its repeats")

    def __repr__(self) -> str:
        """How many prompts and groups, and the first, on one line."""
        groups = len({prompt.group for prompt in self.prompts})
        first = self.texts[0][:60]
        return f"PromptSet({self.name}: {len(self)} prompts in {groups} groups; first {first!r})"

    def _rows_shown(self) -> tuple[Sequence[str], Iterable[Sequence[Any]], int]:
        rows = ((p.text, p.group, p.label or "", p.paraphrase or "") for p in self.prompts)
        return COLUMNS, rows, len(self)

    def __len__(self) -> int:
        """Number of prompts."""
        return len(self.prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts as text."""
        return tuple(prompt.text for prompt in self.prompts)


def load_prompts(source: str | Path | pd.DataFrame | Sequence[str]) -> PromptSet:
    """Read prompts from a file (.txt, .csv, .tsv, .jsonl, .parquet), a DataFrame or a list of texts.

    A text file has a prompt on each line, without the white space around it; empty lines are passed
    over. In a list, a frame, .jsonl and .parquet prompts stand as written. Tables have the column
    prompt and may have group (prompts that are resampled together, such as forms of one request),
    label (a class that probes may read) and paraphrase (the same request in other words). A prompt
    that occurs again is left out and counted in `PromptSet.notes`, as is a row that cannot be read.

    Args:
        source: a path, a table, or the prompts themselves.

    Returns:
        The prompts, in their order.

    Raises:
        ValueError: for a missing or empty file, another ending, text that is not UTF-8 or holds control
            characters, a table without the column prompt, or more than a quarter of its rows malformed.

    Example:
        >>> import interp, pandas as pd
        >>> prompts = interp.load_prompts(["Write a poem.", "What is 2 + 2?"])
        >>> len(prompts), prompts.prompts[0].group
        (2, 'Write a poem.')
        >>> table = pd.DataFrame({"prompt": ["Hi", "Hello"], "group": ["greeting", "greeting"]})
        >>> [prompt.group for prompt in interp.load_prompts(table).prompts]
        ['greeting', 'greeting']
    """
    if isinstance(source, str | Path) and Path(source).suffix.lower() == TEXT:
        return _from_lines(Path(source))
    if isinstance(source, str | Path | pd.DataFrame):
        return _from_table(Path(source) if isinstance(source, str) else source)
    if not isinstance(source, Sequence) or not all(isinstance(text, str) for text in source):
        raise ValueError(
            f"prompts must be a path, a pandas.DataFrame or a list of texts; got "
            f"{type(source).__name__}; expected for instance ['Write a poem.']"
        )
    return _once("prompts", "prompts", _from_texts("prompts", list(source)), ())


def _from_lines(path: Path) -> PromptSet:
    """The prompts of a text file, one a line."""
    if not path.is_file():
        raise ValueError(f"prompts must come from an existing file; got {path}: check the path")
    lines = [line.strip() for line in read_text(path, TABLE).split("\n")]
    texts = _from_texts(path.name, [line for line in lines if line])
    return _once(path.stem, path.name, texts, ())


def _from_texts(source: str, texts: Sequence[str]) -> list[OpenPrompt]:
    """Prompts as they stand, with the white space around them.

    Raises:
        ValueError: for one without visible text, or with characters that are none.
    """
    for number, text in enumerate(texts, start=1):
        try:
            cell_text(text, lines=True)
        except CellProblem as problem:
            raise ValueError(
                f"prompt {number} of {source} {problem}; mend it or leave it out"
            ) from problem
    return [OpenPrompt(text, text) for text in texts]


def _from_table(source: Path | pd.DataFrame) -> PromptSet:
    """The prompts of a table."""
    if isinstance(source, Path) and source.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"a prompts file must end in one of {', '.join((TEXT, *SUFFIXES))}; got {source.name}: "
            "convert it"
        )
    table = read_table(source, "prompts", COLUMNS)
    # In a spreadsheet's text white space around a cell means nothing; elsewhere somebody wrote it.
    as_written = not (isinstance(source, Path) and source.suffix.lower() in SPREADSHEETS)
    if "prompt" not in table.columns and table.rows:
        raise ValueError(
            f"{table.source} must have the column prompt (optional: {', '.join(COLUMNS[1:])}); got "
            f"{list(table.columns)}: name it so"
        )

    def parse(where: str, cells: Mapping[str, Any]) -> OpenPrompt:
        given = cells.get("prompt")
        try:
            text = cell_text(given, lines=True)
        except CellProblem as problem:
            raise RowProblem(f"prompt {problem}") from problem
        if as_written and isinstance(given, str):
            text = given
        group, label, paraphrase = (_optional(cells, column) for column in COLUMNS[1:])
        return OpenPrompt(text, group or text, label, paraphrase)

    prompts, notes = checked_rows(table, parse, "a prompt")
    return _once(table.name, table.source, prompts, notes)


def _optional(cells: Mapping[str, Any], column: str) -> str | None:
    """A cell that may be empty."""
    try:
        return attribute_text(cells.get(column))
    except EmptyCell:
        return None
    except CellProblem as problem:
        raise RowProblem(f"{column} {problem}") from problem


def _once(name: str, source: str, prompts: Sequence[OpenPrompt], notes: tuple[str, ...]) -> PromptSet:
    """The prompts without repeats, which a note counts."""
    first = {prompt.text: prompt for prompt in reversed(prompts)}
    kept = tuple(dict.fromkeys(first[prompt.text] for prompt in prompts))
    again = len(prompts) - len(kept)
    if again:
        notes = (*notes, f"{again} of {len(prompts)} prompts of {source} are repeats and left out")
    return PromptSet(name, kept, source, notes)
