"""A strict replacement for CuPy that computes with NumPy, for tests on machines without a GPU.

Code that passes with this module instead of ``cupy`` uses only what CuPy offers. Every name
and keyword is looked up in the real package, which imports without a driver. NumPy arrays and
lists raise an error where CuPy would reject or silently upload them. Each transfer to the host is
counted, and new memory is filled with NaN. Operations whose result CuPy leaves undefined raise.

    from helpers import strict_cupy as cupy  # pass it as ``xp``, or
    strict_cupy.install(monkeypatch)      # make ``import cupy`` find it

    with strict_cupy.counting() as count:
        layer(x)
    assert count.to_host == 0, count.reasons
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import helpers.strict_cupy_rules as _rules
from helpers.strict_cupy_rules import counting, cuda, transfers
from helpers.strict_cupy_rules import cupy as _cupy

__all__ = ["ElementwiseKernel", "counting", "cuda", "install", "ndarray", "transfers", "ufunc"]

# ---- Arguments: CuPy arrays must not be mixed with arrays of the host


def _inputs(name: str, parameter: str, value: Any) -> Iterator[ndarray]:
    """Yields the arrays in an argument; raises if CuPy would reject or implicitly copy it."""
    where = f"cupy.{name}({parameter}=...)"
    if isinstance(value, np.ndarray):
        raise TypeError(f"{where} got a numpy.ndarray; use cupy.asarray")
    if isinstance(value, ndarray):
        if parameter in _rules.NUMBERS:
            raise TypeError(f"{where} takes Python numbers, not an array")
        yield value
    elif isinstance(value, (list, tuple)):
        if any(isinstance(v, (ndarray, np.ndarray, list, tuple)) for v in value):
            if parameter not in _rules.LISTS | _rules.SEQUENCES:
                raise TypeError(f"{where} takes one array, not a sequence of them")
            for v in value:
                yield from _inputs(name, parameter, v)
        elif parameter not in _rules.SEQUENCES | {"out"}:
            raise TypeError(f"{where} got a {type(value).__name__}; use cupy.asarray")
    elif parameter in _rules.ARRAYS and value is not None:
        excepted = _rules.SCALARS_PASS & {name, f"{name}.{parameter}"}
        if not excepted:
            raise TypeError(f"{where} must be a cupy.ndarray")


def _plain(value: Any) -> Any:
    """The value with each array replaced by its NumPy array."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(v) for v in value])
    return value


def _same_device(arrays: list[ndarray]) -> None:
    for x in arrays:
        if x._device != _rules.Device.current:
            raise ValueError(f"array on device {x._device}; current is {_rules.Device.current}")


# ---- Results: never NumPy arrays; views stay views


def _wrap(result: Any, inputs: list[ndarray], order: str = "C", same: bool = False) -> Any:
    """Wraps a NumPy result: returns an input itself, a view of an input, or a new array.

    ``same`` means that CuPy returns the input instead of an equal view.
    """
    if isinstance(result, (list, tuple)):
        parts = [_wrap(r, inputs, order, same) for r in result]
        return type(result)(*parts) if hasattr(result, "_fields") else type(result)(parts)
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    result = np.asarray(result)
    for x in inputs:
        if result is x._a or (same and _rules.place(result) == _rules.place(x._a)):
            return x
    for x in inputs:
        if _rules.root(result) is _rules.root(x._a):
            return _new(result, x if x._base is None else x._base, x._device)
    _same_device(inputs)
    if result.dtype.kind not in "biufc" or result.dtype.char in "gG":
        raise ValueError(f"Unsupported dtype {result.dtype}")
    return _new(np.array(result, order=order, copy=True if result.base is not None else None))


def _new(a: np.ndarray, base: ndarray | None = None, device: int | None = None) -> ndarray:
    x = object.__new__(ndarray)
    x._a, x._base, x._device = a, base, _rules.Device.current if device is None else device
    return x


def _garbage(x: ndarray) -> ndarray:
    """Fills new memory with NaN or a byte pattern, so that reading it before writing shows."""
    dtype = x._a.dtype
    x._a.fill(np.nan if dtype.kind in "fc" else np.frombuffer(b"\x5a" * dtype.itemsize, dtype)[0])
    return x


# ---- Calls


def _restrict(name: str, given: dict[str, Any]) -> None:
    """Raises for values that CuPy does not support, and counts calls that wait for the GPU."""
    first, *others = given.values() or (None,)
    if name in ("sort", "argsort") and given.get("kind") not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    if name == "sort" and "self" in given and not first.flags.c_contiguous:
        raise NotImplementedError("Sorting non-contiguous array is not supported.")
    if name == "lexsort" and first.ndim != 2:
        raise NotImplementedError("lexsort takes one array of two dimensions")
    if name == "take" and given.get("out") is not None and given["out"].dtype != first.dtype:
        raise TypeError("Output dtype mismatch")
    if name == "matmul" and len(first) > 2:
        raise TypeError("matmul takes its output as out=")
    if name == "put":
        _rules.no_duplicates([_plain(others[0]) % first.size], others[1])
    if name in _rules.SYNCHRONISES or _rules.SYNCHRONISES_IF.get(name, lambda given: False)(given):
        _rules.note(f"cupy.{name}")


def _call(name: str, real: Any, host: Any, args: tuple, kwargs: dict) -> Any:
    """Checks a call against CuPy's function, then calls NumPy's."""
    given = _rules.bind(name, real, host, args, kwargs)
    inputs = []
    for p, value in given.items():
        starred = p in _rules.STARRED and isinstance(value, tuple)
        for v in value if starred else (value,):
            inputs += _inputs(name, p, v)
    _restrict(name, given)
    outs = given.get("out", given.get("dst"))
    for out in outs if isinstance(outs, tuple) else (outs,):
        if out is None:
            continue
        if not isinstance(out, ndarray):
            raise TypeError("Output arguments type must be cupy.ndarray")
        if name != "copyto" or given.get("where") is not None:
            _same_device(inputs)
        for x in inputs:
            if x is not out and name not in _rules.ELEMENTWISE:
                _rules.no_overlap(out._a, x._a)
    with np.errstate(all="ignore"):  # CuPy never warns
        result = host(*_plain(args), **{k: _plain(v) for k, v in kwargs.items()})
    if type(result) in (bool, int, float, complex) and name not in _rules.PYTHON_RESULTS:
        result = np.asarray(result)  # CuPy keeps it on the device
    ordered = "order" in _rules.signature(real).parameters and name != "matmul"  # type: ignore
    order = "F" if name == "asfortranarray" else "K" if ordered else "C"
    result = _wrap(result, inputs, order, same=name in _rules.RETURNS_INPUT)
    return _garbage(result) if name in ("empty", "empty_like") else result


# ---- Universal functions

PYTHON_SCALARS = (bool, int, float, complex)


def _is_scalar(value: Any) -> bool:
    return type(value) in PYTHON_SCALARS or isinstance(value, (np.number, np.bool_))


def _scalar_or_array(value: Any) -> Any:
    if not isinstance(value, ndarray) and not _is_scalar(value):
        raise TypeError(f"Unsupported type {type(value)}")
    return _plain(value)


class ufunc:
    """A universal function with the loops, keywords and methods of CuPy's."""

    def __init__(self, name: str, real: Any, host: np.ufunc) -> None:
        self.__name__, self._real, self._host = name, real, host
        self.nin, self.nout, self.nargs, self.types = real.nin, real.nout, real.nargs, real.types

    def _dtypes(self, values: tuple) -> tuple:
        """The result's dtypes, found by CuPy's own search of its loops."""
        kinds = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 2}
        weak = [type(v) if type(v) in PYTHON_SCALARS[1:] else False for v in values]
        dtypes = tuple(np.asarray(_plain(v)).dtype for v in values)
        score = [kinds.get(t.kind, 3) for t in dtypes]
        strong = max((s for s, w in zip(score, weak, strict=True) if not w), default=-1)
        weakest = max((s for s, w in zip(score, weak, strict=True) if w), default=-1)
        if -1 in (strong, weakest) or strong < weakest:
            weak = [False] * len(values)
        loop = self._real._ops._guess_routine_from_in_types(dtypes, tuple(weak))
        if loop is None:
            raise TypeError(f"Wrong type ({dtypes}) of arguments for cupy_{self.__name__}")
        if loop.error_func is not None:
            loop.error_func()
        return loop.out_types

    def __call__(self, *args: Any, out: Any = None, **kwargs: Any) -> Any:
        if unknown := kwargs.keys() - {"dtype", "casting"}:
            raise TypeError(f"cupy.{self.__name__} takes no {sorted(unknown)}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"Wrong number of arguments for cupy.{self.__name__}")
        values, outs = args[: self.nin], args[self.nin :]
        if out is not None:
            if outs:
                raise ValueError("Cannot specify 'out' as both a positional and keyword argument")
            outs = out if isinstance(out, tuple) else (out,)
        if any(o is not None and not isinstance(o, ndarray) for o in outs):
            raise TypeError("Output arguments type must be cupy.ndarray")
        plain = [_scalar_or_array(v) for v in values]
        _same_device(arrays := [v for v in (*values, *outs) if isinstance(v, ndarray)])
        dtypes = None if kwargs.get("dtype") is not None else self._dtypes(values)
        if any(o is not None for o in outs):
            kwargs["out"] = tuple(_plain(o) for o in outs)
        with np.errstate(all="ignore"):
            results = self._host(*plain, **kwargs)
        results = results if isinstance(results, tuple) else (results,)
        done = []
        for i, result in enumerate(results):
            if i < len(outs) and outs[i] is not None:
                done.append(outs[i])
            else:
                dtype = result.dtype if dtypes is None else dtypes[i]
                done.append(_wrap(np.asarray(result).astype(dtype, copy=False), arrays))
        return done[0] if self.nout == 1 else tuple(done)

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        op = self._real._scatter_op
        if op is None:
            raise NotImplementedError(f"`cupy_{self.__name__}.at` is not supported yet")
        _same_device([x for x in (a, b) if isinstance(x, ndarray)])
        key, kinds = a._key(indices)
        if "i" in kinds and a.dtype.char not in _rules.SCATTER.get(op, "iIlLqQ"):
            raise TypeError(f"cupy.{self.__name__}.at does not support {a.dtype}")
        self._host.at(a._a, key, _scalar_or_array(b))

    def outer(self, A: ndarray, B: ndarray, **kwargs: Any) -> Any:
        return self(
            A.reshape(A.shape + (1,) * B.ndim), B.reshape((1,) * A.ndim + B.shape), **kwargs
        )

    def _fold(self, method: str, allowed: tuple, array: ndarray, args: tuple, kwargs: dict) -> Any:
        if self.__name__ not in allowed:
            raise NotImplementedError(f"`cupy_{self.__name__}.{method}` is not supported yet")
        host = _rules.HOST.get(method) or getattr(self._host, method)
        real = getattr(self._real, method)
        return _call(method, real, host, (array, *args), kwargs)

    def reduce(self, array: ndarray, *args: Any, **kwargs: Any) -> ndarray:
        return self._fold("reduce", ("add", "multiply"), array, args, kwargs)

    def accumulate(self, array: ndarray, *args: Any, **kwargs: Any) -> ndarray:
        return self._fold("accumulate", ("add", "multiply"), array, args, kwargs)

    def reduceat(self, array: ndarray, *args: Any, **kwargs: Any) -> ndarray:
        return self._fold("reduceat", ("add",), array, args, kwargs)


# ---- Kernels


class ElementwiseKernel:
    """A kernel of ``const auto name = value;`` and ``output = value;``, run by NumPy."""

    def __init__(self, in_params: str, out_params: str, operation: str, name: str = "kernel",
                 *, preamble: str = "", loop_prep: str = "") -> None:  # fmt: skip
        _cupy.ElementwiseKernel(
            in_params, out_params, operation, name, preamble=preamble, loop_prep=loop_prep
        )
        self._params = [part.split() for part in f"{in_params}, {out_params}".split(",")]
        self._nin = in_params.count(",") + 1
        self._source = operation.replace("const auto ", "").replace(";", "")

    def __call__(self, *args: ndarray) -> Any:
        if any(not isinstance(x, ndarray) for x in args) or len(args) != len(self._params):
            raise TypeError(f"this kernel takes {len(self._params)} arrays of CuPy's")
        _same_device(list(args))
        types_ = {kind: x.dtype.type for (kind, _), x in zip(self._params, args, strict=True)}
        if any(x.dtype.type is not types_[kind] or x.shape != args[0].shape
               for (kind, _), x in zip(self._params, args, strict=True)):  # fmt: skip
            raise TypeError("Type is mismatched, or the shapes differ")
        names = {name: x._a for (_, name), x in zip(self._params, args, strict=True)}
        known = {**_rules.C_FUNCTIONS, **types_, **names}
        with np.errstate(all="ignore"):
            exec(self._source, known)
        for x, (_, name) in list(zip(args, self._params, strict=True))[self._nin :]:
            assert known[name].dtype == x.dtype, "a value of another dtype than its output's"
            x._a[...] = known[name]


# ---- The array


class ndarray:
    """CuPy's array. It wraps a private NumPy array."""

    __slots__ = ("__weakref__", "_a", "_base", "_device")
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 100
    __class_getitem__ = classmethod(types.GenericAlias)
    _a: np.ndarray
    _base: ndarray | None
    _device: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        def signed(shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None,
                   order: str = "C") -> np.ndarray:  # fmt: skip
            if memptr is not None or strides is not None:
                raise NotImplementedError("memptr and strides")
            return np.empty(shape, dtype, order or "C")  # type: ignore[call-overload]

        self._a, self._base, self._device = signed(*args, **kwargs), None, _rules.Device.current
        _garbage(self)

    # Attributes: these cause no transfer.
    base = property(lambda self: self._base)
    device = property(lambda self: _rules.Device(self._device))
    strides = property(lambda self: self._a.strides)
    dtype = property(lambda self: self._a.dtype)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    T = property(lambda self: self if self.ndim < 2 else self.transpose())
    mT = property(lambda self: _wrap(self._a.mT, [self]))
    real = property(lambda self: _wrap(self._a.real, [self], same=True))
    imag = property(lambda self: _wrap(self._a.imag, [self]))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._a.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        self._a = self._a.reshape(shape, copy=False)

    @property
    def flags(self) -> Any:
        flags = self._a.flags
        return types.SimpleNamespace(
            c_contiguous=flags.c_contiguous,
            f_contiguous=flags.f_contiguous,
            owndata=self._base is None,
        )

    @property
    def data(self) -> Any:
        pointer = self._a.__array_interface__["data"][0]
        return types.SimpleNamespace(ptr=pointer, device=self.device, device_id=self._device)

    # Transfers to and from the host: each is counted.
    def get(
        self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True
    ) -> Any:
        _rules.note("ndarray.get")
        return self._get(order, out)

    def _get(self, order: str = "C", out: np.ndarray | None = None) -> np.ndarray:
        if out is None:
            return np.array(self._a, order=order)  # type: ignore[call-overload]
        if not isinstance(out, np.ndarray) or out.dtype != self.dtype:
            raise TypeError(f"{self.dtype} array cannot be got into {out!r}")
        if out.shape != self.shape:
            raise ValueError(f"Shape mismatch. Expected shape: {out.shape}, actual: {self.shape}")
        np.copyto(out, self._a)
        return out

    def item(self) -> Any:
        _rules.note("ndarray.item")
        return self._a.item()

    def __reduce__(self) -> tuple:
        return array, (self.get(order="A"),)

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray) or arr.dtype != self.dtype:
            raise TypeError(f"only a numpy.ndarray of {self.dtype} can be set")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        _rules.note("ndarray.set", upload=True)
        self._a[...] = arr

    # NumPy functions must not accept the array.
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Use `.get()`.")

    def __array_function__(self, function: Any, *rest: Any) -> Any:
        raise TypeError(f"numpy.{function.__name__} was given a cupy.ndarray")

    def __array_ufunc__(self, function: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and isinstance(inputs[0], np.generic):
            return _lookup(_cupy, np, function.__name__)(*inputs)  # numpy.float32(3) * x
        raise TypeError(f"numpy.{function.__name__} was given a cupy.ndarray")

    # Copies.
    def astype(self, dtype: Any, order: str | None = "K", casting: None = None, subok: None = None,
               copy: bool = True) -> ndarray:  # fmt: skip
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported yet")
        a = self._a.astype(dtype, order or "K", copy=bool(copy))  # type: ignore[arg-type]
        return _wrap(a, [self], "K")

    def copy(self, order: str = "C") -> ndarray:
        contiguous = order != "K" or self.flags.c_contiguous or self.flags.f_contiguous
        if self._device != _rules.Device.current and not contiguous:
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        return _new(self._a.copy(order))  # type: ignore[arg-type]

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> ndarray:
        with _rules.Device(self._device):
            return self.copy()

    def fill(self, value: Any) -> None:
        _same_device([self])
        value = _scalar_or_array(value)
        if np.ndim(value):
            raise ValueError("non-scalar cupy.ndarray cannot be used for fill")
        self._a.fill(value)

    # Items.
    def __len__(self) -> int:
        return len(self._a)

    def __iter__(self) -> Iterator[ndarray]:
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def _key(self, key: Any) -> tuple[tuple, set[str]]:
        """The index for NumPy, and the kinds of arrays in it: "i" (integer) and "b" (boolean)."""
        items, kinds, axis, out = key if isinstance(key, tuple) else (key,), set(), 0, []
        used = 0
        for k in items:
            if isinstance(k, ndarray):
                used += k.ndim if k.dtype == bool else 1
            else:
                used += k is not None and k is not Ellipsis
        for k in items:
            if k is None or k is Ellipsis:
                axis += self.ndim - used if k is Ellipsis else 0
                out.append(k)
            elif isinstance(k, ndarray) and k.dtype == bool:
                if "b" in kinds:
                    raise IndexError("more than one boolean array in an index")
                _rules.note("boolean mask")
                kinds.add("b")
                axis += k.ndim
                out.append(k._a)
            elif isinstance(k, ndarray):
                if k.dtype.kind not in "iu":
                    raise IndexError("arrays used as indices must be of integer or boolean type")
                kinds.add("i")
                size = self.shape[axis] if axis < self.ndim else 1
                out.append(k._a.astype(np.int64) % max(size, 1))  # CuPy wraps out-of-range ids
                axis += 1
            elif isinstance(k, (slice, int, np.integer)) and not isinstance(k, bool):
                axis += 1
                out.append(k)
            else:
                raise TypeError(f"index of type {type(k)}; arrays must be of CuPy's")
        return tuple(out), kinds

    def __getitem__(self, key: Any) -> ndarray:
        plain, kinds = self._key(key)
        if kinds:
            _same_device([k for k in (key if type(key) is tuple else (key,)) if type(k) is ndarray])
            return _wrap(np.array(self._a[plain]), [self])
        if not any(k is Ellipsis for k in plain):
            plain += (Ellipsis,)  # an integer index gives a 0-d view, not a scalar
        return _wrap(self._a[plain], [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        _same_device([x for x in (self, value) if isinstance(x, ndarray)])
        source = _scalar_or_array(value)
        plain, kinds = self._key(key)
        if kinds == {"i"}:
            _rules.no_duplicates([k for k in plain if isinstance(k, np.ndarray)], value)
        if isinstance(value, ndarray):
            _rules.no_overlap(self._a if kinds else np.asarray(self._a[plain]), source)
        self._a[plain] = source


def _binary(name: str) -> tuple[Callable, Callable, Callable]:
    """An operator, its reflected form and its in-place form."""

    def forward(x: ndarray, y: Any) -> Any:
        if isinstance(y, (np.ndarray, list, tuple)):
            raise TypeError(f"Unsupported type {type(y)}")
        if not isinstance(y, ndarray) and not _is_scalar(y):
            return NotImplemented
        return _lookup(_cupy, np, name)(x, y)

    def reflected(x: ndarray, y: Any) -> Any:
        if not _is_scalar(y):
            return NotImplemented
        return _lookup(_cupy, np, name)(y, x)

    def inplace(x: ndarray, y: Any) -> Any:
        return _lookup(_cupy, np, name)(x, y, out=x)

    return forward, reflected, inplace


def _method(name: str) -> Any:
    real, host = getattr(_cupy.ndarray, name), getattr(np.ndarray, name, None)
    if host is None or not callable(host):
        return property(functools.partial(_missing, f"ndarray.{name}"))
    host = _rules.HOST.get(f"ndarray.{name}") or _rules.HOST.get(name) or host

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return _call(name, real, host, (self, *args), kwargs)

    method.__name__ = name
    return method


def _to_host(name: str) -> Callable:
    def method(self: ndarray, *args: Any) -> Any:
        _rules.note(f"ndarray.{name}")
        return getattr(self._get(), name)(*args)

    return method


def _missing(name: str, *_: Any) -> Any:
    raise NotImplementedError(f"strict_cupy has no {name}")


_OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "matmul": "matmul", "pow": "power",
    "truediv": "true_divide", "floordiv": "floor_divide", "mod": "remainder", "divmod": "divmod",
    "lshift": "left_shift", "rshift": "right_shift",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
for _short, _long in _OPERATORS.items():
    for _prefix, _function in zip(("", "r", "i"), _binary(_long), strict=True):
        if hasattr(_cupy.ndarray, _dunder := f"__{_prefix}{_short}__"):
            setattr(ndarray, _dunder, _function)
for _short in ("less", "less_equal", "equal", "not_equal", "greater", "greater_equal"):
    _dunder = {"less": "lt", "greater": "gt"}.get(_short) or _short[0] + _short.split("_")[-1][0]
    setattr(ndarray, f"__{'eq' if _short == 'equal' else _dunder}__", _binary(_short)[0])
for _dunder, _long in zip(
    ("neg", "pos", "abs", "invert"), ("negative", "positive", "absolute", "invert"), strict=True
):
    setattr(ndarray, f"__{_dunder}__", lambda x, name=_long: _lookup(_cupy, np, name)(x))
for _short in ("bool", "int", "float", "complex", "str", "repr", "format", "bytes"):
    setattr(ndarray, f"__{_short}__", _to_host(f"__{_short}__"))
for _short in ("tolist", "tobytes", "tofile", "dump", "dumps"):
    setattr(ndarray, _short, _to_host(_short))
for _short in dir(_cupy.ndarray):
    if not _short.startswith("_") and not hasattr(ndarray, _short):
        setattr(ndarray, _short, _method(_short))


# ---- The module


def _leaves(value: Any) -> list[Any]:
    return [x for v in value for x in _leaves(v)] if isinstance(value, (list, tuple)) else [value]


def _create(name: str, args: tuple, kwargs: dict) -> ndarray:
    given = _rules.bind(name, getattr(_cupy, name), getattr(np, name), args, kwargs)
    source = given.pop(next(iter(given)))
    given.pop("blocking", None)
    if given.pop("subok", False):
        raise NotImplementedError("subok")
    given = {"copy": True if name == "array" else None, **given}
    given["order"] = given.get("order") or "K"
    if isinstance(source, ndarray):
        source = source if source._device == _rules.Device.current else source.copy()
        return _wrap(np.array(source._a, **given), [source], given["order"])
    inputs = [x for x in _leaves(source) if isinstance(x, ndarray)]
    if inputs:
        if len(inputs) < len(_leaves(source)):
            raise TypeError("Implicit conversion to a NumPy array is not allowed.")
        return _wrap(np.array(_plain(source), **(given | {"copy": True})), inputs, "K")
    _rules.note(f"cupy.{name}", upload=True)
    if given["order"] in "KA":
        fortran = isinstance(source, np.ndarray) and source.flags.fnc
        given["order"] = "F" if fortran else "C"
    return _wrap(np.array(source, **(given | {"copy": True})), [], "K")


def array(*args: Any, **kwargs: Any) -> ndarray:
    return _create("array", args, kwargs)


def asarray(*args: Any, **kwargs: Any) -> ndarray:
    return _create("asarray", args, kwargs)


def asanyarray(*args: Any, **kwargs: Any) -> ndarray:
    return _create("asanyarray", args, kwargs)


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None,
            blocking: bool = True) -> np.ndarray:  # fmt: skip
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(_plain(a), order=order)  # type: ignore[call-overload]


def get_array_module(*args: Any) -> Any:
    return sys.modules[__name__] if any(isinstance(a, ndarray) for a in args) else np


NAMESPACES = ("linalg", "fft", "lib", "stride_tricks", "exceptions")


class _Namespace(types.ModuleType):
    """A submodule of CuPy, checked like the top-level module."""

    def __init__(self, real: Any, host: Any) -> None:
        super().__init__(real.__name__)
        self._real, self._host = real, host

    def __getattr__(self, name: str) -> Any:
        return _lookup(self._real, self._host, name)


@functools.cache
def _lookup(real_module: Any, host_module: Any, name: str) -> Any:
    """An attribute of a CuPy module, computed by NumPy's attribute of that name."""
    real, host = getattr(real_module, name), getattr(host_module, name, None)
    if isinstance(real, types.ModuleType):
        return _Namespace(real, host) if name in NAMESPACES else _missing(f"cupy.{name}")
    if isinstance(real, _cupy.ufunc) and isinstance(host, np.ufunc):
        return ufunc(name, real, host)
    plain = isinstance(real, (int, float, complex, str, type(None)))
    if plain or (real is host and name != "ndarray"):
        return real
    if host is None or isinstance(real, (type, _cupy.ufunc)) or not callable(real):
        return _missing(f"cupy.{name}")
    host = _rules.HOST.get(name, host)
    return lambda *args, **kwargs: _call(name, real, host, args, kwargs)


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__version__":
        raise AttributeError(name)
    return _lookup(_cupy, np, name)


def install(monkeypatch: Any) -> None:
    """Makes ``import cupy`` find this module while pytest's monkeypatch is active."""
    this = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "cupy", this)
    monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
    monkeypatch.setitem(sys.modules, "cupy.cuda.runtime", cuda.runtime)
    for name in ("linalg", "fft", "lib"):
        monkeypatch.setitem(sys.modules, f"cupy.{name}", __getattr__(name))
