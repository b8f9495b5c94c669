"""Optimizers: what is done to the weights with the gradients that have been summed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypedDict
from weakref import WeakSet

from combinet import format
from combinet.errors import DimensionError, FormatError
from combinet.ops import Ops
from combinet.schedules import constant
from combinet.store import Key, Memory, Segment, Slot, Store, segments
from combinet.types import Floats1d, Schedule

if TYPE_CHECKING:
    from typing_extensions import Unpack


def _schedule(rate: float | Schedule) -> Schedule:
    return rate if callable(rate) else constant(rate)


class Options(TypedDict, total=False):
    """The keywords that every optimizer has; see `Optimizer`."""

    L2: float | Schedule
    grad_clip: float
    L2_is_weight_decay: bool
    use_averages: bool
    average_decay: float


class Optimizer:
    """The base of the optimizers: clipping, decay, averaging; a subclass adds the step itself.

    `learn_rate` and `L2` are numbers or schedules of the number of updates so far, `step`.
    With `grad_clip` above 0, gradients whose norm, over all parameters of the update together, is
    larger are scaled down to it. `L2` decays the weights by learn_rate * L2 * W beside the step
    (`L2_is_weight_decay`, Loshchilov and Hutter 2019, arXiv:1711.05101), or adds L2 * W to the
    gradient. With `use_averages` the exponential running mean of the weights after each update
    is kept: mean += (1 - d) * (W - mean), with d = min(average_decay, (1 + t) / (10 + t)) at the
    parameter's t-th update. Moments and averages live beside the weights and go where they go:
    to a GPU, into a new size.

    A subclass says in `arrays`, the names of what it keeps for each weight, and defines `apply`.
    """

    def __init__(
        self,
        learn_rate: float | Schedule,
        arrays: tuple[str, ...] = (),
        *,
        L2: float | Schedule = 0.0,
        grad_clip: float = 1.0,
        L2_is_weight_decay: bool = True,
        use_averages: bool = True,
        average_decay: float = 0.9999,
    ) -> None:
        self.learn_rate = _schedule(learn_rate)
        self.arrays = arrays
        self.L2 = _schedule(L2)
        self.grad_clip = grad_clip
        self.L2_is_weight_decay = L2_is_weight_decay
        self.use_averages = use_averages
        self.average_decay = average_decay
        self.step = 0
        self.stores: WeakSet[Store] = WeakSet()  # those that keep something of this optimizer

    def apply(
        self, ops: Ops, W: Floats1d, dW: Floats1d, kept: list[Any], t: int, rate: float
    ) -> None:
        """Change W in place: its t-th update (from 1) by gradient dW, at learning rate `rate`.

        `kept` are the arrays named in `arrays`, as long as W, 0 at first; they are changed too.
        """
        raise NotImplementedError

    def update(self, slots: Sequence[Slot]) -> None:
        """Update the parameters that have a gradient waiting, and clear it: one step, or none."""
        with ExitStack() as stack:
            for store in sorted({slot.store for slot in slots}, key=id):
                stack.enter_context(store.lock)
            # Only now: another thread may just have applied what was waiting.
            waiting = [slot for slot in slots if slot.touched]
            if not waiting:
                return
            runs = segments(waiting)
            self._clip(runs)
            rate, L2 = self.learn_rate(self.step), self.L2(self.step)
            for run in runs:
                self._update_segment(run, rate, L2)
            for slot in waiting:
                slot.touched = False
            self.step += 1

    def _clip(self, runs: list[Segment]) -> None:
        if not self.grad_clip:
            return
        total: Any = None  # on one device; nothing crosses to the host
        ops = runs[0].store.ops
        for store, _, _, start, stop in runs:
            squares = ops.asarray(store.ops.sum_squares(store.gradient[start:stop]))
            total = squares if total is None else total + squares
        scale = ops.xp.minimum(1.0, self.grad_clip / ops.xp.sqrt(total + 1e-30))
        for store, _, _, start, stop in runs:
            store.gradient[start:stop] *= store.ops.asarray(scale, store.dtype)

    def _update_segment(self, run: Segment, rate: float, L2: float) -> None:
        store = run.store
        memory = store.memory(self)
        for name in self.arrays:
            if name not in memory.arrays:
                memory.arrays[name] = store.ops.zeros((store.size,), store.dtype)
        memory.steps[run.first : run.last] += 1
        averages = store.writable_averages() if self.use_averages else None
        weights = store.writable()
        for t, start, stop in _same_steps(memory, run):
            W, dW = weights[start:stop], store.gradient[start:stop]
            if L2 and self.L2_is_weight_decay:
                W *= 1 - rate * L2
            elif L2:
                store.ops.add_scaled(dW, W, L2)
            kept = [memory.arrays[name][start:stop] for name in self.arrays]
            self.apply(store.ops, W, dW, kept, t, rate)
            if averages is not None:
                decay = min(self.average_decay, (1 + t) / (10 + t))
                store.ops.average(averages[start:stop], W, decay)

    @property
    def averages(self) -> dict[Key, Any]:
        """Running means of all weights that this optimizer has updated, as `use_params` takes them.

        Example:
            >>> import numpy as np
            >>> from combinet import Linear, SGD
            >>> model, sgd = Linear(1, 1).initialize(), SGD(0.1)
            >>> Y, backprop = model.begin_update(np.ones((2, 1), "f"))
            >>> dX = backprop(np.ones((2, 1), "f"), sgd)
            >>> with model.use_params(sgd.averages):
            ...     averaged = model.predict(np.ones((2, 1), "f"))
        """
        return {
            slot.key: slot.of(store.averages)
            for store in self.stores
            if store.averages is not None
            for slot in store.slots()
            if self.use_averages and store.memories[self].steps[slot.number]
        }

    def to_bytes(self, model: Any) -> bytes:
        """The steps and moments for `model`, by each parameter's path, with the step count."""
        kept = {}
        for path, slot in model.slots_by_path().items():
            memory = slot.store.memories.get(self)
            if memory is not None and memory.steps[slot.number]:
                kept[path] = {
                    "steps": int(memory.steps[slot.number]),
                    "arrays": {
                        name: format.to_host(slot.of(flat)) for name, flat in memory.arrays.items()
                    },
                }
        kind = type(self).__name__
        return format.encode("optimizer", {"type": kind, "step": self.step, "kept": kept})

    def from_bytes(self, data: bytes, model: Any) -> Optimizer:
        """Take up what `to_bytes` saved, for the same model; returns self.

        Raises FormatError or DimensionError, before anything is changed, if the bytes are of
        another kind of optimizer or of a model with other parameters.
        """
        content = format.decode("optimizer", data)
        if content["type"] != type(self).__name__:
            raise FormatError(f"this is the state of {content['type']}, not {type(self).__name__}")
        slots = model.slots_by_path()
        for path, kept in content["kept"].items():
            if path not in slots:
                raise FormatError(f"the model has no initialized parameter '{path}'")
            if set(kept["arrays"]) != set(self.arrays):
                raise FormatError(
                    f"for '{path}' there is {[*kept['arrays']]}; this {content['type']} keeps "
                    f"{[*self.arrays]}"
                )
            for name, array in kept["arrays"].items():
                if array.shape != slots[path].shape:
                    raise DimensionError(
                        f"'{path}' is {slots[path].shape}; its '{name}' here is {array.shape}"
                    )
        for path, slot in slots.items():
            if path in content["kept"]:
                self._remember(slot, **content["kept"][path])
            elif self in slot.store.memories:  # not updated yet when this was saved
                self._remember(slot, 0, dict.fromkeys(slot.store.memories[self].arrays, 0))
        self.step = content["step"]
        return self

    def _remember(self, slot: Slot, steps: int, arrays: dict[str, Any]) -> None:
        store = slot.store
        memory = store.memory(self)
        memory.steps[slot.number] = steps
        for name, array in arrays.items():
            if name not in memory.arrays:
                memory.arrays[name] = store.ops.zeros((store.size,), store.dtype)
            slot.of(memory.arrays[name])[...] = store.ops.asarray(array, store.dtype)

    def to_disk(self, path: str | os.PathLike[str], model: Any) -> None:
        """Write `to_bytes` to a file, whole or not at all."""
        format.write(path, self.to_bytes(model))

    def from_disk(self, path: str | os.PathLike[str], model: Any) -> Optimizer:
        """`from_bytes` of a file."""
        return self.from_bytes(format.read(path), model)


def _same_steps(memory: Memory, run: Segment) -> list[tuple[int, int, int]]:
    """A segment as stretches (t, start, stop) of slots that have been updated equally often."""
    steps = memory.steps[run.first : run.last]
    if (steps == steps[0]).all():
        return [(int(steps[0]), run.start, run.stop)]
    slots = [slot for slot in run.store.slots() if run.first <= slot.number < run.last]
    stretches: list[tuple[int, int, int]] = []
    for slot, t in zip(slots, steps.tolist(), strict=True):
        if stretches and stretches[-1][0] == t:
            stretches[-1] = (t, stretches[-1][1], slot.stop)
        else:
            stretches.append((t, slot.start, slot.stop))
    return stretches


class SGD(Optimizer):
    """Gradient descent, W -= learn_rate * dW; with `momentum`, v = momentum * v + dW for dW.

    Keywords are those of `Optimizer`.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), SGD(0.5, grad_clip=0))
        >>> float(model.get_param("W")[0, 0])
        1.5
    """

    def __init__(
        self, learn_rate: float | Schedule, *, momentum: float = 0.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(learn_rate, ("velocity",) if momentum else (), **options)
        self.momentum = momentum

    def apply(
        self, ops: Ops, W: Floats1d, dW: Floats1d, kept: list[Any], t: int, rate: float
    ) -> None:
        """See `Optimizer.apply`."""
        if kept:
            ops.momentum(W, dW, kept[0], rate, self.momentum)
        else:
            ops.add_scaled(W, dW, -rate)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), by default with decoupled decay: AdamW.

    With m and v the running means of dW and dW**2, corrected for starting at 0:
    W -= learn_rate * m / (sqrt(v) + eps). Keywords are those of `Optimizer`.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), Adam(0.5))
        >>> round(float(model.get_param("W")[0, 0]), 4)
        1.5
    """

    def __init__(
        self,
        learn_rate: float | Schedule = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learn_rate, ("first", "second"), **options)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def apply(
        self, ops: Ops, W: Floats1d, dW: Floats1d, kept: list[Any], t: int, rate: float
    ) -> None:
        """See `Optimizer.apply`."""
        ops.adam(
            W, dW, kept[0], kept[1], step=t,
            learn_rate=rate, beta1=self.beta1, beta2=self.beta2, eps=self.eps,
        )  # fmt: skip
