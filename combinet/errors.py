"""What goes wrong, said so that one can act on it: where, what was expected, what arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from combinet.types import is_array

_LONGEST = 1000  # characters of a message


class CombinetError(Exception):
    """The base of all errors that combinet raises.

    As it leaves each layer on its way out, the layer is put before `path`, so that the message
    ends with the way from the model that was called to the layer that refused.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[Any] = []

    def within(self, layer: object) -> None:
        """Note that the error has left `layer`."""
        self.path.insert(0, layer)

    def __str__(self) -> str:
        message = self.message
        if len(message) > _LONGEST:  # a value from a file may have any length
            message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
        return f"{message}, in '{path_name(self.path)}'" if self.path else message


class DimensionError(CombinetError, ValueError):
    """Sizes that disagree, or one that is not known."""


class InputError(CombinetError, TypeError):
    """A value of the wrong kind: a list for an array, float64 for float32, too few axes."""


class StateError(CombinetError, RuntimeError):
    """A call that the model is not ready for: not initialized, or its weights are overridden."""


class FormatError(CombinetError, ValueError):
    """Bytes that are no saved model, or one of another shape."""


class DeviceError(CombinetError, RuntimeError):
    """No such device here, or no CuPy to use it with."""


def path_name(path: list[Any]) -> str:
    """The way through nested layers by their names, `tagger >> with_flatten >> linear[2]`."""
    names = [path[0].name]
    for parent, layer in pairwise(path):
        named = zip(child_names(parent.layers), parent.layers, strict=True)
        names.append(next((name for name, child in named if child is layer), layer.name))
    return " >> ".join(names)


def child_names(layers: Sequence[Any]) -> list[str]:
    """The names of a layer's children in paths.

    A name that several of them have gets the position among them all, as does one that ends as if
    it had it. A child that is there several times is named by its first position.
    """
    counts = Counter(layer.name for layer in layers)
    first = {id(layer): i for i, layer in reversed([*enumerate(layers)])}
    return [
        f"{layer.name}[{first[id(layer)]}]"
        if counts[layer.name] > 1 or layer.name.endswith("]")
        else layer.name
        for layer in layers
    ]


def describe(X: object) -> str:
    """What a value is, in a few words: `float64 array (5, 3)`, `list of 2: float32 array (4,)`."""
    if is_array(X):
        where = type(X).__module__.partition(".")[0]
        where = "" if where in ("numpy", "combinet") else f"{where} "
        return f"{where}{X.dtype} array {tuple(X.shape)}"
    data, lengths = getattr(X, "data", None), getattr(X, "lengths", None)
    if data is not None and lengths is not None:
        return f"{type(X).__name__} of {len(lengths)}: {describe(data)}"
    if isinstance(X, list | tuple):
        words = ", ".join(map(describe, X if isinstance(X, tuple) else X[:1]))
        return f"{type(X).__name__} of {len(X)}" + (f": {words}" if X else "")
    return type(X).__name__


def conversion_hint(X: Any) -> str:
    """Returns how to convert a value of Python or of another library to an array, or ""."""
    if isinstance(X, str):
        return "; turn words into ids first, for example with combinet.text.features"
    if isinstance(X, list | tuple) and X:
        is_nested = isinstance(X[0], list | tuple | int | float)
        return "; use numpy.asarray(X, 'float32')" if is_nested else conversion_hint(X[0])
    conversions = {
        "detach": "detach().cpu().numpy()",
        "toarray": "toarray()",
        "to_numpy": "to_numpy()",
    }
    return next((f"; use X.{call}" for name, call in conversions.items() if hasattr(X, name)), "")
