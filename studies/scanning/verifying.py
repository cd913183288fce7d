"""Whether a saved scan is what its models give: some prompts asked, and some matrices read, again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd

from interp._files import inert
from interp.facts.prompts.files import PromptSet
from interp.models.pair import ModelPair
from interp.untrusted.limits import TABLE
from interp.untrusted.reading import inside, read_text
from patching.weights.parameters import Parameters
from studies.comparison.prompts.rendering import render
from studies.comparison.prompts.verifying import SAID, sample
from studies.comparison.questions import Prompt
from studies.comparison.verifying import Agreement, agreement, differing, drawn, joined
from studies.scanning.asking import asked
from studies.scanning.context import SPECTRUM, matrix_of, spectrum_of

#: The numbers of a prompt that are measured again.
MEASURED = ("score", "kl_base", "kl_tuned", "perplexity_gap")


def scan_measured_again(
    pair: ModelPair,
    prompts: PromptSet,
    folder: Path,
    *,
    prompt: Prompt,
    tokens: int | None,
    budget: int,
    draw: int = 0,
    count: int = 4,
) -> Agreement:
    """Ask some changed and some other prompts of a saved scan again, and read some weights.

    Args:
        pair: the models it compared.
        prompts: the prompts it asked.
        folder: the scan's.
        prompt: as it was asked, "raw" or "chat".
        tokens: how many were generated; None for the usual number.
        budget: bytes of memory for activations.
        draw: seed of the sample.
        count: how many prompts of either kind, and how many matrices.

    Returns:
        How far texts and numbers agree; numbers up to rounding.

    Raises:
        ValueError: for tables that cannot be read, or prompts that the scan did not ask.
    """
    rendered = render(pair, prompts, prompt=prompt, tokens=tokens)
    name_of = {inert(p.text): name for p, name in zip(rendered.prompts, rendered.names, strict=True)}
    saved_rows = _read(folder, "prompts.csv")
    rows = {str(name_of.get(row["prompt"], row["prompt"])): row for row in saved_rows}
    changed = [name for name, row in rows.items() if row["changed"] == "True"]
    part = sample(rendered, changed, rows, count, draw)
    made, decode = asked(pair, part, budget), pair.tuned.tokenizer.decode
    texts, numbers = {}, {}
    for i, name in enumerate(part.names):
        for column, ids in zip(SAID, (made["base"][i], made["tuned"][i]), strict=True):
            texts[f"{column} of {name}"] = inert(str(decode(ids, skip_special_tokens=True)))
        for column in MEASURED:
            numbers[f"{column} of {name}"] = float(made["measured"][column][i])
    was = {f"{c} of {n}": row[c] for n, row in rows.items() for c in (*SAID, *MEASURED)}
    saved = pd.Series({cell: float(was[cell]) for cell in numbers}, dtype=float)
    return joined(
        [
            # A text's line ends are those of the file that it stands in.
            differing(_lines(texts), _lines({cell: was[cell] for cell in texts})),
            agreement(pd.Series(numbers, dtype=float), saved, pair),
            _weights_again(pair, folder, count, draw),
        ]
    )


def _weights_again(pair: ModelPair, folder: Path, count: int, draw: int) -> Agreement:
    """Some matrices' changes, read again."""
    rows = {f"{row['matrix']} of layer {row['layer']}": row for row in _read(folder, "weights.csv")}
    slots = {
        f"{matrix_of(slot)} of layer {slot.layer}": slot for slot in reversed(Parameters(pair).slots)
    }
    now, was = {}, {}
    for name in drawn(list(rows), count, draw):
        spectrum = spectrum_of(slots[name]) if name in slots else []
        for column, value in zip(SPECTRUM, spectrum or [float("nan")] * len(SPECTRUM), strict=True):
            now[f"{column} of {name}"], was[f"{column} of {name}"] = value, float(rows[name][column])
    return agreement(pd.Series(now, dtype=float), pd.Series(was, dtype=float), pair)


def _read(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one of a scan's tables, all cells as text.

    Raises:
        ValueError: for a table that cannot be read.
    """
    path = inside(folder, name)
    text = read_text(path, TABLE)
    try:
        table = pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False)
        return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is no table of a scan; restore it") from error


def _lines(texts: dict[str, Any]) -> dict[str, str]:
    return {cell: str(text).replace("\r\n", "\n").replace("\r", "\n") for cell, text in texts.items()}
