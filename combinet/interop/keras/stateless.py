"""A layer of Keras without its weights, which each pass supplies."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras

from combinet.errors import DeviceError, InputError, describe
from combinet.ops.base import Ops
from combinet.types import Generator

Named: TypeAlias = dict[str, Any]


class StatelessLayer:
    """A layer of Keras that is called with its weights as an argument.

    `variables` are the layer's weights by the names of the parameters. `trained` are the names of
    those that Keras would train. A call changes nothing in the Keras layer, so passes can run in
    parallel.

    Args:
        layer: A built layer or model of Keras.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        trainable = {id(variable) for variable in layer.trainable_variables}
        self.variables = _named(layer.weights)
        self.trained = {name for name, each in self.variables.items() if id(each) in trainable}
        self.seeds = [each for each in layer.variables if each.name == "seed_generator_state"]

    def __reduce__(self) -> Any:
        return StatelessLayer, (self.layer,)  # Keras pickles a layer, but not its variables alone

    def draw_seeds(self, rng: Generator) -> Any:
        """Returns new values for the states of all seed generators (number, 2).

        Args:
            rng: The generator of the pass.
        """
        size = (len(self.seeds), 2)
        return rng.integers([2**31, 1], size=size, dtype="int32") if self.seeds else ()

    def __call__(self, X: Any, weights: Mapping[str, Any], seeds: Any, *, train: bool) -> Any:
        """Calls the layer. Returns its output, and the weights that it has assigned by name.

        Args:
            X: The first argument of the layer, made of tensors of the backend.
            weights: The values of `variables`, as tensors of the backend.
            seeds: The states of the seed generators, or () for the states of the Keras layer.
            train: Whether the layer is in training mode.
        """
        mapping = [(variable, weights[name]) for name, variable in self.variables.items()]
        mapping += zip(self.seeds, seeds, strict=False)
        with keras.StatelessScope(mapping) as scope:
            before = {name: scope.get_current_value(v) for name, v in self.variables.items()}
            Y = self.layer(X, training=train)
        after = {name: scope.get_current_value(v) for name, v in self.variables.items()}
        Y = keras.tree.map_structure(_to_float32, Y)
        return Y, {name: value for name, value in after.items() if value is not before[name]}


def check(name: str, X: Any, ops: Ops) -> None:
    """Raises an error if X is not made of arrays on the CPU.

    Args:
        name: The name of the layer.
        X: The input of the layer.
        ops: The array operations of the pass.

    Raises:
        DeviceError: If the pass is on a GPU.
        InputError: If X contains something else than arrays.
    """
    if ops.device >= 0:
        raise DeviceError(f"{name} expected arrays on the CPU; wrap it: with_cpu(layer)")
    for leaf in keras.tree.flatten(X):
        if not ops.is_array(leaf) or leaf.dtype.kind not in "fiub":
            raise InputError(
                f"{name} expected arrays, or tuples, lists or dicts of arrays, got "
                f"{describe(leaf)}; use with_array or with_padded for batches of sequences"
            )


def _to_float32(y: Any) -> Any:
    """Casts floats of other precision. Keras computes few of its operations in float64."""
    dtype = keras.backend.standardize_dtype(y.dtype)
    other = "float" in dtype and dtype != "float32"
    return keras.ops.cast(y, "float32") if other else y


def _named(variables: list[Any]) -> Named:
    """Returns variables by names that are the same in every process.

    Keras numbers the names of layers and variables by a counter of the process. Here a name that
    occurs several times is followed by its position among these, as in the path of a layer.
    """
    bases = [re.sub(r"_\d+$", "", variable.name) for variable in variables]
    total, seen, named = Counter(bases), Counter[str](), {}
    for base, variable in zip(bases, variables, strict=True):
        named[base if total[base] == 1 else f"{base}[{seen[base]}]"] = variable
        seen[base] += 1
    return named
