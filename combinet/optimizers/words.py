"""Refuses arguments of other libraries by naming the argument that combinet has instead."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from typing_extensions import Self


class RefusesOtherWords:
    """A class whose constructor raises TypeError for a word in `other_words`, naming ours."""

    other_words: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "lr": ("learn_rate",),
        "learning_rate": ("learn_rate",),
        "weight_decay": ("L2",),
        "betas": ("beta1", "beta2"),
        "momentum": ("beta1",),
        "epsilon": ("eps",),
        "max_grad_norm": ("grad_clip",),
        "clipnorm": ("grad_clip",),
    }
    shared_words: ClassVar[frozenset[str]] = frozenset()  # that `**options` of subclasses accept

    def __new__(cls, *args: Any, **settings: Any) -> Self:
        """Checked before `__init__`, which would refuse the word without naming ours."""
        for word in settings.keys() & cls.other_words:
            ours = cls.other_words[word]
            accepted = cls.shared_words | set(inspect.signature(cls).parameters)
            if word not in accepted and accepted.issuperset(ours):
                raise TypeError(f"{cls.__name__}: expected {' and '.join(ours)}, got {word}")
        return super().__new__(cls)
