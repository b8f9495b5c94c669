"""Write docs/reference.md: every public name, its arguments, and the first line said of it."""

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import combinet

PAGE = Path(__file__).parents[1] / "docs" / "reference.md"
HEAD = """# Reference

All names of `combinet`, each with its arguments and the first line of its docstring; `help(name)`
shows the rest. Layers in CamelCase own weights (`Relu`), those in lower case do not (`relu`);
`Dropout` and `Logistic` keep the names that people know. Sizes are outputs first. An optimizer's
`**options` are the keywords of `Optimizer`. `scripts/reference.py` makes this page.
"""
# By the modules that names are from, within combinet or combinet.layers.
KINDS = {
    "Models": "model node run",
    "Combinators": "combinators tuples bidirectional",
    "Wrappers": "wrappers grouping passes threads",
    "Dense layers and activations": "linear relu gelu swish mish dish elu sigmoid hard_activations "
    "maxout softmax sparse_linear cauchy_similarity elementwise",
    "Norms and dropout": "layer_norm rms_norm batch_norm dropout",
    "Tables, ids, positions": "embed embed_bag tables unembed positions array_getitem",
    "Sequences": "conv1d expand_window recurrent attention parametric_attention transformer crf",
    "Pooling and conversions": "reduce conversions",
    "Losses": "losses",
    "Optimizers": "optimizers",
    "Schedules": "schedules",
    "Initializers": "initializers",
    "Data and finished models": "data inputs utilities",
    "Ops": "ops",
    "Errors": "errors",
}


class _Code(str):
    """What stands for a default that is a function, shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def _default(value: Any) -> Any:
    if isinstance(value, partial):  # as uniform(-0.1, 0.1) makes one
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


def reference() -> str:
    """The page."""
    kind_of = {module: kind for kind, modules in KINDS.items() for module in modules.split()}
    lines: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name in combinet.__all__:
        value = getattr(combinet, name)
        module = value.__module__.removeprefix("combinet.").removeprefix("layers.").split(".")[0]
        first = (inspect.getdoc(value) or "").splitlines()[0]
        lines[kind_of[module]].append(f"- `{_signature(name, value)}`: {first}\n")
    return HEAD + "".join(f"\n## {kind}\n\n{''.join(lines[kind])}" for kind in KINDS)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf8")
