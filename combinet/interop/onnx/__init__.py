"""Export of models to ONNX graphs, which onnxruntime and other runtimes execute."""

from combinet.extras import extra

with extra("onnx", "onnx"):
    from combinet.interop.onnx import (  # noqa: F401  importing them registers converters
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
    from combinet.interop.onnx.export import to_onnx

__all__ = ["to_arrays", "to_onnx"]
