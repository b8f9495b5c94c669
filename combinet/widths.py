"""What is known of layers' widths, without data: checked, inferred, or changed, by one walk.

The width of a batch is its number of columns; that of a tuple of batches is the tuple of theirs,
as far as known: at its end items may be missing. One int for a tuple is the width of each item.

Each model has a rule, a function `rule(model, nI, nO, solve) -> (nI, nO)`: told what the outside
knows of the width of its input and of its output (None: nothing), it says what is known of both
afterwards. A rule asks its children by `solve(layer, nI, nO)` and the model's own dims by
`solve.dim(model, name, size)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from combinet.errors import DimensionError

Width: TypeAlias = "int | tuple[Width, ...] | None"
Widths: TypeAlias = "tuple[Width, Width]"


_TUPLES = ("any", "sparse")  # what layers take that may be given a tuple


def is_size(value: Any) -> bool:
    """Whether a value can be a width: an int from 1."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0


class Parts(int):
    """A width that is made of several side by side, as those of a window or a concatenation.

    A resize changes each part at its own end, so that the weights behind it can follow.
    """

    parts: tuple[int, ...]

    def __new__(cls, widths: Iterable[int]) -> Parts:
        """The sum of the widths, which may have parts themselves."""
        parts = [part for width in widths for part in getattr(width, "parts", (int(width),))]
        total = super().__new__(cls, sum(parts))
        total.parts = tuple(parts)
        return total


class Solver:
    """One walk over a tree of layers.

    Sizes that disagree raise DimensionError, except with `resize`: then what comes from outside
    is right, and the model's own size has to change. `found` collects what is to be assigned;
    nothing is until somebody does. `parts` collects the dims that are made of parts.
    """

    def __init__(self, found: dict[tuple[Any, str], int] | None = None, *, resize: bool = False):
        self.found = {} if found is None else found
        self.parts: dict[tuple[Any, str], Parts] = {}
        self.resize = resize
        self.beside: Any = None  # the neighbour whose width is being told, for messages

    def __call__(self, layer: Any, nI: Width, nO: Width) -> Widths:
        """What is known of the widths of a layer, given what is known around it."""
        try:
            if layer.takes not in _TUPLES:  # one batch, and gives one as well
                if isinstance(nI, tuple):
                    raise DimensionError(f"{layer.name} takes one batch, not a tuple of them")
                nO = None if isinstance(nO, tuple) else nO
            widths: Widths = layer.widths(layer, nI, nO, self)
        except DimensionError as error:
            error.within(layer)
            raise
        return widths

    def dim(self, model: Any, name: str, size: Width) -> int | None:
        """What is known of a model's own dim, once somebody says that it is `size`."""
        while isinstance(size, tuple):
            size = self.same(model, *size)
        if isinstance(size, Parts):
            self.parts[model, name] = size
        known: int | None = self.found.get((model, name), model.dims[name])
        if size is None or size == known:
            told = self.parts.get((model, name))
            return told if told == known else known
        if known is not None and not self.resize:
            raise DimensionError(f"{model.name} has {name}={known}, but {beside(self)} {size}")
        self.found[model, name] = size
        return size

    def same(self, model: Any, *sizes: Width) -> Width:
        """The one size that several widths of a model share, as far as known."""
        tuples = [size for size in sizes if isinstance(size, tuple)]
        if tuples:
            items = range(max(map(len, tuples)))
            return tuple(self.same(model, *(item(size, i) for size in sizes)) for i in items)
        known = [size for size in sizes if size is not None and not isinstance(size, tuple)]
        if len(set(known)) > 1 and not self.resize:
            raise DimensionError(f"{model.name} needs one width, not {_words(known)}")
        alike = (size for size in known if isinstance(size, Parts) and size == known[0])
        return next(alike, known[0]) if known else None


def item(width: Width, idx: int) -> Width:
    """What is known of item `idx`, from 0 on, of a tuple of that width."""
    if isinstance(width, tuple):
        return width[idx] if idx < len(width) else None
    return width


def beside(solve: Solver) -> str:
    """Who says what a layer is told of its width, for a message."""
    return f"{solve.beside.name} beside it has" if solve.beside is not None else "there is"


def _words(sizes: list[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(sizes)))


def own_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a layer that has the dims nI and nO, or one of them, or neither (the default)."""
    return tuple(  # type: ignore[return-value]
        solve.dim(model, name, size) if name in model.dims else None
        for name, size in (("nI", nI), ("nO", nO))
    )


def same_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a layer that leaves the width as it is: activations, dropout, reductions."""
    width = solve.same(model, nI, nO)
    return width, width


def square_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a layer with weights for each column, dim nI, that keeps their number."""
    solve.dim(model, "nI", nI)
    width = solve.dim(model, "nI", nO)
    return width, width


def child_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a wrapper, which is as wide as its one child."""
    return solve(model.layers[0], nI, nO)


def chain_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of a chain: each layer's output is the next one's input."""
    if solve.resize and nI is not None and nO is not None:
        chain_widths(model, None, nO, solve)  # each end's change stops where a layer absorbs it
        nO = None
    layers = model.layers
    width = [nI, *[None] * (len(layers) - 1), nO]
    forth = [(i, i - 1) for i in range(len(layers))]
    back = [(i, i + 1) for i in reversed(range(len(layers)))]
    # What is told of an end travels from that end first, so that a change reaches all it must.
    for i, beside in (back + forth) if nI is None else (forth + back):
        solve.beside = layers[beside] if 0 <= beside < len(layers) else None
        width[i], width[i + 1] = solve(layers[i], width[i], width[i + 1])
    return width[0], width[-1]


def parallel_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of layers side by side that share both widths, as those of `add` do."""
    for _ in range(2):  # what the last one knows reaches the first one in the second round
        for layer in model.layers:
            solve.beside = model
            child_in, child_out = solve(layer, nI, nO)
            nI = solve.same(model, nI, child_in)
            nO = solve.same(model, nO, child_out)
    return nI, nO


def concatenate_widths(model: Any, nI: Width, nO: Width, solve: Solver) -> Widths:
    """The rule of layers that share an input, with their outputs side by side.

    An output that must become wider or narrower does so at its end, in the last layer.
    """
    outs: list[int | None] = [None] * len(model.layers)
    neighbour = beside(solve)
    for _ in range(2):
        for i, layer in enumerate(model.layers):
            solve.beside = model
            child_in, out = solve(layer, nI, outs[i])
            outs[i] = _columns(model, out)
            nI = solve.same(model, nI, child_in)
    nO = _columns(model, nO)
    unknown = [i for i, out in enumerate(outs) if out is None]
    total = Parts(out for out in outs if out is not None)
    if nO is None or (not unknown and total == nO):
        return nI, None if unknown else total
    if len(unknown) > 1:
        return nI, nO
    if not unknown and not solve.resize:
        terms = " + ".join(str(out) for out in outs)
        raise DimensionError(f"{model.name} has nO={terms}={total}, but {neighbour} {nO}")
    last = unknown[0] if unknown else len(outs) - 1
    rest = total - (outs[last] or 0)
    if nO <= rest:
        raise DimensionError(f"{model.name} cannot have nO={nO}: the layers before take {rest}")
    child_in, out = solve(model.layers[last], nI, nO - rest)
    outs[last] = _columns(model, out)
    return solve.same(model, child_in, nI), Parts(out or 0 for out in outs)


def _columns(model: Any, width: Width) -> int | None:
    if isinstance(width, tuple):
        raise DimensionError(f"{model.name} puts columns of arrays side by side, not tuples")
    return width
