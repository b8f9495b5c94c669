"""The base class of all optimizers: clipping, noise, decay, averages and saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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


class _Block:
    """A `one_step` block of an optimizer."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.has_updated = False


_block: ContextVar[_Block | None] = ContextVar("one_step", default=None)


class Options(TypedDict, total=False):
    """Keyword arguments of every optimizer, described in `Optimizer`."""

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
    """Base class of optimizers: clips, adds noise, decays and averages. Subclasses add the step.

    An update clips the gradients of all its parameters together and adds noise to them. Then, for
    each parameter, it applies L2, takes the step that the subclass defines in `apply`, and moves
    the average. `learn_rate`, `L2` and `grad_noise` are attributes that you may change between
    updates.

    A schedule is a function of `step`, the number of updates so far. If it returns anything but a
    finite, non-negative number, the update raises InputError before it changes anything.

    The average of a weight moves after each update by mean += (1 - d) * (W - mean), with
    d = min(average_decay, (1 + t) / (10 + t)) at the parameter's t-th update. After a resize, t
    restarts at 1, so that the average soon follows the new entries. `to_bytes` does not save this.
    Moments and averages lie in the model's stores. They follow the weights to a GPU and through a
    resize.

    With `sparse=True`, moments of rows without a gradient do not decay, so the result differs from
    a dense update. Adam then computes the same as PyTorch's SparseAdam.

    Buffers, such as the running statistics of `BatchNorm`, have no gradient, and the settings do
    not apply to them. Each moves at its declared rate toward the values that passes have observed,
    and its average is the buffer itself.

    Args:
        learn_rate: Learning rate: a non-negative number or a schedule.
        arrays: For subclasses: names of the arrays that the optimizer keeps, each as large as the
            weights, such as moments. `apply` receives them as `state`.
        L2: Strength of L2 regularization: a non-negative number or a schedule.
        grad_clip: Largest norm of the gradient over all parameters of an update. A larger gradient
            is scaled down to this norm, or to 0 on a GPU if its sum of squares overflows. 0 turns
            clipping off.
        L2_is_weight_decay: Whether L2 decays the weights by learn_rate * L2 * W, separately from
            the step. If False, L2 * W is added to the gradient.
        use_averages: Whether to keep an exponential moving average of the weights. See `averages`.
        average_decay: Largest decay d of the average, from 0 to 1.
        grad_noise: Standard deviation of normal noise that is added to the clipped gradient: a
            non-negative number or a schedule. 0 adds none. Needs `rng`. Neelakantan et al. use
            `lambda step: (0.3 / (1 + step) ** 0.55) ** 0.5`.
        rng: Generator, or seed of a generator, that draws the noise. Its state is not saved.
        sparse: Whether to update only those rows of a table that have a gradient, if all its
            gradients came by rows, as from `Embed`. L2, moments and averages of the other rows
            stay unchanged, so the cost of a step does not depend on the table's size. On a GPU
            every such update waits for the device.
        threads: Number of threads that share an update of about a million numbers or more. The
            result does not depend on it. It has no effect on a GPU or on the rows of `sparse`.

    Raises:
        InputError: If a setting is out of range, or `grad_noise` is set without `rng`.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear, Optimizer
        >>> class SignSGD(Optimizer):
        ...     def apply(self, ops, W, dW, state, t, rate):
        ...         W -= rate * ops.xp.sign(dW)
        >>> model = Linear(1, 1).initialize()
        >>> model.set_param("W", [[2.0]])
        >>> Y, backprop = model.begin_update(np.ones((1, 1), "f"))
        >>> dX = backprop(np.ones((1, 1), "f"), SignSGD(0.5))
        >>> float(model.get_param("W")[0, 0])
        1.5

    Source: weight decay: Loshchilov and Hutter 2019, arXiv:1711.05101; noise: Neelakantan et al.
    2015, arXiv:1511.06807.
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
            raise InputError(f"{name} expected sparse=False, threads=1, got {sparse}, {threads}")
        require(name, (lambda x: isinstance(x, int) and x > 0, "a positive int"), threads=threads)
        require(name, (lambda x: x >= 0, "a non-negative number"), grad_clip=grad_clip)
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
        """Sets an attribute. Rates must be non-negative numbers or schedules."""
        if name in ("learn_rate", "L2", "grad_noise"):
            require(type(self).__name__, RATE, **{name: value})
        if name == "grad_noise" and value and self.rng is None:
            raise InputError("grad_noise needs a random generator: pass rng=, a generator or seed")
        super().__setattr__(name, value)

    def apply(self, ops: Ops, W: Array, dW: Array, state: list[Array], t: int, rate: float) -> None:
        """Takes one step: changes W and the arrays in `state` in place. Subclasses define this.

        Args:
            ops: Array operations of the device.
            W: Weights (n,).
            dW: Their gradient (n,), clipped and with noise.
            state: The arrays named in the constructor's `arrays`, each (n,), initially 0.
            t: Number of this update of these weights, from 1.
            rate: Learning rate of this update.
        """
        raise NotImplementedError

    def apply_rows(
        self, ops: Ops, rows: Ints1d, W: Array, dW: Array, state: list[Array], t: int, rate: float
    ) -> None:
        """Takes one step on some rows of a table. The default calls `apply` on copies of them.

        Args:
            ops: Array operations of the device.
            rows: Row numbers (m,), without repetition.
            W: The table of weights (nV, ...), changed in place.
            dW: Its gradient, of the same shape.
            state: The arrays named in the constructor's `arrays`, like W, changed in place.
            t: Number of this update of the table, from 1.
            rate: Learning rate of this update.
        """

        def step(w: Floats1d, dw: Floats1d, *arrays: Floats1d) -> None:
            self.apply(ops, w, dw, [*arrays], t, rate)

        ops.change_rows(step, rows, W, dW, *state)

    def _decay(self, ops: Ops, rate: float, L2: float, W: Floats1d, dW: Floats1d) -> None:
        """Decays W, or adds the gradient of L2 to dW."""
        if self.L2_is_weight_decay:
            W *= 1 - rate * L2
        else:
            ops.add_scaled(dW, W, L2)

    def update(self, slots: Sequence[Slot]) -> None:
        """Takes one step for all parameters with an accumulated gradient, and clears the gradients.

        Does nothing, and counts no step, if no parameter has one.

        Args:
            slots: The slots of the parameters. `Model.finish_update` passes all slots of its tree.

        Raises:
            InputError: If a schedule returns anything but a finite, non-negative number. Then
                nothing has changed.
        """
        with locked(slots):
            # Under the lock, because another thread may just have applied these gradients.
            pending = [slot for slot in slots if slot.grad.count]
            if pending:
                self._take_step(pending, self.step)
                self._count_step()

    def __call__(self, key: object, weights: Array, gradient: Array) -> tuple[Array, Array]:
        """Takes one step for an array that is not a parameter of a model.

        Objects that keep their weights themselves call it, in `finish_update` or in a callback of
        `begin_update`. The step is the one that a parameter would take, with its moments and its
        average, which `averages` returns by this key. Clipping is by the norm of this gradient
        alone. `to_bytes` saves the state by the key, so use one that is the same in every process.

        Schedules count the calls with this key, or, while a model updates its layers, the updates
        of the model.

        Args:
            key: Name of the array, such as ("scale", "W"). It consists of strings, ints and tuples.
            weights: Float32 or float64 array of any shape. It is not changed.
            gradient: Its gradient, of the same shape. It is not changed.

        Returns:
            The new weights, and zeros in place of the gradient.

        Raises:
            InputError: If the weights are not float32 or float64, or if a schedule returns anything
                but a finite, non-negative number.
            DimensionError: If the gradient has another shape. If the weights have another shape
                than in the last call, their moments start again at 0.

        Example:
            >>> import numpy as np
            >>> from combinet import SGD
            >>> SGD(0.5)(("scale", "W"), np.array([2.0]), np.array([1.0]))
            (array([1.5]), array([0.]))
        """
        slot = self.array_slot(key, weights, gradient)
        store = slot.store
        with store.lock, store.ops.on_device():
            store.adopt(store.ops.asarray(weights).ravel().copy())
            store.add_gradient(slot, gradient)
            block = _block.get()
            counted = block is not None and block.optimizer is self
            steps = int(store.optimizer_state(self).steps[slot.number])
            self._take_step([slot], self.step if counted else steps)
            self._count_step() if counted else setattr(self, "step", max(self.step, steps + 1))
            return slot.view, store.ops.xp.zeros_like(gradient)

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """Counts all updates inside the block as one step of the schedules.

        Models use it, because a layer may update itself in a `finish_update` of its own.

        Example:
            >>> import numpy as np
            >>> from combinet import SGD
            >>> sgd, W = SGD(0.5), np.ones(1)
            >>> with sgd.one_step():
            ...     for name in ("first", "second"):
            ...         _ = sgd(name, W, W)
            >>> sgd.step
            1
        """
        outer = _block.get()
        if outer is not None and outer.optimizer is self:
            yield
            return
        block = _Block(self)
        token = _block.set(block)
        try:
            yield
        finally:
            _block.reset(token)
            self.step += block.has_updated

    def _count_step(self) -> None:
        block = _block.get()
        if block is not None and block.optimizer is self:
            block.has_updated = True
        else:
            self.step += 1

    def _take_step(self, pending: Sequence[Slot], step: int) -> None:
        """Updates slots with gradients, by the schedules' values at `step`. Needs their locks."""
        # Evaluate all schedules before the first change, so that an error changes nothing.
        rate, L2 = self.current("learn_rate", step), self.current("L2", step)
        noise_std = 0.0 if self.rng is None else self.current("grad_noise", step)
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
        clear_gradients(tables, changed=False)  # only these rows were written
        clear_gradients(pending, changed=written)

    def current(self, name: str, step: int | None = None) -> float:
        """Returns the value of a setting at a step, evaluating it if it is a schedule.

        Args:
            name: Name of the setting, such as `"learn_rate"`.
            step: Number of the step, from 0. By default the current one.

        Raises:
            InputError: If the value is not a finite, non-negative number.
        """
        step = self.step if step is None else step
        rate: Any = getattr(self, name)
        rate = rate(step) if callable(rate) else rate
        if type(rate) is not float or not 0.0 <= rate < inf:  # fast path of `require`
            require(type(self).__name__, FROM_0, **{f"{name}({step})": rate})
        return rate  # type: ignore[no-any-return]

    def _clip(self, targets: Sequence[Span]) -> None:
        if not self.grad_clip or not targets:
            return
        ops = targets[0].store.ops  # sums stay on a device: reading one would force a sync
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
            # Drawn on the host, so that a seed gives the same noise on every device.
            noise = self.rng.normal(0.0, std, target.gradient.size)
            target.change_gradient(iadd, target.store.ops.asarray(noise, target.store.dtype))

    def _begin_step(self, target: Span) -> None:
        """Counts a step, and copies weights and averages if something else holds them."""
        store = target.store
        store.optimizer_state(self).steps[target.first : target.last] += 1
        if self.use_averages:
            store.writable_averages()
        store.writable()

    def apply_span(self, span: Span, rate: float, L2: float) -> None:
        """Applies L2 and takes the step for the parameters of a span. The caller counts the step.

        Optimizers that wrap another library's optimizer override this.

        Args:
            span: Neighboring slots of one store, or rows of one table.
            rate: Learning rate of this update.
            L2: Strength of L2 at this update.
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
        """Moves the averages of the weights in `target` toward their new values."""
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
        """Averages of all weights that this optimizer has updated, for `Model.use_params`.

        Empty if `use_averages` is False.

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
