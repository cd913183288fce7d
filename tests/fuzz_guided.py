"""One reader, fed by atheris with inputs that reach new lines of its code.

An optional tool, outside the dependencies, for readers written in Python (facts-jsonl, verdict,
gguf-header): `pip install atheris`, then

    python tests/fuzz_guided.py gguf-header -runs=100000 -max_len=4096
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Feed the reader that is named first; the other arguments are libFuzzer's."""
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=["interp", "studies"]):
        from fuzz import readers

        import interp.facts.loading  # noqa: F401
        import interp.untrusted.gguf_header
        import interp.untrusted.verdict_file  # noqa: F401

    name, *options = sys.argv[1:]
    reader = readers()[name]
    seeds = Path(tempfile.mkdtemp())
    for number, seed in enumerate(reader.seeds):
        (seeds / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *options, str(seeds)], lambda content: reader.check(content) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
