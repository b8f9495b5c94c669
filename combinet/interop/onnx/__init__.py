"""Models as ONNX graphs, which onnxruntime and other runtimes compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from combinet.interop.onnx import (
    activations,
    attention,
    combinators,
    crf,
    dense,
    embed,
    forms,
    recurrent,
    sequence,
)
from combinet.interop.onnx.batches import to_arrays
from combinet.interop.onnx.export import Converter, export
from combinet.model import Model
from combinet.node import Forward

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["to_arrays", "to_onnx"]

CONVERTERS: dict[Forward, Converter] = {
    **activations.CONVERTERS,
    **attention.CONVERTERS,
    **combinators.CONVERTERS,
    **crf.CONVERTERS,
    **dense.CONVERTERS,
    **embed.CONVERTERS,
    **forms.CONVERTERS,
    **recurrent.CONVERTERS,
    **sequence.CONVERTERS,
}


def to_onnx(model: Model[Any, Any], example: Any) -> ModelProto:
    """The model's prediction as an ONNX graph, to be written by `onnx.save`.

    The example, a batch that the model takes, says what inputs the graph has: `to_arrays(example)`
    names them. How many rows and sequences there are, and how long, is open. Weights have the
    model's dtype and the names of `model.slots_by_path()`; runtimes know float32 best. Dropout is
    off, and checks of the input are gone. Raises InputError, with the path, for a layer that has
    no ONNX form.

    Example:
        >>> import numpy as np
        >>> from combinet import Linear
        >>> proto = to_onnx(Linear(2, 3).initialize(), np.ones((1, 3), dtype="float32"))
        >>> [node.op_type for node in proto.graph.node]
        ['Gemm', 'Identity']
    """
    return export(model, example, CONVERTERS)
