"""What all optimizers share: clipping, noise, decay, averaging, saving."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from operator import iadd, imul
from typing import Any, TypedDict

import numpy as np

from combinet.errors import InputError
from combinet.ops.base import Ops
from combinet.ops.blas.threads import run_concurrently
from combinet.optimizers.saving import SavedState
from combinet.optimizers.spans import Rows, Span, by_rate, spans
from combinet.schedules import FROM_0, RATE, require
from combinet.storage.slots import Key, Slot
from combinet.storage.store import clear_gradients, locked
from combinet.types import Array, Floats1d, Generator, Ints1d, Schedule


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


class Optimizer(SavedState):
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
        name = type(self).__name__
        if self.by_parameter and (sparse or threads != 1):
            raise InputError(f"{name} takes whole parameters one by one: neither rows nor threads")
        require(name, (lambda x: isinstance(x, int) and x > 0, "a positive int"), threads=threads)
        require(name, (lambda x: x >= 0, "a number from 0"), grad_clip=grad_clip)
        require(name, (lambda x: 0 <= x <= 1, "a number from 0 to 1"), average_decay=average_decay)
        super().__init__(arrays)
        self.learn_rate = learn_rate
        self.L2 = L2
        self.grad_clip = grad_clip
        self.L2_is_weight_decay = L2_is_weight_decay
        self.use_averages = use_averages
        self.average_decay = average_decay
        self.rng = None if rng is None else np.random.default_rng(rng)
        self.grad_noise = grad_noise
        self.sparse = sparse
        self.threads = threads

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; rates are numbers or schedules, checked here."""
        if name in ("learn_rate", "L2", "grad_noise"):
            require(type(self).__name__, RATE, **{name: value})
        if name == "grad_noise" and value and self.rng is None:
            raise InputError("grad_noise is drawn from a generator: give rng=, one or a seed")
        super().__setattr__(name, value)

    def apply(self, ops: Ops, W: Array, dW: Array, state: list[Array], t: int, rate: float) -> None:
        """Change W in place: its t-th update (from 1) by gradient dW, at learning rate `rate`.

        `state` are the arrays named in `arrays`, as long as W, initially 0; they are changed too.
        """
        raise NotImplementedError

    def apply_rows(
        self, ops: Ops, rows: Ints1d, W: Array, dW: Array, state: list[Array], t: int, rate: float
    ) -> None:
        """`apply` to these rows, each named once, of tables (nV, ...): on copies of them."""

        def step(w: Floats1d, dw: Floats1d, *arrays: Floats1d) -> None:
            self.apply(ops, w, dw, [*arrays], t, rate)

        ops.change_rows(step, rows, W, dW, *state)

    def _decay(self, ops: Ops, rate: float, L2: float, W: Floats1d, dW: Floats1d) -> None:
        """L2 as `L2_is_weight_decay` says."""
        if self.L2_is_weight_decay:
            W *= 1 - rate * L2
        else:
            ops.add_scaled(dW, W, L2)

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
            targets: list[Span] = [*spans(dense), *map(Rows, tables)]
            self._clip(targets)
            self._add_noise(targets, noise_std)
            for target in targets:
                self._begin_step(target)
                self.apply_span(target, rate, L2)
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
        rate = rate(self.step) if callable(rate) else rate
        if type(rate) is not float or not 0.0 <= rate < inf:  # mostly it needs no further check
            require(type(self).__name__, FROM_0, **{f"{name}({self.step})": rate})
        return rate  # type: ignore[no-any-return]

    def _clip(self, targets: Sequence[Span]) -> None:
        if not self.grad_clip or not targets:
            return
        ops = targets[0].store.ops  # on one device; nothing crosses to the host
        first, *others = (
            ops.asarray(target.store.ops.sum_squares(target.gradient.reshape(-1)))
            for target in targets
        )
        scale = ops.xp.minimum(1.0, self.grad_clip / ops.xp.sqrt(sum(others, first) + 1e-30))
        for target in targets:
            target.change_gradient(imul, target.store.ops.asarray(scale, target.store.dtype))

    def _add_noise(self, targets: Sequence[Span], std: float) -> None:
        if self.rng is None:
            return
        for target in targets:
            # On the host, so that a seed gives the same numbers on every device.
            noise = self.rng.normal(0.0, std, target.gradient.size)
            target.change_gradient(iadd, target.store.ops.asarray(noise, target.store.dtype))

    def _begin_step(self, target: Span) -> None:
        """Count a step, and make the weights and averages of the store safe to write."""
        store = target.store
        store.optimizer_state(self).steps[target.first : target.last] += 1
        if self.use_averages:
            store.writable_averages()
        store.writable()

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """L2 and `apply` for what a span covers, whose steps have been counted.

        An optimizer of another library does its own step here.
        """
        store, ops = span.store, span.store.ops
        state = store.optimizer_state(self)
        arrays = store.weights, store.writable_gradient(), *state.arrays.values()
        for t, same in span.by_step_count(state.steps):
            if L2:
                decay = partial(self._decay, ops, rate, L2)
                same.change(decay, *arrays[:2], threads=self.threads)
            if isinstance(same, Rows):
                W, dW, *moments = map(same.slot.of, arrays)
                self.apply_rows(ops, same.rows, W, dW, moments, t, rate)
                continue
            jobs = []
            for part in same.parts(ops.threads(self.threads)):
                W, dW, *moments = map(part.of, arrays)
                jobs.append(partial(self.apply, ops, W, dW, moments, t, rate))
            run_concurrently(jobs)

    def _average(self, target: Span) -> None:
        """Move the averages of what has been updated."""
        if not self.use_averages:
            return
        store, averages = target.store, target.store.writable_averages()
        for t, same in target.by_step_count(store.optimizer_state(self).steps_of_averages()):
            decay = min(self.average_decay, (1 + t) / (10 + t))
            average = partial(store.ops.average, decay=decay)
            same.change(average, averages, store.weights, threads=self.threads)

    def _move_buffers(self, span: Span, ema_rate: float, passes: int) -> None:
        self._begin_step(span)
        store, values = span.store, span.of(span.store.weights)
        store.ops.average(values, span.gradient / passes, 1 - ema_rate)
        if self.use_averages:
            span.of(store.writable_averages())[...] = values

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
