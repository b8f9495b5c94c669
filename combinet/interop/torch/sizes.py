"""The axes of a module's weights that determine its input and output width."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import nn

from combinet.core.shape_inference import ShapeInference, Width, Widths
from combinet.core.shape_rules import from_dims

Axis = tuple[str, int]  # the name of a parameter, and one of its axes

# Layers that keep the number of columns and have no weights per column.
_SAME_WIDTH = (
    nn.AlphaDropout, nn.CELU, nn.Dropout, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid,
    nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.LogSoftmax, nn.Mish,
    nn.RReLU, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softmax, nn.Softmin, nn.Softplus,
    nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


# For each type of layer: the axes of its input width, and the axes of its output width.
_ENDS: dict[type, tuple[dict[Axis, str], dict[Axis, str]]] = {
    nn.Linear: ({("weight", 1): "nI"}, {("weight", 0): "nO", ("bias", 0): "nO"}),
    nn.Embedding: ({("weight", 0): "nV"}, {("weight", 1): "nO"}),
}


def width_axes(module: nn.Module) -> dict[Axis, str]:
    """Returns the axes of a module's weights that have the size nI, nO or nV.

    They come from a `Linear` or an `Embedding`, or from the first and last such layer of a
    `Sequential`, if the layers before and after keep the width. nV is the number of rows of an
    `Embedding` that comes first. The axes of a weight that occurs several times are left out,
    because it cannot be resized.

    Example:
        >>> width_axes(nn.Sequential(nn.Embedding(9, 2), nn.Tanh(), nn.Linear(2, 3, bias=False)))
        {('0.weight', 0): 'nV', ('2.weight', 0): 'nO'}
    """
    layers = list(_layers("", module))
    places = dict(module.named_parameters(remove_duplicate=False))
    times = Counter(map(id, places.values()))
    axes: dict[Axis, str] = {}
    for end, ordered in enumerate((layers, layers[::-1])):
        prefix, layer_type = next((x for x in ordered if x[1] not in _SAME_WIDTH), ("", nn.Module))
        dims = _ENDS.get(layer_type, ({}, {}))[end]
        found = {(prefix + name, axis): dim for (name, axis), dim in dims.items()}
        # A layer may have no bias.
        found = {axis: dim for axis, dim in found.items() if axis[0] in places}
        if all(times[id(places[name])] == 1 for name, _ in found):
            axes |= found
    return axes


def _layers(prefix: str, module: nn.Module) -> Iterator[tuple[str, type]]:
    """Returns the prefix of the weights' names and the type of each layer that runs in turn."""
    if type(module) is not nn.Sequential:
        yield prefix, type(module)
        return
    for name, child in module.named_modules(remove_duplicate=False):
        if name and "." not in name:
            yield from _layers(f"{prefix}{name}.", child)


def set_sizes(module: nn.Module) -> None:
    """Sets the size attributes of linear and embedding layers to the shapes of their weights."""
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.out_features, layer.in_features = layer.weight.shape
        elif type(layer) is nn.Embedding:
            layer.num_embeddings, layer.embedding_dim = layer.weight.shape


def table_widths(model: Any, nI: Width, nO: Width, infer: ShapeInference) -> Widths:
    """The shape rule of a module that begins with an embedding: resizing its input resizes nV."""
    if infer.resize and nI is not None:
        infer.dim(model, "nV", nI)
    return nI, from_dims(model, None, nO, infer)[1]
