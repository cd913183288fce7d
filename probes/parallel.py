"""One job per site: each job on one thread, as many jobs at once as torch has threads.

In a resumable run each site is a unit: what determines it is all that the job closes over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from interp.runs.run import series

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(job: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[job(item) for item in items]`, in order, on torch's number of threads.

    The matrices of a probe are too small to share among threads; whole sites are not. The number of
    threads of torch and of BLAS is put back on leaving.
    """
    workers = torch.get_num_threads()
    try:
        with threadpool_limits(1, user_api="blas"):
            torch.set_num_threads(1)
            if workers == 1:
                return [job(item) for item in items]
            if torch.cuda.is_initialized():
                # Linear algebra on a GPU is set up by its first call, which two threads cannot share.
                torch.linalg.inv(torch.ones(1, 1, device="cuda"))
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(job, items))
    finally:
        torch.set_num_threads(workers)


def units(name: str, job: Callable[[Item], Result], items: Sequence[Item]) -> list[Result | None]:
    """`each`, every item a unit of the open run.

    Args:
        name: what they are.
        job: gives tensors, arrays, numbers and texts in lists, tuples and dictionaries; all that
            determines it must stand in its closure, its arguments and the sources of `probes`.
        items: what it is done for.

    Returns:
        The results, in order; None for what another shard has yet to make.
    """
    kept = series(name, ("probes",), job, items)
    return each(lambda i: kept.unit(i, partial(job, items[i])), range(len(items)))


def there(items: Iterable[Item], results: Iterable[Result | None]) -> Iterator[tuple[Item, Result]]:
    """The items whose results are there, with them."""
    for item, result in zip(items, results, strict=True):
        if result is not None:
            yield item, result
