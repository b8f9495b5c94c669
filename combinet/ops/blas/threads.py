"""Threads on the CPU: jobs that run concurrently, and the number of threads of BLAS.

`with_threads` runs whole passes concurrently. Meanwhile BLAS uses one thread, to avoid
oversubscribing the CPU: OpenBLAS's threads keep spinning after each product. An earlier version ran
threads inside each step, for products and other loops. Then BLAS's spinning threads left no core to
the others for 20 ms or more, and a transformer's step took 204 ms instead of 135. Whole passes in
parallel synchronize twice per step, and every loop gains equally: 116 ms instead of 131. Both were
measured on two cores of an AMD EPYC (Zen 4).
"""

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
    """Returns the number of processors that this process may use."""
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def run_concurrently(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Runs jobs in several threads and returns their results in order.

    This thread runs the first job, and the pool starts with the second. When the first job is done,
    this thread also runs the jobs that no other thread has started, beginning with the last. So it
    never waits while work is left, and nested jobs cannot deadlock. If a job raises an error, the
    error is raised after all started jobs have ended.
    """
    # Each job sees the context variables of the caller.
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
    from concurrent.futures import ThreadPoolExecutor  # slow, so `import combinet` avoids it

    return ThreadPoolExecutor(max(processors() - 1, 1), thread_name_prefix="combinet")


if hasattr(os, "register_at_fork"):  # a forked process has no threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


class Blas:
    """The number of threads of NumPy's BLAS, which is a setting of the whole process."""

    def __init__(self) -> None:
        self.blocks = 0  # of `single_threaded_blas` that are active
        self.lock = threading.Lock()
        self.limiter: Any = None

    def threads(self) -> int:
        """Returns the number of threads that a product may use now."""
        return 1 if self.blocks else _allowed()

    @contextmanager
    def single_threaded_blas(self) -> Iterator[None]:
        """Limits BLAS to one thread inside the block. Does nothing without threadpoolctl.

        Blocks in several threads may overlap: the first sets the limit and the last restores it.
        """
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
    """Returns the object that sets the number of threads, or None without threadpoolctl."""
    if not find_spec("threadpoolctl"):
        return None
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@cache
def _allowed() -> int:
    """Returns the number of threads that the environment allows; one per processor by default."""
    numbers = [os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")]
    return next((int(n) for n in numbers if n.isdigit() and int(n)), processors())


BLAS = Blas()
