"""Jobs of a benchmark, each in a process of its own, and what the stages of one take."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks import machine
from interp import progress
from interp.models.block_calls import named
from interp.models.pair import ModelPair


def run_each(
    module: str,
    about: str | None,
    names: Iterable[str],
    measured: Callable[[str, str, str], dict[str, Any]],
    as_table: Callable[[str, dict[str, Any]], str],
) -> None:
    """The command line of a benchmark: every job in a process of its own, whose memory is its own.

    Args:
        module: of the benchmark, as Python is to run it.
        about: what the help says.
        names: of the jobs.
        measured: runs one, given the two models' names and its own.
        as_table: what was measured, in Markdown.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--tuned", default="smollm2-evasive-high")
    parser.add_argument("--jobs", nargs="*", default=list(names), choices=list(names))
    parser.add_argument("--here", action="store_true", help="run one job in this process")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measured(options.base, options.tuned, options.jobs[0])))
        return
    print(machine.described(), flush=True)
    jobs = {}
    for job in options.jobs:
        command = [sys.executable, "-m", module, "--here", "--jobs", job]
        command += ["--base", options.base, "--tuned", options.tuned]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        jobs[job] = json.loads(done.stdout.splitlines()[-1])
        print(as_table(job, jobs[job]), flush=True)
    if options.json:
        print(json.dumps(jobs))


def stages_of(found: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """(stage, seconds, layer-tokens) of what a job measured, the total last."""
    seconds, tokens = found["seconds"], found["layer-tokens"]
    rows = [(stage, seconds[stage], tokens.get(stage, 0)) for stage in seconds]
    return [*rows, ("total", sum(seconds.values()), sum(tokens.values()))]


@contextmanager
def counted(pair: ModelPair) -> Iterator[tuple[Counter[str], Counter[str]]]:
    """(process seconds, layer-tokens) of every stage that ends inside of the `with`."""
    seconds, tokens = Counter[str](), Counter[str]()
    now = ["", time.process_time()]
    enter = progress._Job.enter

    def see(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        hidden = named(block, args, kwargs)[0]
        tokens[now[0]] += hidden.shape[0] * hidden.shape[1]

    def turn(stage: str) -> None:
        spent, now[1] = time.process_time() - now[1], time.process_time()
        if now[0]:
            seconds[now[0]] += spent
        now[0] = stage

    def entered(self: Any, stage: str, parts: int) -> None:
        turn(stage)
        enter(self, stage, parts)

    blocks = [block for model in (pair.base, pair.tuned) for block in model.bridge.blocks]
    handles = [block.register_forward_hook(see, with_kwargs=True) for block in blocks]
    progress._Job.enter = entered  # no stage tells when it ends
    try:
        yield seconds, tokens
    finally:
        progress._Job.enter = enter
        for handle in handles:
            handle.remove()
    turn("")
