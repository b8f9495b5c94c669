"""The wrappers of all libraries do the same work: alone, in chains, and in spaCy components."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import combinet as cb
from helpers import wrapped_libraries
from helpers.arrays import floats
from helpers.commands import ROOT
from helpers.wrapped_libraries import BUILDERS, network

BACKEND = os.environ["KERAS_BACKEND"]
NEEDS = {"plain": (), "keras": ("keras", BACKEND)}
LIBRARIES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            any(find_spec(each) is None for each in NEEDS.get(name, (name,))),
            reason="a library is not installed",
        ),
    )
    for name in BUILDERS
]
X8 = floats(60, 8).astype("float32")
X5 = floats(60, 5).astype("float32")
LABELS = (X5[:, 0] > 0) + 2 * (X5[:, 1] > 0)


def in_chain(library: str) -> Any:
    return network(library, 4).initialize(X5, rng=0)


def step(model: Any, X: Any, labels: Any, sgd: Any) -> float:
    Y, backprop = model.begin_update(X, drop=0.1)
    dY, value = cb.CategoricalCrossentropy()(Y, labels)
    backprop(dY, sgd)
    return float(value)


@pytest.mark.parametrize("library", LIBRARIES)
def test_layer_alone_learns(library: str) -> None:
    """A fixed target: the class of a column, which every library's layer can learn."""
    layer, labels, sgd = BUILDERS[library]().initialize(X8), X8[:, :4].argmax(axis=1), cb.Adam(0.05)
    model = cb.softmax_activation()
    for _ in range(150):
        Y, backprop = layer.begin_update(X8)
        P, through = model.begin_update(Y)
        dX = backprop(through(cb.CategoricalCrossentropy()(P, labels)[0]), sgd)
    assert dX.shape == X8.shape
    assert (layer.predict(X8).argmax(axis=1) == labels).mean() > 0.75  # 0.25 by chance


@pytest.mark.parametrize("library", LIBRARIES)
def test_layer_in_a_chain_passes_the_gradient_on(library: str) -> None:
    """dX against central differences of the whole chain, with a step that float32 allows."""
    model = in_chain(library)
    for _ in range(10):
        step(model, X5, LABELS, cb.Adam(0.01))
    X, R, h = X5[:3].copy(), floats(3, 4, seed=5).astype("float32"), 1e-3
    dX = model.begin_update(X)[1](R)
    for index in [*np.ndindex(X.shape)]:
        moved = np.zeros_like(X)
        moved[index] = h
        values = [(R * model.predict(x)).sum(dtype="float64") for x in (X + moved, X - moved)]
        assert abs((values[0] - values[1]) / (2 * h) - dX[index]) < 2e-3, index


@pytest.mark.parametrize("library", LIBRARIES)
def test_chain_learns_saves_and_resumes_with_the_same_bits(library: str, tmp_path: Path) -> None:
    model, sgd = in_chain(library), cb.Adam(0.02)
    first = step(model, X5, LABELS, sgd)
    for _ in range(80):
        last = step(model, X5, LABELS, sgd)
    assert last < first / 2
    model.to_disk(tmp_path / "model")
    again, resumed = in_chain(library), cb.Adam(0.02)
    again.from_disk(tmp_path / "model")
    resumed.from_bytes(sgd.to_bytes(model), again)
    for _ in range(3):
        np.testing.assert_array_equal(again.predict(X5), model.predict(X5))
        step(model, X5, LABELS, sgd)
        step(again, X5, LABELS, resumed)
    assert again.to_bytes() == model.to_bytes()


# -- spaCy -------------------------------------------------------------------------------------

TEXTS = [("I like London", "good"), ("We all hate Paris", "bad"), ("I hate rain", "bad"),
         ("You like it", "good"), ("We like rain", "good"), ("They hate it", "bad")]  # fmt: skip


def examples(nlp: Any) -> Any:
    from spacy.training import Example

    return [
        Example.from_dict(
            nlp.make_doc(text), {"cats": {"good": cat == "good", "bad": cat == "bad"}}
        )
        for text, cat in TEXTS
    ]


@pytest.mark.parametrize("library", LIBRARIES)
def test_spacy_train_with_an_architecture_from_a_code_file(library: str, tmp_path: Path) -> None:
    spacy: Any = pytest.importorskip("spacy")
    from spacy.tokens import DocBin

    nlp = spacy.blank("en")
    model = {"@architectures": "combinet_tests.WithLibrary.v1", "library": library}
    nlp.add_pipe("textcat", config={"model": model})
    config = nlp.config.copy()
    config["paths"] = {"train": None, "dev": None, "vectors": None, "init_tok2vec": None}
    config["training"] |= {"max_steps": 60, "eval_frequency": 30, "patience": 0, "dropout": 0.0}
    config["training"]["optimizer"] |= {"learn_rate": 0.02}
    config.to_disk(tmp_path / "config.cfg")
    DocBin(docs=[e.reference for e in examples(nlp)]).to_disk(tmp_path / "corpus.spacy")
    paths = ["--paths.train", "corpus.spacy", "--paths.dev", "corpus.spacy"]
    ran = subprocess.run(
        [sys.executable, "-m", "spacy", "train", "config.cfg", "--output", "out", *paths,
         "--code", wrapped_libraries.__file__],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:] + ran.stdout[-2000:]
    pair = [spacy.load(tmp_path / "out" / "model-last") for _ in range(2)]
    assert pair[0].evaluate(examples(nlp))["cats_macro_f"] == 1.0
    for each in pair:
        each.update(examples(each), sgd=each.resume_training())
    saved = [each.get_pipe("textcat").model.to_bytes() for each in pair]
    assert saved[0] == saved[1]
    assert (
        saved[0] != spacy.load(tmp_path / "out" / "model-last").get_pipe("textcat").model.to_bytes()
    )


@pytest.mark.skipif(BACKEND == "jax", reason="this is the child process")
@pytest.mark.skipif(find_spec("jax") is None or find_spec("keras") is None, reason="not installed")
def test_keras_with_the_backend_jax() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", __file__, "-k", "keras"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "4 passed" in ran.stdout
