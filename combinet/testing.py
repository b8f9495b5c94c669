"""Checks for your own layers: the invariants that every layer must satisfy.

An invariant is a function `(model, X, ops)` that raises AssertionError if the model violates it.
`check_layer` runs all of them. The checks work on copies of the model and of X, so they change
neither. They add small random numbers to the weights of the copy, so that no weight is 0 or 1.

    >>> import numpy as np
    >>> from combinet import Linear, expand_window, residual
    >>> layer = residual(expand_window(1) >> Linear(2))
    >>> check_layer(layer, np.random.default_rng(0).normal(size=(4, 2)))
"""

import tempfile
from collections.abc import Callable, Collection
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from combinet.batches.padded import Padded
from combinet.batches.ragged import Ragged
from combinet.batches.structure import map_arrays, to_device
from combinet.core.model import Model
from combinet.errors import InputError, describe
from combinet.ops.backends import default_ops, get_array_ops
from combinet.ops.base import Ops
from combinet.optimizers.sgd import SGD
from combinet.storage.file_format import to_host

_SEED = 20170216

Invariant: TypeAlias = "Callable[[Model[Any, Any], Any, Ops | None], None]"


def check_layer(
    model: Model[Any, Any], X: Any, ops: Ops | None = None, *, skip: Collection[Invariant] = ()
) -> None:
    """Runs every invariant on a model with a sample input.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.
        skip: Invariants to leave out because the model violates them by design. A model that
            contains `BatchNorm` needs `skip=[check_predict]`, because it predicts from running
            statistics.

    Raises:
        AssertionError: If the model violates an invariant. The message says what differs.

    Example:
        >>> from combinet import BatchNorm
        >>> X = np.random.default_rng(0).normal(size=(6, 3))
        >>> check_layer(BatchNorm(), X, skip=[check_predict])
    """
    for invariant in INVARIANTS:
        if invariant not in skip:
            invariant(model, X, ops)


def check_backprop(
    model: Model[Any, Any], X: Any, ops: Ops | None = None, *, drop: float = 0.0
) -> None:
    """Checks the gradients of the input and the parameters against central differences.

    The check computes f = sum(R * Y) for a random R. It moves one number x of the input or of a
    parameter by h = 1e-5 in both directions. The gradient of x must equal
    (f(x + h) - f(x - h)) / 2h within 1e-6 times the largest gradient in the array. At most 40
    numbers of each array are checked, evenly spaced. Each evaluation draws the same dropout mask.

    A buffer has no gradient: the check only requires that the backward pass adds something to it.
    Choose X away from the points where a rectifier or a maximum has no derivative.

    Args:
        model: The model to check. It is copied. It must be in float64 or not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.
        drop: The dropout rate of the passes, from 0 to below 1.

    Raises:
        AssertionError: If a gradient is wrong or missing. The message names the parameter, the
            index and both numbers.
        InputError: If X contains floats other than float64.

    Example:
        >>> from combinet import Linear, tuplify
        >>> X = np.random.default_rng(0).normal(size=(4, 3))
        >>> check_backprop(tuplify(Linear(2), Linear(1)), X)
    """
    if any(array.dtype.kind == "f" and array.dtype != np.float64 for array in _arrays(X)):
        raise InputError(
            f"check_backprop expected floats in float64, got {describe(X)}; use "
            f"X.astype('float64') and a model that is not initialized or is in float64"
        )
    model, X = _prepared(model, X, ops)

    def begin() -> Any:
        return model.begin_update(X, drop=drop, rng=np.random.default_rng(_SEED))

    Y, backprop = begin()
    R = _random_like(Y)
    dX = backprop(R)

    def value() -> float:
        pairs = zip(_arrays(R), _arrays(begin()[0]), strict=True)
        return sum(float((r * y).sum()) for r, y in pairs)

    arrays = _arrays(X)
    gradients = [None] * len(arrays) if dX is None else _arrays(dX)
    for i, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if array.dtype.kind == "f":
            assert gradient is not None, f"{model.name} returned no gradient for input {i}"
            _check_array(f"input {i}", array, gradient, value)
        else:
            assert gradient is None, f"{model.name} returned a gradient for integers: {gradient!r}"
    for path, slot in model.slots_by_path().items():
        assert slot.grad.count, f"{path} has no gradient"
        if slot.ema_rate is None:
            _check_array(path, slot.view, slot.of(slot.store.writable_gradient()), value)


def check_pure(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that no pass changes its input, the gradient it receives or the weights.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_pure(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, given = _prepared(model, X, ops)
    weights = _weights(model)
    Y, backprop = model.begin_update(_frozen(given))
    before = map_arrays(Y, lambda y: y.copy())
    backprop(_frozen(_random_like(Y)))
    _same("the input", given, X)
    _same("the output after the backward pass", Y, before)
    _same("the weights", _weights(model), weights)


def check_predict(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that `predict` returns the same as `begin_update` without dropout.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_predict(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = _prepared(model, X, ops)
    _same("predict", model.predict(X), model.begin_update(X, drop=0.0)[0])


def check_saving(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that a model loaded from bytes or from disk predicts as the saved model does.

    The loaded model must also save the same bytes again.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_saving(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    initialized, sample = _prepared(model, X, ops)
    data, expected = initialized.to_bytes(), initialized.predict(sample)
    loaded = _prepared(model, X, ops, _SEED + 1)[0].from_bytes(data)
    _same("predict of the model loaded from bytes", loaded.predict(sample), expected)
    assert loaded.to_bytes() == data, f"{model.name} did not save the bytes it loaded"
    with tempfile.TemporaryDirectory() as folder:
        initialized.to_disk(Path(folder) / "model")
        loaded = _prepared(model, X, ops, _SEED + 2)[0].from_disk(Path(folder) / "model")
    _same("predict of the model loaded from disk", loaded.predict(sample), expected)


def check_sums(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that two passes sum their gradients.

    The gradients after two equal passes must be twice the gradients after one.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_sums(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = _prepared(model, X, ops)
    sums = []
    for _ in range(2):
        Y, backprop = model.begin_update(X)
        backprop(_random_like(Y))
        sums.append(_gradients(model))
    twice = {path: 2 * gradient for path, gradient in sums[0].items()}
    _same("the gradients of two passes", sums[1], twice)


def check_interleaved(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that a pending pass has the right gradients after another pass and an update.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_interleaved(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = _prepared(model, X, ops)
    Y, backprop = model.begin_update(X)
    R = _random_like(Y)
    dX = backprop(R)
    expected = _gradients(model)
    other = model.copy()
    other.clear_gradients()
    _, first = other.begin_update(X)
    Y2, second = other.begin_update(X)
    second(_random_like(Y2, seed=1), SGD(0.5))
    _same("the input's gradient after an update", first(R), dX)
    _same("the gradients after an update", _gradients(other), expected)


def check_copy(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Checks that a copy predicts the same and shares no layer or weight with the model.

    Training the copy must not change the model.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to check on, such as `CupyOps()`. The CPU by default.

    Raises:
        AssertionError: If the model violates the invariant.

    Example:
        >>> from combinet import Linear
        >>> check_copy(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = _prepared(model, X, ops)
    before, weights = model.predict(X), _weights(model)
    copied = model.copy()
    _same("predict of the copy", copied.predict(X), before)
    assert not {n.id for n in copied.walk()} & {n.id for n in model.walk()}, "a layer is shared"
    Y, backprop = copied.begin_update(X)
    backprop(_random_like(Y), SGD(0.5))
    _same("the weights after an update of the copy", _weights(model), weights)
    _same("predict after an update of the copy", model.predict(X), before)


def check_device(model: Model[Any, Any], X: Any, ops: Ops, *, drop: float = 0.0) -> None:
    """Checks that a model computes the same numbers on a device as on the CPU.

    The check compares the output, the gradients and the prediction after an update.

    Args:
        model: The model to check. It is copied. The copy is initialized in float64 if the model
            is not initialized.
        X: A sample input on the CPU. Its floats must be float64.
        ops: Ops of the device to compare with the CPU, such as `CupyOps()`.
        drop: The dropout rate of the passes, from 0 to below 1.

    Raises:
        AssertionError: If the numbers differ.

    Example:
        >>> from combinet import Linear, NumpyOps
        >>> check_device(Linear(2), np.random.default_rng(0).normal(size=(4, 3)), NumpyOps())
    """
    expected, found = (_numbers(model, X, each, drop) for each in (default_ops(), ops))
    for what, value in expected.items():
        _same(f"{what} on {ops!r}", found[what], value)


INVARIANTS: tuple[Invariant, ...] = (
    check_backprop,
    check_pure,
    check_predict,
    check_saving,
    check_sums,
    check_interleaved,
    check_copy,
)


def _prepared(
    model: Model[Any, Any], X: Any, ops: Ops | None, seed: int = _SEED
) -> tuple[Model[Any, Any], Any]:
    """Returns copies of the model, with small random numbers added to its weights, and of X."""
    model = model.copy()
    if all(slot.store.dtype == np.float64 for slot in model.slots_by_path().values()):
        model.initialize(X, rng=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    for slot in model.slots_by_path().values():
        slot.store.write({slot: slot.view + rng.normal(0, 0.1, slot.shape)})
    if ops is not None and ops.device >= 0:
        model.to_gpu(ops.device)
    else:
        model._move(ops or default_ops())
    # deepcopy array by array: an array that occurs twice in X must become two arrays.
    return model, to_device(map_arrays(X, deepcopy), model.ops)


def _numbers(model: Model[Any, Any], X: Any, ops: Ops, drop: float) -> dict[str, Any]:
    """Returns the output, the gradients and a prediction after an update, computed on a device."""
    model, X = _prepared(model, X, ops)
    Y, backprop = model.begin_update(X, drop=drop, rng=np.random.default_rng(_SEED))
    assert all(map(ops.is_array, _arrays(Y))), f"{model.name}: expected {ops!r} arrays, got {Y!r}"
    numbers = {"the output": Y, "the input's gradient": backprop(_random_like(Y))}
    numbers["the gradients"] = _gradients(model)
    model.finish_update(SGD(0.1))
    return numbers | {"predict after an update": model.predict(X)}


def _check_array(name: str, array: Any, gradient: Any, value: Callable[[], float]) -> None:
    """Compares the gradient of an array with central differences of `value`."""
    gradient, h = to_host(gradient), 1e-5
    largest = float(np.abs(gradient).max(initial=0))
    for flat in np.unique(np.linspace(0, array.size - 1, min(array.size, 40)).astype(int)):
        index = tuple(map(int, np.unravel_index(flat, array.shape)))
        before = float(array[index])
        array[index] = before + h
        above = value()
        array[index] = before - h
        below = value()
        array[index] = before
        expected = (above - below) / (2 * h)
        assert abs(gradient[index] - expected) <= 1e-6 * max(largest, abs(expected), 1e-3), (
            f"the gradient of {name} at {index}: expected {expected} by central differences, "
            f"got {gradient[index]}"
        )


def _arrays(X: Any) -> list[Any]:
    if isinstance(X, list | tuple):
        return [array for x in X for array in _arrays(x)]
    if isinstance(X, str):
        return []
    if isinstance(X, Ragged):
        return [X.rows]
    return [X.data] if isinstance(X, Padded) else [X]


def _random_like(Y: Any, seed: int = 0) -> Any:
    """Returns random numbers in the form of Y, and 0 in the padding of Padded."""
    rng = np.random.default_rng(seed)

    def draw(y: Any) -> Any:
        R = rng.normal(size=y.shape)
        if isinstance(Y, Padded):
            real = np.arange(len(Y.size_at_t))[:, None] < Y.lengths
            R *= real.reshape(real.shape + (1,) * (R.ndim - 2))
        return get_array_ops(y).asarray(R, y.dtype)

    return map_arrays(Y, draw)


def _frozen(X: Any) -> Any:
    """Makes the NumPy arrays of a batch read-only and returns the batch."""
    for array in _arrays(X):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return X


def _weights(model: Model[Any, Any]) -> dict[str, Any]:
    return {path: to_host(slot.view) for path, slot in model.slots_by_path().items()}


def _gradients(model: Model[Any, Any]) -> dict[str, Any]:
    pending = {path: slot for path, slot in model.slots_by_path().items() if slot.grad.count}
    return {path: to_host(s.of(s.store.writable_gradient())) for path, s in pending.items()}


def _same(what: str, found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), f"{what}: expected {[*expected]}, got {[*found]}"
        found, expected = [*found.values()], [*expected.values()]
    found, expected = (to_device(X, default_ops()) for X in (found, expected))
    assert type(found) is type(expected), f"{what}: expected {expected!r}, got {found!r}"
    for a, b in zip(_arrays(found), _arrays(expected), strict=True):
        assert (a is None) == (b is None), f"{what}: expected {b!r}, got {a!r}"
        if a is not None:  # integers in a tuple have no gradient
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=what)
