"""Products of matrices on the CPU, in tiles for which OpenBLAS has its fastest kernels.

On processors with AVX-512 OpenBLAS multiplies small matrices by kernels that read both where they
lie, instead of copying them into panels first. A product that is cut into tiles of that size takes
up to 10 % less time than as a whole, and one of few rows half of it.

Which products have these kernels is said in OpenBLAS's
`kernel/x86_64/sgemm_small_kernel_permit_skylakex.c`. They have no threads: where BLAS may have
several, it does products as a whole that are beyond two of the largest tiles.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.ops.blas.threads import BLAS
from combinet.types import Floats2d

# Columns of a product, and the rows and columns of the tiles that they are done in.
Stretch: TypeAlias = "tuple[slice, int, int]"
SMALL = 1_000_000  # multiplications: the most that these kernels do
_PAGE = 4096  # bytes: numbers that are such apart meet in the cache


class _Layout(NamedTuple):
    """How two matrices lie, and what tiles are best: of some, measured in whole models on Zen 4.

    `volume` is the most multiplications of a tile and `area` the most numbers; `heights` are tried
    in turn; a width is a multiple of the first of `units` that divides the columns, and `least`.
    """

    heights: tuple[int, ...]
    units: tuple[int, ...]
    least: int
    volume: int
    area: int


_STRAIGHT = _Layout((32, 16, 8), (64, 4), 48, SMALL, SMALL)  # both row by row
_TURNED_A = _Layout((32, 16), (16,), 16, SMALL * 6 // 10, SMALL)
_TURNED_B = _Layout((64, 32, 16), (16,), 16, SMALL, 1200)


def product(A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
    """A @ B, put into out: A (m, k), B (k, n), out (m, n), which lies row by row."""
    (m, k), n = A.shape, B.shape[1]
    size = m * k * n
    stretches: tuple[Stretch, ...] = ()
    if m > 1 and m * n > _TURNED_B.area and size <= longest() and A.dtype == np.float32:
        layout = _layout(A, B)
        if layout is _TURNED_B or (layout is not None and size > SMALL):
            stretches = _stretches(min(m, 64), k, n, layout)
    if not stretches:
        return np.dot(A, B, out=out)
    for stretch, rows, columns in stretches:
        _tiled(A, B[:, stretch], out[:, stretch], rows, columns)
    return out


def _layout(A: Floats2d, B: Floats2d) -> _Layout | None:
    """None if there are no kernels, or none that are better than the product as a whole."""
    if A.flags.c_contiguous:
        if B.flags.c_contiguous:
            return _STRAIGHT
        return _TURNED_B if A.shape[1] >= 32 else None
    if B.flags.c_contiguous and A.strides[1] % _PAGE and B.strides[0] % _PAGE:
        return _TURNED_A
    return None


@lru_cache(4096)
def _stretches(m: int, k: int, n: int, layout: _Layout) -> tuple[Stretch, ...]:
    """The columns of a product and their tiles, of m rows or fewer; none if no tile fits."""
    unit = next((unit for unit in layout.units if n % unit == 0), n + 1)
    widths = [n // pieces for pieces in range(1, n // layout.least + 1) if n % (pieces * unit) == 0]
    tile = _tile(m, k, widths, layout)
    if tile:
        return ((slice(0, n), *tile),)
    last = n % layout.units[0]  # too few to be divided
    thin = _tile(m, k, [last] if last else [], layout)
    others = _stretches(m, k, n - last, layout) if 0 < last < n else ()
    if thin is None or not (others or last == n):
        return ()
    return (*others, (slice(n - last, n), *thin))


def _tile(m: int, k: int, widths: list[int], layout: _Layout) -> tuple[int, int] | None:
    """The first height, with the first width, that make a tile which is small enough."""
    most = min(layout.volume // k, layout.area)
    tiles = ((min(m, height), width) for height in layout.heights for width in widths)
    return next((tile for tile in tiles if tile[0] * tile[1] <= most), None)


def _tiled(A: Any, B: Any, out: Any, rows: int, columns: int) -> None:
    """One call over views, in which NumPy asks OpenBLAS for each tile; one for the last rows.

    Down the rows first: the columns of B stay in the cache.
    """
    (m, k), n = A.shape, B.shape[1]
    whole = m - m % rows
    np.matmul(
        A[:whole].reshape(whole // rows, rows, k),
        B.reshape(k, n // columns, 1, columns).transpose(1, 2, 0, 3),
        out=out[:whole].reshape(whole // rows, rows, n // columns, columns).transpose(2, 0, 1, 3),
    )
    if whole < m:
        _tiled(A[whole:], B, out[whole:], m - whole, columns)


def longest() -> float:
    """The most multiplications of a product that is done in tiles, as things are now."""
    if not _has_kernels():
        return 0
    return 2 * SMALL if BLAS.threads() > 1 else float("inf")


@cache
def _has_kernels() -> bool:
    """Whether NumPy's products come from OpenBLAS, on a processor with AVX-512."""
    config: Any = np.show_config(mode="dicts")
    found = config["SIMD Extensions"].get("found", ())
    blas = config["Build Dependencies"]["blas"]["name"]
    return "openblas" in blas and not {"X86_V4", "AVX512_SKX"}.isdisjoint(found)
