"""Threads on the CPU: jobs that are shared among some, and BLAS, which has threads of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")


def processors() -> int:
    """How many processors this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def run_concurrently(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """The results of all jobs, in order: this thread does the first, others begin with the second.

    What no other has begun this one does as well, from the last on: so it does not wait while
    there is work, and jobs may share out jobs of their own. An error is raised when all that has
    begun has ended.
    """
    others = [_pool().submit(copy_context().run, job) for job in jobs[1:]]
    try:
        first, last = jobs[0](), []
        while others and others[-1].cancel():
            others.pop()
            last.append(jobs[len(others) + 1]())
        return [first, *(other.result() for other in others), *reversed(last)]
    except BaseException:
        for other in others:
            if not other.cancel():
                other.exception()
        raise


@cache
def _pool() -> Any:
    from concurrent.futures import ThreadPoolExecutor  # not by `import combinet`: it takes 4 ms

    return ThreadPoolExecutor(max(processors() - 1, 1), thread_name_prefix="combinet")


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


class Blas:
    """The threads of NumPy's BLAS; they are the process's, whichever thread asks for a product."""

    def __init__(self) -> None:
        self.blocks = 0  # of `single_threaded_blas`, that are being run
        self.lock = threading.Lock()
        self.limiter: Any = None

    def threads(self) -> int:
        """How many a product may have now."""
        return 1 if self.blocks else _allowed()

    @contextmanager
    def single_threaded_blas(self) -> Iterator[None]:
        """A block in which products take no other thread, if threadpoolctl is installed."""
        controller = _controller()
        if controller is None:
            yield
            return
        with self.lock:
            if not self.blocks:
                self.limiter = controller.limit(limits=1)
            self.blocks += 1
        try:
            yield
        finally:
            with self.lock:
                self.blocks -= 1
                if not self.blocks:
                    self.limiter.restore_original_limits()


@cache
def _controller() -> Any:
    """What sets the number of threads; None if threadpoolctl is not there."""
    if not find_spec("threadpoolctl"):
        return None
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@cache
def _allowed() -> int:
    """How many threads BLAS may have: as its environment says, else one for each processor."""
    numbers = [os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")]
    return next((int(n) for n in numbers if n.isdigit() and int(n)), processors())


BLAS = Blas()
