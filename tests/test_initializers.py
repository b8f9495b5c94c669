"""Initializers, compared with the formulas of their papers."""

from typing import Any

import numpy as np
import pytest

import combinet as cb

MAKERS: dict[str, Any] = {
    "zeros": cb.zeros,
    "ones": cb.ones,
    "glorot_uniform": cb.glorot_uniform,
    "glorot_normal": cb.glorot_normal,
    "he_normal": cb.he_normal,
    "he_uniform": cb.he_uniform,
    "lecun_normal": cb.lecun_normal,
    "lecun_uniform": cb.lecun_uniform,
    "orthogonal": cb.orthogonal,
    "uniform": cb.uniform(-0.3, 0.2),
    "normal": cb.normal(0.2),
}
every = pytest.mark.parametrize("init", MAKERS.values(), ids=MAKERS)
random = pytest.mark.parametrize("init", list(MAKERS.values())[2:], ids=list(MAKERS)[2:])

# Each test draws n = 90 000 numbers with a fixed seed. The standard error of a mean is
# sd / sqrt(n) = sd / 300, that of a normal's std sd / sqrt(2n). The tolerance is four times that.
N = 90_000


def draw(init: Any, *shape: int, seed: int = 0) -> Any:
    return init(shape, np.random.default_rng(seed))


def assert_uniform(W: Any, low: float, high: float) -> None:
    """Checks the bounds, the extremes and the moments of a uniform distribution."""
    assert low <= W.min() <= low + (high - low) * 1e-3
    assert high - (high - low) * 1e-3 <= W.max() <= high
    std = (high - low) / 12**0.5
    assert abs(W.mean() - (low + high) / 2) < 4 * std / W.size**0.5
    # The fourth moment of the uniform distribution is 9/5 sd**4: the variance of (x - mean)**2
    # is 4/5 sd**4.
    assert abs(W.var() - std**2) < 4 * std**2 * (0.8 / W.size) ** 0.5


def assert_normal(W: Any, std: float) -> None:
    assert abs(W.mean()) < 4 * std / W.size**0.5
    assert abs(W.std() - std) < 4 * std / (2 * W.size) ** 0.5
    beyond = (np.abs(W) > 2 * std).mean()  # 4.55 % for a normal distribution, 0 for a uniform one
    assert abs(beyond - 0.0455) < 4 * (0.0455 * 0.9545 / W.size) ** 0.5


def test_zeros_and_ones() -> None:
    assert draw(cb.zeros, 3, 2).tolist() == [[0.0, 0.0]] * 3
    assert draw(cb.ones, 3, 2).tolist() == [[1.0, 1.0]] * 3


@every
@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 2, 3)], ids=str)
def test_initializer_returns_float64_of_the_given_shape(init: Any, shape: tuple[int, ...]) -> None:
    W = draw(init, *shape)
    assert W.shape == shape
    assert W.dtype == np.float64


@random
def test_seed_determines_the_numbers(init: Any) -> None:
    np.testing.assert_array_equal(draw(init, 4, 3), draw(init, 4, 3))
    assert not np.isin(draw(init, 4, 3, seed=1), draw(init, 4, 3)).any()


@random
def test_generator_advances(init: Any) -> None:
    rng = np.random.default_rng(0)
    assert not np.isin(init((4, 3), rng), init((4, 3), rng)).any()


@random
def test_global_generator_is_not_used(init: Any) -> None:
    before = np.random.get_state()[1].copy()
    draw(init, 4, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_glorot_uniform_bound() -> None:
    bound = (6 / (100 + 900)) ** 0.5
    assert_uniform(draw(cb.glorot_uniform, 100, 900), -bound, bound)


def test_glorot_uniform_ignores_the_pieces_of_maxout() -> None:
    bound = (6 / (100 + 300)) ** 0.5
    assert_uniform(draw(cb.glorot_uniform, 100, 3, 300), -bound, bound)


def test_he_normal_variance() -> None:
    assert_normal(draw(cb.he_normal, 100, 900), (2 / 900) ** 0.5)


def test_he_normal_ignores_the_pieces_of_maxout() -> None:
    assert_normal(draw(cb.he_normal, 100, 3, 300), (2 / 300) ** 0.5)


SHAPES = pytest.mark.parametrize(
    ("shape", "nO", "nI"), [((100, 900), 100, 900), ((100, 3, 300), 100, 300)]
)


@SHAPES
def test_variances_follow_the_formulas(shape: tuple[int, ...], nO: int, nI: int) -> None:
    """The pieces of maxout (the middle axis) count neither as nO nor as nI."""
    assert_normal(draw(cb.glorot_normal, *shape), (2 / (nO + nI)) ** 0.5)
    assert_normal(draw(cb.lecun_normal, *shape), (1 / nI) ** 0.5)
    for init, variance in ((cb.he_uniform, 2 / nI), (cb.lecun_uniform, 1 / nI)):
        assert_uniform(draw(init, *shape), -((3 * variance) ** 0.5), (3 * variance) ** 0.5)


@pytest.mark.parametrize("name", ["glorot_normal", "he_uniform", "lecun_normal", "lecun_uniform"])
def test_bounds_and_deviations_match_thinc(name: str) -> None:
    thinc = pytest.importorskip("thinc.initializers")
    np.random.seed(0)
    theirs = getattr(thinc, f"{name}_init")(pytest.importorskip("thinc.api").NumpyOps(), (100, 900))
    ours = draw(getattr(cb, name), 100, 900)
    assert abs(ours.std() / theirs.std() - 1) < 8 / (2 * N) ** 0.5
    if name.endswith("uniform"):
        assert abs(ours.max() / theirs.max() - 1) < 1e-3


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (5, 2, 3), (3, 2, 5), (5,)], ids=str)
def test_orthogonal_matrix_times_its_transpose_is_the_identity(shape: tuple[int, ...]) -> None:
    W = draw(cb.orthogonal, *shape).reshape(shape[0], -1, shape[-1] if len(shape) > 1 else 1)
    for piece in np.moveaxis(W, 1, 0):
        product = piece @ piece.T if piece.shape[0] < piece.shape[1] else piece.T @ piece
        np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-14)


def test_orthogonal_matrices_are_uniformly_distributed() -> None:
    """Each entry of a uniform 3 x 3 rotation or reflection has mean 0 and variance 1/3."""
    W = draw(cb.orthogonal, 3, 10_000, 3)
    # Each entry is uniform within +-1 (Archimedes), so the variance of its square is 4/45.
    assert (abs(W.mean(axis=1)) < 4 * (1 / 3 / 10_000) ** 0.5).all()
    assert (abs((W**2).mean(axis=1) - 1 / 3) < 4 * (4 / 45 / 10_000) ** 0.5).all()
    found = np.linalg.det(np.moveaxis(W, 1, 0))
    assert abs(found.mean()) < 4 / 10_000**0.5  # rotations and reflections are equally frequent


def test_uniform_bounds() -> None:
    assert_uniform(draw(cb.uniform(-0.3, 0.2), N), -0.3, 0.2)
    assert_uniform(draw(cb.uniform(), N), -0.1, 0.1)


def test_normal_deviation() -> None:
    assert_normal(draw(cb.normal(0.2), N), 0.2)
    assert_normal(draw(cb.normal(), N), 0.1)


def test_layer_uses_the_given_initializers() -> None:
    model = cb.Linear(2, 3, init_W=cb.ones, init_b=cb.uniform(5.0, 6.0)).initialize()
    assert (model.get_param("W") == 1).all()
    assert ((model.get_param("b") >= 5) & (model.get_param("b") < 6)).all()


@pytest.mark.parametrize(
    ("make", "name", "std"),
    [
        (lambda: cb.Linear(300, 300), "W", (2 / 600) ** 0.5),
        (lambda: cb.Maxout(100, 300, pieces=3), "W", (2 / 400) ** 0.5),
        (lambda: cb.Relu(300, 300), "W", (2 / 300) ** 0.5),
        (lambda: cb.Embed(300, 300), "E", 0.2 / 12**0.5),
        (lambda: cb.HashEmbed(300, 300), "E", 0.2 / 12**0.5),
    ],
    ids=["Linear", "Maxout", "Relu", "Embed", "HashEmbed"],
)
def test_default_initial_weights_of_layers(make: Any, name: str, std: float) -> None:
    W = make().initialize(rng=0, dtype="float64").get_param(name)
    assert W.size == N
    assert abs(W.std() - std) < 4 * std / (2 * N) ** 0.5
