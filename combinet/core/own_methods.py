"""Layers that define methods of the Model API themselves, and the passes of outer models over them.

A subclass of `Model` may define any of `METHODS`. Its users call such a method directly. An outer
model calls it too, instead of doing the same work on the layer's parameters and sublayers: the
layer then answers for everything below it, usually by `super()`. A model asks only the topmost
layers that define a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from combinet.batches.structure import map_arrays, match_gradient, spec_of
from combinet.core.inputs import validates
from combinet.core.objects import has_state
from combinet.core.tree import walk
from combinet.errors import CombinetError, InputError, StateError, describe
from combinet.ops.backends import get_array_ops
from combinet.types import is_array

if TYPE_CHECKING:
    from combinet.core.layer import Backward, Layer
    from combinet.core.run import Run
    from combinet.optimizers.base import Optimizer

METHODS = (
    "begin_update", "predict", "finish_update", "use_params", "initialize", "to_bytes",
    "from_bytes", "to_gpu", "to_cpu", "resize_input", "resize_output",
)  # fmt: skip


class _OwnPass(NamedTuple):
    """The pass of an outer model that is calling a method of `layer`."""

    layer: Layer
    run: Run


_own_pass: ContextVar[_OwnPass | None] = ContextVar("own_pass", default=None)
# The optimizer with which the outermost backward pass was called.
_sgd: ContextVar[Optimizer | None] = ContextVar("sgd", default=None)


def outer_run(layer: Layer) -> Run | None:
    """Returns the pass of an outer model that this layer is part of, or None.

    It is part of one while the outer model calls a method of this layer or of a layer above it.
    """
    outer = _own_pass.get()
    if outer is not None and any(node is layer for node in walk(outer.layer)):
        return outer.run
    return None


@contextmanager
def inside(layer: Layer, run: Run) -> Iterator[None]:
    """Marks the calls inside the block as part of the pass `run` over `layer`."""
    token = _own_pass.set(_OwnPass(layer, run))
    try:
        yield
    finally:
        _own_pass.reset(token)


@contextmanager
def updating(sgd: Optimizer) -> Iterator[None]:
    """Lets the layers update themselves inside the block, with `sgd`, in one step."""
    token = _sgd.set(sgd)
    try:
        with sgd.one_step():
            yield
    finally:
        _sgd.reset(token)


def own_forward(model: Layer, X: object, run: Run) -> tuple[Any, Backward]:
    """The forward function of layers that define `begin_update` or `predict`: calls the method.

    A layer that defines only `begin_update` predicts with it. A layer that defines only `predict`
    is trained with its forward function.
    """
    run.prepare(model, X)
    if not run.train and "predict" in model.own_methods:
        layer: Any = model
        with inside(model, run):
            return layer.predict(X), _unused
    return begin_forward(model, X, run)


def begin_forward(model: Layer, X: object, run: Run) -> tuple[Any, Backward]:
    """Calls the `begin_update` that a layer defines, or else its forward function."""
    if "begin_update" not in model.own_methods:
        return (model.given_forward or no_forward)(model, X, run)
    # With a finish_update of its own, the layer is updated there and not in the backward pass.
    updates = "finish_update" not in model.own_methods
    return checked_pass(model, model, X, run, updates=updates)


def _unused(dY: object) -> None:
    """The callback of a prediction, which the run replaces."""


def no_forward(model: Layer, X: object, run: Run) -> NoReturn:
    """Raises StateError: the layer has no forward function, so `super()` cannot call it."""
    raise StateError(
        f"{model.name} expected a forward function for super().begin_update(X), got none; pass "
        f"one to super().__init__(name, forward), or do not call super().begin_update"
    )


def checked_pass(
    model: Layer, target: object, X: object, run: Run, *, updates: bool
) -> tuple[Any, Backward]:
    """Calls `target.begin_update` and checks that it keeps the promises of the Model API.

    Args:
        model: The layer, for errors.
        target: The layer itself or the object that it wraps.
        X: Input batch.
        run: The pass.
        updates: Whether the callback receives the optimizer of the backward pass.
    """
    obj: Any = target
    name = f"{model.name} expected {type(target).__name__}.begin_update"
    before = _numbers(X)
    with inside(model, run):
        result = obj.begin_update(X, drop=run.drop)
    if type(result) is not tuple or len(result) != 2 or not callable(result[1]):
        raise InputError(f"{name} to return (Y, backprop), got {describe(result)}")
    _check_unchanged(name, "X", X, before)
    Y, callback = result
    form = spec_of(X)

    def backprop(dY: Any) -> Any:
        before = _numbers(dY)
        with inside(model, run):
            if updates and has_state(target) and _takes_optimizer(callback):
                sgd = _sgd.get()
                model.waits_for_optimizer = model.waits_for_optimizer or sgd is None
                dX = callback(dY, sgd)
            else:
                dX = callback(dY)
        try:
            _check_unchanged(f"{name}'s backprop", "dY", dY, before)
            return dX if dX is None or not validates() else match_gradient(form, dX)
        except CombinetError as error:
            if not error.path:
                if not error.message.startswith(name):
                    error.message = f"{name}'s backprop to return dX like X: {error.message}"
                error.within(model)
            raise

    return Y, backprop


def _takes_optimizer(callback: Callable[..., Any]) -> bool:
    """Returns whether a callback of a backward pass has a second argument, the optimizer."""
    try:
        found = [*signature(callback).parameters.values()]
    except (TypeError, ValueError):  # built-in functions may have no signature
        return False
    many = any(each.kind is Parameter.VAR_POSITIONAL for each in found)
    return many or len([p for p in found if p.kind <= Parameter.POSITIONAL_OR_KEYWORD]) > 1


def _numbers(X: Any) -> list[tuple[Any, Any]]:
    """Returns the arrays of numbers in a batch, each with a copy, if inputs are validated."""
    found: list[tuple[Any, Any]] = []

    def note(x: Any) -> Any:
        if is_array(x) and getattr(x.dtype, "kind", "") in ("f", "i", "u", "b"):
            found.append((x, x.copy()))
        return x

    if validates():
        map_arrays(X, note)
    return found


def _check_unchanged(name: str, what: str, batch: Any, before: list[tuple[Any, Any]]) -> None:
    for array, copy in before:
        equal = get_array_ops(array).xp.array_equal
        if not equal(array, copy, equal_nan=array.dtype.kind == "f"):
            raise InputError(
                f"{name} to leave {what} unchanged, got other numbers in {describe(batch)}; "
                f"let it write to a copy"
            )
