"""Changes to a finished tree: a layer replaced or removed, in a new tree."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_not
from typing import Any, TypeVar

from combinet.combinators.compose import add, chain, concatenate, noop
from combinet.core.model import Model
from combinet.core.shape_inference import compose
from combinet.errors import InputError

M = TypeVar("M", bound="Model[Any, Any]")

_ANY_NUMBER = {each.forward for each in (chain(noop()), concatenate(noop()), add(noop()))}


def replace_node(model: M, old: Model[Any, Any], new: Model[Any, Any]) -> M:
    """A tree like the model's with `new` wherever `old` stands; the model stays as it is.

    Both trees share the layers that they have in common, and their weights. Raises InputError if
    `old` is not below the model, or below a layer with parameters of its own, and DimensionError
    if `new` doesn't fit.

    Example:
        >>> from combinet import Linear, Softmax, relu, gelu
        >>> model = Linear(4, 2) >> relu() >> Softmax(3)
        >>> replace_node(model, model.layers[1], gelu())
        chain: no parameters, not initialized
          linear   nI=2 nO=4
          gelu
          softmax  nI=? nO=3
    """
    return _exchange(model, old, [new])


def remove_node(model: M, node: Model[Any, Any]) -> M:
    """A tree like the model's without a layer; the model stays as it is. See `replace_node`.

    The layer must stand in a chain, a concatenation or a sum, and not alone: InputError.

    Example:
        >>> from combinet import Linear, Softmax, relu
        >>> model = Linear(4, 2) >> relu() >> Softmax(3)
        >>> remove_node(model, model.layers[1])
        chain: no parameters, not initialized
          linear   nI=2 nO=4
          softmax  nI=? nO=3
    """
    return _exchange(model, node, [])


def _exchange(model: M, old: Model[Any, Any], new: Sequence[Model[Any, Any]]) -> M:
    if old is model or all(node is not old for node in model.walk()):
        raise InputError(f"there is no such {old.name} below {model.name}")
    done: dict[int, Any] = {}
    return _rebuild(model, old, new, done)  # type: ignore[no-any-return]


def _rebuild(node: Any, old: Any, new: Sequence[Any], done: dict[int, Any]) -> Any:
    """The node with the exchange made below it: itself, where there is nothing to exchange."""
    if node.id in done:
        return done[node.id]
    layers: list[Any] = []
    for layer in node.layers:
        for each in new if layer is old else [_rebuild(layer, old, new, done)]:
            layers.extend(node.flattened(each))
    done[node.id] = node
    if len(layers) != len(node.layers) or any(map(is_not, layers, node.layers)):
        if node.param_names:
            raise InputError(f"{node.name} has parameters of its own: its layers stay")
        if len(layers) < len(node.layers) and (node.forward not in _ANY_NUMBER or not layers):
            raise InputError(f"{node.name} needs its {old.name}: replace it, by noop()")
        changed = object.__new__(type(node))
        changed.__dict__.update(node.__dict__)
        changed._renew(layers)
        compose(changed)
        done[node.id] = changed
    return done[node.id]
