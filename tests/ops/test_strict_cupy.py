"""The stand-in for CuPy is strict: each test fails if one of its rules is removed."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

real = pytest.importorskip("cupy", reason="the stand-in reads the real CuPy's signatures")
cp: Any = pytest.importorskip("helpers.strict_cupy", reason="the stand-in needs the real CuPy")

signature = pytest.importorskip("helpers.strict_cupy_rules").signature


def floats(*shape: int) -> Any:
    return cp.asarray(np.arange(np.prod(shape), dtype=np.float32).reshape(shape))


def ints(*values: int, dtype: str = "int64") -> Any:
    return cp.asarray(np.array(values, dtype))


HOST = np.ones(4, np.float32)


# ---- NumPy and CuPy do not mix

MIXTURES: list[Callable[[Any], Any]] = [
    lambda x: np.asarray(x),
    lambda x: np.array([x, x]),
    lambda x: np.add(x, x),
    lambda x: np.exp(x),
    lambda x: np.sum(x),
    lambda x: np.concatenate([x, x]),
    lambda x: np.add(HOST, HOST, out=x),
    lambda x: x + HOST,
    lambda x: HOST + x,
    lambda x: HOST @ x,
    lambda x: x < HOST,
    lambda x: x == HOST,
    lambda x: x + np.array(1.0),
    lambda x: x + [1] * 4,
    lambda x: x.__iadd__(HOST),
    lambda x: HOST.__iadd__(x),
    lambda x: x[np.array([0, 1])],
    lambda x: x[[0, 1]],
    lambda x: x[HOST > 0],
    lambda x: x[True],
    lambda x: HOST[x > 0],
    lambda x: x.__setitem__(slice(None), HOST),
    lambda x: x.__setitem__(slice(None), [1, 2, 3, 4]),
    lambda x: x.__setitem__([0], 1.0),
    lambda x: HOST.__setitem__(slice(None), x),
    lambda x: x.fill(HOST),
    lambda x: x.dot(HOST),
    lambda x: x.take([0, 1]),
    lambda x: cp.add(x, HOST),
    lambda x: cp.add(x, x, out=HOST),
    lambda x: cp.exp([1.0, 2.0]),
    lambda x: cp.sum(HOST),
    lambda x: cp.sum(x, out=HOST),
    lambda x: cp.sum([1.0, 2.0]),
    lambda x: cp.sum(3.0),
    lambda x: cp.matmul(x, HOST),
    lambda x: cp.concatenate([x, HOST]),
    lambda x: cp.concatenate([x, [1.0]]),
    lambda x: cp.stack([HOST, HOST]),
    lambda x: cp.where(x > 0, x, HOST),
    lambda x: cp.where([True], x, x),
    lambda x: cp.where(True, x, x),
    lambda x: cp.take(x, np.array([0])),
    lambda x: cp.copyto(x, HOST),
    lambda x: cp.einsum("i,i->", x, HOST),
    lambda x: cp.repeat(x, np.array([1, 1, 1, 1])),
    lambda x: cp.lexsort([x, x]),
    lambda x: cp.asarray([x[0], 1.0]),
    lambda x: cp.zeros(ints(3)[0]),
    lambda x: cp.split(x, ints(1, 2)),
    lambda x: range(ints(3)[0]),
    lambda x: [0, 1, 2][ints(1)[0]],
]


@pytest.mark.parametrize("mixture", MIXTURES, ids=range(len(MIXTURES)))
def test_mixing_with_numpy_fails(mixture: Callable) -> None:
    with pytest.raises(TypeError):
        mixture(floats(4))


def test_python_and_numpy_scalars_are_accepted() -> None:
    x = floats(4)
    with cp.counting() as count:
        assert (x + 1).dtype == (2.5 * x).dtype == (np.float32(3) * x).dtype == np.float32
        assert (x * np.float64(3)).dtype == np.float64  # NumPy scalars are not weak
        assert type(np.float32(3) - x) is cp.ndarray
        assert (x > np.int64(1)).dtype == bool
        x += 1
        x[0] = 3
        x[ints(0, 0)] = 2.0
        x.fill(np.float32(1))
    assert not count.to_host
    assert not count.uploads[2:]


# ---- Transfers are counted


CROSSINGS: list[Callable[[Any], Any]] = [
    lambda x: x.get(),
    lambda x: cp.asnumpy(x),
    lambda x: x.tolist(),
    lambda x: x[0].item(),
    lambda x: float(x[0]),
    lambda x: int(x[0]),
    lambda x: bool(x[0]),
    lambda x: complex(x[0]),
    lambda x: str(x),
    lambda x: repr(x),
    lambda x: f"{x}",
    lambda x: x.tobytes(),
    lambda x: copy.copy(x).__reduce__(),
    lambda x: x[x > 1],
    lambda x: x.__setitem__(x > 1, 0.0),
    lambda x: cp.add.at(x, x > 1, 1.0),
    lambda x: x.nonzero(),
    lambda x: cp.nonzero(x),
    lambda x: cp.argwhere(x),
    lambda x: cp.flatnonzero(x),
    lambda x: cp.unique(x),
    lambda x: cp.where(x > 1),
    lambda x: cp.extract(x > 1, x),
    lambda x: cp.compress(x > 1, x),
    lambda x: cp.bincount(x.astype(int)),
    lambda x: cp.repeat(x, x.astype(int)),
    lambda x: cp.array_equal(x, x, equal_nan=True),
    lambda x: 2 in x[2:3],
    lambda x: cp.cuda.Stream.null.synchronize(),
    lambda x: cp.cuda.Device(0).synchronize(),
]


@pytest.mark.parametrize("crossing", CROSSINGS, ids=range(len(CROSSINGS)))
def test_each_transfer_to_the_host_is_counted(crossing: Callable) -> None:
    x = floats(4)
    before = cp.transfers.count
    with cp.counting() as count:
        crossing(x)
    assert count.to_host == len(count.reasons) == 1
    assert cp.transfers.count == before + 1
    assert "test_strict_cupy.py:" in count.reasons[0]


def test_computation_is_not_counted() -> None:
    x = floats(3, 4)
    with cp.counting() as count:
        y = cp.where(x > 3, x, 0.0) @ x.T + x.sum(1, keepdims=True)
        y[0, 1] = y[1:, 2].max()
        cp.copyto(x, 1.0, where=x > 2)
        assert [row.shape for row in y] == [(3,)] * 3
        assert len(y) == 3
        assert x.size == 12
        assert x.ndim == 2
        assert x.nbytes == 48
        assert x.itemsize == 4
        cp.take(x, y.argmax(0), axis=0)
        cp.repeat(x, 2, axis=0)
    assert count.to_host == count.to_device == 0, count.reasons
    with cp.counting() as count:
        cp.asarray([1.0, 2.0])
        cp.array(HOST)
        x[0].set(HOST)
    assert (count.to_host, count.to_device) == (0, 3)


# ---- Results stay on the device


def test_reductions_and_items_are_arrays() -> None:
    x = floats(4)
    results = [x.sum(), x.max(), x.mean(), x.argmax(), x.dot(x), x[0], x[-1:][0], x @ x]
    results += [cp.sum(x), cp.linalg.norm(x), cp.count_nonzero(x), cp.array_equal(x, x)]
    results += [cp.allclose(x, x), cp.einsum("i,i->", x, x), cp.add(1, 2), cp.any(x), next(iter(x))]
    for result in results:
        assert type(result) is cp.ndarray
        assert result.shape == ()


def test_new_memory_contains_garbage() -> None:
    fresh = [cp.empty((2, 2)), cp.empty_like(floats(3)), cp.ndarray(3), cp.empty(2, "complex64")]
    for x in fresh:
        assert np.isnan(x.get()).all()
    assert cp.empty(2, dtype="int16").tolist() == [0x5A5A] * 2
    assert cp.ndarray((2, 3), order="F").flags.f_contiguous


# ---- Views


def test_views_share_memory_and_refer_to_their_base() -> None:
    x = floats(3, 4)
    views = [x[1:], x[0], x[0, 0], x[None], x.T, x.reshape(4, 3), x.reshape(3, 4), x.ravel()]
    views += [x.transpose(1, 0), x.swapaxes(0, 1), x.view(), cp.broadcast_to(x, (2, 3, 4))]
    views += [*cp.split(x, 2, axis=1), x[1:].T[1:].reshape(3, 2, 1), cp.expand_dims(x, 0)]
    assert x.base is None
    assert x.flags.owndata
    for view in views:
        assert view is not x
        assert view.base is x
        assert not view.flags.owndata
        assert np.shares_memory(view._a, x._a)
    copies = [x.copy(), x.T.reshape(-1), x.flatten(), x[ints(0)], x[x > 0], x + 0, x.astype("f4")]
    for fresh in [*copies, x[ints(0)[0]], cp.array(x)]:
        assert fresh.base is None
        assert fresh.flags.owndata
    assert x.astype(np.float32, copy=False) is cp.asarray(x) is cp.ascontiguousarray(x) is x
    assert cp.split(x, 1)[0] is x
    assert x.squeeze() is x
    assert x[0].T.base is x
    assert (row := floats(3)).T is row


def test_view_holds_a_reference_to_its_base() -> None:
    x = floats(3, 4)
    alone = sys.getrefcount(x)
    y, z = x[1:], x.T
    w = y[1:]
    assert sys.getrefcount(x) == alone + 3
    assert sys.getrefcount(y) == sys.getrefcount(z) == sys.getrefcount(w) == 2
    _ = x + x, x.sum(), cp.add(x, 1, out=x)[0], x @ x.T
    del y, z, w, _
    assert sys.getrefcount(x) == alone


def test_writes_to_views_change_the_base() -> None:
    x = floats(2, 3)
    row = before = x[1]
    row += 10
    row *= 2
    assert row is before
    assert x.tolist() == [[0, 1, 2], [26, 28, 30]]
    x.T[0] = 7
    cp.negative(x, out=x)
    assert row.tolist() == [-7, -28, -30]
    y = floats(2, 3)
    assert cp.add(y, 1, out=y) is y
    assert cp.sum(y, axis=0, out=row) is row
    assert row.base is x
    assert x[1].tolist() == y.get().sum(0).tolist()


def test_memory_order_follows_cupy() -> None:
    x = floats(2, 3)
    f = cp.zeros((2, 3), order="F")
    assert f.flags.f_contiguous
    assert f.strides == (8, 16)
    assert cp.asfortranarray(x).flags.f_contiguous
    assert x.copy("F").flags.f_contiguous
    assert x.T.copy().flags.c_contiguous  # copy's default order is "C", astype's is "K"
    assert x.T.astype(np.float64).flags.f_contiguous
    assert (f + f).flags.c_contiguous
    assert (x.T * 2).flags.c_contiguous
    assert isinstance(x.data.ptr, int)
    assert x[1].data.ptr == x.data.ptr + 12
    assert x.get(order="F").flags.f_contiguous
    assert cp.asarray(x.get(order="F")).flags.f_contiguous


# ---- Names and keywords match CuPy

REFUSED: list[Callable[[Any], Any]] = [
    lambda x: cp.sum(x, where=x > 0),
    lambda x: x.sum(where=x > 0),
    lambda x: x.max(initial=0),
    lambda x: x.mean(where=x > 0),
    lambda x: cp.add(x, x, where=x > 0),
    lambda x: cp.add(x, x, order="C"),
    lambda x: cp.add.reduce(x, where=x > 0),
    lambda x: cp.add.reduce(x, initial=0),
    lambda x: cp.take(x, ints(0), mode="clip"),
    lambda x: x.take(ints(0), mode="wrap"),
    lambda x: cp.einsum("i,i->", x, x, out=x[0]),
    lambda x: cp.sort(x, order="f"),
    lambda x: x.astype("f8", casting="safe"),
    lambda x: x.copy(orden="C"),
    lambda x: cp.argmax(x, 0, cp.empty((), int)),  # the third is dtype in CuPy, out in NumPy
    lambda x: cp.histogram2d(x, x, 2, None, None),  # the fifth is weights in CuPy, density in NumPy
    lambda x: cp.concatenate(arrays=[x]),
    lambda x: cp.matmul(x, x, x),
    lambda x: x.item(0),
    lambda x: x.get(dtype=float),
    lambda x: cp.empty(3, blocking=True),
]


@pytest.mark.parametrize("call", REFUSED, ids=range(len(REFUSED)))
def test_arguments_that_cupy_lacks_are_refused(call: Callable) -> None:
    with pytest.raises(TypeError):
        call(floats(4))


@pytest.mark.parametrize("name", ["vecdot", "errstate", "insert", "nditer", "block", "add_at"])
def test_names_that_cupy_lacks_do_not_exist(name: str) -> None:
    with pytest.raises(AttributeError):
        getattr(cp, name)
    assert not hasattr(real, name)


def test_constants_and_types_of_the_module_are_available() -> None:
    assert cp.pi == np.pi
    assert cp.newaxis is None
    assert cp.float32 is np.float32
    assert cp.dtype is np.dtype
    assert cp.uint64 is np.uint64
    assert cp.finfo is np.finfo
    assert cp.__version__ == real.__version__
    assert cp.linalg.norm
    assert cp.lib.stride_tricks


def test_methods_and_attributes_of_arrays_match_cupy() -> None:
    missing = {n for n in dir(real.ndarray) if not n.startswith("_")} - set(dir(cp.ndarray))
    assert not missing
    assert not {n for n in dir(cp.ndarray) if not n.startswith("_")} - set(dir(real.ndarray))
    private = {"_get", "_key", *cp.ndarray.__slots__}
    extra = set(dir(cp.ndarray)) - set(dir(real.ndarray)) - private
    assert not {n for n in extra if not n.startswith("__annot")}
    with pytest.raises(NotImplementedError):
        _ = floats(3).flat


WRITTEN = [
    "get",
    "item",
    "astype",
    "copy",
    "fill",
    "set",
    "__init__",
]  # written by hand, so their signatures are tested


@pytest.mark.parametrize("name", WRITTEN)
def test_handwritten_signatures_match_cupy(name: str) -> None:
    ours = inspect.signature(getattr(cp.ndarray, name))
    if name == "__init__":
        assert real.ndarray.__doc__.strip().startswith(
            "__init__(shape, dtype=float, memptr=None, strides=None, order='C')"
        )
        return
    theirs = signature(getattr(real.ndarray, name))
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]


def test_every_signature_can_be_read() -> None:
    for owner in (real, real.ndarray, real.linalg):
        for name in dir(owner):
            function = getattr(owner, name)
            skip = name.startswith("_") or isinstance(function, (type, real.ufunc))
            if callable(function) and not skip:
                assert signature(function) is not None, name


# ---- Universal functions


def test_ufunc_methods_follow_cupy() -> None:
    x = floats(4)
    with pytest.raises(NotImplementedError):
        cp.maximum.reduce(x)
    with pytest.raises(NotImplementedError):
        cp.maximum.accumulate(x)
    with pytest.raises(NotImplementedError):
        cp.maximum.reduceat(x, ints(0, 2))
    with pytest.raises(NotImplementedError):
        cp.multiply.at(x, ints(0), 2.0)
    with pytest.raises(TypeError):
        cp.add.at(ints(1, dtype="int16"), ints(0), 2)
    with pytest.raises(TypeError):
        cp.subtract.at(x, ints(0), 2.0)
    with pytest.raises(TypeError):
        cp.add.at(x, np.array([0]), 1.0)
    with pytest.raises(TypeError):
        cp.add.at(x, ints(0), HOST[:1])
    cp.add.at(x, (ints(0, 0, 7),), ints(1, 1, 1).astype("f4"))  # the 7 wraps around
    assert x.tolist() == [2, 1, 2, 4]
    assert cp.add.reduce(x).tolist() == 9
    assert cp.multiply.reduce(x).tolist() == 16
    assert cp.add.accumulate(x).tolist() == [2, 3, 5, 9]
    assert cp.multiply.outer(x, x).shape == (4, 4)
    y = floats(2, 4)
    for axis, ids in ((0, (0, 1)), (1, (0, 3, 1))):
        want = np.add.reduceat(y.get(), ids, axis)
        assert np.array_equal(cp.add.reduceat(y, ints(*ids), axis).get(), want)


def test_reduceat_is_a_difference_of_sums() -> None:
    x = cp.asarray(np.array([1e8, 1, 1], np.float32))
    assert cp.add.reduceat(x, ints(0, 1)).tolist() == [1e8, 0]  # not 2: CuPy subtracts


def test_dtype_promotion_follows_cupy() -> None:
    u, i = ints(1, dtype="uint64"), ints(1)
    assert (u + i).dtype == np.float64
    assert (u << 3).dtype == (u >> u).dtype == (u * 3).dtype == (u ^ 1).dtype == np.uint64
    for refused in (lambda: u << i, lambda: u ^ i, lambda: floats(1) << 1, lambda: u & 1.0):
        with pytest.raises(TypeError):
            refused()
    assert (u & 0xFFFFFFFFFFFFFFFF).dtype == np.uint64
    with pytest.raises(OverflowError):
        u + -1
    with pytest.raises(TypeError):
        u += i
    assert cp.where(i > 0, 0.0, floats(1)).dtype == np.float32
    assert cp.result_type(floats(1), 1.0) == np.float32
    assert (ints(1, dtype="int32") + 1.0).dtype == np.float64
    with pytest.raises(TypeError):  # CuPy has no loop for complex numbers, unlike NumPy
        cp.logical_not(cp.zeros(1, complex))


def test_numerical_errors_cause_no_warnings() -> None:
    with np.errstate(all="raise"):
        assert (lowest := cp.log(floats(1))).tolist() == [-np.inf]
        assert np.isnan(cp.sum(cp.concatenate([lowest, -lowest])).item())
        assert np.isnan((floats(2) / floats(2))[0].item())


def test_unsupported_dtypes_are_refused() -> None:
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cp.asarray(np.array(["a"]))
    with pytest.raises(ValueError, match="Unsupported dtype"):
        cp.zeros(3, object)


# ---- Indexing and undefined results


def test_ids_out_of_range_wrap_around() -> None:
    x = floats(4)
    assert x[ints(5, -5)].tolist() == [1, 3] == cp.take(x, ints(5, -5)).tolist()
    assert x.take(6).tolist() == 2
    assert cp.take_along_axis(x, ints(5), 0).tolist() == [1]
    x[ints(4)] = 9
    cp.put(x, ints(-9), floats(1) + 8)
    assert x.tolist() == [9, 1, 2, 8]
    with pytest.raises(IndexError):
        x[4]
    with pytest.raises(IndexError):
        x[floats(1)]
    with pytest.raises(TypeError):
        cp.take(cp.zeros(2), ints(0), out=cp.empty(1, "float32"))


def test_undefined_results_raise() -> None:
    x = floats(4)
    writes = [
        lambda: x.__setitem__(ints(1, 1), floats(2)),
        lambda: x.__setitem__(ints(1, 5), floats(2)),
        lambda: cp.put(x, ints(1, 5), floats(2)),
        lambda: cp.put_along_axis(x, ints(1, 1), floats(2), 0),
        lambda: x.__setitem__(slice(1, None), x[:-1]),
        lambda: cp.copyto(x[1:], x[:-1]),
        lambda: cp.cumsum(x[:-1], out=x[1:]),
    ]
    for write in writes:
        with pytest.raises(ValueError, match=r"duplicate|overlap"):
            write()
    assert x.tolist() == [0, 1, 2, 3]
    x[1:] += x[:-1]  # universal functions copy overlapping input
    assert x.tolist() == [0, 1, 3, 5]
    grid = floats(2, 2)
    grid[ints(0, 0), ints(0, 1)] = grid[1].copy()
    cp.put_along_axis(grid, cp.argsort(grid, 1), grid.copy(), 1)
    assert grid.tolist() == [[2, 3], [2, 3]]


def test_sorting_follows_cupy() -> None:
    x = floats(2, 3)
    for kind in ("quicksort", "mergesort"):
        for sort in (cp.sort, cp.argsort, lambda x, kind: x.sort(kind=kind)):
            with pytest.raises(ValueError, match="stable"):
                sort(x, kind=kind)
    with pytest.raises(NotImplementedError):
        x.T.sort()
    many = floats(999) % 3
    assert cp.argsort(many).tolist() == np.argsort(many.get(), kind="stable").tolist()
    assert cp.lexsort(x).tolist() == [0, 1, 2]
    assert cp.sort(-x, kind="stable")[0, 0].item() == -2


# ---- Devices and the module


def test_operations_need_the_device_of_their_arrays() -> None:
    x, i = floats(3), ints(0)
    assert x.device.id == cp.cuda.get_device_id() == 0
    assert cp.cuda.runtime.getDeviceCount() == 2
    with cp.cuda.Device(1) as device:
        assert cp.zeros(1).device == device == cp.cuda.Device()
        for use in (
            lambda: x + 1,
            lambda: x.sum(),
            lambda: cp.concatenate([x, x]),
            lambda: x[ints(0)],
            lambda: cp.zeros(3)[i],
            lambda: x.fill(0),
            lambda: x.__setitem__(0, 1),
            lambda: cp.add(x, x, out=x),
        ):
            with pytest.raises(ValueError, match="device 0"):
                use()
        assert x[1:].device.id == 0
        assert x.tolist() == [0, 1, 2]
        y = cp.asarray(x)
        assert y is not x
        assert y.device.id == x.copy().device.id == 1
        assert copy.deepcopy(x).device.id == 0
        cp.copyto(x, y * 2)
    assert x.tolist() == [0, 2, 4]
    assert cp.cuda.get_device_id() == 0
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.Device(2).use()


def test_stand_in_needs_the_real_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    path = sys.modules["helpers.strict_cupy_rules"].__file__
    spec: Any = importlib.util.spec_from_file_location("rules_again", path)
    with pytest.raises(ModuleNotFoundError, match="install cupy"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_install_replaces_the_cupy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        cp.install(patch)
        import cupy
        import cupy.cuda
        from cupy.cuda import Device

        assert cupy is cp
        assert cupy.cuda.Device is Device is cp.cuda.Device
        x = cupy.zeros(3)
        assert cupy.get_array_module(x) is cp
        assert cupy.get_array_module(HOST) is np
    assert sys.modules["cupy"] is real
