"""RASP programs compiled to weights by tracr; run where `tracr-pypi` and safetensors are.

    python studies/circuit_truth/programs.py FOLDER

writes a file of each program: its weights, its tokens, and what it says of every input. `build` makes
models of them. Every program is compiled with causal attention and read at the last token, so that a
whole answer is read by prompts of growing length: behind the input stands a `?` for each answer so far.

Source: Lindner et al., 2301.05062 (tracr); Weiss et al., 2106.06981 (RASP). Sorting counts the smaller
tokens, since a causal model cannot know at a token what comes behind it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

ASK = "?"


@dataclass(frozen=True)
class Program:
    """A program and the inputs it is asked.

    Attributes:
        make: builds it with tracr's modules `rasp` and `lib`, given as a pair.
        tokens: what an input is made of.
        length: tokens of an input.
        answers: how many `?` are asked behind an input; 0 where the last token itself is.
    """

    make: Callable[[Any, Any], Any]
    tokens: tuple[str, ...]
    length: int
    answers: int = 0

    def inputs(self) -> Iterator[tuple[str, ...]]:
        """Every input, with every number of questions behind it."""
        for given in product(self.tokens, repeat=self.length):
            for asked in range(1, self.answers + 1) if self.answers else (0,):
                yield (*given, *[ASK] * asked)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return self.length + self.answers


def _reverse(rasp: Any, lib: Any, n: int = 3) -> Any:
    """The input from its end: at the j-th `?` the j-th token from behind."""
    width = rasp.SelectorWidth(rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.TRUE))
    place = rasp.Map(lambda behind: 2 * n - behind, width.named("length")).named("place")
    return rasp.Aggregate(rasp.Select(rasp.indices, place, rasp.Comparison.EQ), rasp.tokens)


def _sort(rasp: Any, lib: Any, n: int = 3) -> Any:
    """The input in order: at the j-th `?` the smallest digit of which more than j are not larger."""

    def up_to(digit: str) -> Any:
        chosen = rasp.Select(rasp.tokens, rasp.tokens, lambda key, query: key <= digit)
        return rasp.SelectorWidth(chosen).named(f"up_to_{digit}")

    counts = rasp.SequenceMap(lambda one, two: 10 * one + two, up_to("1"), up_to("2")).named("counts")
    return rasp.SequenceMap(
        lambda both, at: "1" if both // 10 > at - n else "2" if both % 10 > at - n else "3",
        counts,
        rasp.indices,
    )


PROGRAMS = {
    "reverse": Program(_reverse, ("a", "b", "c"), 3, 3),
    "sort": Program(_sort, ("1", "2", "3"), 3, 3),
    "histogram": Program(lambda rasp, lib: lib.make_hist(), ("a", "b", "c"), 4),
    "fraction": Program(
        lambda rasp, lib: lib.make_frac_prevs(rasp.numerical(rasp.tokens == "x")), ("x", "y", "z"), 4
    ),
    "dyck": Program(lambda rasp, lib: lib.make_shuffle_dyck(pairs=["()"]), ("(", ")"), 6),
}


def compile_one(name: str, folder: Path) -> None:
    """Compile a program and write what it is made of."""
    from tracr.compiler import compiling, lib  # pyright: ignore[reportMissingImports]
    from tracr.rasp import rasp  # pyright: ignore[reportMissingImports]

    program = PROGRAMS[name]
    output = program.make(rasp, lib).named("output")
    vocabulary = {*program.tokens, *([ASK] if program.answers else [])}
    model = compiling.compile_rasp_to_model(
        output, vocab=vocabulary, max_seq_len=program.longest, causal=True, compiler_bos="BOS"
    )
    config = model.model_config
    said = {" ".join(i): model.apply(["BOS", *i]).decoded[-1] for i in program.inputs()}
    settings = {
        "layers": config.num_layers,
        "heads": config.num_heads,
        "key_size": config.key_size,
        "hidden": config.mlp_hidden_size,
        "longest": program.longest + 1,
        "residual": list(model.residual_labels),
        "tokens": {str(token): int(row) for token, row in model.input_encoder.encoding_map.items()},
        "said": {prompt: _plain(answer) for prompt, answer in said.items()},
    }
    weights = {
        f"{part}.{kind}": np.array(value)
        for part, kinds in model.params.items()
        for kind, value in kinds.items()
    }
    save_file(weights, folder / f"{name}.safetensors", {"settings": json.dumps(settings)})
    sizes = f"{config.num_layers} layers, {config.num_heads} heads, hidden {config.mlp_hidden_size}"
    sys.stdout.write(f"{name}: {sizes}\n")


def _plain(answer: Any) -> str | float:
    """An answer as a word or a number."""
    return str(answer) if isinstance(answer, str | bool | np.bool_) else float(answer)


def main() -> None:
    """Compile every program into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        compile_one(name, folder)


if __name__ == "__main__":
    main()
