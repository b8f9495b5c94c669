"""Initializers against the formulas of their papers."""

from typing import Any

import numpy as np
import pytest

import combinet as cb

MAKERS: dict[str, Any] = {
    "zeros": cb.zeros,
    "ones": cb.ones,
    "glorot_uniform": cb.glorot_uniform,
    "he_normal": cb.he_normal,
    "uniform": cb.uniform(-0.3, 0.2),
    "normal": cb.normal(0.2),
}
every = pytest.mark.parametrize("init", MAKERS.values(), ids=MAKERS)
random = pytest.mark.parametrize("init", list(MAKERS.values())[2:], ids=list(MAKERS)[2:])

# Each is checked on n = 90 000 numbers drawn with a fixed seed; the standard error of a mean is
# sd / sqrt(n) = sd / 300, that of a normal's deviation sd / sqrt(2n). Four of them are allowed.
N = 90_000


def draw(init: Any, *shape: int, seed: int = 0) -> Any:
    return init(shape, np.random.default_rng(seed))


def assert_uniform(W: Any, low: float, high: float) -> None:
    """Within the bounds, close to both, and with the moments of the uniform distribution."""
    assert low <= W.min() <= low + (high - low) * 1e-3
    assert high - (high - low) * 1e-3 <= W.max() <= high
    deviation = (high - low) / 12**0.5
    assert abs(W.mean() - (low + high) / 2) < 4 * deviation / W.size**0.5
    # The fourth moment of the uniform distribution is 9/5 sd**4: the variance of (x - mean)**2
    # is 4/5 sd**4.
    assert abs(W.var() - deviation**2) < 4 * deviation**2 * (0.8 / W.size) ** 0.5


def assert_normal(W: Any, deviation: float) -> None:
    assert abs(W.mean()) < 4 * deviation / W.size**0.5
    assert abs(W.std() - deviation) < 4 * deviation / (2 * W.size) ** 0.5
    beyond = (np.abs(W) > 2 * deviation).mean()  # 4.55 % of a normal distribution, 0 of a uniform
    assert abs(beyond - 0.0455) < 4 * (0.0455 * 0.9545 / W.size) ** 0.5


def test_constants() -> None:
    assert draw(cb.zeros, 3, 2).tolist() == [[0.0, 0.0]] * 3
    assert draw(cb.ones, 3, 2).tolist() == [[1.0, 1.0]] * 3


@every
@pytest.mark.parametrize("shape", [(5,), (4, 3), (4, 2, 3)], ids=str)
def test_shape_and_dtype(init: Any, shape: tuple[int, ...]) -> None:
    W = draw(init, *shape)
    assert W.shape == shape
    assert W.dtype == np.float64


@random
def test_a_seed_gives_the_same_numbers_and_another_others(init: Any) -> None:
    np.testing.assert_array_equal(draw(init, 4, 3), draw(init, 4, 3))
    assert not np.isin(draw(init, 4, 3, seed=1), draw(init, 4, 3)).any()


@random
def test_a_generator_goes_on(init: Any) -> None:
    rng = np.random.default_rng(0)
    assert not np.isin(init((4, 3), rng), init((4, 3), rng)).any()


@random
def test_the_global_generator_is_left_alone(init: Any) -> None:
    before = np.random.get_state()[1].copy()
    draw(init, 4, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_glorot_uniform() -> None:
    bound = (6 / (100 + 900)) ** 0.5
    assert_uniform(draw(cb.glorot_uniform, 100, 900), -bound, bound)


def test_glorot_uniform_counts_the_pieces_of_maxout_for_neither() -> None:
    bound = (6 / (100 + 300)) ** 0.5
    assert_uniform(draw(cb.glorot_uniform, 100, 3, 300), -bound, bound)


def test_he_normal() -> None:
    assert_normal(draw(cb.he_normal, 100, 900), (2 / 900) ** 0.5)


def test_he_normal_counts_the_inputs_of_maxout_alone() -> None:
    assert_normal(draw(cb.he_normal, 100, 3, 300), (2 / 300) ** 0.5)


def test_uniform() -> None:
    assert_uniform(draw(cb.uniform(-0.3, 0.2), N), -0.3, 0.2)
    assert_uniform(draw(cb.uniform(), N), -0.1, 0.1)


def test_normal() -> None:
    assert_normal(draw(cb.normal(0.2), N), 0.2)
    assert_normal(draw(cb.normal(), N), 0.1)


def test_each_layer_uses_the_initializer_that_it_is_given() -> None:
    model = cb.Linear(2, 3, init_W=cb.ones, init_b=cb.uniform(5.0, 6.0)).initialize()
    assert (model.get_param("W") == 1).all()
    assert ((model.get_param("b") >= 5) & (model.get_param("b") < 6)).all()


@pytest.mark.parametrize(
    ("make", "name", "deviation"),
    [
        (lambda: cb.Linear(300, 300), "W", (2 / 600) ** 0.5),
        (lambda: cb.Maxout(100, 300, pieces=3), "W", (2 / 400) ** 0.5),
        (lambda: cb.Relu(300, 300), "W", (2 / 300) ** 0.5),
        (lambda: cb.Embed(300, 300), "E", 0.2 / 12**0.5),
        (lambda: cb.HashEmbed(300, 300), "E", 0.2 / 12**0.5),
    ],
    ids=["Linear", "Maxout", "Relu", "Embed", "HashEmbed"],
)
def test_the_first_weights_of_a_layer(make: Any, name: str, deviation: float) -> None:
    W = make().initialize(rng=0, dtype="float64").get_param(name)
    assert W.size == N
    assert abs(W.std() - deviation) < 4 * deviation / (2 * N) ** 0.5
