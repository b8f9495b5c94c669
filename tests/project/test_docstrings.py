"""Docstrings of public callables describe each argument and have an example that runs."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import combinet as cb

MODULES = ("combinet.shapes", "combinet.testing", "combinet.text")
INTEROP = ("jax", "keras", "onnx", "safetensors", "sklearn", "spacy", "thinc", "torch")

SHAPE_RULE = ["model", "nI", "nO", "infer"]


def _public() -> Iterator[tuple[str, Any]]:
    for name in cb.__all__:
        yield name, getattr(cb, name)
    for name in MODULES + tuple(f"combinet.interop.{name}" for name in INTEROP):
        try:
            module = importlib.import_module(name)
        except ImportError:  # an extra that is not installed
            continue
        here = [each for each, value in vars(module).items() if _is_of(value, name)]
        for each in getattr(module, "__all__", here):
            if not hasattr(cb, each):
                yield f"{name}.{each}", getattr(module, each)


def _is_of(value: Any, module: str) -> bool:
    """Whether a module without a list of names defines this, or exists to pass it on."""
    name = getattr(value, "__name__", "_")
    origin = getattr(value, "__module__", "")
    return not name.startswith("_") and (origin == module or module == "combinet.shapes")


def _callables() -> Iterator[tuple[str, Any]]:
    """Every public function and class, and each method where it is defined first."""
    for name, value in _public():
        is_ours = str(getattr(value, "__module__", "")).startswith("combinet")
        if not is_ours or not (inspect.isfunction(value) or inspect.isclass(value)):
            continue  # a module, or a type for annotations
        if isinstance(value, type) and issubclass(value, Exception):
            continue
        yield name, value
        if not isinstance(value, type):
            continue
        for base in value.__mro__:
            own = vars(base).items() if base.__module__.startswith("combinet") else ()
            owner = value if base.__name__ in ("Node", "Operators") else base
            for method, function in own:
                overrides = any(hasattr(other, method) for other in base.__mro__[1:])
                if _is_method(function) and not overrides and not method.startswith("_"):
                    yield f"{owner.__name__}.{method}", getattr(owner, method)


def _is_method(value: Any) -> bool:
    """Whether a class's own code defines this; libraries add methods of their own to subclasses."""
    function = getattr(value, "__func__", value)
    return inspect.isfunction(function) and function.__module__.startswith("combinet")


CALLABLES = dict(_callables())


def _arguments(value: Any) -> list[str]:
    try:
        parameters = inspect.signature(value).parameters
    except ValueError:
        return []
    names = [name for name in parameters if name not in ("self", "cls")]
    return [] if names == SHAPE_RULE else names  # `combinet.shapes` says what these are


def _described(doc: str) -> set[str]:
    """The arguments in the section `Args:`, several of them with commas between."""
    section = re.search(r"^Args:\n((?: .*\n|\n)*)", doc + "\n", re.MULTILINE)
    lines = re.findall(r"^ {4}([*\w, ]+?):", section[1], re.MULTILINE) if section else []
    return {name.strip(" *") for names in lines for name in names.split(",")}


@pytest.mark.parametrize("name", CALLABLES)
def test_each_argument_is_described(name: str) -> None:
    value = CALLABLES[name]
    doc = inspect.getdoc(value) or ""
    # A method of Ops says in its formula what each array is.
    described = set(re.findall(r"\w+", doc)) if "Ops." in name else _described(doc)
    assert not [each for each in _arguments(value) if each not in described]


NEED_EXAMPLES = [
    name for name in CALLABLES if name[0].islower() or "." not in name or "Model." in name
]


@pytest.mark.parametrize("name", NEED_EXAMPLES)
def test_each_function_class_and_method_of_a_model_has_an_example(name: str) -> None:
    assert ">>>" in (inspect.getdoc(CALLABLES[name]) or "")
