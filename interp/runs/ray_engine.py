"""A run's workers on a Ray cluster: one for every GPU or share of CPUs, replaced when they die.

The driver moves no data: it starts workers, sees them end or die, and takes the result of the first
that has every unit. The folder alone holds what is done, so the driver may die as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from interp.progress import Detail, tell, word
from interp.runs.claims import work_in_rounds
from interp.runs.locks import driven
from interp.runs.manifest import UNITS, release

#: Workers that may die, for each that was asked for, while none makes anything.
DEATHS = 3

#: Seconds between two lines that say how far it is.
LINE_SECONDS = 60.0


@dataclass(frozen=True)
class Order:
    """What every worker does.

    Attributes:
        folder: on a disk that all nodes share.
        load: loads what the work needs.
        work: gives the result.
        job: what the run is, by name.
    """

    folder: Path
    load: Callable[[], Any]
    work: Callable[[Any], Any]
    job: Callable[[Any], Mapping[str, Any]] | None

    def finish(self, worker: str, where: str) -> Any:
        """Load, then work until nothing is missing.

        Args:
            worker: the name of the one who works.
            where: the folder that relative paths are relative to, if it is there.
        """
        if not self.folder.is_dir():
            raise ValueError(
                f"{self.folder} is not there on {socket.gethostname()}; give a folder on a disk that "
                "all machines of the cluster share"
            )
        tell(Detail.QUIET)
        with suppress(OSError):
            os.chdir(where)
        loaded = self.load()
        about = None if self.job is None else self.job(loaded)
        return work_in_rounds(self.folder, worker, lambda: self.work(loaded), about)


def on_ray(order: Order, workers: int | None, gpus: int | None, address: str | None) -> Any:
    """Carry out an order on a cluster.

    Args:
        order: what every worker does.
        workers: how many; None for as many as there are GPUs, or machines.
        gpus: for each worker; None for 1 where there are any.
        address: of the cluster.

    Raises:
        ValueError: as `interp.distribute`.
    """
    try:
        order.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"{order.folder} cannot hold a run ({error.strerror}); give a folder that you may write to"
        ) from error
    ray = _ray()
    with _connected(ray, address), driven(order.folder):
        # Workers of a driver that has died went with it.
        release(order.folder)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = Share.of(nodes, workers, gpus)
        actor = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0)(_Worker)
        return _Crew(ray, lambda name: actor.remote(order, name, os.getcwd()), order.folder).result(
            share.workers
        )


@dataclass(frozen=True)
class Share:
    """What a worker has of the cluster.

    Attributes:
        workers: how many there are.
        cpus: of each.
        gpus: of each.
    """

    workers: int
    cpus: int
    gpus: int

    @classmethod
    def of(
        cls, nodes: Sequence[Mapping[str, Any]], workers: int | None = None, gpus: int | None = None
    ) -> Share:
        """Divide a cluster: as many CPUs for each as leave room for all.

        Args:
            nodes: what each has, as Ray says it.
            workers: how many are wanted; None for one of every GPU, or as many as nodes.
            gpus: of each; None for 1 where there are any.

        Raises:
            ValueError: if no node has so many GPUs.
        """
        if gpus is None:
            gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))

        def room(cpus: int) -> int:
            """How many workers with so many CPUs there is room for."""
            of_cpus = [int(node.get("CPU", 0)) // cpus for node in nodes]
            if gpus:
                of_gpus = [int(node.get("GPU", 0)) // gpus for node in nodes]
                return sum(map(min, of_cpus, of_gpus))
            return sum(of_cpus)

        if not room(1):
            raise ValueError(
                f"gpus got {gpus} for each worker; expected at most what a machine of the cluster has; "
                "give fewer, or start Ray with --num-cpus and --num-gpus"
            )
        if workers is None:
            workers = room(1) if gpus else sum(node.get("CPU", 0) >= 1 for node in nodes)
        most = max(int(node.get("CPU", 0)) for node in nodes)
        return cls(
            workers, max(c for c in range(1, most + 1) if room(c) >= min(workers, room(1))), gpus
        )


class _Worker:
    """An actor; its models live as long as it does."""

    def __init__(self, order: Order, name: str, where: str) -> None:
        self.order, self.name, self.where = order, name, where

    def finish(self) -> Any:
        return self.order.finish(self.name, self.where)


class _Crew:
    """The workers of one run, as their driver sees them."""

    def __init__(self, ray: Any, start: Callable[[str], Any], folder: Path) -> None:
        self.ray, self.start, self.folder = ray, start, folder
        self.names = (f"worker-{number}" for number in count(1))
        #: What a worker will return -> its name and the worker.
        self.working: dict[Any, tuple[str, Any]] = {}

    def result(self, workers: int) -> Any:
        """Start workers, replace those that die, and take what the first gives that has all units."""
        deaths, made = 0, self._made()
        try:
            for _ in range(workers):
                self._add()
            while True:
                ended, _ = self.ray.wait(list(self.working), timeout=LINE_SECONDS)
                if not ended:
                    word(f"{self.folder}: {self._made():,} units, {workers} workers")
                    continue
                name, actor = self.working.pop(ended[0])
                try:
                    return self.ray.get(ended[0])
                except self.ray.exceptions.RayTaskError as error:
                    raise _cause(error) from error
                except self.ray.exceptions.RayError as error:
                    self.ray.kill(actor)
                    release(self.folder, name)
                    before, made = made, self._made()
                    deaths = deaths + 1 if made == before else 1
                    reason = " ".join(str(error).split())
                    if deaths > DEATHS * workers:
                        raise ValueError(
                            f"{deaths} workers died one after another and made nothing, the last of: "
                            f"{reason}; see the logs of Ray, and give workers more memory"
                        ) from error
                word(f"{name} has died ({reason[:200]}); another takes its place")
                self._add()
        finally:
            for _, actor in self.working.values():
                self.ray.kill(actor)

    def _add(self) -> None:
        name = next(self.names)
        actor = self.start(name)
        self.working[actor.finish.remote()] = name, actor

    def _made(self) -> int:
        return len(list((self.folder / UNITS).glob("*.safetensors")))


def _cause(error: Any) -> Exception:
    """What a worker raised, without what Ray wraps around it."""
    return error.cause if isinstance(error.cause, Exception) else error


def _ray() -> Any:
    """Ray, which is not needed for anything else.

    Raises:
        ValueError: if it cannot be imported.
    """
    try:
        return import_module("ray")
    except ImportError as error:
        raise ValueError(
            f"engine='ray' needs Ray, which cannot be imported here ({error}); "
            "pip install 'interp[ray]'"
        ) from error


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    """Be part of a cluster, and leave it again unless it was there before."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anyone
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"no Ray cluster is reached at {address!r} ({' '.join(str(error).split())[:200]}); start "
            "one with `ray start`, or leave the address out"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
