"""The invariants that every layer must satisfy.

An invariant is a function `(model, X, ops)` that returns what it measured. It raises
AssertionError if the model violates it. The checks work on copies of the model and of X, so they
change neither. They add small random numbers to the weights of the copy, so that none is 0 or 1.
"""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from combinet.batches.structure import map_arrays
from combinet.core.model import Model
from combinet.errors import InputError, describe
from combinet.ops.backends import default_ops
from combinet.ops.base import Ops
from combinet.optimizers.sgd import SGD
from combinet.storage.file_format import to_host
from combinet.testing.numbers import Finding, arrays_of, compare, frozen, random_like, worst
from combinet.testing.preparation import (
    SEED,
    gradients,
    observations,
    parameters,
    prepared,
    weights,
)

Invariant: TypeAlias = "Callable[[Model[Any, Any], Any, Ops | None], Finding]"


def check_backprop(
    model: Model[Any, Any], X: Any, ops: Ops | None = None, *, drop: float = 0.0
) -> Finding:
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
        >>> finding = check_backprop(tuplify(Linear(2), Linear(1)), X)
    """
    if any(array.dtype.kind == "f" and array.dtype != np.float64 for array in arrays_of(X)):
        raise InputError(
            f"check_backprop expected floats in float64, got {describe(X)}; use "
            f"X.astype('float64') and a model that is not initialized or is in float64"
        )
    model, X = prepared(model, X, ops)

    def begin() -> Any:
        return model.begin_update(X, drop=drop, rng=np.random.default_rng(SEED))

    Y, backprop = begin()
    R = random_like(Y)
    dX = backprop(R)

    def value() -> float:
        pairs = zip(arrays_of(R), arrays_of(begin()[0]), strict=True)
        return sum(float((r * y).sum()) for r, y in pairs)

    arrays = arrays_of(X)
    of_inputs = [None] * len(arrays) if dX is None else arrays_of(dX)
    found, observed, findings = gradients(model), observations(model), []
    for i, (array, gradient) in enumerate(zip(arrays, of_inputs, strict=True)):
        if array.dtype.kind == "f":
            assert gradient is not None, f"{model.name} returned no gradient for input {i}"
            findings.append(_check_array(f"input {i}", array, array.__setitem__, gradient, value))
        else:
            assert gradient is None, f"{model.name} returned a gradient for integers: {gradient!r}"
    for path, layer, name in parameters(model):
        assert path in found or path in observed, f"{path} has no gradient"
        if path in found:
            W = to_host(layer.get_param(name)).copy()
            change = partial(_set_number, layer, name, W)
            findings.append(_check_array(path, W, change, found[path], value))
    return worst(findings)


def check_pure(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_pure(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    findings = []
    model, given = prepared(model, X, ops)
    start = weights(model)
    Y, backprop = model.begin_update(frozen(given))
    before = map_arrays(Y, lambda y: y.copy())
    backprop(frozen(random_like(Y)))
    findings.append(compare("the input", given, X))
    findings.append(compare("the output after the backward pass", Y, before))
    findings.append(compare("the weights", weights(model), start))
    return worst(findings)


def check_predict(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_predict(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = prepared(model, X, ops)
    return compare("predict", model.predict(X), model.begin_update(X, drop=0.0)[0])


def check_saving(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_saving(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    findings = []
    initialized, sample = prepared(model, X, ops)
    data, expected = initialized.to_bytes(), initialized.predict(sample)
    loaded = prepared(model, X, ops, SEED + 1)[0].from_bytes(data)
    findings.append(
        compare("predict of the model loaded from bytes", loaded.predict(sample), expected)
    )
    assert loaded.to_bytes() == data, f"{model.name} did not save the bytes it loaded"
    with tempfile.TemporaryDirectory() as folder:
        initialized.to_disk(Path(folder) / "model")
        loaded = prepared(model, X, ops, SEED + 2)[0].from_disk(Path(folder) / "model")
    findings.append(
        compare("predict of the model loaded from disk", loaded.predict(sample), expected)
    )
    return worst(findings)


def check_sums(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_sums(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    model, X = prepared(model, X, ops)
    sums = []
    for _ in range(2):
        Y, backprop = model.begin_update(X)
        backprop(random_like(Y))
        sums.append(gradients(model) | observations(model))
    means = observations(model)
    twice = {path: sums[0][path] * (1 if path in means else 2) for path in sums[0]}
    return compare("the gradients of two passes", sums[1], twice)


def check_interleaved(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_interleaved(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    findings = []
    model, X = prepared(model, X, ops)
    Y, backprop = model.begin_update(X)
    R = random_like(Y)
    dX = backprop(R)
    expected = gradients(model)
    other = model.copy()
    other.clear_gradients()
    _, first = other.begin_update(X)
    Y2, second = other.begin_update(X)
    second(random_like(Y2, seed=1), SGD(0.5))
    findings.append(compare("the input's gradient after an update", first(R), dX))
    findings.append(compare("the gradients after an update", gradients(other), expected))
    return worst(findings)


def check_copy(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> Finding:
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
        >>> finding = check_copy(Linear(2), np.random.default_rng(0).normal(size=(4, 3)))
    """
    findings = []
    model, X = prepared(model, X, ops)
    before, start = model.predict(X), weights(model)
    copied = model.copy()
    findings.append(compare("predict of the copy", copied.predict(X), before))
    assert not {n.id for n in copied.walk()} & {n.id for n in model.walk()}, "a layer is shared"
    Y, backprop = copied.begin_update(X)
    backprop(random_like(Y), SGD(0.5))
    findings.append(compare("the weights after an update of the copy", weights(model), start))
    findings.append(compare("predict after an update of the copy", model.predict(X), before))
    return worst(findings)


def check_device(model: Model[Any, Any], X: Any, ops: Ops, *, drop: float = 0.0) -> Finding:
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
        >>> X = np.random.default_rng(0).normal(size=(4, 3))
        >>> finding = check_device(Linear(2), X, NumpyOps())
    """
    findings = []
    expected, found = (_numbers(model, X, each, drop) for each in (default_ops(), ops))
    for what, value in expected.items():
        findings.append(compare(f"{what} on {ops!r}", found[what], value))
    return worst(findings)


INVARIANTS: tuple[Invariant, ...] = (
    check_backprop,
    check_pure,
    check_predict,
    check_saving,
    check_sums,
    check_interleaved,
    check_copy,
)


def _numbers(model: Model[Any, Any], X: Any, ops: Ops, drop: float) -> dict[str, Any]:
    """Returns the output, the gradients and a prediction after an update, computed on a device."""
    model, X = prepared(model, X, ops)
    Y, backprop = model.begin_update(X, drop=drop, rng=np.random.default_rng(SEED))
    assert all(map(ops.is_array, arrays_of(Y))), f"{model.name}: expected {ops!r} arrays, got {Y!r}"
    numbers = {"the output": Y, "the input's gradient": backprop(random_like(Y))}
    numbers["the gradients"] = gradients(model)
    model.finish_update(SGD(0.1))
    return numbers | {"predict after an update": model.predict(X)}


def _check_array(
    name: str,
    array: Any,
    change: Callable[[Any, float], None],
    gradient: Any,
    value: Callable[[], float],
) -> Finding:
    """Compares the gradient of an array with central differences of `value`."""
    gradient, h = to_host(gradient), 1e-5
    largest = float(np.abs(gradient).max(initial=0))
    findings = []
    for flat in np.unique(np.linspace(0, array.size - 1, min(array.size, 40)).astype(int)):
        index = tuple(map(int, np.unravel_index(flat, array.shape)))
        before = float(array[index])
        change(index, before + h)
        above = value()
        change(index, before - h)
        below = value()
        change(index, before)
        expected = (above - below) / (2 * h)
        difference = float(abs(gradient[index] - expected))
        tolerance = 1e-6 * max(largest, abs(expected), 1e-3)
        what = f"the gradient of {name} at {index}"
        assert difference <= tolerance, (
            f"{what}: expected {expected} by central differences, got {gradient[index]}"
        )
        findings.append(Finding(what, difference, tolerance, 1))
    return worst(findings)


def _set_number(layer: Model[Any, Any], name: str, W: Any, index: Any, number: float) -> None:
    """Sets one number of a parameter. W is the parameter's value, and is changed, too."""
    W[index] = number
    layer.set_param(name, W)
