"""The shape rules of layers and combinators. `combinet.shapes` documents how to use them."""

from combinet.core.layer import Layer
from combinet.core.shape_inference import ConcatWidth, ShapeInference, Width, Widths
from combinet.errors import DimensionError


def from_dims(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The default shape rule: the widths are the dims nI and nO, if the layer has them.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear
        >>> from_dims(Linear(4), 3, None, ShapeInference())
        (3, 4)
    """
    return tuple(  # type: ignore[return-value]
        infer.dim(model, name, size) if name in model.dims else None
        for name, size in (("nI", nI), ("nO", nO))
    )


def preserves(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a layer whose output is as wide as its input, such as an activation.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import relu
        >>> preserves(relu(), 3, None, ShapeInference())
        (3, 3)
    """
    width = infer.same(model, nI, nO)
    return width, width


def per_column(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a layer with weights for each column: input and output have width nI.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import LayerNorm
        >>> per_column(LayerNorm(), None, 3, ShapeInference())
        (3, 3)
    """
    infer.dim(model, "nI", nI)
    width = infer.dim(model, "nI", nO)
    return width, width


def fixed(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a layer whose dims nI and nO are checked but never change.

    Use it for widths that are part of the layer's code or data. If the layer has no dim nI (nO),
    its input (output) can have any width.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear
        >>> fixed(Linear(4, 3), None, None, ShapeInference())
        (3, 4)
    """
    return tuple(  # type: ignore[return-value]
        infer.fixed(model, name, model.dims.get(name), given)
        for name, given in (("nI", nI), ("nO", nO))
    )


def delegates(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a wrapper: it has the widths of its only sublayer.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear, with_array
        >>> delegates(with_array(Linear(4, 3)), None, None, ShapeInference())
        (3, 4)
    """
    return infer(model.layers[0], nI, nO)


def chained(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a chain: the output of each layer is the input of the next.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear
        >>> chained(Linear(4, 3) >> Linear(5), None, None, ShapeInference())
        (3, 5)
    """
    if infer.resize and nI is not None and nO is not None:
        chained(model, None, nO, infer)  # each change ends at a layer that absorbs it
        nO = None
    layers, width = model.layers, infer.noted_between(model)
    if width is not None:
        return _chained_with_note(model, nI, nO, width, infer)
    width = infer.between[model] = [nI, *[None] * (len(layers) - 1), nO]
    forth = [(i, i - 1) for i in range(len(layers))]
    back = [(i, i + 1) for i in reversed(range(len(layers)))]
    # Start at the end whose width is given. In a resize the new width then reaches each layer
    # before the old width of a layer behind it does.
    for i, neighbour in (back + forth) if nI is None else (forth + back):
        infer.neighbour = layers[neighbour] if 0 <= neighbour < len(layers) else None
        width[i], width[i + 1] = infer(layers[i], width[i], width[i + 1])
    return width[0], width[-1]


def _chained_with_note(
    model: Layer, nI: Width, nO: Width, width: list[Width], infer: ShapeInference
) -> Widths:
    """Applies the rule to a chain with known widths: passes on only widths that are new."""
    infer.between[model] = width
    last = len(model.layers) - 1
    waiting = []
    for i, place, given in ((0, 0, nI), (last, -1, nO)):
        before, width[place] = width[place], infer.same(model, width[place], given)
        if before != width[place]:
            waiting.append(i)
    while waiting:
        i = waiting.pop()
        left, right = width[i], width[i + 1]
        answers = infer(model.layers[i], left, right)
        # A layer without fixed widths may answer None. The widths that its neighbors know remain.
        width[i] = infer.same(model, answers[0], left)
        width[i + 1] = infer.same(model, answers[1], right)
        waiting += [i - 1] * (i > 0 and width[i] != left)
        waiting += [i + 1] * (i < last and width[i + 1] != right)
    return width[0], width[-1]


def parallel(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of layers with one input and outputs of one width, as in `add`.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear
        >>> parallel(Linear(4, 3) + Linear(), None, None, ShapeInference())
        (3, 4)
    """
    infer.neighbour = model
    for _ in range(2):  # in the second round the first layer receives widths from the last
        for layer in model.layers:
            child_in, child_out = infer(layer, nI, nO)
            nI = infer.same(model, nI, child_in)
            nO = infer.same(model, nO, child_out)
    return nI, nO


def one_width(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of layers with one width for all inputs and outputs, as in `residual`.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear, residual
        >>> one_width(residual(Linear()), 3, None, ShapeInference())
        (3, 3)
    """
    # If both are given in a resize, the input counts.
    width = nO if nI is None else infer.same(model, nI, nO)
    for _ in range(2):  # in the second round all layers receive widths from the others
        for layer in model.layers:
            child_in, child_out = infer(layer, width, width)
            width = infer.same(model, width, child_in, child_out)
    return width, width


def concatenated(model: Layer, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of layers with the same input whose outputs are concatenated.

    If the output of the model must become wider or narrower, the last layer changes.

    Args:
        model, nI, nO, infer: See `combinet.shapes`.

    Example:
        >>> from combinet import Linear
        >>> concatenated(Linear(4, 3) | Linear(5), None, None, ShapeInference())
        (3, 9)
    """
    outs: list[int | None] = [None] * len(model.layers)
    source, infer.neighbour = infer.source, model
    for _ in range(2):
        for i, layer in enumerate(model.layers):
            child_in, out = infer(layer, nI, outs[i])
            outs[i] = _columns(model, out)
            nI = infer.same(model, nI, child_in)
    nO = _columns(model, nO)
    unknown = [i for i, out in enumerate(outs) if out is None]
    total = ConcatWidth(out for out in outs if out is not None)
    if nO is None or (not unknown and total == nO):
        return nI, None if unknown else total
    if len(unknown) > 1:
        return nI, nO
    if not unknown and not infer.resize:
        terms = " + ".join(str(out) for out in outs)
        raise DimensionError(f"{model.name} expected nO={terms}={total}, but {source} {nO}")
    last = unknown[0] if unknown else len(outs) - 1
    rest = total - (outs[last] or 0)
    if nO <= rest:
        raise DimensionError(
            f"{model.name} expected nO above {rest}, the width of all layers but one, got {nO}"
        )
    child_in, out = infer(model.layers[last], nI, nO - rest)
    outs[last] = _columns(model, out)
    return infer.same(model, child_in, nI), ConcatWidth(out or 0 for out in outs)


def _columns(model: Layer, width: Width) -> int | None:
    if isinstance(width, tuple):
        raise DimensionError(f"{model.name} expected arrays with columns, got tuples")
    return width
