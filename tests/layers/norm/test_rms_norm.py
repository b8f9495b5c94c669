"""RMSNorm against PyTorch."""

from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.arrays import floats

torch = pytest.importorskip("torch")

from helpers.against_torch import assert_agrees  # noqa: E402


@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_rms_norm_matches_pytorch(eps: float) -> None:
    def reference(X: Any, G: Any) -> Any:
        return torch.nn.functional.rms_norm(X, (6,), G, eps)

    assert_agrees(cb.RMSNorm(eps=eps), floats(7, 6) + 2, reference)


def test_untrained_layer_matches_pytorch_module() -> None:
    X = floats(7, 6).astype("f") * 5
    expected = torch.nn.RMSNorm(6, eps=1e-5)(torch.tensor(X)).detach().numpy()
    Y = cb.RMSNorm().initialize(X).predict(X)
    assert Y.dtype == np.float32
    np.testing.assert_allclose(Y, expected, rtol=1e-5)


def test_row_of_zeros_stays_zero_and_has_a_finite_gradient() -> None:
    model = cb.RMSNorm(4).initialize(dtype="float64")
    Y, backprop = model.begin_update(np.zeros((2, 4)))
    np.testing.assert_array_equal(Y, np.zeros((2, 4)))
    np.testing.assert_allclose(backprop(np.ones((2, 4))), np.full((2, 4), 1e-5**-0.5))


def test_width_is_inferred_and_can_be_resized() -> None:
    model = cb.Linear(4, 3) >> cb.RMSNorm() >> cb.Linear(2)
    assert model.initialize().layers[1].get_dim("nI") == 4
    model.layers[1].resize_output(5)
    assert model.layers[1].get_param("G").shape == (5,)
