"""The exceptions of combinet, and how their messages describe layers and values."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from combinet.types import is_array

_LONGEST = 1000  # characters of a message


class CombinetError(Exception):
    """The base class of all errors that combinet raises.

    As the error leaves each layer, that layer is inserted at the front of `path`. The message then
    ends with the path from the model that was called to the layer that raised the error.

    Args:
        message: What was expected and what arrived.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, relu
        >>> model = relu() >> Linear(2, 3)
        >>> try:
        ...     model.initialize().predict(np.ones((1, 4), dtype="float32"))
        ... except CombinetError as error:
        ...     print(type(error).__name__, [layer.name for layer in error.path])
        DimensionError ['chain', 'linear']
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[Any] = []

    def within(self, layer: object) -> None:
        """Records that the error has left `layer`.

        Args:
            layer: The layer to insert at the front of `path`.
        """
        if not self.path or self.path[0] is not layer:  # a method that calls super() leaves twice
            self.path.insert(0, layer)

    def __str__(self) -> str:
        message = self.message
        if len(message) > _LONGEST:  # a value from a file may have any length
            message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
        return f"{message}, in '{path_name(self.path)}'" if self.path else message


class DimensionError(CombinetError, ValueError):
    """Sizes do not match, or a size is unknown."""


class InputError(CombinetError, TypeError):
    """A value has the wrong type or dtype, such as a list for an array, or is out of range."""


class StateError(CombinetError, RuntimeError):
    """The model is not ready for the call: for example, its weights are missing or overridden."""


class FormatError(CombinetError, ValueError):
    """Data is not a valid saved model or optimizer, or belongs to a model of another structure."""


class DeviceError(CombinetError, RuntimeError):
    """The device does not exist, cannot be used by the layer, or needs CuPy."""


def path_name(path: list[Any]) -> str:
    """Returns the names from the root of a tree to a layer: `tagger >> relu >> linear[2]`."""
    names = [path[0].name]
    for parent, layer in pairwise(path):
        named = zip(child_names(parent.layers), parent.layers, strict=True)
        names.append(next((name for name, child in named if child is layer), layer.name))
    return " >> ".join(names)


def child_names(layers: Sequence[Any]) -> list[str]:
    """Returns the names of a layer's sublayers in paths.

    A name that occurs several times gets the position among all sublayers, as in `linear[2]`. So
    does a name that already ends with a bracket. A sublayer that occurs several times has the name
    of its first position.
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
    """Returns type and size of a value: `float64 array (5, 3)`, `list of 2: int64 array (4,)`."""
    if is_array(X):
        where = type(X).__module__.partition(".")[0]
        where = "" if where in ("numpy", "combinet") else f"{where} "
        return f"{where}{str(X.dtype).removeprefix(where[:-1] + '.')} array {tuple(X.shape)}"
    data, lengths = getattr(X, "data", None), getattr(X, "lengths", None)
    if data is not None and lengths is not None:
        return f"{type(X).__name__} of {len(lengths)}: {describe(data)}"
    if isinstance(X, list | tuple):
        words = ", ".join(map(describe, X if isinstance(X, tuple) else X[:1]))
        return f"{type(X).__name__} of {len(X)}" + (f": {words}" if X else "")
    return f"the class {X.__name__}" if isinstance(X, type) else type(X).__name__


def conversion_hint(X: object) -> str:
    """Returns a hint on how to convert a list or another library's value to an array, or ""."""
    if isinstance(X, str):
        return "; turn words into ids first, for example with combinet.text.features"
    if isinstance(X, list | tuple) and X:
        is_nested = isinstance(X[0], list | tuple | int | float)
        return "; use numpy.asarray(X, 'float32')" if is_nested else conversion_hint(X[0])
    calls = ("detach().cpu().numpy()", "toarray()", "to_numpy()")  # PyTorch, SciPy, pandas
    return next((f"; use X.{call}" for call in calls if hasattr(X, call.split("(")[0])), "")
