"""Processes that make things side by side, and end with the one that began them."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread


def processes(jobs: int) -> ProcessPoolExecutor:
    """Fresh processes for work that survives being cut off.

    Args:
        jobs: how many work at a time.
    """
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this process as soon as the one that began it has ended, however that was.

    A killed parent tells its children nothing: they would go on beside the call that resumes its work.
    """
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
