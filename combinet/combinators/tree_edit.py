"""Edits of a tree: a new tree in which a layer is replaced or removed."""

from collections.abc import Sequence
from operator import is_not
from typing import Any, TypeVar

from combinet.combinators.compose import add, chain, concatenate, noop
from combinet.core.model import Model
from combinet.core.shape_inference import compose
from combinet.errors import InputError

M = TypeVar("M", bound="Model[Any, Any]")

# Forward functions of the combinators from which a layer can be removed.
_ANY_NUMBER = {each.forward for each in (chain(noop()), concatenate(noop()), add(noop()))}


def replace_node(model: M, old: Model[Any, Any], new: Model[Any, Any]) -> M:
    """Returns a new tree with `new` in all places of `old`. The given tree is unchanged.

    The two trees share the unchanged layers, with their weights.

    Args:
        model: Tree to edit.
        old: Layer in the tree.
        new: Layer that replaces it.

    Raises:
        InputError: If `old` is not in the tree, is the whole tree, or is a sublayer of a layer that
            has parameters itself.
        DimensionError: If the widths of `new` do not fit.

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
    """Returns a new tree without a layer. The given tree is unchanged.

    The two trees share the unchanged layers, with their weights.

    Args:
        model: Tree to edit.
        node: Layer to remove. It must be in a `chain`, `concatenate` or `add` with other layers.

    Raises:
        InputError: If the layer is not in such a place.
        DimensionError: If the widths of the other layers do not fit together.

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
        raise InputError(f"expected a layer below {model.name} in its tree, got {old.name}")
    done: dict[int, Any] = {}  # by id, so that a layer in several places is rebuilt once
    return _rebuild(model, old, new, done)  # type: ignore[no-any-return]


def _rebuild(node: Any, old: Any, new: Sequence[Any], done: dict[int, Any]) -> Any:
    """Returns a copy of the node with the edit made below it, or the node if nothing changes."""
    if node.id in done:
        return done[node.id]
    layers: list[Any] = []
    for layer in node.layers:
        for each in new if layer is old else [_rebuild(layer, old, new, done)]:
            layers.extend(node.flattened(each))
    done[node.id] = node
    if len(layers) != len(node.layers) or any(map(is_not, layers, node.layers)):
        if node.param_names:
            raise InputError(f"{node.name} has parameters, so its layers cannot be changed")
        if len(layers) < len(node.layers) and (node.forward not in _ANY_NUMBER or not layers):
            raise InputError(f"{node.name} needs its layer {old.name}; replace it by noop()")
        changed = object.__new__(type(node))
        changed.__dict__.update(node.__dict__)
        changed._renew(layers)
        compose(changed)
        done[node.id] = changed
    return done[node.id]
