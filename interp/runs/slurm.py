"""The shards of a run as a Slurm array, with a job behind it that joins them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from interp._files import write_text
from interp.runs.locks import WHOLE, shard_lock
from interp.runs.manifest import JOBS

ARRAY, MERGE = "array.sh", "merge.sh"

#: How often a job that ran out of its time is begun again: always.
AGAIN = 10**6
#: Minutes that submitit lets a job run where Slurm has no say.
LONGEST = 7 * 24 * 60


@dataclass(frozen=True)
class Array:
    """Shards of a run, and what joins them.

    Attributes:
        folder: of the run, on a disk that all nodes share; the scripts stand in a folder within it.
        where: the folder in which the commands are called.
        shards: how many there are.
        command: what one shard does, but for its number.
        merge: what joins them.
        options: of sbatch, by name.
    """

    folder: Path
    where: Path
    shards: int
    command: Sequence[str]
    merge: Sequence[str]
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> Path:
        """Where the scripts and logs are."""
        return self.folder / JOBS

    def write(self) -> list[Path]:
        """Write the scripts of the array and of the job behind it, and return their paths.

        Raises:
            ValueError: if the folder cannot be written to.
        """
        before, after = shard_lock((0, self.shards)).split("0", 1)
        lock = f'{shlex.quote(str(self.folder / before))}"$shard"{after}'
        shard = [
            "shard=${1:-$SLURM_ARRAY_TASK_ID}",
            # Slurm begins a task again only when it has ended, here or on another node.
            f"rm -f {lock}",
            f'exec {shlex.join(self.command)} --shard "$shard/{self.shards}"',
        ]
        whole = [f"rm -f {shlex.quote(str(self.folder / WHOLE))}", f"exec {shlex.join(self.merge)}"]
        try:
            self.jobs.mkdir(parents=True, exist_ok=True)
            return [
                write_text(self.jobs / ARRAY, self._script("%A-%a", shard, array=f"1-{self.shards}")),
                write_text(self.jobs / MERGE, self._script("%j", whole)),
            ]
        except OSError as error:
            raise ValueError(
                f"{self.jobs} cannot be written ({error.strerror}); give a folder that you may write to"
            ) from error

    def _script(self, log: str, lines: Sequence[str], **array: str) -> str:
        """A script that sbatch takes."""
        output = str(self.jobs / f"{log}.log")
        named = {"job-name": "interp", **array, "open-mode": "append", "output": output}
        options = {**named, **self.options}
        header = [f"#SBATCH --{name}={shlex.quote(value)}" for name, value in options.items()]
        begin = ["set -eu", f"cd {shlex.quote(str(self.where))}"]
        return "\n".join(["#!/bin/bash", "#SBATCH --requeue", *header, *begin, *lines, ""])

    def sending(self) -> str:
        """The line of a shell that sends both scripts."""
        array, merge = (shlex.quote(str(self.jobs / name)) for name in (ARRAY, MERGE))
        return f"sbatch --dependency=afterok:$(sbatch --parsable {array}) {merge}"

    def send(self, cluster: str = "slurm") -> list[str]:
        """Send the array and the job behind it through submitit.

        Args:
            cluster: "slurm", or "local" for processes of this machine, which are waited for.

        Returns:
            The numbers of the jobs.

        Raises:
            ValueError: if no time limit is given, submitit is not installed, or there is no Slurm here.
        """
        if cluster == "slurm" and "time" not in self.options:
            raise ValueError("--send needs the time limit of a job; add --sbatch time=4:00:00")
        try:
            submitit: Any = import_module("submitit")
        except ImportError as error:
            raise ValueError(
                "--send needs submitit, which is not installed; pip install 'interp[slurm]', or send "
                "the scripts with sbatch"
            ) from error
        try:
            executor = submitit.AutoExecutor(
                self.jobs, cluster=cluster, slurm_max_num_timeout=AGAIN
            )  # fmt: skip
        except RuntimeError as error:
            raise ValueError(
                "--send found no Slurm on this machine; send from a node that has srun"
            ) from error
        # The time that sbatch is given stands in the options; submitit has one of its own.
        options = {"requeue": True, **self.options}
        executor.update_parameters(
            name="interp", timeout_min=LONGEST, slurm_array_parallelism=self.shards,
            slurm_additional_parameters=options,
        )  # fmt: skip
        array = Script(str(self.jobs / ARRAY))
        tasks = executor.map_array(array, [str(i + 1) for i in range(self.shards)])
        if cluster == "local":
            for task in tasks:
                task.result()
        first = str(tasks[0].job_id).partition("_")[0]
        executor.update_parameters(
            slurm_additional_parameters={**options, "dependency": f"afterok:{first}"}
        )
        merge = executor.submit(Script(str(self.jobs / MERGE)))
        if cluster == "local":
            merge.result()
        return [*(str(task.job_id) for task in tasks), str(merge.job_id)]


@dataclass(frozen=True)
class Script:
    """A script to be called on a node; called again after a time limit, it goes on from the folder.

    Attributes:
        path: of the script.
    """

    path: str

    def __call__(self, *arguments: str) -> None:
        """Call it."""
        subprocess.run(["/bin/bash", self.path, *arguments], check=True)

    def checkpoint(self, *arguments: str) -> Any:
        """What submitit sends in place of a job whose time is up: the same again."""
        return import_module("submitit").helpers.DelayedSubmission(self, *arguments)


def interp_command(*arguments: str) -> list[str]:
    """A call of `interp` that needs no PATH."""
    return [sys.executable, "-m", "studies.cli", *arguments]


def sbatch_options(given: Sequence[str]) -> dict[str, str]:
    """Options of sbatch from texts such as "time=4:00:00".

    Raises:
        ValueError: for a text that is none.
    """
    options = {}
    for text in given:
        match = re.fullmatch(r"(?:--)?([a-z][a-z-]*)=([^\n\r]+)", text)
        if match is None:
            raise ValueError(
                f"--sbatch must be NAME=VALUE, as sbatch takes it after --, such as time=4:00:00 or "
                f"gres=gpu:1; got {text!r}"
            )
        options[match[1]] = match[2]
    return options
