"""Random files for every reader of files: each must be read, or refused in one line of a ValueError.

`make fuzz` runs this file for long; `tests/test_fuzz.py` runs a little of it, and everything that once
failed, which is kept in `tests/corpus/READER/`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings, strategies as st

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"

#: Seconds that one input may take, and bytes by which it may raise the memory that is held.
SECONDS, BYTES = 30, 2 * 2**30

#: Numbers, texts and bytes on which readers stumble.
NUMBERS = (0, -1, 1, 2**31 - 1, 2**32, 2**63, 10**30, 1e308, float("nan"), float("inf"), 0.5, 10**9)
TEXTS = (
    "",
    "x" * 3000,
    "\ud800",
    "\0",
    "../x",
    "/etc/passwd",
    "a\nb",
    "=1",
    "(a+)+$",
    "\x1b[2J",
    "nan",
)
BYTES_OF_INTEREST = (
    b"\0", b"\xff" * 8, b"\0\0\0\0\0\0\0\x80", b"\n", b"\r\n", b'"', b",", b";", b"\t", b"{", b"#",
    b"[" * 300, b"\xef\xbb\xbf", b"\xed\xa0\x80", b"1e999", b"null", b"\xe2\x80\xa8", b"True", b"|",
)  # fmt: skip


class TooLong(BaseException):
    """An input took longer than `SECONDS`."""


@dataclass(frozen=True)
class Reader:
    """One way in which a file comes in.

    Attributes:
        name: of the reader, and of its folder in the corpus.
        file: where its input is written.
        read: reads that file.
        seeds: sound inputs from which others are made.
        cost: how long one input takes, in the time of the quickest.
    """

    name: str
    file: Path
    read: Callable[[Path], Any]
    seeds: tuple[bytes, ...]
    cost: int = field(default=1)

    def check(self, content: bytes) -> bool:
        """Read an input; whether it was accepted.

        Raises:
            AssertionError: for anything but a ValueError of one line, or too much memory.
            TooLong: for too much time.
        """
        self.file.write_bytes(content)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            with timed(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(self.file)
        except ValueError as error:
            lines = str(error).splitlines()
            assert len(lines) == 1, f"{len(lines)} lines: {lines[:2]}"
            return False
        finally:
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown * 1024 < BYTES, f"took {grown // 1024} MiB"
        return True

    def inputs(self) -> st.SearchStrategy[bytes]:
        """Inputs near the seeds, and some of nothing but random bytes."""
        near = st.builds(spliced, st.sampled_from(self.seeds), st.lists(EDITS, max_size=5))
        kinds = [near, st.binary(max_size=120)]
        documents = [parsed for seed in self.seeds if (parsed := _document(seed)) is not None]
        if documents:
            grown = st.builds(
                changed, st.sampled_from(documents), st.lists(CHANGES, min_size=1, max_size=4)
            )
            kinds = [grown, grown, grown, *kinds]
        return st.one_of(kinds)


#: Where in the bytes, what is done there, and with what.
EDITS = st.tuples(
    st.floats(0, 1),
    st.sampled_from(("insert", "replace", "cut", "repeat", "end")),
    st.one_of(st.sampled_from(BYTES_OF_INTEREST), st.binary(min_size=1, max_size=12)),
)

#: Any JSON, with what is seldom met.
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 99), st.sampled_from(NUMBERS),
              st.sampled_from(TEXTS), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip

#: The way to a place in a document, what is done there, and with what.
CHANGES = st.tuples(
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
    st.sampled_from(("set", "set", "set", "drop", "rename", "deepen")),
    VALUES,
)


def spliced(seed: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """A seed with some of its bytes changed."""
    content = bytearray(seed)
    for where, what, given_bytes in edits:
        at = int(where * len(content))
        if what == "insert":
            content[at:at] = given_bytes
        elif what == "replace":
            content[at : at + len(given_bytes)] = given_bytes
        elif what == "cut":
            del content[at : at + len(given_bytes)]
        elif what == "repeat":
            content[at:at] = content[at : at + 40] * len(given_bytes)
        else:
            del content[at:]
    return bytes(content)


def changed(document: Any, changes: list[tuple[list[float], str, Any]]) -> bytes:
    """A JSON document (or one a line) with some of its parts changed."""
    whole = {"document": json.loads(json.dumps(document))}
    for way, what, value in changes:
        holder: Any = whole
        key: Any = "document"
        for step in way:
            inner = holder[key]
            keys = (
                list(inner)
                if isinstance(inner, dict)
                else range(len(inner))
                if isinstance(inner, list)
                else ()
            )
            if not keys:
                break
            holder, key = inner, list(keys)[min(int(step * len(keys)), len(keys) - 1)]
        if what == "deepen":
            for _ in range(100):
                value = [value]
        if what == "drop" and holder is not whole:
            del holder[key]
        elif what == "rename" and isinstance(holder, dict) and holder is not whole:
            holder[str(value)[:20]] = holder.pop(key)
        else:
            holder[key] = value
        if "document" not in whole:
            break
    found = whole["document"]
    if isinstance(document, list):  # a file of lines
        lines = found if isinstance(found, list) else [found]
        return "\n".join(json.dumps(line) for line in lines).encode()
    return json.dumps(found).encode()


@contextmanager
def timed() -> Iterator[None]:
    """Stop what takes longer than `SECONDS`."""

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _document(seed: bytes) -> Any:
    """What a seed holds if it is JSON, or one JSON a line, which is given as a list."""
    try:
        return json.loads(seed)
    except ValueError:
        try:
            return [json.loads(line) for line in seed.decode().splitlines()]
        except ValueError:
            return None


@cache
def readers() -> dict[str, Reader]:
    """Every reader, each with a folder of its own to read from."""
    import fuzz_readers

    return {reader.name: reader for reader in fuzz_readers.every(Path(tempfile.mkdtemp(prefix="fuzz")))}


def run_long(reader: Reader, examples: int) -> Counter[str]:
    """Give a reader many inputs; keep those that fail in the corpus, one for each way of failing."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), derandomize=False,
    )  # fmt: skip
    @given(reader.inputs())
    def feed(content: bytes) -> None:
        try:
            seen["read" if reader.check(content) else "refused"] += 1
        except (Exception, TooLong) as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{frames[-1].filename[-40:]}:{frames[-1].lineno}"
            way = f"{type(error).__name__}: {str(error)[:90]!r} at {place}"
            if way not in seen:
                kept = CORPUS / reader.name / hashlib.sha256(content).hexdigest()[:12]
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(content)
                print(f"  {reader.name}: {way} -> {kept}", flush=True)
            seen[way] += 1

    feed()
    return seen


def main() -> int:
    """Run every reader, or those that are named; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="readers; all of them by default")
    parser.add_argument("--examples", type=int, default=120_000, help="inputs, of all readers together")
    given_arguments = parser.parse_args()
    chosen = [readers()[name] for name in given_arguments.names or readers()]
    shares = [1 / reader.cost for reader in chosen]
    failed = total = 0
    for reader, share in zip(chosen, shares, strict=True):
        seen = run_long(reader, max(200, int(given_arguments.examples * share / sum(shares))))
        wrong = sum(seen.values()) - seen["read"] - seen["refused"]
        failed, total = failed + wrong, total + sum(seen.values())
        print(
            f"{reader.name}: {seen['read']} read, {seen['refused']} refused, {wrong} failed", flush=True
        )
    print(f"{total} inputs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    sys.exit(main())
