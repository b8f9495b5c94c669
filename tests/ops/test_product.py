"""Matrix products in tiles: exact up to rounding for all shapes and memory orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from combinet import NumpyOps
from combinet.ops.blas import product as module
from combinet.ops.blas.product import SMALL, product

# Few rows, few columns, a width that tiles do not divide, a tall matrix, one without tiles.
SHAPES = [(1, 300, 700), (3, 700, 900), (25, 128, 512), (64, 100, 80), (129, 300, 300),
          (140, 90, 17), (150, 70, 151), (260, 96, 288), (70, 3100, 64), (16, 40_000, 33),
          (50, 20, 30)]  # fmt: skip


def operands(m: int, k: int, n: int, orders: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(m + k + n)
    A, B = (rng.normal(size=size).astype("float32") for size in ((m, k), (k, n)))
    return np.array(A, order=orders[0]), np.array(B, order=orders[1])  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enables tiles on every processor, also where they are not faster."""
    monkeypatch.setattr(module, "longest", lambda: float("inf"))


@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_product_is_exact_up_to_rounding(shape: tuple[int, int, int], orders: str) -> None:
    A, B = operands(*shape, orders)
    out = np.full((shape[0], shape[2]), np.nan, "float32")
    product(A, B, out)
    exact = A.astype("float64") @ B
    # Higham 2002, (3.13): the error bound of a sum of k products
    bound = shape[1] * np.finfo("float32").eps * (abs(A).astype("float64") @ abs(B))
    assert (abs(out - exact) <= bound).all()


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape[0] > 1], ids=str)
@pytest.mark.parametrize("orders", ["CC", "CF", "FC"])
def test_tiles_stay_within_the_limits_of_the_kernels(
    shape: tuple[int, int, int], orders: str
) -> None:
    m, k, n = shape
    layout = module._layout(*operands(*shape, orders))
    stretches = module._stretches(min(m, 64), k, n, layout) if layout else ()
    assert stretches or k > 1000 or layout is None
    if stretches:
        ends = [0, *(stretch.stop for stretch, _, _ in stretches)]
        assert ends == [*(stretch.start for stretch, _, _ in stretches), n]
    for stretch, rows, columns in stretches:
        assert rows * k * columns <= SMALL
        assert rows * columns <= 1200 or orders[1] == "C"
        assert (stretch.stop - stretch.start) % columns == 0


def test_affine_uses_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    tiled = module._tiled
    monkeypatch.setattr(module, "_tiled", lambda *args: seen.append(args[0].shape) or tiled(*args))
    A, B = operands(64, 256, 512, "CC")
    NumpyOps().affine(A, B.T, np.zeros(512, "float32"))
    assert seen == [(64, 256)]


@pytest.mark.parametrize(("blas", "expected"), [(5, 2 * SMALL), (1, float("inf"))])
def test_longest_depends_on_blas_threads_and_kernels(
    blas: int, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(module.BLAS, "threads", lambda: blas)
    monkeypatch.setattr(module, "_has_kernels", lambda: True)
    assert module.longest() == expected
    monkeypatch.setattr(module, "_has_kernels", lambda: False)
    assert module.longest() == 0
