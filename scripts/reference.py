"""Writes docs/reference.md: public names, their arguments and the first lines of docstrings."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import combinet

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """# Reference

This page lists all names of `combinet` with their arguments and the first lines of their
docstrings. `help(name)` shows the rest. Layers in CamelCase own weights (`Relu`), layers in lower
case do not (`relu`); `Dropout` and `Logistic` keep their familiar names. Sizes are outputs first.
The `**options` of an optimizer are the keywords of `Optimizer`. `scripts/reference.py` writes this
page.
"""
# The modules of each section. A name belongs to the section with the longest matching prefix.
SECTIONS = {
    "Models": "core",
    "Combinators": "combinators layers.sequence.bidirectional",
    "Layers for other batches": "combinators.with_batches combinators.subsets",
    "Hooks, devices, threads": (
        "combinators.hooks combinators.device combinators.checkpoint combinators.parallel"
    ),
    "Dense layers and activations": "layers.dense",
    "Norms": "layers.norm",
    "Tables, ids, positions": "layers.embed",
    "Sequences": "layers.sequence",
    "Attention": "layers.attention",
    "Losses": "losses",
    "Optimizers": "optimizers",
    "Schedules": "schedules",
    "Initializers": "initializers",
    "Batches": "batches",
    "Ops": "ops",
    "Errors": "errors",
}


class _Code(str):
    """The name of a function that is a default, shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _default(value: Any) -> Any:
    if isinstance(value, partial):  # such as uniform(-0.1, 0.1)
        name = value.func.__name__.removeprefix("_")
        return _Code(f"{name}({', '.join(map(str, value.args))})")
    return _Code(value.__name__) if inspect.isfunction(value) else value


def _signature(name: str, value: Any) -> str:
    if isinstance(value, type) and issubclass(value, Exception):
        return name
    plain = []
    for parameter in inspect.signature(value).parameters.values():
        default = _default(parameter.default)
        plain.append(parameter.replace(annotation=parameter.empty, default=default))
    return f"{name}{inspect.Signature(plain)}"


def _section(module: str) -> str:
    """Returns the section with the longest prefix of a module's name."""
    found = [
        (len(prefix), section)
        for section, prefixes in SECTIONS.items()
        for prefix in prefixes.split()
        if f"{module}.".startswith(f"combinet.{prefix}.")
    ]
    return max(found)[1]


def reference() -> str:
    """Returns the text of the page."""
    lines: dict[str, list[str]] = {section: [] for section in SECTIONS}
    for name, value in vars(combinet).items():
        if name in getattr(combinet, "__all__"):  # noqa: B009
            first = (inspect.getdoc(value) or "").splitlines()[0]
            lines[_section(value.__module__)].append(f"- `{_signature(name, value)}`: {first}\n")
    return HEAD + "".join(
        f"\n## {section}\n\n{''.join(sorted(lines[section], key=str.swapcase))}"
        for section in SECTIONS
    )


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf8")
