"""Shape inference: all widths that follow from the layers, without data.

The width of a batch is its number of columns. The width of a tuple of batches is the tuple of their
widths. Unknown items at its end may be missing, and a single int is the width of every item.

Each model has a shape rule, `rule(model, nI, nO, infer) -> (nI, nO)`. It receives the widths of
input and output that are known outside the model (None if unknown). It returns the widths that are
known with the model's dims and sublayers. A rule calls `infer(layer, nI, nO)` for sublayers and
`infer.dim(model, name, size)` for dims of its model. `shape_rules.py` has the rules of combinet.

Rules work in both directions, so that one set of rules checks a composition, infers missing dims
and plans a resize.
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


_TUPLES = ("any", "sparse")  # input kinds that a tuple can have
_ROUNDS = 4  # limit of the rounds in `_note`, which rarely takes more than two


class ConcatWidth(int):
    """A width that is a sum, such as the width of a concatenation or of a window.

    A resize adds or removes columns at the end of a term. The terms show where the other columns
    move, so the weights of the next layer can move with them.

    Args:
        widths: Widths to add. Those that are sums contribute their terms.

    Example:
        >>> width = ConcatWidth([3, ConcatWidth([1, 2])])
        >>> width, width.terms
        (6, (3, 1, 2))
    """

    terms: tuple[int, ...]

    def __new__(cls, widths: Iterable[int]) -> ConcatWidth:
        """Adds the widths."""
        terms = [term for width in widths for term in getattr(width, "terms", (int(width),))]
        total = super().__new__(cls, sum(terms))
        total.terms = tuple(terms)
        return total


class ShapeInference:
    """One inference over a tree of layers. Shape rules receive it as `infer`.

    Sizes that disagree raise DimensionError. In a resize, the size from outside takes effect
    instead, and the dim of the layer changes. Dims are only collected in `found`: the caller
    assigns them.

    An answer is stored with the widths that the layer was called with. If the layer is called with
    them again, and no dim in it or below it has changed, the stored answer is returned. Some rules
    call their layers twice. Without stored answers, a tree of depth d would take 2**d visits. With
    them, each layer is visited a few times.

    Args:
        found: Sizes by (layer, name of a dim). They replace the dims. The inference adds to them.
        resize: Whether to replace known sizes instead of raising an error.
        composing: Whether to use the notes of compositions. See `Noted`.

    Example:
        >>> from combinet import Linear
        >>> infer = ShapeInference()
        >>> infer(Linear(4, 3) >> Linear(5), None, None)
        (3, 5)
        >>> [(layer.name, name, size) for (layer, name), size in infer.found.items()]
        [('linear', 'nI', 4)]
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
        self.between: dict[Any, list[Width]] = {}  # by chain: widths around its layers
        self.neighbour: Any = None  # the layer that has determined the width, for errors
        self._composing = composing
        self._running: Any = None  # the layer whose rule is running
        self._dependents: dict[Any, set[Any]] = {}  # by layer: layers whose answers depend on it
        self._answers: dict[Any, dict[Any, Widths]] = {}  # by layer, then by widths received
        self._changed: set[Any] = set()  # layers with a changed dim in them or below them

    def __call__(self, layer: Layer, nI: Width, nO: Width) -> Widths:
        """Returns the widths of a layer's input and output, None where they are unknown.

        A shape rule calls it to pass widths on to a sublayer.

        Args:
            layer: Layer whose shape rule is called.
            nI: Width of its input that is known outside, None if unknown.
            nO: Width of its output that is known outside, None if unknown.

        Raises:
            DimensionError: If sizes disagree. Its path has all layers from the first call to
                `layer`.
        """
        answers, received = self._answers_of(layer), (_key(nI), _key(nO))
        if received in answers:
            return answers[received]
        if self._composing and layer not in self._changed:
            noted = _noted(layer)
            if noted is not None and noted.covers(nI, nO):
                return noted.widths
        running, neighbour, self._running = self._running, self.neighbour, layer
        try:
            if layer.accepts not in _TUPLES:  # one batch, so the output is one batch too
                if isinstance(nI, tuple):
                    raise DimensionError(f"{layer.name} expected one batch, got a tuple")
                nO = None if isinstance(nO, tuple) else nO
            widths: Widths = layer.widths(layer, nI, nO, self)
        except DimensionError as error:
            error.within(layer)
            raise
        finally:
            self._running, self.neighbour = running, neighbour
        # Another dict means that a dim has changed during the call, so that this answer is old.
        if self._answers.get(layer) is answers:
            answers[received] = widths
        return widths

    def dim(self, model: Layer, name: str, size: Width) -> int | None:
        """Returns the size of a dim, and sets it to `size` if it is unknown.

        Args:
            model: Layer that has the dim.
            name: Name of the dim.
            size: Width that the dim must have, None if unknown.

        Raises:
            DimensionError: If the dim has another size, except in a resize, which changes it.

        Example:
            >>> from combinet import Linear
            >>> infer, layer = ShapeInference(), Linear(4)
            >>> infer.dim(layer, "nI", 3), infer.dim(layer, "nI", None)
            (3, 3)
        """
        while isinstance(size, tuple):
            size = self.same(model, *size)
        if model is not self._running:  # dim of another layer, as in `unembed`
            self._answers_of(model)
        if isinstance(size, ConcatWidth) and _key(self.concats.get((model, name))) != _key(size):
            self.concats[model, name] = size
            self._forget(model)
        known: int | None = self.found.get((model, name), model.dims[name])
        if size is None or size == known:
            total = self.concats.get((model, name))
            return total if total == known else known
        if known is not None and not self.resize:
            raise DimensionError(f"{model.name} expected {name}={known}, but {self.source} {size}")
        self.found[model, name] = size
        self._forget(model)
        return size

    def fixed(self, model: Layer, name: str, size: int | None, given: Width) -> int | None:
        """Returns `size` after a check that the width known outside does not contradict it.

        Args:
            model: Layer that has this size.
            name: Name of the size, for the error.
            size: Size of the layer, None if any size is right.
            given: Width that is known outside, None if unknown.

        Raises:
            DimensionError: If `given` is another size, also in a resize.

        Example:
            >>> from combinet import relu
            >>> ShapeInference().fixed(relu(), "nI", 3, None)
            3
        """
        if None not in (size, given) and size != given:
            raise DimensionError(f"{model.name} expected {name}={size}, but {self.source} {given}")
        return size

    def same(self, model: Layer, *sizes: Width) -> Width:
        """Returns the one size that several widths must have, or None if all are unknown.

        Args:
            model: Layer that has these widths, for the error.
            *sizes: Widths. Tuples are compared item by item.

        Raises:
            DimensionError: If two known widths differ, except in a resize, where the first one
                counts.

        Example:
            >>> from combinet import relu
            >>> ShapeInference().same(relu(), None, 3, 3)
            3
        """
        tuples = [size for size in sizes if isinstance(size, tuple)]
        if tuples:
            items = range(max(map(len, tuples)))
            return tuple(self.same(model, *(item(size, i) for size in sizes)) for i in items)
        known = [size for size in sizes if size is not None and not isinstance(size, tuple)]
        if len(set(known)) > 1 and not self.resize:
            words = " and ".join(map(str, dict.fromkeys(known)))
            raise DimensionError(f"{model.name} expected equal widths, got {words}")
        equal = (size for size in known if isinstance(size, ConcatWidth) and size == known[0])
        return next(equal, known[0]) if known else None

    def noted_between(self, chain: Layer) -> list[Width] | None:
        """Returns the widths around each layer of a chain, if the chain was composed before.

        Args:
            chain: Model whose rule is `chained`.
        """
        noted = _noted(chain)
        if not self._composing or chain in self.between or noted is None or noted.unknown is None:
            return self.between.get(chain) if self._composing else None
        return [*noted.between]

    @property
    def source(self) -> str:
        """The origin of the width that a layer has received, for an error."""
        return f"{self.neighbour.name} has" if self.neighbour is not None else "the given width is"

    def _answers_of(self, layer: Layer) -> dict[Any, Widths]:
        """Returns the stored answers of a layer and notes that the running rule uses them."""
        if self._running is not None:
            self._dependents.setdefault(layer, set()).add(self._running)
        return self._answers.setdefault(layer, {})

    def _forget(self, model: Layer) -> None:
        """Drops all answers that may depend on a dim that has changed."""
        waiting = [model]
        while waiting:
            layer = waiting.pop()
            # If the layer has no answers, then no stored answer depends on it.
            if self._answers.pop(layer, None) is not None:
                self._changed.add(layer)
                waiting.extend(self._dependents.get(layer, ()))


def item(width: Width, idx: int) -> Width:
    """Returns the width of one item of a tuple of batches, None if it is unknown.

    Args:
        width: Width of the tuple.
        idx: Index of the item, from 0.

    Example:
        >>> item((3, 4), 1), item(5, 1), item(None, 1)
        (4, 5, None)
    """
    if isinstance(width, tuple):
        return width[idx] if idx < len(width) else None
    return width


def _key(width: Width) -> Any:
    """Returns a key that differs if sums have the same size but different terms."""
    if isinstance(width, tuple):
        return tuple(map(_key, width))
    return (ConcatWidth, width.terms) if isinstance(width, ConcatWidth) else width


# -- composing -------------------------------------------------------------------------------------


class Watched(dict[str, Any]):
    """A dict of dims or attrs. Each change makes the notes of all compositions invalid."""


# A new object after each change of the dims or attrs of any layer. A note is valid only if its
# moment is the current one. One moment for all layers drops more notes than necessary. But layers
# seldom change while they are composed, and a layer does not know which compositions contain it.
_moment: list[object] = [object()]


def changed() -> None:
    """Makes the notes of all compositions invalid."""
    _moment[0] = object()


def _invalidating(method: Any) -> Any:
    def invalidating(self: Watched, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        finally:
            changed()

    return invalidating


for _name in ("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem",
              "clear"):  # fmt: skip
    setattr(Watched, _name, _invalidating(getattr(dict, _name)))


class Noted(NamedTuple):
    """The widths that a composition has inferred, so that an outer composition need not visit it.

    `between` has the widths around the layers of a chain. `unknown` has the ids of layers with
    unknown dims. It is None if one of these layers occurs several times. Then a width in one place
    determines widths in another, and an outer composition must visit all places together.
    """

    moment: object
    widths: Widths
    between: Sequence[Width]
    unknown: frozenset[int] | None

    def covers(self, nI: Width, nO: Width) -> bool:
        """Returns whether these widths add nothing to the noted ones."""
        pairs = zip((nI, nO), self.widths, strict=True)
        return self.unknown is not None and all(new in (None, known) for new, known in pairs)


def _noted(layer: Layer) -> Noted | None:
    noted: Noted | None = layer.noted
    return noted if noted is not None and noted.moment is _moment[0] else None


def compose(model: Layer) -> None:
    """Checks that the widths of a model's layers fit together. Raises DimensionError if not.

    A sublayer with a valid note is not visited, unless it receives widths that are new to it. So a
    model of n layers that is composed step by step costs about n visits, not n squared.
    """
    if any(layer.layers and _noted(layer) is None for layer in model.layers):
        for node in walk(model, "dfs_post"):
            if node is not model and node.layers and _noted(node) is None:
                node.noted = _note(node)
    model.noted = _note(model)


def _note(model: Layer) -> Noted:
    # A note must be a fixed point: calling the composition with its noted widths adds nothing.
    moment, infer = _moment[0], ShapeInference(composing=True)
    unknown = _unknown(model)
    widths: Widths = (None, None)
    for _ in range(_ROUNDS if unknown is not None else 0):
        before, widths = widths, infer(model, *widths)
        if before == widths:
            return Noted(moment, widths, _between(model, infer), unknown)
    return Noted(moment, ShapeInference()(model, None, None), (), None)


def _unknown(model: Layer) -> frozenset[int] | None:
    """Returns `Noted.unknown` of a composition of noted layers."""
    sets: list[Any] = [{model.id} if None in model.dims.values() else ()]
    for layer in model.layers:
        noted = _noted(layer)
        if layer.layers and (noted is None or noted.unknown is None):
            return None
        own = {layer.id} if None in layer.dims.values() else ()
        sets.append(noted.unknown if noted is not None else own)
    union = frozenset().union(*sets)
    # The union is smaller than the sets together if one layer is in two of them.
    return union if len(union) == sum(map(len, sets)) else None


def _between(model: Layer, infer: ShapeInference) -> list[Width]:
    """Returns the widths around a chain's layers, after chains in it have been flattened."""
    around = infer.between.get(model)
    if around is None:
        return []
    between: list[Width] = []
    for layer, width in zip(model.layers, around, strict=False):
        inner = infer.noted_between(layer) if model.absorbs(layer) else None
        between.extend([width] if inner is None else inner[:-1])
    return [*between, around[-1]]
