"""The README: its comparison holds for the installed libraries; its links and commands exist.

`pytest README.md` runs its Python code as a doctest.
"""

import re
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers.commands import ROOT

README = (ROOT / "README.md").read_text(encoding="utf8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf8")


# -- commands and links ------------------------------------------------------------------------


def test_links_exist() -> None:
    links = set(re.findall(r"\]\(([\w/.-]+)[#\w-]*\)", README))
    assert {"docs/guide.md", "docs/reference.md"} <= links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_readme_shows_make_demo_and_make_test() -> None:
    assert "```sh\nmake demo\nmake test\n```" in README
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


def test_commands_of_the_makefile_are_documented() -> None:
    commands = re.findall(r"^\t(\.venv/bin/.*)$", MAKEFILE, re.MULTILINE)
    shown = (README + CONTRIBUTING).replace(" && ", "\n").replace(" &&\n", "\n")
    lines = [line.strip() for line in shown.splitlines()]
    for command in commands:
        if "pip install" not in command:
            assert command in lines


def test_ci_runs_make_test() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text(encoding="utf8")


# -- the table "Why combinet": claims about other libraries --------------------------------------


def _sample(rows: int = 4) -> Any:
    return np.random.default_rng(0).normal(size=(rows, 3)).astype("float32")


def test_update_between_passes_is_safe_in_combinet_and_jax() -> None:
    X = _sample()
    model = (cb.Linear(5) >> cb.Linear(2)).initialize(X)
    expected = np.ones((4, 2)) @ model[1].get_param("W") @ model[0].get_param("W")
    _, backprop = model.begin_update(X)
    other = model.begin_update(X)[1]
    other(np.ones((4, 2), "float32"), cb.Adam(0.1))
    np.testing.assert_allclose(backprop(np.ones((4, 2), "float32")), expected, rtol=1e-5)

    jax = pytest.importorskip("jax")
    W = jax.numpy.ones((2, 3))
    _, pullback = jax.vjp(lambda X: X @ W.T, X)
    W = W * 2
    np.testing.assert_allclose(pullback(np.ones((4, 2), "float32"))[0], 2.0)


def test_update_between_passes_gives_wrong_gradients_in_thinc() -> None:
    api = pytest.importorskip("thinc.api")
    X = _sample()
    model = api.chain(api.Linear(5), api.Linear(2)).initialize(X)
    expected = np.ones((4, 2)) @ model.layers[1].get_param("W") @ model.layers[0].get_param("W")
    _, backprop = model.begin_update(X)
    model.begin_update(X)[1](np.ones((4, 2), "float32"))
    model.finish_update(api.Adam(0.1))
    assert not np.allclose(backprop(np.ones((4, 2), "float32")), expected, rtol=1e-2)


def test_update_between_passes_fails_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    pending, other = (model(torch.ones(4, 3)).sum() for _ in range(2))
    other.backward()
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        pending.backward()


def test_unequal_widths_fail_at_composition_only_in_combinet() -> None:
    with pytest.raises(cb.DimensionError, match=r"linear.*softmax"):
        cb.Linear(5, 3) >> cb.Softmax(2, 4)

    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(4, 2))
    with pytest.raises(RuntimeError):
        module(torch.ones(4, 3))

    api = pytest.importorskip("thinc.api")
    model = api.chain(api.Linear(5, 3), api.Softmax(2, 4)).initialize()
    with pytest.raises(ValueError, match="Shape mismatch"):
        model.predict(_sample())


def test_failed_load_changes_nothing_only_in_combinet() -> None:
    saved = (cb.Linear(5, 3) >> cb.Softmax(4)).initialize().to_bytes()
    model = (cb.Linear(5, 3) >> cb.Softmax(2)).initialize(rng=1)
    before = model.to_bytes()
    with pytest.raises(cb.CombinetError):
        model.from_bytes(saved)
    assert model.to_bytes() == before

    torch = pytest.importorskip("torch")
    wide, narrow = (
        torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, nO)) for nO in (4, 2)
    )
    with pytest.raises(RuntimeError, match="size mismatch"):
        narrow.load_state_dict(wide.state_dict())
    assert (narrow[0].weight == wide[0].weight).all()

    api = pytest.importorskip("thinc.api")
    three, two = (
        api.chain(api.Linear(5, 3), api.Maxout(2, nP=nP)).initialize(_sample()) for nP in (3, 2)
    )
    three.layers[0].set_param("b", np.arange(5, dtype="float32"))
    with pytest.raises(ValueError, match="nP"):
        two.from_bytes(three.to_bytes())
    assert (two.layers[0].get_param("b") == np.arange(5)).all()
