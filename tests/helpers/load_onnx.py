"""Runs exported models in onnxruntime."""

from typing import Any

import numpy as np
import onnx
import onnxruntime

from combinet.interop.onnx import to_arrays, to_onnx


class Session:
    """A graph from `to_onnx`, checked by ONNX; `session(X)` returns arrays by name."""

    def __init__(self, model: Any, example: Any) -> None:
        self.proto = to_onnx(model, example)
        onnx.checker.check_model(self.proto, full_check=True)
        self.session = onnxruntime.InferenceSession(self.proto.SerializeToString())

    def __call__(self, X: Any) -> dict[str, Any]:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, to_arrays(X)), strict=True))


def check(model: Any, example: Any, *others: Any) -> None:
    """Checks that the graph matches `predict` for the example and for other batches."""
    session = Session(model, example)
    for X in (example, *others):
        found, expected = session(X), to_arrays(model.predict(X), "Y")
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
