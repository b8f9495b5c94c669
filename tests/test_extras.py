"""Errors of interop modules whose library is missing."""

import subprocess
import sys
from importlib import import_module

import pytest

from combinet.extras import extra
from helpers.errors import raises


def test_missing_library_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with raises(ImportError, "torch", "combinet[some]"), extra("some", "nowhere", "torch"):
        import_module("torch")


def test_missing_dependency_of_a_library_keeps_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("library")
    (folder / "half_there.py").write_text("import nowhere_else")
    monkeypatch.syspath_prepend(str(folder))
    with (
        pytest.raises(ModuleNotFoundError, match="nowhere_else"),
        extra("some", "half_there"),
    ):
        import_module("half_there")


MODULES = {
    "jax": ("jax", "jax"),
    "keras": ("keras", "keras"),
    "onnx": ("onnx", "onnx"),
    "safetensors": ("safetensors", "safetensors"),
    "sklearn": ("sklearn", "sklearn"),
    "spacy": ("spacy", "spacy"),
    "thinc": ("thinc", "spacy"),
    "torch": ("torch", "torch"),
}


@pytest.mark.parametrize("module", MODULES)
def test_interop_module_names_its_extra(module: str) -> None:
    library, extra = MODULES[module]
    hide = f"import sys; sys.modules['{library}'] = None\n"
    ran = subprocess.run(
        [sys.executable, "-c", f"{hide}import combinet.interop.{module}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {library} ")
    assert f"pip install 'combinet[{extra}]'" in last
