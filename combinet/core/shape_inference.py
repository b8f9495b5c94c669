"""Shape inference: what is known of layers' widths without data.

The width of a batch is its number of columns; that of a tuple of batches is the tuple of theirs,
as far as known: at its end items may be missing. One int for a tuple is the width of each item.

Each model has a rule, a function `rule(model, nI, nO, infer) -> (nI, nO)`: given what is known
outside of the width of its input and of its output (None: nothing), it returns what is known of
both afterwards. A rule asks the children by `infer(layer, nI, nO)` and reads the model's own dims
by `infer.dim(model, name, size)`. `combinet.shapes` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from combinet.core.layer import Layer
from combinet.core.tree import walk
from combinet.errors import DimensionError

Width: TypeAlias = "int | tuple[Width, ...] | None"
Widths: TypeAlias = "tuple[Width, Width]"
ShapeRule: TypeAlias = "Callable[[Any, Width, Width, ShapeInference], Widths]"


_TUPLES = ("any", "sparse")  # what layers take that may be given a tuple
_ROUNDS = 4  # of asking a composition until it has nothing new to say: mostly one is enough


class ConcatWidth(int):
    """A width that is a sum, as that of a concatenation or a window.

    A resize changes each term at its own end, so that the weights after it can follow.
    """

    terms: tuple[int, ...]

    def __new__(cls, widths: Iterable[int]) -> ConcatWidth:
        """The sum of the widths, which may be sums themselves."""
        terms = [term for width in widths for term in getattr(width, "terms", (int(width),))]
        total = super().__new__(cls, sum(terms))
        total.terms = tuple(terms)
        return total


class ShapeInference:
    """One inference over a tree of layers.

    Sizes that disagree raise DimensionError, except with `resize`: then what comes from outside
    is right, and the model's own size has to change. `found` collects the dims to be assigned,
    and assigns none. `concats` collects the dims that are sums.

    A layer that is asked again what it has answered already, with no dim below it changed since,
    is not visited: so an inference visits each layer a few times, however deep the tree.
    """

    def __init__(
        self,
        found: dict[tuple[Any, str], int] | None = None,
        *,
        resize: bool = False,
        composing: bool = False,
    ) -> None:
        self.found = {} if found is None else found
        self.concats: dict[tuple[Any, str], ConcatWidth] = {}
        self.resize = resize
        self.between: dict[Any, list[Width]] = {}  # of a chain, around each of its layers
        self.neighbour: Any = None  # the layer whose width is being told, for messages
        self._composing = composing  # trust what compositions have noted about themselves
        self._asking: Any = None  # the layer whose rule is running
        self._askers: dict[Any, set[Any]] = {}
        self._answers: dict[Any, dict[Any, Widths]] = {}
        self._changed: set[Any] = set()  # layers with a dim, or one below them, that has changed

    def __call__(self, layer: Layer, nI: Width, nO: Width) -> Widths:
        """What is known of the widths of a layer, given what is known around it."""
        answers, told = self._asked(layer), (_key(nI), _key(nO))
        if told in answers:
            return answers[told]
        if self._composing and layer not in self._changed:
            noted = _noted(layer)
            if noted is not None and noted.covers(nI, nO):
                return noted.widths
        asking, neighbour, self._asking = self._asking, self.neighbour, layer
        try:
            if layer.accepts not in _TUPLES:  # one batch, and gives one as well
                if isinstance(nI, tuple):
                    raise DimensionError(f"{layer.name} takes one batch, not a tuple of them")
                nO = None if isinstance(nO, tuple) else nO
            widths: Widths = layer.widths(layer, nI, nO, self)
        except DimensionError as error:
            error.within(layer)
            raise
        finally:
            self._asking, self.neighbour = asking, neighbour
        if self._answers.get(layer) is answers:  # no dim has changed on the way
            answers[told] = widths
        return widths

    def dim(self, model: Layer, name: str, size: Width) -> int | None:
        """What is known of a model's own dim, given that it is `size`."""
        while isinstance(size, tuple):
            size = self.same(model, *size)
        if model is not self._asking:  # another layer's, as `unembed` reads those of the table
            self._asked(model)
        if isinstance(size, ConcatWidth) and _key(self.concats.get((model, name))) != _key(size):
            self.concats[model, name] = size
            self._forget(model)
        known: int | None = self.found.get((model, name), model.dims[name])
        if size is None or size == known:
            told = self.concats.get((model, name))
            return told if told == known else known
        if known is not None and not self.resize:
            raise DimensionError(f"{model.name} has {name}={known}, but {self.source} {size}")
        self.found[model, name] = size
        self._forget(model)
        return size

    def fixed(self, model: Layer, name: str, size: int | None, told: Width) -> int | None:
        """`size`, which cannot change: raises DimensionError if another one is told."""
        if None not in (size, told) and size != told:
            raise DimensionError(f"{model.name} has {name}={size}, but {self.source} {told}")
        return size

    def same(self, model: Layer, *sizes: Width) -> Width:
        """The one size that several widths of a model share, as far as known."""
        tuples = [size for size in sizes if isinstance(size, tuple)]
        if tuples:
            items = range(max(map(len, tuples)))
            return tuple(self.same(model, *(item(size, i) for size in sizes)) for i in items)
        known = [size for size in sizes if size is not None and not isinstance(size, tuple)]
        if len(set(known)) > 1 and not self.resize:
            words = " and ".join(map(str, dict.fromkeys(known)))
            raise DimensionError(f"{model.name} needs one width, not {words}")
        equal = (size for size in known if isinstance(size, ConcatWidth) and size == known[0])
        return next(equal, known[0]) if known else None

    def noted_between(self, chain: Layer) -> list[Width] | None:
        """What is known around each of a chain's layers, if the chain has been composed."""
        noted = _noted(chain)
        if not self._composing or chain in self.between or noted is None or noted.unknown is None:
            return self.between.get(chain) if self._composing else None
        return [*noted.between]

    @property
    def source(self) -> str:
        """Where a width comes from that a layer is told, for a message."""
        return f"{self.neighbour.name} beside it has" if self.neighbour is not None else "there is"

    def _asked(self, layer: Layer) -> dict[Any, Widths]:
        """The layer's answers, of which those of the layer that is asking are made."""
        if self._asking is not None:
            self._askers.setdefault(layer, set()).add(self._asking)
        return self._answers.setdefault(layer, {})

    def _forget(self, model: Layer) -> None:
        """A dim has changed: drop all answers that may follow from it."""
        waiting = [model]
        while waiting:
            layer = waiting.pop()
            if self._answers.pop(layer, None) is not None:  # else its askers have none, either
                self._changed.add(layer)
                waiting.extend(self._askers.get(layer, ()))


def item(width: Width, idx: int) -> Width:
    """What is known of item `idx`, from 0 on, of a tuple of that width."""
    if isinstance(width, tuple):
        return width[idx] if idx < len(width) else None
    return width


def _key(width: Width) -> Any:
    """What tells widths apart: equal numbers may be sums of different terms."""
    if isinstance(width, tuple):
        return tuple(map(_key, width))
    return (ConcatWidth, width.terms) if isinstance(width, ConcatWidth) else width


# -- composing -------------------------------------------------------------------------------------


class Watched(dict[str, Any]):
    """A dict that notes each change: dims and attrs, from which compositions' widths follow."""


_moment: list[object] = [object()]  # another one after each change, of any layer's


def changed() -> None:
    """Make what compositions have noted about themselves invalid."""
    _moment[0] = object()


def _noting(method: Any) -> Any:
    def noting(self: Watched, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            changed()

    return noting


for _name in ("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem",
              "clear"):  # fmt: skip
    setattr(Watched, _name, _noting(getattr(dict, _name)))


class Noted(NamedTuple):
    """What a composition knows of its widths by itself, so that the next one need not ask below.

    `between` has the widths around the layers of a chain. `unknown` are the ids of layers with dims
    that aren't known; None if one of these is used in several places: then all places have to be
    looked at together each time.
    """

    moment: object
    widths: Widths
    between: Sequence[Width]
    unknown: frozenset[int] | None

    def covers(self, nI: Width, nO: Width) -> bool:
        """Whether these widths say nothing new."""
        pairs = zip((nI, nO), self.widths, strict=True)
        return self.unknown is not None and all(new in (None, known) for new, known in pairs)


def _noted(layer: Layer) -> Noted | None:
    noted: Noted | None = layer.noted
    return noted if noted is not None and noted.moment is _moment[0] else None


def compose(model: Layer) -> None:
    """Check that the widths of a model's layers agree; raises DimensionError.

    Compositions among them that have been checked are asked, not what is in them, unless they
    are told something new.
    """
    if any(layer.layers and _noted(layer) is None for layer in model.layers):
        for node in walk(model, "dfs_post"):
            if node is not model and node.layers and _noted(node) is None:
                node.noted = _note(node)
    model.noted = _note(model)


def _note(model: Layer) -> Noted:
    moment, infer = _moment[0], ShapeInference(composing=True)
    unknown = _unknown(model)
    widths: Widths = (None, None)
    for _ in range(_ROUNDS if unknown is not None else 0):
        before, widths = widths, infer(model, *widths)
        if before == widths:
            return Noted(moment, widths, _between(model, infer), unknown)
    return Noted(moment, ShapeInference()(model, None, None), (), None)


def _unknown(model: Layer) -> frozenset[int] | None:
    sets: list[Any] = [{model.id} if None in model.dims.values() else ()]
    for layer in model.layers:
        noted = _noted(layer)
        if layer.layers and (noted is None or noted.unknown is None):
            return None
        own = {layer.id} if None in layer.dims.values() else ()
        sets.append(noted.unknown if noted is not None else own)
    union = frozenset().union(*sets)
    return union if len(union) == sum(map(len, sets)) else None


def _between(model: Layer, infer: ShapeInference) -> list[Width]:
    """The widths around a chain's layers, with those of the chains that become part of it."""
    around = infer.between.get(model)
    if around is None:
        return []
    between: list[Width] = []
    for layer, width in zip(model.layers, around, strict=False):
        inner = infer.noted_between(layer) if model.absorbs(layer) else None
        between.extend([width] if inner is None else inner[:-1])
    return [*between, around[-1]]
