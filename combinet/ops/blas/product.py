"""Matrix products on the CPU, in tiles for which OpenBLAS has its fastest kernels.

On processors with AVX-512, OpenBLAS multiplies small matrices with kernels that read both matrices
in place instead of first copying them into panels. A product that is cut into tiles of that size
takes up to 10 % less time than the whole product, and a product with few rows takes half the time
(AMD EPYC, Zen 4). Huge pages changed nothing, and neither did adding the bias right after each
block of rows.

`kernel/x86_64/sgemm_small_kernel_permit_skylakex.c` in OpenBLAS decides which products these
kernels compute. The kernels use one thread. If BLAS may use several threads, only products of at
most two of the largest tiles are cut, because threads gain nothing for these.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.ops.blas.threads import BLAS
from combinet.types import Floats2d

# A range of columns of a product, and the numbers of rows and columns of its tiles.
Stretch: TypeAlias = "tuple[slice, int, int]"
SMALL = 1_000_000  # multiplications: the limit of these kernels
_PAGE = 4096  # bytes: numbers at this distance compete for the same lines of the cache


class _Layout(NamedTuple):
    """The memory order of two matrices, and the tiles that are best for it.

    `volume` is the largest number of multiplications for a tile, and `area` the largest number of
    elements. `heights` are tried in order. The width of a tile is at least `least`, and a multiple
    of the first of `units` that divides the number of columns. The numbers are the best of several
    that were measured in whole models on Zen 4.
    """

    heights: tuple[int, ...]
    units: tuple[int, ...]
    least: int
    volume: int
    area: int


_ROW_MAJOR = _Layout((32, 16, 8), (64, 4), 48, SMALL, SMALL)
_COLUMN_MAJOR_A = _Layout((32, 16), (16,), 16, SMALL * 6 // 10, SMALL)
_COLUMN_MAJOR_B = _Layout((64, 32, 16), (16,), 16, SMALL, 1200)


def product(A: Floats2d, B: Floats2d, out: Any) -> Floats2d:
    """Writes A @ B into `out` and returns `out`.

    A is (m, k), B is (k, n), and `out` is a C-contiguous array (m, n).
    """
    (m, k), n = A.shape, B.shape[1]
    size = m * k * n
    stretches: tuple[Stretch, ...] = ()
    if m > 1 and m * n > _COLUMN_MAJOR_B.area and size <= longest() and A.dtype == np.float32:
        layout = _layout(A, B)
        # OpenBLAS uses its small kernels for smaller products anyway, except if B is column-major:
        # then it also limits the area.
        if layout is _COLUMN_MAJOR_B or (layout is not None and size > SMALL):
            # No tile is higher than 64 rows, so more rows need no entries in the cache of results.
            stretches = _stretches(min(m, 64), k, n, layout)
    if not stretches:
        return np.dot(A, B, out=out)
    for stretch, rows, columns in stretches:
        _tiled(A, B[:, stretch], out[:, stretch], rows, columns)
    return out


def _layout(A: Floats2d, B: Floats2d) -> _Layout | None:
    """Returns the layout, or None if no kernel exists or the whole product is as fast."""
    if A.flags.c_contiguous:
        if B.flags.c_contiguous:
            return _ROW_MAJOR
        return _COLUMN_MAJOR_B if A.shape[1] >= 32 else None
    if B.flags.c_contiguous and A.strides[1] % _PAGE and B.strides[0] % _PAGE:
        return _COLUMN_MAJOR_A
    return None


@lru_cache(4096)
def _stretches(m: int, k: int, n: int, layout: _Layout) -> tuple[Stretch, ...]:
    """Returns the ranges of columns and their tiles of at most m rows, or () if no tile fits.

    If the columns cannot be divided into tiles of equal width, the last columns get their own
    range.
    """
    unit = next((unit for unit in layout.units if n % unit == 0), n + 1)
    widths = [n // pieces for pieces in range(1, n // layout.least + 1) if n % (pieces * unit) == 0]
    tile = _tile(m, k, widths, layout)
    if tile:
        return ((slice(0, n), *tile),)
    last = n % layout.units[0]  # the columns that remain after full units
    thin = _tile(m, k, [last] if last else [], layout)
    others = _stretches(m, k, n - last, layout) if 0 < last < n else ()
    if thin is None or not (others or last == n):
        return ()
    return (*others, (slice(n - last, n), *thin))


def _tile(m: int, k: int, widths: list[int], layout: _Layout) -> tuple[int, int] | None:
    """Returns the first height, with the largest width, for which a tile is small enough."""
    most = min(layout.volume // k, layout.area)
    tiles = ((min(m, height), width) for height in layout.heights for width in widths)
    return next((tile for tile in tiles if tile[0] * tile[1] <= most), None)


def _tiled(A: Any, B: Any, out: Any, rows: int, columns: int) -> None:
    """Multiplies tile by tile: one NumPy call over views for all full tiles, one for the last rows.

    NumPy calls OpenBLAS for each tile. It goes down the rows first, so that the columns of B stay
    in the cache.
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
    """Returns the number of multiplications up to which products are currently cut into tiles."""
    if not _has_kernels():
        return 0
    return 2 * SMALL if BLAS.threads() > 1 else float("inf")


@cache
def _has_kernels() -> bool:
    """Whether NumPy's products come from OpenBLAS on a processor with AVX-512."""
    config: Any = np.show_config(mode="dicts")
    found = config["SIMD Extensions"].get("found", ())
    blas = config["Build Dependencies"]["blas"]["name"]
    return "openblas" in blas and not {"X86_V4", "AVX512_SKX"}.isdisjoint(found)
