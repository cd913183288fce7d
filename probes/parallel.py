"""One job per site: each job on one thread, as many jobs at once as torch has threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

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
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                return list(pool.map(job, items))
    finally:
        torch.set_num_threads(workers)
