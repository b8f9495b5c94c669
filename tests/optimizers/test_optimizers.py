"""Optimizers against torch.optim and against their formulas, step by step, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import combinet as cb
from combinet.storage import file_format as fmt
from helpers.arrays import floats
from helpers.errors import raises
from helpers.models import averages_of
from helpers.optimizers import (
    RATE,
    Counting,
    Twin,
    add_gradients,
    apart,
    assert_identical,
    assert_same,
    falling,
    gradients,
    initialized,
    layouts,
    make_parts,
    part_of_more,
    train,
    weights,
    whole,
)

ADDED = {"L2": 0.2, "L2_is_weight_decay": False}
OPTIONS = {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
PAIRS: dict[str, tuple[Callable[..., Any], dict[str, Any], str, dict[str, Any]]] = {
    "sgd": (cb.SGD, {}, "SGD", {}),
    "momentum": (cb.SGD, {"momentum": 0.9}, "SGD", {"momentum": 0.9}),
    "sgd-L2": (cb.SGD, ADDED, "SGD", {"weight_decay": 0.2}),
    "adam": (cb.Adam, {}, "Adam", {}),
    "adam-options": (cb.Adam, OPTIONS, "Adam", {"betas": (0.8, 0.95), "eps": 1e-3}),
    "adam-L2": (cb.Adam, ADDED, "Adam", {"weight_decay": 0.2}),
    "adamw": (cb.Adam, {"L2": 0.2}, "AdamW", {"weight_decay": 0.2}),
}


@layouts
@pytest.mark.parametrize("clip", [0.0, 5.0])
@pytest.mark.parametrize("pair", PAIRS)
def test_fifty_steps_match_pytorch(pair: str, clip: float, layout: Any) -> None:
    make, ours, name, theirs = PAIRS[pair]
    model, parts = layout()
    twin = Twin(model, name, lr=RATE, **theirs)
    optimizer = make(RATE, grad_clip=clip, **ours)
    for i in range(50):  # trains the model, one layer and two layers in turn
        add_gradients([model, parts[0], parts[2] >> parts[1]][i % 3], i)
        twin.step(clip)
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())
    assert optimizer.step == 50


@pytest.mark.parametrize("pair", PAIRS)
def test_schedule_sets_the_rate_of_each_step(pair: str) -> None:
    make, ours, name, theirs = PAIRS[pair]
    model, _ = whole()
    twin = Twin(model, name, lr=RATE, **theirs)
    optimizer = make(falling, grad_clip=0, **ours)
    for step in range(50):
        add_gradients(model, step)
        twin.step(rate=RATE / (1 + 0.05 * step))
        model.finish_update(optimizer)
        assert_same(weights(model), twin.weights())


def test_decoupled_weight_decay_of_sgd_matches_its_formula() -> None:
    model, _ = whole()
    before = weights(model)
    add_gradients(model, 0)
    dW = dict(zip(before, gradients(model), strict=True))
    model.finish_update(cb.SGD(0.1, L2=lambda step: 0.5, grad_clip=0))
    assert_same(weights(model), {p: W * (1 - 0.1 * 0.5) - 0.1 * dW[p] for p, W in before.items()})


def test_gradients_below_grad_clip_are_not_scaled() -> None:
    model, _ = whole()
    before = weights(model)
    add_gradients(model, 0)
    dW = dict(zip(before, gradients(model), strict=True))
    norm = sum(float((g**2).sum()) for g in dW.values()) ** 0.5
    model.finish_update(cb.SGD(1.0, grad_clip=norm * 1.01))
    assert_same(weights(model), {path: W - dW[path] for path, W in before.items()})


@pytest.mark.parametrize("size", [1e15, 1e25, 1e37])
def test_huge_gradients_are_scaled_to_grad_clip(size: float) -> None:
    """The squares of these gradients overflow float32."""
    model = cb.Linear(1, 1).initialize()
    _, backprop = model.begin_update(np.zeros((1, 1), "f"))
    backprop(np.full((1, 1), size, "f"), cb.SGD(0.5, grad_clip=3.0))
    assert model.get_param("b").item() == pytest.approx(-1.5, rel=1e-6)


def test_zero_gradients_change_nothing() -> None:
    model, _ = whole()
    before = weights(model)
    Y, backprop = model.begin_update(floats(3, 4))
    backprop(np.zeros(Y.shape), cb.Adam(0.1))
    assert_same(weights(model), before)


@layouts
def test_averages_are_the_running_means_of_the_weights(layout: Any) -> None:
    model, parts = layout()
    sgd = cb.SGD(0.1, average_decay=0.5)
    means, counts = weights(model), dict.fromkeys(weights(model), 0)
    for i in range(12):
        add_gradients(model if i % 3 else parts[1], i)
        pending = zip(weights(model), gradients(model), strict=True)
        trained = [path for path, gradient in pending if gradient is not None]
        model.finish_update(sgd)
        for path in trained:
            counts[path] += 1
            decay = min(0.5, (1 + counts[path]) / (10 + counts[path]))
            means[path] += (1 - decay) * (weights(model)[path] - means[path])
    assert_same(averages_of(model, sgd.averages), means)
    assert set(counts.values()) == {8, 12}


def test_averages_contain_only_updated_layers() -> None:
    _, parts = whole()
    sgd = cb.SGD(0.1)
    assert sgd.averages == {}
    train(parts[1], sgd, range(2))
    assert {key[0] for key in sgd.averages} == {parts[1].id}


def test_averages_held_by_the_user_do_not_change() -> None:
    model, _ = whole()
    sgd = cb.SGD(0.1)
    train(model, sgd, range(2))
    taken = sgd.averages
    before = {key: mean.copy() for key, mean in taken.items()}
    train(model, sgd, range(2, 4))
    for key, mean in taken.items():
        np.testing.assert_array_equal(mean, before[key])
        assert not np.array_equal(mean, sgd.averages[key])


def test_averages_move_to_a_new_store_with_the_model() -> None:
    model, parts = whole()
    sgd = cb.SGD(0.1)
    train(model, sgd, range(2))
    before = {key: mean.copy() for key, mean in sgd.averages.items()}
    initialized(cb.chain(*parts, cb.Linear(2, 4)))  # a new store
    assert_identical(sgd.averages, before)


def test_no_averages_without_use_averages() -> None:
    model, _ = whole()
    sgd = cb.SGD(0.1, use_averages=False)
    train(model, sgd, range(2))
    assert sgd.averages == {}


@pytest.mark.parametrize(("layout", "calls"), [(whole, 1), (apart, 3), (part_of_more, 2)])
def test_update_uses_one_operation_per_span_of_weights(layout: Any, calls: int) -> None:
    model, _ = layout()
    sgd = Counting(0.1)
    add_gradients(model, 0)
    model.finish_update(sgd)
    assert (sgd.calls, sgd.step) == (calls, 1)


def test_update_of_many_layers_uses_one_operation() -> None:
    model, sgd = cb.clone(cb.Linear(4, 4), 30), Counting(0.1)
    initialized(model)
    add_gradients(model, 0)
    model.finish_update(sgd)
    assert (sgd.calls, sgd.step) == (1, 1)


def test_update_leaves_layers_outside_the_model_unchanged() -> None:
    parts = make_parts()
    more = cb.chain(*parts)
    initialized(more)
    before = weights(parts[1])
    add_gradients(more, 0)
    train(parts[0] >> parts[2], cb.Adam(0.1, L2=0.1), range(3))
    assert_same(weights(parts[1]), before)
    assert [part.has_grad("W") for part in parts] == [False, True, False]


MAKERS = {
    "sgd": lambda: cb.SGD(falling),
    "momentum": lambda: cb.SGD(falling, momentum=0.9),
    "adam": lambda: cb.Adam(falling, L2=0.1),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
ALL = MAKERS | {
    "nesterov": lambda: cb.SGD(falling, momentum=0.9, nesterov=True),
    "adamw": lambda: cb.AdamW(falling),
    "radam": lambda: cb.RAdam(falling, L2=0.1),
    "lion": lambda: cb.Lion(falling, L2=0.1),
    "adafactor": lambda: cb.Adafactor(falling, L2=0.1, use_averages=True),
    "lookahead": lambda: cb.Lookahead(cb.Adam(falling, L2=0.1), k=3),
    "lookahead-adafactor": lambda: cb.Lookahead(
        cb.Adafactor(falling, L2=0.1, use_averages=True), k=3
    ),
}
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


@layouts
@every
def test_training_continues_from_bytes(make: Any, layout: Any) -> None:
    model, parts = layout()
    sgd = make()
    train(parts[0], sgd, range(2))
    train(model, sgd, range(5))
    resumed = layout()[0].from_bytes(model.to_bytes())
    resumed_sgd = make().from_bytes(sgd.to_bytes(model), resumed)
    train(model, sgd, range(5, 10))
    train(resumed, resumed_sgd, range(5, 10))
    assert_identical(weights(resumed), weights(model))
    assert resumed_sgd.step == sgd.step == 12
    assert resumed_sgd.to_bytes(resumed) == sgd.to_bytes(model)
    assert_identical(averages_of(resumed, resumed_sgd.averages), averages_of(model, sgd.averages))


@every
def test_training_continues_from_disk(make: Any, tmp_path: Any) -> None:
    model, _ = whole()
    sgd = make()
    train(model, sgd, range(5))
    model.to_disk(tmp_path / "model")
    sgd.to_disk(tmp_path / "sgd", model)
    resumed = cb.chain(*make_parts()).from_disk(tmp_path / "model")
    train(resumed, make().from_disk(tmp_path / "sgd", resumed), range(5, 10))
    train(model, sgd, range(5, 10))
    assert_identical(weights(resumed), weights(model))


@every
def test_used_optimizer_can_load_an_earlier_state(make: Any) -> None:
    model, parts = whole()
    sgd = make()
    start = sgd.to_bytes(model)
    train(parts[0], sgd, range(2))
    state, before = sgd.to_bytes(model), model.to_bytes()
    train(model, sgd, range(2, 5))
    expected = weights(model)
    model.from_bytes(before)
    train(model, sgd.from_bytes(state, model), range(2, 5))
    assert_identical(weights(model), expected)
    assert sgd.from_bytes(start, model).to_bytes(model) == start


def state(optimizer: Any, parts: list[Any]) -> bytes:
    model = cb.chain(*parts)
    initialized(model)
    train(model, optimizer, range(1))
    return optimizer.to_bytes(model)  # type: ignore[no-any-return]


def bad_states() -> dict[str, bytes]:
    good = state(cb.Adam(), make_parts())
    return {
        "empty": b"",
        "not msgpack": b"\xc1 is not msgpack",
        "truncated": good[:-10],
        "damaged": good[:-40] + bytes([good[-40] ^ 1]) + good[-39:],
        "a model": whole()[0].to_bytes(),
        "another optimizer": state(cb.SGD(0.1, momentum=0.9), make_parts()),
        "longer model": state(cb.Adam(), make_parts(4)),
        "wider model": state(cb.Adam(), [cb.Linear(5, 4), cb.Linear(4, 5), cb.Linear(4, 4)]),
    }


BAD = bad_states()


@pytest.mark.parametrize("what", BAD)
def test_bad_state_is_refused_and_changes_nothing(what: str) -> None:
    model, _ = whole()
    adam = cb.Adam()
    train(model, adam, range(3))
    before = adam.to_bytes(model)
    with pytest.raises((cb.FormatError, cb.DimensionError)):
        adam.from_bytes(BAD[what], model)
    assert adam.to_bytes(model) == before


def at(*keys: str, value: Any = None) -> Callable[[Any], Any]:
    """Returns a function that sets the entry at a path of keys, or removes it if value is None."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content.pop(keys[-1], None)
        if value is not None:
            content[keys[-1]] = value

    return change


SECOND = "chain >> linear[1].W"
ARRAY = np.ones((4, 4))


@pytest.mark.parametrize(
    "change",
    [
        at("type"), at("type", value=ARRAY), at("step"), at("step", value="x"),
        at("step", value=-1), at("step", value=ARRAY), at("kept"), at("kept", value=[1]),
        at("more", value=1), at("kept", SECOND, value=[1]), at("kept", SECOND, "steps"),
        at("kept", SECOND, "steps", value="x"), at("kept", SECOND, "steps", value=-1),
        at("kept", SECOND, "steps", value=2**63), at("kept", SECOND, "steps", value=True),
        at("kept", SECOND, "more", value=1), at("kept", SECOND, "arrays"),
        at("kept", SECOND, "arrays", value=[1]), at("kept", SECOND, "arrays", "first"),
        at("kept", SECOND, "arrays", "more", value=ARRAY),
        at("kept", SECOND, "arrays", "first", value=1.5),
        at("kept", SECOND, "arrays", "first", value=ARRAY.astype("int64")),
        at("kept", SECOND, "arrays", "first", value=ARRAY[:2]),
    ],
)  # fmt: skip
def test_state_with_invalid_content_is_refused_and_changes_nothing(change: Any) -> None:
    model, _ = whole()
    adam, other = cb.Adam(), cb.Adam()
    train(model, adam, range(3))
    content = fmt.decode("optimizer", adam.to_bytes(model))
    change(content)
    with pytest.raises((cb.FormatError, cb.DimensionError)):
        other.from_bytes(fmt.encode("optimizer", content), model)
    assert not other.stores
    assert other.step == 0


@pytest.mark.parametrize("content", [[], None, 1, "x", ARRAY], ids=repr)
def test_state_that_is_not_a_dict_is_refused(content: Any) -> None:
    with raises(cb.FormatError, "step"):
        cb.Adam().from_bytes(fmt.encode("optimizer", content), whole()[0])


def damaged(data: Any, content: Any) -> Any:
    """Returns the content with one entry removed or replaced."""
    key = data.draw(st.sampled_from(sorted(content)))
    if isinstance(content[key], dict) and content[key] and data.draw(st.integers(0, 4)):
        return content | {key: damaged(data, content[key])}
    others = [
        None,
        -1,
        2,
        2**64 - 1,
        1.5,
        True,
        "x",
        [],
        {},
        ARRAY,
        ARRAY.astype("int32"),
        ARRAY[0],
    ]
    other = data.draw(st.sampled_from([*others, damaged]))
    rest = {name: value for name, value in content.items() if name != key}
    return rest if other is damaged else content | {key: other}


TRAINED = whole()[0]
ADAM = cb.Adam()
train(TRAINED, ADAM, range(2))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_state_with_valid_checksum_loads_or_changes_nothing(data: Any) -> None:
    before = ADAM.to_bytes(TRAINED)
    content = damaged(data, fmt.decode("optimizer", before))
    try:
        ADAM.from_bytes(fmt.encode("optimizer", content), TRAINED)
    except (cb.FormatError, cb.DimensionError):
        assert ADAM.to_bytes(TRAINED) == before
    else:
        ADAM.from_bytes(before, TRAINED)
    assert ADAM.to_bytes(TRAINED) == before


def test_sgd_without_momentum_refuses_a_state_with_momentum() -> None:
    model, _ = whole()
    sgd = cb.SGD(0.1, momentum=0.9)
    train(model, sgd, range(1))
    with pytest.raises(cb.FormatError, match="velocity"):
        cb.SGD(0.1).from_bytes(sgd.to_bytes(model), model)


def test_two_optimizers_keep_separate_moments() -> None:
    model, _ = whole()
    torch = pytest.importorskip("torch")
    twin = Twin(model, "Adam", lr=0.01)
    theirs = [twin.optim, torch.optim.SGD(twin.params.values(), lr=0.1, momentum=0.9)]
    ours = [cb.Adam(0.01, grad_clip=0), cb.SGD(0.1, momentum=0.9, grad_clip=0)]
    for i in range(20):
        add_gradients(model, i)
        twin.optim = theirs[i % 2]
        twin.step()
        model.finish_update(ours[i % 2])
        assert_same(weights(model), twin.weights())


@pytest.mark.parametrize("left", [0, 1, 2])
def test_parameter_without_gradient_between_others_is_not_updated(left: int) -> None:
    tables = [cb.Embed(3, 4) for _ in range(3)]
    model, sgd = cb.tuplify(*tables).initialize(rng=0), cb.Adam(L2=0.1)
    before = [layer.get_param("E").copy() for layer in tables]
    for number, layer in enumerate(tables):
        if number != left:
            Y, backprop = layer.begin_update(np.arange(4))
            backprop(np.ones_like(Y))
    model.finish_update(sgd)
    same = [
        bool((layer.get_param("E") == W).all()) for layer, W in zip(tables, before, strict=True)
    ]
    assert same == [number == left for number in range(3)]


def test_settings_can_be_read_and_set() -> None:
    optimizer = cb.Adam(0.1, L2=0.01, grad_noise=0.3, rng=0)
    assert (optimizer.learn_rate, optimizer.L2, optimizer.grad_noise) == (0.1, 0.01, 0.3)
    optimizer.learn_rate = optimizer.L2 = falling
    assert optimizer.learn_rate is falling
    assert optimizer.L2 is falling
    with raises(cb.InputError, "learn_rate"):
        optimizer.learn_rate = -1.0
    assert optimizer.learn_rate is falling
