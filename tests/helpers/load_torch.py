"""Copies weights from PyTorch modules into the corresponding layers, and pairs their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Named = dict[str, Any]


def leaves(layer: Any) -> list[Any]:
    """The layers that have weights, in the order of composition."""
    return [node for node in layer.walk("dfs_pre") if node.param_names]


def load_torch(layer: Any, module: Any) -> None:
    """Copies the weights of a PyTorch module into an initialized layer."""
    for node, named in _pairs(layer, module, lambda parameter: parameter, summed=True):
        for name, value in named.items():
            node.set_param(name, value)


def gradients(layer: Any, module: Any) -> list[tuple[str, Any, Any]]:
    """The name, accumulated gradient and PyTorch gradient of each weight."""
    return [
        (f"{node.name}.{name}", node.get_grad(name), value)
        for node, named in _pairs(layer, module, lambda parameter: parameter.grad, summed=False)
        for name, value in named.items()
    ]


def _pairs(
    layer: Any, module: Any, of: Callable[[Any], Any], *, summed: bool
) -> list[tuple[Any, Named]]:
    def array(parameter: Any) -> Any:
        return of(parameter).detach().numpy()

    nodes = leaves(layer)
    if hasattr(module, "all_weights"):
        found = _recurrent(module, array, summed)
    else:
        found = _named(module, array)
    if type(module).__name__ == "MultiheadAttention" and len(nodes) == 2:
        found = _of_one(found)
    for node, named in zip(nodes, found, strict=True):
        assert named.keys() == set(node.param_names)
    return list(zip(nodes, found, strict=True))


def _named(module: Any, of: Callable[[Any], Any]) -> list[Named]:
    """The results of `of` for a module's parameters: a dict by combinet's names for each layer."""
    kind = type(module).__name__
    if hasattr(module, "layers"):
        return [named for layer in module.layers for named in _named(layer, of)]
    if kind in ("Linear", "NonDynamicallyQuantizableLinear"):
        return [_with_bias({"W": of(module.weight)}, module.bias, of)]
    if kind == "LayerNorm":
        return [_with_bias({"G": of(module.weight)}, module.bias, of)]
    if kind == "MultiheadAttention":
        return [*_projections(module, of), *_named(module.out_proj, of)]
    own = [_of_one(_named(module.self_attn, of))]
    if kind == "TransformerDecoderLayer":
        own.append(_named(module.multihead_attn, of))
    own.append(_named(module.linear1, of) + _named(module.linear2, of))
    norms = [_named(getattr(module, f"norm{i + 1}"), of) for i in range(len(own))]
    order = (norms, own) if module.norm_first else (own, norms)
    return [named for branch in zip(*order, strict=True) for part in branch for named in part]


def _recurrent(module: Any, of: Callable[[Any], Any], summed: bool) -> list[Named]:
    """The parameters of an LSTM, GRU or RNN for each layer and direction, split by gate.

    The two biases of PyTorch are summed into one, except those of the GRU's new gate.
    """
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)

    def split(parameter: Any) -> Any:
        array = of(parameter)
        return array.reshape(gates, -1, *array.shape[1:]).swapaxes(0, 1)

    found = []
    for group in module.all_weights:
        W, U, *biases = map(split, group)
        named = {"W": W, "U": U}
        found.append(named)
        if not biases:
            continue
        b, c = biases
        named["b"] = b
        if module.mode == "GRU":
            named["c"] = c[:, 2]
        if summed:
            named["b"] = b + c * (np.arange(gates) != (2 if module.mode == "GRU" else None))
    return found


def _projections(module: Any, of: Callable[[Any], Any]) -> list[Named]:
    """The affine map of the queries, and that of the keys and values."""
    nO, b = module.embed_dim, module.in_proj_bias
    if module.in_proj_weight is not None:
        Q, KV = np.split(of(module.in_proj_weight), [nO])
    else:
        Q, K, V = (of(getattr(module, f"{name}_proj_weight")) for name in "qkv")
        KV = np.concatenate([K, V])
    return [
        _with_bias({"W": Q}, b, lambda b: of(b)[:nO]),
        _with_bias({"W": KV}, b, lambda b: of(b)[nO:]),
    ]


def _with_bias(named: Named, bias: Any, of: Callable[[Any], Any]) -> Named:
    return named if bias is None else {**named, "b": of(bias)}


def _of_one(attention: list[Named]) -> list[Named]:
    """Joins the maps of queries, keys and values into one, as self-attention has it."""
    first, second, last = attention
    return [{name: np.concatenate([first[name], second[name]]) for name in first}, last]
