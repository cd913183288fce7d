"""One call for long work on this machine and on many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from interp.runs.run import resumable

Loaded = TypeVar("Loaded")
Result = TypeVar("Result")


def distribute(
    load: Callable[[], Loaded],
    work: Callable[[Loaded], Result],
    folder: str | Path,
    *,
    engine: str = "ray",
    job: Callable[[Loaded], Mapping[str, Any]] | None = None,
    workers: int | None = None,
    gpus: int | None = None,
    address: str | None = None,
) -> Result:
    """Do long work on a cluster: workers on many machines make its units in one shared folder.

    Every worker loads the models once and goes through the whole work; it reads what is on disk and
    makes what nobody else is making. A worker that dies is replaced, and what it was making is made
    by another. When the call itself is killed, the same call goes on from the folder.

    Args:
        load: loads what the work needs, such as a model or a pair; called once by each worker.
        work: measures, and returns the result, such as evidence. Where it chooses from one table what
            to measure next, it must call `interp.require_whole` between the two.
        folder: on a disk that all machines share; a new one, or one that such a run has left.
        engine: "ray", or "local" for this process alone.
        job: what the run is, by name, told from what was loaded; a folder of another job is refused.
        workers: how many; without it one for every GPU, or as many as machines where there are none.
            More than there is room for wait until there is.
        gpus: for each worker; without it 1 where the cluster has any, else 0.
        address: of the Ray cluster; without it the one this machine belongs to, or a new one of this
            machine alone.

    Returns:
        What `work` returns when nothing is missing: the same numbers for any number of workers, where
        machines and their numbers of threads are alike.

    Raises:
        ValueError: as `interp.resumable`; for a cluster that is not found; if workers die again and
            again without making anything. What `work` raises comes as it is.

    Note:
        Functions and results travel between the machines of the cluster as Ray's pickles. A model that
        does not fit one GPU is loaded with device="auto", which spreads it over those of its worker:
        `gpus` says how many.

    Example:
        >>> import interp, patching, tempfile
        >>> def sweep(model):
        ...     pairs = interp.Contrast.from_text(
        ...         model, "The home of Farid Jansen is", "The home of Pavel Grimm is", "Norvik",
        ...         "Quarno",
        ...     )
        ...     heads = interp.every_head(interp.Kind.Z, model.n_layers, model.n_heads)
        ...     return patching.patch_sites(model, pairs, heads, interp.logit_difference(pairs))
        >>> folder = tempfile.mkdtemp()
        >>> rows = interp.distribute(
        ...     lambda: interp.load_model("organism-base"), sweep, folder, engine="local"
        ... )
        >>> len(rows) > 0
        True
    """
    folder = Path(folder).expanduser().resolve()
    for name, value in (("workers", workers), ("gpus", gpus)):
        if value is not None and value < (name == "workers"):
            raise ValueError(f"{name} got {value}; expected a number of them; leave it out for all")
    if engine == "ray":
        from interp.runs.ray_engine import Order, on_ray

        return on_ray(Order(folder, load, work, job), workers, gpus, address)
    if engine != "local":
        raise ValueError(f"engine must be 'ray' or 'local', got {engine!r}; choose one")
    if not workers == gpus == address is None:
        raise ValueError("workers, gpus and address are of engine='ray'; leave them out, or choose it")
    loaded = load()
    with resumable(folder, job=None if job is None else job(loaded)):
        return work(loaded)
