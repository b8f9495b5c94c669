"""Rules of `strict_cupy`: signatures, calls that wait for the GPU, differences from NumPy."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

try:
    import cupy
except ImportError as error:
    raise ModuleNotFoundError(
        "strict_cupy reads CuPy's signatures: install cupy-cuda12x>=14,<15 (no GPU is needed)",
        name="cupy",
    ) from error

INNER = (__name__, __name__.removesuffix("_rules"))  # lines of these modules are not reported
DEVICES = 2  # the number of simulated GPUs

# ---- Counting transfers between host and device


class Transfers:
    """Counts the operations that wait for the GPU or copy from it and, separately, the uploads."""

    def __init__(self) -> None:
        self.reasons: list[str] = []  # one line for each: the call and its position
        self.uploads: list[str] = []  # the same for copies to the device

    @property
    def to_host(self) -> int:
        return len(self.reasons)

    count = to_host

    @property
    def to_device(self) -> int:
        return len(self.uploads)


transfers = Transfers()
_counters = [transfers]


@contextmanager
def counting() -> Iterator[Transfers]:
    """Counts the transfers within a block, separately from the module's total."""
    _counters.append(counter := Transfers())
    try:
        yield counter
    finally:
        _counters[:] = [c for c in _counters if c is not counter]


def note(what: str, upload: bool = False) -> None:
    frame: Any = sys._getframe(1)
    while frame.f_globals.get("__name__") in INNER and frame.f_back:
        frame = frame.f_back
    line = f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}"
    for counter in _counters:
        (counter.uploads if upload else counter.reasons).append(line)


# ---- Devices


class CUDARuntimeError(RuntimeError):
    """Raised for a device that does not exist."""


class Device:
    """A simulated GPU; as a context manager, it makes itself the current one."""

    current = 0

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = Device.current if device is None else int(getattr(device, "id", device))
        self._before: list[int] = []
        if not 0 <= self.id < DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    def use(self) -> None:
        Device.current = self.id

    def synchronize(self) -> None:
        note("Device.synchronize")

    def __enter__(self) -> Device:
        self._before.append(Device.current)
        self.use()
        return self

    def __exit__(self, *error: object) -> None:
        Device.current = self._before.pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id


class Stream:
    """The default stream; calls of ``synchronize`` are counted."""

    null: Stream

    def synchronize(self) -> None:
        note("Stream.synchronize")


Stream.null = Stream()
cuda: Any = types.ModuleType("cupy.cuda")
cuda.runtime = types.ModuleType("cupy.cuda.runtime")
cuda.Device, cuda.Stream = Device, Stream
cuda.get_current_stream = lambda: Stream.null
cuda.get_device_id = cuda.runtime.getDevice = lambda: Device.current
cuda.nvtx = cupy.cuda.nvtx
cuda.is_available = lambda: True
cuda.runtime.getDeviceCount = lambda: DEVICES
cuda.runtime.setDevice = lambda device: Device(device).use()
cuda.runtime.CUDARuntimeError = CUDARuntimeError


# ---- Parameters, by name


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Parameters that take only Python numbers, because CuPy arrays have no __index__.
NUMBERS = words(
    "shape axis axes newshape reps source destination indices_or_sections minlength num N M k n "
    "order decimals kth pad_width dims dtype ndmin start stop step ddof"
)
# Parameters that take lists or tuples of numbers, and parameters that take lists of arrays.
SEQUENCES = NUMBERS | words(
    "repeats shift constant_values bins range window_shape strides s ord optimize q operands"
)
LISTS = words("tup arrays operands condlist choicelist out")
# Parameters that must be CuPy arrays, not scalars, and the exceptions.
ARRAYS = words("self a ary arr m x array A condition dst indices keys prototype tup arrays")
SCALARS_PASS = words("isscalar ndim shape result_type can_cast iscomplexobj isrealobj take where.x")
STARRED = words("operands args arys xi axes shape arrays_and_dtypes")
# **kwargs that the real functions parse themselves.
KEYWORDS = {"einsum": {"dtype", "optimize"}, "meshgrid": {"indexing", "sparse", "copy"}}


# ---- Functions, by name

SYNCHRONISES = words(
    "nonzero argwhere flatnonzero unique unique_all unique_counts unique_inverse unique_values "
    "extract compress place bincount histogram histogram2d histogramdd trim_zeros delete isin "
    "intersect1d union1d setdiff1d setxor1d real_if_close interp asarray_chkfinite percentile "
    "quantile savez save savetxt array2string array_repr array_str"
)
SYNCHRONISES_IF: dict[str, Callable[[dict[str, Any]], Any]] = {
    "where": lambda given: "x" not in given,
    "repeat": lambda given: hasattr(given["repeats"], "dtype"),
    "put": lambda given: given.get("mode") == "raise",
    "choose": lambda given: given.get("mode", "raise") == "raise",
    "array_equal": lambda given: given.get("equal_nan"),
    "average": lambda given: given.get("weights") is not None,
}
RETURNS_INPUT = words("squeeze rollaxis split array_split broadcast_arrays")
ELEMENTWISE = words("clip round around nan_to_num")  # may write to their input
PYTHON_RESULTS = words(
    "ndim size isscalar can_cast iscomplexobj isrealobj isfortran shares_memory may_share_memory "
    "issubdtype"
)
# The dtypes that ufunc.at accepts.
SCATTER = {"add": "iIlLqQefd", "sub": "iI", "max": "iIlLqQfd", "min": "iIlLqQfd"}


# ---- Signatures


@functools.cache
def signature(real: Any) -> inspect.Signature | None:
    """The signature of a CuPy function; for Cython functions, from the docstring's first line."""
    try:
        return inspect.signature(real)
    except (TypeError, ValueError):
        line = re.match(r"(?:\w+\.)?\w+\((.*?)\)(?: ->.*)?$", (real.__doc__ or "").split("\n")[0])
        if line is None:
            return None
        typed = r"\b(tuple|bytes|bool|bint|int|str|Py_ssize_t|_ndarray_base) (?=\w)"
        read = inspect.signature(eval(f"lambda {re.sub(typed, '', line[1])}: None"))
        bound = isinstance(getattr(real, "__self__", None), cupy.ufunc)
        return read.replace(parameters=list(read.parameters.values())[bound:])


@functools.cache
def positions(function: Any) -> list[str]:
    """The names of the parameters that can be passed by position."""
    found = signature(function)
    return (
        [p.name for p in found.parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
        if found
        else []
    )


def bind(name: str, real: Any, host: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    """The arguments by parameter name; raises if CuPy and NumPy would bind them differently."""
    theirs = signature(real)
    if theirs is None:
        raise NotImplementedError(f"cupy.{name} has no signature to check against")
    try:
        given = dict(theirs.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise TypeError(f"cupy.{name}: {error}") from None
    for p in theirs.parameters.values():
        if p.kind is p.VAR_KEYWORD:
            extra = given.pop(p.name, {})
            if unknown := extra.keys() - KEYWORDS.get(name, extra.keys()):
                raise TypeError(f"cupy.{name} takes no {sorted(unknown)}")
            given |= extra
    names, numpys = positions(real), positions(host)
    for i, (one, other) in enumerate(zip(names[: len(args)], numpys, strict=False)):
        if names.index(other) != i if other in names else one in numpys:
            raise TypeError(f"cupy.{name}: argument {i} is {one!r}, but {other!r} in NumPy")
    return given


# ---- NumPy functions adapted to behave like CuPy's


def no_duplicates(indices: list[np.ndarray], value: Any) -> None:
    """Raises if several values would be stored at one index; CuPy leaves the result undefined."""
    flat = [i.ravel().tolist() for i in np.broadcast_arrays(*indices)]
    if getattr(value, "size", 1) > 1 and len(set(zip(*flat, strict=True))) < len(flat[0]):
        raise ValueError("duplicate indices: CuPy leaves open which value is stored")


def no_overlap(target: np.ndarray, source: np.ndarray) -> None:
    if place(target) != place(source) and np.shares_memory(target, source):
        raise ValueError("source and target overlap: the result is undefined in CuPy")


def root(a: Any) -> Any:
    while getattr(a, "base", None) is not None:
        a = a.base
    return a


def place(a: np.ndarray) -> tuple:
    return a.__array_interface__["data"][0], a.shape, a.strides, a.dtype


def take_along_axis(a: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    return np.take_along_axis(a, indices % (a.size if axis is None else a.shape[axis]), axis)


def put_along_axis(a: np.ndarray, indices: np.ndarray, values: Any, axis: int) -> None:
    indices = indices % a.shape[axis]
    others = list(np.indices(indices.shape, sparse=True))
    others[axis] = indices
    no_duplicates(others, values)
    np.put_along_axis(a, indices, values, axis)


def reduceat(a: np.ndarray, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """``add.reduceat`` as in CuPy: differences of one running sum, with the same rounding."""
    first = np.moveaxis(a, axis, 0)
    total = np.cumsum(first, 0, dtype)
    total = np.concatenate([np.zeros_like(total[:1]), total])
    ends = np.append(indices[1:], len(first))
    empty = (indices >= ends).reshape((-1,) + (1,) * (a.ndim - 1))
    result = np.moveaxis(np.where(empty, first[indices], total[ends] - total[indices]), 0, axis)
    if out is None:
        return result
    np.copyto(out, result)
    return out


HOST: dict[str, Callable] = {
    "take": lambda a, indices, axis=None, out=None: np.take(a, indices, axis, out, "wrap"),
    "put": lambda a, indices, values, mode="wrap": np.put(a, indices, values, mode),
    "take_along_axis": take_along_axis,
    "put_along_axis": put_along_axis,
    "sort": functools.partial(np.sort, kind="stable"),
    "argsort": functools.partial(np.argsort, kind="stable"),
    "ndarray.sort": functools.partial(np.ndarray.sort, kind="stable"),
    "reduceat": reduceat,
}

# C functions that the body of an elementwise kernel may call, and their NumPy equivalents.
C_FUNCTIONS: dict[str, Any] = {
    **{name: getattr(np, name) for name in (
        "cos", "cosh", "exp", "expm1", "inf", "log", "log1p", "logical_not", "maximum", "minimum",
        "nan", "sign", "sin", "sinh", "sqrt", "tan", "tanh", "where")},
    **{f"a{name}": getattr(np, f"arc{name}") for name in (
        "cos", "cosh", "sin", "sinh", "tan", "tanh")},
    "fabs": np.abs, "pow": np.power,
}  # fmt: skip
