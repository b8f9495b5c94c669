"""What the operators between models mean: a table, which a context can change for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partialmethod
from typing import Any, TypeAlias

from combinet.errors import InputError

Table: TypeAlias = Mapping[str, Callable[..., Any]]

SYMBOLS = ("+", "-", "*", "@", "/", "//", "%", "**", "<<", ">>", "&", "^", "|")
DEFAULT: dict[str, Callable[..., Any]] = {}  # filled where chain and the others are defined
_current: ContextVar[Table] = ContextVar("combinet_operators", default=DEFAULT)


class Operators:
    """Mixed into `Model`: every operator is looked up in the table of the context."""

    @classmethod
    @contextmanager
    def define_operators(cls, operators: Table) -> Iterator[None]:
        """Give operators a meaning inside a `with` block, in this context (thread, task) alone.

        Without it `>>` is chain, `|` concatenate, `+` add and `**` clone. Any of SYMBOLS can be
        defined; those not named keep the meaning that they had outside. At the block's end, by
        an exception too, all is as before.

        Example:
            >>> from combinet import Linear, Model, add
            >>> with Model.define_operators({"&": add}):
            ...     model = Linear(2, 2) & Linear(2, 2)
        """
        if unknown := set(operators) - set(SYMBOLS):
            raise InputError(f"there are no operators {sorted(unknown)} to define")
        token = _current.set({**_current.get(), **operators})
        try:
            yield
        finally:
            _current.reset(token)

    def _operate(self, symbol: str, other: object) -> Any:
        meaning = _current.get().get(symbol)
        if meaning is None:
            raise InputError(f"'{symbol}' has no meaning for models: see Model.define_operators")
        return meaning(self, other)

    __sub__ = partialmethod(_operate, "-")
    __mul__ = partialmethod(_operate, "*")
    __matmul__ = partialmethod(_operate, "@")
    __truediv__ = partialmethod(_operate, "/")
    __floordiv__ = partialmethod(_operate, "//")
    __mod__ = partialmethod(_operate, "%")
    __lshift__ = partialmethod(_operate, "<<")
    __and__ = partialmethod(_operate, "&")
    __xor__ = partialmethod(_operate, "^")
