"""The operators between models, such as `>>`: a table that a `with` block can change."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partialmethod
from typing import TYPE_CHECKING, Any, TypeAlias

from combinet.core.node import as_layer
from combinet.errors import InputError

Table: TypeAlias = Mapping[str, Callable[..., Any]]

SYMBOLS = ("+", "-", "*", "@", "/", "//", "%", "**", "<<", ">>", "&", "^", "|")
# combinators/compose.py fills the default table: importing the combinators here would be a cycle.
DEFAULT: dict[str, Callable[..., Any]] = {}
_current: ContextVar[Table] = ContextVar("combinet_operators", default=DEFAULT)


class Operators:
    """The base class of `Model` that looks up each operator in the current table."""

    @classmethod
    @contextmanager
    def define_operators(cls, operators: Table) -> Iterator[None]:
        """Redefines operators inside a `with` block, for the current thread or async task only.

        By default `>>` is `chain`, `|` is `concatenate`, `+` is `add` and `**` is `clone`.
        Operators that are not given keep their meaning. When the block ends, also after an
        exception, the previous meanings apply again.

        Args:
            operators: Functions `(model, other) -> model` by operator. The operators are `+`, `-`,
                `*`, `@`, `/`, `//`, `%`, `**`, `<<`, `>>`, `&`, `^` and `|`.

        Raises:
            InputError: If an operator is not one of these.

        Example:
            >>> from combinet import Linear, Model, add
            >>> with Model.define_operators({"&": add}):
            ...     model = Linear(2, 2) & Linear(2, 2)
        """
        if unknown := set(operators) - set(SYMBOLS):
            raise InputError(f"expected operators among {SYMBOLS}, got {sorted(unknown)}")
        token = _current.set({**_current.get(), **operators})
        try:
            yield
        finally:
            _current.reset(token)

    def _operate(self, symbol: str, other: object) -> Any:
        meaning = _current.get().get(symbol)
        if meaning is None:
            raise InputError(
                f"expected an operator with a meaning for models, got '{symbol}'; define it with "
                f"Model.define_operators"
            )
        return meaning(self, other)

    def _operate_right(self, symbol: str, other: object) -> Any:
        """The operator after an object that is not a model, such as `obj >> model`."""
        model: Any = as_layer(symbol, other)
        return model._operate(symbol, self)

    # So that NumPy's arrays and scalars do not try to handle the operators.
    __array_ufunc__ = None

    __sub__ = partialmethod(_operate, "-")
    __mul__ = partialmethod(_operate, "*")
    __matmul__ = partialmethod(_operate, "@")
    __truediv__ = partialmethod(_operate, "/")
    __floordiv__ = partialmethod(_operate, "//")
    __mod__ = partialmethod(_operate, "%")
    __lshift__ = partialmethod(_operate, "<<")
    __and__ = partialmethod(_operate, "&")
    __xor__ = partialmethod(_operate, "^")
    # Not for type checkers, which could no longer tell the type of `model >> model`: typed code
    # calls `wrap`.
    if not TYPE_CHECKING:
        __rsub__ = partialmethod(_operate_right, "-")
        __radd__ = partialmethod(_operate_right, "+")
        __rmul__ = partialmethod(_operate_right, "*")
        __rmatmul__ = partialmethod(_operate_right, "@")
        __rtruediv__ = partialmethod(_operate_right, "/")
        __rfloordiv__ = partialmethod(_operate_right, "//")
        __rmod__ = partialmethod(_operate_right, "%")
        __rlshift__ = partialmethod(_operate_right, "<<")
        __rrshift__ = partialmethod(_operate_right, ">>")
        __rand__ = partialmethod(_operate_right, "&")
        __rxor__ = partialmethod(_operate_right, "^")
        __ror__ = partialmethod(_operate_right, "|")
