"""Input kinds: the names of what layers accept, and the check before each call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from combinet.batches.levels import has_levels, innermost_of
from combinet.batches.packed import Packed
from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import T
from combinet.core.layer import Layer
from combinet.core.levels import takes_levels
from combinet.errors import DimensionError, InputError, conversion_hint, describe
from combinet.ops.base import Ops

_WITH_LENGTHS = (Ragged, Padded, Packed)

_LEVELS = "; it accepts one level of sequences, see combinet.innermost"


Test: TypeAlias = "Callable[[Any, Ops], bool]"


class InputKind(NamedTuple):
    """An input kind: its description in error messages, and a function that tests (X, ops)."""

    words: str
    fits: Test


def _array(kinds: str, *axes: int) -> Test:
    def fits(X: Any, ops: Ops) -> bool:
        return ops.is_array(X) and X.dtype.kind in kinds and (not axes or X.ndim in axes)

    return fits


def _of(form: type[Ragged | Padded], fits: Test = lambda X, ops: ops.is_array(X)) -> Test:
    return lambda X, ops: isinstance(X, form) and fits(X.data, ops)


_floats2d = _array("f", 2)
_ids = _array("iu", 1, 2)
_ragged2d = _of(Ragged, _floats2d)
_padded3d = _of(Padded, _array("f", 3))


def _sparse(X: Any, ops: Ops) -> bool:
    if not isinstance(X, tuple) or len(X) != 3:
        return False
    keys, values, lengths = X
    numbers = hasattr(lengths, "dtype") and lengths.dtype.kind in "iu" and lengths.ndim == 1
    return numbers and _array("iu", 1)(keys, ops) and _array("f", 1)(values, ops)


def _time_major2d(X: Any, ops: Ops) -> bool:
    if isinstance(X, Packed):
        return True
    first = X[0] if isinstance(X, list) and X else X
    return _padded3d(X, ops) or _ragged2d(X, ops) or (first is not X and _floats2d(first, ops))


INPUT_KINDS = {
    "any": InputKind("anything", lambda X, ops: True),
    "floats": InputKind("an array of floats", _array("f")),
    "floats2d": InputKind("an array of floats (n, nI)", _floats2d),
    "ids": InputKind("an array of integers (n,) or (n, columns)", _ids),
    "list": InputKind("a list of arrays", lambda X, ops: isinstance(X, list)),
    "ragged": InputKind("Ragged", _of(Ragged)),
    "ragged2d": InputKind("Ragged with floats (total, nI)", _ragged2d),
    "ragged_ids": InputKind("Ragged with integers (total,) or (total, columns)", _of(Ragged, _ids)),
    "rows2d": InputKind(
        "Ragged with floats (total, nI) or an array of floats (n, nI)",
        lambda X, ops: _ragged2d(X, ops) or _floats2d(X, ops),
    ),
    "sparse": InputKind("a tuple of keys (total,), floats (total,) and lengths (n,)", _sparse),
    "padded": InputKind("Padded", _of(Padded)),
    "padded3d": InputKind("Padded with floats (longest, sequences, nI)", _padded3d),
    "time_major2d": InputKind(
        "a list of floats (n, nI), Ragged or Padded with floats", _time_major2d
    ),
}


def head(X: T) -> T:
    """Returns the first row, sequence or item of a batch as a batch of the same kind."""
    batch: Any = X
    if isinstance(X, tuple):
        batch = _first_of_sparse(X) if _is_sparse(X) else tuple(map(head, X))
    elif isinstance(X, list | Ragged | Padded) or getattr(X, "ndim", 0) > 0:
        batch = batch[:1]
    return batch  # type: ignore[no-any-return]


def _is_sparse(X: tuple[Any, ...]) -> bool:
    if len(X) != 3 or not all(hasattr(x, "dtype") and x.ndim == 1 for x in X):
        return False
    keys, values, lengths = X
    return bool(len(keys) == len(values) == lengths.sum())


def _first_of_sparse(X: tuple[Any, ...]) -> Any:
    keys, values, lengths = X
    n = int(lengths[:1].sum())
    return keys[:n], values[:n], lengths[:1]


_checked: ContextVar[bool] = ContextVar("data_validation", default=True)


@contextmanager
def data_validation(validation: bool) -> Iterator[None]:
    """Turns the checks of inputs on or off inside a `with` block. They are on by default.

    The block affects the current thread or async task only. Without the checks, wrong input raises
    an error of the array library or gives wrong numbers.

    Args:
        validation: Whether layers check their inputs.

    Example:
        >>> import numpy as np
        >>> from combinet import relu
        >>> with data_validation(False):
        ...     relu().predict(np.array([-1, 2]))  # relu accepts floats only
        array([0, 2])
    """
    token = _checked.set(validation)
    try:
        yield
    finally:
        _checked.reset(token)


def validates() -> bool:
    """Returns whether inputs are checked, see `data_validation`."""
    return _checked.get()


def check_input(layer: Layer, X: object, ops: Ops) -> None:
    """Raises InputError or DimensionError if the layer does not accept X."""
    if not _checked.get():
        return
    accepts, nI = layer.accepts, layer.dims.get("nI")
    if accepts == "any" and nI is None and not layer.slots:  # most combinators: nothing to check
        return
    kind = INPUT_KINDS[accepts]
    whole = X
    if has_levels(X) and takes_levels(layer):
        X = innermost_of(X)
    if not kind.fits(X, ops):
        words = f"{layer.name} expected {kind.words}, got {describe(whole)}{_hint(X, ops)}"
        raise InputError(words + (_LEVELS if has_levels(X) else ""))
    data: Any = X.data if isinstance(X, _WITH_LENGTHS) else X
    if accepts == "time_major2d" and isinstance(data, list):
        data = data[0]
    dtype = getattr(data, "dtype", None)
    if dtype is None or dtype.kind != "f":
        return
    if layer.slots and dtype is not layer.dtype:
        check_dtype(layer.name, X, dtype, layer.dtype)
    if nI is not None and data.shape[-1] != nI:
        raise DimensionError(f"{layer.name} expected nI={nI} columns, got {describe(X)}")


def check_dtype(name: str, X: object, dtype: np.dtype[Any], expected: np.dtype[Any] | None) -> None:
    """Raises InputError if the layer has weights whose dtype differs from the dtype of X."""
    if expected is not None and dtype != expected:
        other = f" or initialize(dtype='{dtype}')" if str(dtype) in ("float32", "float64") else ""
        raise InputError(
            f"{name} expected {expected}, the dtype of its weights, got {describe(X)}; "
            f"use X.astype('{expected}'){other}"
        )


def _hint(X: Any, ops: Ops) -> str:
    """Returns a hint on how to convert X from another device or library, or ""."""
    data = X.data if isinstance(X, _WITH_LENGTHS) else X
    if not (hint := conversion_hint(data)) and hasattr(data, "dtype") and not ops.is_array(data):
        hint = f"; the model is on {ops!r}, use to_device(X, model.ops)"
    return hint
