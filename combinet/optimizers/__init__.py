"""Optimizers: what is done to the weights with the gradients that have been summed."""

from combinet.optimizers.adafactor import Adafactor
from combinet.optimizers.adam import Adam, AdamW, RAdam
from combinet.optimizers.base import Optimizer, Options
from combinet.optimizers.lion import Lion
from combinet.optimizers.lookahead import Lookahead
from combinet.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adafactor",
    "Adam",
    "AdamW",
    "Lion",
    "Lookahead",
    "Optimizer",
    "Options",
    "RAdam",
]
