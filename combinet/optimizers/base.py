"""What all optimizers share: clipping, noise, decay, averaging, saving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Any, TypedDict
from weakref import WeakSet

import numpy as np

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.ops.blas.threads import run_concurrently
from combinet.optimizers import saving
from combinet.optimizers.spans import Rows, Span, by_rate, spans
from combinet.schedules import FROM_0, require, require_rate
from combinet.storage import file_format
from combinet.storage.slots import Key, Slot
from combinet.storage.store import Store, clear_gradients, locked
from combinet.types import Array, Floats1d, Generator, Ints1d, Schedule, Shape


def _multiply(by: Array, X: Array) -> None:
    X *= by


def _add(Y: Array, X: Array) -> None:
    X += Y


class _Rate:
    """A setting that is a number or a schedule: checked when it is set, read back as it was set."""

    def __set_name__(self, owner: Any, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Optimizer, owner: Any = None) -> float | Schedule:
        return optimizer.__dict__[self.name]  # type: ignore[no-any-return]

    def __set__(self, optimizer: Optimizer, rate: float | Schedule) -> None:
        require_rate(type(optimizer).__name__, self.name, rate)
        if self.name == "grad_noise" and rate and optimizer.rng is None:
            raise InputError("grad_noise is drawn from a generator: give rng=, one or a seed")
        optimizer.__dict__[self.name] = rate


class Options(TypedDict, total=False):
    """The keywords that every optimizer has; see `Optimizer`."""

    L2: float | Schedule
    grad_clip: float
    L2_is_weight_decay: bool
    use_averages: bool
    average_decay: float
    grad_noise: float | Schedule
    rng: Generator | int | None
    sparse: bool
    threads: int


class Optimizer:
    """The base of the optimizers: clipping, noise, decay, averaging; a subclass adds the step.

    `learn_rate` and `L2` are numbers or schedules of the number of updates so far, `step`; they may
    be set anew. An update raises InputError, before it changes anything, where a schedule gives
    what is no number from 0. With `grad_clip` above 0, gradients whose norm, over all parameters
    of the update together, is larger are scaled down to it (to 0 on a GPU, where the squares'
    sum overflows). `L2` decays the weights by learn_rate * L2 * W beside the step
    (`L2_is_weight_decay`, Loshchilov and Hutter 2019, arXiv:1711.05101), or adds L2 * W to the
    gradient. With `use_averages` the exponential running mean of the weights after each update
    is kept: mean += (1 - d) * (W - mean), with d = min(average_decay, (1 + t) / (10 + t)) at the
    parameter's t-th update. Once it is resized t counts from there, so that the mean soon follows
    what is new; `to_bytes` does not save that. Moments and averages live beside the weights and
    go where they go: to a GPU, into a new size.

    With `grad_noise`, a number or a schedule, normal noise of that noise_std, drawn from `rng`, is
    added to the clipped gradient: `lambda step: (0.3 / (1 + step) ** 0.55) ** 0.5` is that of
    Neelakantan et al. 2015, arXiv:1511.06807. The generator's state is not saved.

    With `sparse`, of a table whose gradients came by rows, as those of `Embed` do, only these rows
    are updated: decay, moments and averages of all others stay as they are, and so a step costs
    the same however large the table. It is another rule than without, as moments of rows that are
    not named don't fade: PyTorch's SparseAdam is Adam so. On a GPU each update then waits.

    With `threads` an update of a million numbers or more is shared among so many: each does a part
    of them. It changes no number, and does nothing on a GPU, nor for rows of `sparse` tables.

    Buffers, such as the running statistics of `BatchNorm`, have no gradient: none of this applies
    to them. Each moves at its own rate toward what the passes have seen, and is its own average.

    A subclass says in `arrays`, the names of what it keeps for each weight, and defines `apply`.
    """

    # Whether `apply` gets each parameter by itself, in its shape, instead of flat spans of them.
    by_parameter = False

    learn_rate: _Rate = _Rate()
    L2: _Rate = _Rate()
    grad_noise: _Rate = _Rate()

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
        grad_noise: float | Schedule = 0.0,
        rng: Generator | int | None = None,
        sparse: bool = False,
        threads: int = 1,
    ) -> None:
        own = type(self).__name__
        if not isinstance(threads, int) or threads < 1:
            raise InputError(f"{own} takes a positive number of threads, not {threads!r}")
        if sparse and self.by_parameter:
            raise InputError(f"{own} takes whole parameters: it has no sparse updates")
        if threads > 1 and self.by_parameter:
            raise InputError(f"{own} takes parameters one by one: it has one thread")
        require(own, "grad_clip", grad_clip, lambda x: x >= 0, "a number from 0")
        require(own, "average_decay", average_decay, lambda x: 0 <= x <= 1, "a number from 0 to 1")
        self.learn_rate = learn_rate
        self.arrays = arrays
        self.L2 = L2
        self.grad_clip = grad_clip
        self.L2_is_weight_decay = L2_is_weight_decay
        self.use_averages = use_averages
        self.average_decay = average_decay
        self.rng = None if rng is None else np.random.default_rng(rng)
        self.grad_noise = grad_noise
        self.sparse = sparse
        self.threads = threads
        self.step = 0
        self.stores: WeakSet[Store] = WeakSet()  # those that keep something of this optimizer

    def apply(
        self, ops: Ops, W: Floats1d, dW: Floats1d, state: list[Array], t: int, rate: float
    ) -> None:
        """Change W in place: its t-th update (from 1) by gradient dW, at learning rate `rate`.

        `state` are the arrays named in `arrays`, as long as W, initially 0; they are changed too.
        """
        raise NotImplementedError

    def apply_rows(
        self, ops: Ops, rows: Ints1d, W: Array, dW: Array, state: list[Array], t: int, rate: float
    ) -> None:
        """`apply` to these rows, each named once, of tables (nV, ...): on copies of them."""

        def step(w: Floats1d, dw: Floats1d, *parts: Floats1d) -> None:
            self.apply(ops, w, dw, [*parts], t, rate)

        ops.change_rows(step, rows, W, dW, *state)

    def decay_and_apply(
        self,
        ops: Ops,
        W: Floats1d,
        dW: Floats1d,
        state: list[Array],
        t: int,
        rate: float,
        L2: float,
    ) -> None:
        """`apply`, and before it L2."""
        if L2:
            self._decay(ops, rate, L2, W, dW)
        self.apply(ops, W, dW, state, t, rate)

    def _decay(self, ops: Ops, rate: float, L2: float, W: Floats1d, dW: Floats1d) -> None:
        """L2 as `L2_is_weight_decay` says."""
        if self.L2_is_weight_decay:
            W *= 1 - rate * L2
        else:
            ops.add_scaled(dW, W, L2)

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """The shapes of a parameter's state, by name: its own, unless `by_parameter`."""
        return dict.fromkeys(self.arrays, shape)

    def state(self, part: Slot | Span) -> dict[str, Array]:
        """The state of a parameter or of a span, in place; initially 0."""
        if isinstance(part, Slot) and part.ema_rate is not None:
            return {}
        store = part.store
        state = store.optimizer_state(self)
        if isinstance(part, Slot) and self.by_parameter:
            if part.number not in state.by_slot:
                state.by_slot[part.number] = {
                    name: store.ops.zeros(shape, store.dtype)
                    for name, shape in self.shapes(part.shape).items()
                }
            return state.by_slot[part.number]
        for name in self.arrays:
            if name not in state.arrays:
                state.arrays[name] = store.ops.zeros((store.size,), store.dtype)
        return {name: part.of(state.arrays[name]) for name in self.arrays}

    # -- an update: `update`, then `apply_span` or `_apply_table`, then the step of each part ---

    def update(self, slots: Sequence[Slot]) -> None:
        """Update the parameters that have a gradient pending, and clear it: one step, or none."""
        with locked(slots):
            # Only now: another thread may just have applied what was pending.
            pending = [slot for slot in slots if slot.grad.count]
            if not pending:
                return
            # All before the first change: a schedule that fails leaves everything as it is.
            rate, L2 = self.current("learn_rate"), self.current("L2")
            noise_std = 0.0 if self.rng is None else self.current("grad_noise")
            trained = [slot for slot in pending if slot.ema_rate is None]
            tables = [s for s in trained if s.grad.rows is not None] if self.sparse else []
            dense = [slot for slot in trained if slot not in tables] if tables else trained
            targets: list[Span | Rows] = [*spans(dense), *map(Rows, tables)]
            self._clip(targets)
            self._add_noise(targets, noise_std)
            for target in targets:
                self._begin_step(target)
                if isinstance(target, Span):
                    self.apply_span(target, rate, L2)
                else:
                    self._apply_table(target, rate, L2)
                self._average(target)
            if len(trained) < len(pending):
                for buffers in by_rate(pending):
                    self._move_buffers(*buffers)
            written = self.rng is not None or (L2 != 0 and not self.L2_is_weight_decay)
            clear_gradients(tables, changed=False)  # only their rows were written to
            clear_gradients(pending, changed=written)
            self.step += 1

    def current(self, name: str) -> float:
        """The number that a setting has at this step. Raises InputError if it is below 0."""
        rate: Any = getattr(self, name)
        if callable(rate):
            rate = rate(self.step)
        if type(rate) is not float or not 0.0 <= rate < inf:  # mostly it needs no further check
            require(type(self).__name__, f"{name}({self.step})", rate, *FROM_0)
        return rate  # type: ignore[no-any-return]

    def _clip(self, targets: Sequence[Span | Rows]) -> None:
        if not self.grad_clip or not targets:
            return
        total: Any = None  # on one device; nothing crosses to the host
        ops = targets[0].store.ops
        for target in targets:
            squares = ops.asarray(target.store.ops.sum_squares(target.gradient.reshape(-1)))
            total = squares if total is None else total + squares
        scale = ops.xp.minimum(1.0, self.grad_clip / ops.xp.sqrt(total + 1e-30))
        for target in targets:
            by = target.store.ops.asarray(scale, target.store.dtype)
            target.change_gradient(partial(_multiply, by))

    def _add_noise(self, targets: Sequence[Span | Rows], std: float) -> None:
        if self.rng is None:
            return
        for target in targets:
            # On the host, so that a seed gives the same numbers on every device.
            noise = self.rng.normal(0.0, std, target.gradient.size)
            noise = target.store.ops.asarray(noise, target.store.dtype)
            target.change_gradient(partial(_add, noise))

    def _begin_step(self, target: Span | Rows) -> None:
        """Count a step, and make the weights and averages of the store safe to write."""
        store = target.store
        store.optimizer_state(self).steps[target.first : target.last] += 1
        if self.use_averages:
            store.writable_averages()
        store.writable()

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """L2 and `apply` for all slots of a span, whose steps have been counted.

        An optimizer of another library does its own step here.
        """
        store = span.store
        for t, same in span.by_step_count(store.optimizer_state(self).steps):
            jobs = []
            for part in same.slots() if self.by_parameter else self._parts(same):
                W, dW = part.of(store.weights), part.of(store.writable_gradient())
                state = [*self.state(part).values()]
                jobs.append(partial(self.decay_and_apply, store.ops, W, dW, state, t, rate, L2))
            if self.by_parameter:
                for job in jobs:
                    job()
            else:
                run_concurrently(jobs)

    def _parts(self, span: Span) -> list[Span]:
        return span.parts(span.store.ops.threads(self.threads))

    def _apply_table(self, table: Rows, rate: float, L2: float) -> None:
        store, slot, ops = table.store, table.slot, table.store.ops
        weights, gradient = store.weights, store.writable_gradient()
        t = int(store.optimizer_state(self).steps[slot.number])
        if L2:
            table.change(partial(self._decay, ops, rate, L2), weights, gradient)
        state = [*self.state(slot).values()]
        self.apply_rows(ops, table.rows, slot.of(weights), slot.of(gradient), state, t, rate)

    def _average(self, target: Span | Rows) -> None:
        """Move the averages of what has been updated."""
        store, averages = target.store, target.store.averages
        if not self.use_averages or averages is None:
            return
        steps = store.optimizer_state(self).steps_of_averages()
        if isinstance(target, Rows):
            decay = self._decay_of_averages(int(steps[target.first]))
            table = partial(store.ops.average, decay=decay)
            target.change(table, averages, store.weights)
            return
        for t, same in target.by_step_count(steps):
            decay = self._decay_of_averages(t)
            parts = [(part.of(averages), part.of(store.weights)) for part in self._parts(same)]
            run_concurrently([partial(store.ops.average, mean, W, decay) for mean, W in parts])

    def _decay_of_averages(self, t: int) -> float:
        return min(self.average_decay, (1 + t) / (10 + t))

    def _move_buffers(self, span: Span, ema_rate: float, passes: int) -> None:
        self._begin_step(span)
        store, values = span.store, span.of(span.store.weights)
        store.ops.average(values, span.gradient / passes, 1 - ema_rate)
        if self.use_averages and store.averages is not None:
            span.of(store.averages)[...] = values

    @property
    def kind(self) -> str:
        """The name under which the state is saved."""
        return type(self).__name__

    @property
    def averages(self) -> dict[Key, Array]:
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
        averages: dict[Key, Array] = {}
        for store in self.stores if self.use_averages else ():
            steps = store.optimizer_states[self].steps
            averages |= store.read_averages([s for s in store.slots() if steps[s.number]])
        return averages

    def to_bytes(self, model: Any) -> bytes:
        """The steps and moments for `model`, by each parameter's path, with the step count.

        Updates in other threads wait meanwhile.
        """
        return saving.to_bytes(self, model)

    def from_bytes(self, data: bytes, model: Any) -> Optimizer:
        """Take up what `to_bytes` saved, for the same model; returns self.

        Raises FormatError or DimensionError, before anything is changed, if the bytes are of
        another kind of optimizer, of a model with other parameters, or damaged.
        """
        saving.from_bytes(self, data, model)
        return self

    def to_disk(self, path: str | os.PathLike[str], model: Any) -> None:
        """Write `to_bytes` to a file, whole or not at all."""
        file_format.write(path, self.to_bytes(model))

    def from_disk(self, path: str | os.PathLike[str], model: Any) -> Optimizer:
        """`from_bytes` of a file."""
        return self.from_bytes(file_format.read(path), model)
