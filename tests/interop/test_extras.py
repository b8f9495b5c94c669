"""Modules for libraries that may be missing."""

import subprocess
import sys
from importlib import import_module

import pytest

from combinet.interop.extras import extra
from helpers.errors import raises


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with raises(ImportError, "torch", "combinet[some]"), extra("some", "nowhere", "torch"):
        import_module("torch")


def test_what_a_library_itself_lacks_is_not_blamed_on_the_extra(
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
    "onnx": ("onnx", "onnx"),
    "safetensors": ("safetensors", "safetensors"),
    "sklearn": ("sklearn", "sklearn"),
    "spacy": ("spacy", "spacy"),
    "thinc": ("thinc", "spacy"),
    "torch": ("torch", "torch"),
}


@pytest.mark.parametrize("module", MODULES)
def test_each_module_says_which_extra_it_needs(module: str) -> None:
    library, extra = MODULES[module]
    hide = f"import sys; sys.modules['{library}'] = None\n"
    ran = subprocess.run(
        [sys.executable, "-c", f"{hide}import combinet.interop.{module}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {library} ")
    assert f"pip install 'combinet[{extra}]'" in last
