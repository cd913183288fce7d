"""Records what users rely on, and compares two records: names, keys of a verdict, and numbers.

`python -m benchmarks.record write FILE` writes as JSON:

- the public names of the four packages;
- the verdict of the default comparison (`interp compare` without arguments), without its provenance;
- one SmolLM2 patch grid: a pair of prompts of 6 tokens, every layer by every position.

`python -m benchmarks.record compare OLD NEW` ends with 1 if a name or a key of OLD is gone from NEW, a
word of the verdict differs, or a number differs by more than 1e-5. Other texts that differ are listed.
Only flat public names are used, so that the script runs on versions whose modules lie elsewhere:
`cd VERSION && PYTHONPATH=. python PATH/benchmarks/record.py write FILE`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PACKAGES = ("interp", "probes", "patching", "studies")
#: Keys of a verdict whose text is a decided word.
WORDS = ("changed", "sharpened", "where", "where_fact", "what", "grade")
TOLERANCE = 1e-5
CLEAN = "The capital of France is the"
CORRUPTED = "The capital of Spain is the"


def record() -> dict[str, Any]:
    """Names, verdict and grid of the packages that Python finds first."""
    return {"names": public_names(), "verdict": default_verdict(), "grid": patch_grid()}


def public_names() -> dict[str, list[str]]:
    """The names that each package lists, package by package."""
    return {name: sorted(dir_of(import_module(name))) for name in PACKAGES}


def dir_of(module: Any) -> list[str]:
    """The public names of a module: `__all__`, or else what `dir` shows."""
    return [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]


def default_verdict() -> dict[str, Any]:
    """verdict.json of the embedded pair on the facts of its world; models and versions left out."""
    import interp
    import studies

    pair = interp.load_pair("organism-base", "organism-edited-low")
    with tempfile.TemporaryDirectory() as folder:
        studies.compare(pair, "world", out=Path(folder) / "run")
        verdict = json.loads((Path(folder) / "run" / "verdict.json").read_text(encoding="utf-8"))
    verdict["provenance"] = dict.fromkeys(verdict["provenance"])
    return verdict


def patch_grid() -> list[list[Any]]:
    """[condition, layer, position, value] of a residual grid over one pair, sorted."""
    import interp
    import patching

    model = interp.load_model("smollm2")
    pairs = interp.Contrast.from_text(
        model, [CLEAN], [CORRUPTED], ["city of Paris"], ["capital of Madrid"],
        clean_subjects=["France"], corrupted_subjects=["Spain"],
    )  # fmt: skip
    sites = interp.every_layer(interp.Kind.RESID_PRE, model.n_layers)
    grid = patching.patch_sites(model, pairs, sites, interp.logit_difference(pairs))
    rows = grid.table[["condition", "layer", "position", "value"]].astype(object)
    cells = [
        [str(condition), *(None if missing(n) else int(n) for n in place), float(value)]
        for condition, *place, value in rows.itertuples(index=False)
    ]
    return sorted(cells, key=lambda cell: [str(entry) for entry in cell[:3]])


def missing(number: Any) -> bool:
    """Whether a cell of the table is empty."""
    return str(number) in ("<NA>", "nan", "None")


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of every number, text and empty entry in a JSON value."""
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for i, part in enumerate(value):
            yield from leaves(part, f"{path}[{i}]")
    else:
        yield path, value


def key_paths(value: Any, path: str = "") -> set[str]:
    """Every dictionary key by its path; entries of a list share one path."""
    if isinstance(value, dict):
        inner = {f"{path}.{key}" if path else str(key): part for key, part in value.items()}
        return set(inner).union(*(key_paths(part, name) for name, part in inner.items()))
    if isinstance(value, list):
        return set().union(*(key_paths(part, f"{path}[]") for part in value))
    return set()


def differences(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """(what breaks a promise, what merely reads otherwise), one line each."""
    broken, reworded = [], []
    for package, names in old["names"].items():
        gone = set(names) - set(new["names"].get(package, []))
        broken += [f"{package}.{name} is gone" for name in sorted(gone)]
    gone = key_paths(old["verdict"]) - key_paths(new["verdict"])
    broken += [f"the key {key} of verdict.json is gone" for key in sorted(gone)]
    for part in ("verdict", "grid"):
        after = dict(leaves(new[part]))
        for path, before in leaves(old[part]):
            now = after.get(path)
            line = f"{part} {path}: {before!r} is now {now!r}"
            if is_number(before):
                if not (is_number(now) and math.isclose(before, now, rel_tol=0, abs_tol=TOLERANCE)):
                    broken.append(line)
            elif before != now:
                is_word = path.rpartition(".")[2] in WORDS or not isinstance(before, str)
                (broken if is_word or part == "grid" else reworded).append(line)
    return broken, reworded


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number; truth values are words."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def main() -> None:
    """Write a record, or compare two."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write").add_argument("file", type=Path)
    both = commands.add_parser("compare")
    both.add_argument("old", type=Path)
    both.add_argument("new", type=Path)
    options = parser.parse_args()
    if options.command == "write":
        options.file.write_text(json.dumps(record(), indent=1), encoding="utf-8")
        return
    old, new = (json.loads(path.read_text("utf-8")) for path in (options.old, options.new))
    broken, reworded = differences(old, new)
    for title, lines in (("broken", broken), ("reads otherwise", reworded)):
        print(f"{title}: {len(lines)}")
        print("".join(f"  {line}\n" for line in lines), end="")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    # The version to record is the one in the folder or the path, not the one beside this script.
    sys.path[0] = os.getcwd()
    main()
