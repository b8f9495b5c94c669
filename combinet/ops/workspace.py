"""Memory for large arrays that is used again.

The C library may give large blocks back to the system as soon as they are freed; the system then
hands them out again page by page, zeroed, which can cost more than the step that writes them. Here
a block is kept, and is handed out again once no array uses it. Reference counts show that, as in
`storage/store.py`, so arrays that a user or a pending pass holds are never overwritten.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from combinet.types import Array, Shape

SMALL = 1 << 17  # bytes: below, the C library keeps what is freed
_MOST = 128  # blocks of a size that a thread knows; more are as other memory
_LIMIT = 1 << 31  # bytes of blocks: above, those that nobody uses are given back
_LINE = 64  # bytes of a cache line


class Workspace(threading.local):
    """Blocks by size, powers of two: what lies beyond an array in its block is never touched.

    Each thread has blocks of its own, so that none is handed out twice.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, list[tuple[Any, int]]] = {}
        self.total = 0
        self.forgotten = 0

    def empty(self, shape: Shape, dtype: np.dtype[Any], size: int) -> Array:
        """An array of `size` bytes that holds anything, in a block that no other array is in."""
        order = size.bit_length()
        blocks = self.blocks.setdefault(order, [])
        for known in blocks:
            if _users(known) == _ALONE:
                return np.ndarray(shape, dtype, *known)
        if self.total > _LIMIT:
            self._drop_unused()
        block = np.empty((1 << order) + 65 * _LINE, "uint8")
        # Arrays that begin at different places within a page don't meet in the cache's sets.
        start = -block.ctypes.data % _LINE + len(blocks) * 7 % 64 * _LINE
        if len(blocks) < _MOST:
            blocks.append((block, start))
        else:
            blocks[self.forgotten % _MOST] = block, start
            self.forgotten += 1
        self.total += block.nbytes
        return np.ndarray(shape, dtype, block, start)

    def _drop_unused(self) -> None:
        for blocks in self.blocks.values():
            blocks[:] = [known for known in blocks if _users(known) > _ALONE]
        self.total = sum(block.nbytes for known in self.blocks.values() for block, _ in known)


def _users(known: tuple[Any, int]) -> int:
    return sys.getrefcount(known[0])


_ALONE = _users((np.empty(0), 0))
