"""Checks of what every layer must hold to, for people's own layers as for the built-in ones.

`check_layer(model, X)` runs them all; each is a function (model, X, ops) that raises AssertionError
with what differs. A model is used in copies, initialized in float64 if it is not initialized; X is
a sample input on the CPU whose floats are float64. With `ops` both go to that device first.

    >>> import numpy as np
    >>> from combinet import Linear, expand_window, residual
    >>> layer = residual(expand_window(1) >> Linear(2))
    >>> check_layer(layer, np.random.default_rng(0).normal(size=(4, 2)))
"""

from __future__ import annotations

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
    """Run every invariant on a model with a sample input. Raises AssertionError with what differs.

    `skip` are laws that do not hold by the model's nature: with `BatchNorm` in it, which
    predicts by running statistics, `skip=[check_predict]`.
    """
    for invariant in INVARIANTS:
        if invariant not in skip:
            invariant(model, X, ops)


def check_backprop(
    model: Model[Any, Any], X: Any, ops: Ops | None = None, *, drop: float = 0.0
) -> None:
    """The gradients of X and of what is trained agree with central differences, in float64.

    With f = sum(R * Y) for random R, each number x of the input and of the parameters (at most
    40 of each array, spread over it) is moved by h = 1e-5 up and down, and
    (f(x + h) - f(x - h)) / 2h must be its gradient, within 1e-6 of the largest in its array.
    Choose X away from the kinks of rectifiers and maxima. The same dropout mask is drawn for
    each evaluation. Of statistics, which have no gradient, something must have been added. Raises
    AssertionError with the parameter, the index and both numbers, InputError for a sample in
    float32.
    """
    if any(array.dtype.kind == "f" and array.dtype != np.float64 for array in _arrays(X)):
        raise InputError(
            f"central differences are taken in float64, of X.astype('float64') and a model "
            f"that is not initialized or is in float64, not of {describe(X)}"
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
            assert gradient is not None, f"{model.name} gives no gradient for its input {i}"
            _check_array(f"input {i}", array, gradient, value)
        else:
            assert gradient is None, f"{model.name} gives a gradient for integers: {gradient!r}"
    for path, slot in model.slots_by_path().items():
        assert slot.grad.count, f"{path} got no gradient"
        if slot.ema_rate is None:
            _check_array(path, slot.view, slot.of(slot.store.writable_gradient()), value)


def check_pure(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Neither pass changes its input, the gradient it gets, or the weights."""
    model, given = _prepared(model, X, ops)
    weights = _weights(model)
    Y, backprop = model.begin_update(_frozen(given))
    before = map_arrays(Y, lambda y: y.copy())
    backprop(_frozen(_random_like(Y)))
    _same("the input", given, X)
    _same("the output, after the backward pass", Y, before)
    _same("the weights", _weights(model), weights)


def check_predict(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Predict gives what begin_update gives without dropout."""
    model, X = _prepared(model, X, ops)
    _same("predict", model.predict(X), model.begin_update(X, drop=0.0)[0])


def check_saving(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """A copy without weights, loaded from bytes or from disk, predicts the same."""
    initialized, sample = _prepared(model, X, ops)
    data, expected = initialized.to_bytes(), initialized.predict(sample)
    loaded = _prepared(model, X, ops, _SEED + 1)[0].from_bytes(data)
    _same("predict of the model loaded from bytes", loaded.predict(sample), expected)
    assert loaded.to_bytes() == data, f"{model.name} saves other bytes than it loaded"
    with tempfile.TemporaryDirectory() as folder:
        initialized.to_disk(Path(folder) / "model")
        loaded = _prepared(model, X, ops, _SEED + 2)[0].from_disk(Path(folder) / "model")
    _same("predict of the model loaded from disk", loaded.predict(sample), expected)


def check_sums(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """Two passes over one layer sum their gradients: twice the gradient of one."""
    model, X = _prepared(model, X, ops)
    sums = []
    for _ in range(2):
        Y, backprop = model.begin_update(X)
        backprop(_random_like(Y))
        sums.append(_gradients(model))
    twice = {path: 2 * gradient for path, gradient in sums[0].items()}
    _same("the gradients of two passes", sums[1], twice)


def check_interleaved(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """A pass begun before another one, and before an update, has the right gradients after."""
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
    _same("the input's gradient of a pass with an update in it", first(R), dX)
    _same("the gradients of a pass with an update in it", _gradients(other), expected)


def check_copy(model: Model[Any, Any], X: Any, ops: Ops | None = None) -> None:
    """A copy gives the same and shares nothing: training it leaves the model as it was."""
    model, X = _prepared(model, X, ops)
    before, weights = model.predict(X), _weights(model)
    copied = model.copy()
    _same("predict of the copy", copied.predict(X), before)
    assert not {n.id for n in copied.walk()} & {n.id for n in model.walk()}, "a layer is shared"
    Y, backprop = copied.begin_update(X)
    backprop(_random_like(Y), SGD(0.5))
    _same("the weights, after an update of the copy", _weights(model), weights)
    _same("predict, after an update of the copy", model.predict(X), before)


def check_device(model: Model[Any, Any], X: Any, ops: Ops, *, drop: float = 0.0) -> None:
    """On the device of `ops` all numbers are those of the CPU: output, gradients, updates."""
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
    """Copies on the device: of X, and of the model with weights of which none is 0 or 1."""
    model = model.copy()
    if all(slot.store.dtype == np.float64 for slot in model.slots_by_path().values()):
        model.initialize(X, rng=seed, dtype="float64")
    rng = np.random.default_rng(seed)
    for slot in model.slots_by_path().values():
        slot.store.write({slot: slot.view + rng.normal(0, 0.1, slot.shape)})
    model._move(ops or default_ops())
    # Each array by itself: one that stands in several places is moved in one alone.
    return model, to_device(map_arrays(X, deepcopy), model.ops)


def _numbers(model: Model[Any, Any], X: Any, ops: Ops, drop: float) -> dict[str, Any]:
    """What a model computes on a device."""
    model, X = _prepared(model, X, ops)
    Y, backprop = model.begin_update(X, drop=drop, rng=np.random.default_rng(_SEED))
    assert all(map(ops.is_array, _arrays(Y))), f"{model.name}: {Y!r}"
    numbers = {"the output": Y, "the input's gradient": backprop(_random_like(Y))}
    numbers["the gradients"] = _gradients(model)
    model.finish_update(SGD(0.1))
    return numbers | {"predict after an update": model.predict(X)}


def _check_array(name: str, array: Any, gradient: Any, value: Callable[[], float]) -> None:
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
            f"the gradient of {name} at {index} is {gradient[index]}, "
            f"by central differences {expected}"
        )


def _arrays(X: Any) -> list[Any]:
    if isinstance(X, list | tuple):
        return [array for x in X for array in _arrays(x)]
    if isinstance(X, str):
        return []
    return [X.data] if isinstance(X, Ragged | Padded) else [X]


def _random_like(Y: Any, seed: int = 0) -> Any:
    """Random numbers of Y's form; 0 where Padded has none of its own."""
    rng = np.random.default_rng(seed)

    def draw(y: Any) -> Any:
        R = rng.normal(size=y.shape)
        if isinstance(Y, Padded):
            real = np.arange(len(Y.size_at_t))[:, None] < Y.lengths
            R *= real.reshape(real.shape + (1,) * (R.ndim - 2))
        return get_array_ops(y).asarray(R, y.dtype)

    return map_arrays(Y, draw)


def _frozen(X: Any) -> Any:
    """The batch itself, unchangeable from now on where arrays can be told to be so: NumPy's."""
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
        assert found.keys() == expected.keys(), f"{what}: {[*found]}, not {[*expected]}"
        found, expected = [*found.values()], [*expected.values()]
    found, expected = (to_device(X, default_ops()) for X in (found, expected))
    assert type(found) is type(expected), f"{what}: {found!r}, not {expected!r}"
    for a, b in zip(_arrays(found), _arrays(expected), strict=True):
        assert (a is None) == (b is None), f"{what}: {a!r}, not {b!r}"
        if a is not None:  # integers in a tuple have no gradient
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=what)
