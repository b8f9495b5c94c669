"""Losses: objects that are called with guesses and truths and return (gradient, value)."""

from combinet.losses.base import Loss
from combinet.losses.binary import BinaryCrossentropy
from combinet.losses.crf import CRFLoss
from combinet.losses.crossentropy import CategoricalCrossentropy, FocalLoss
from combinet.losses.distance import CosineDistance, L2Distance
from combinet.losses.sequences import SequenceCategoricalCrossentropy
from combinet.losses.siamese import ContrastiveLoss, TripletLoss

__all__ = [
    "BinaryCrossentropy",
    "CRFLoss",
    "CategoricalCrossentropy",
    "ContrastiveLoss",
    "CosineDistance",
    "FocalLoss",
    "L2Distance",
    "Loss",
    "SequenceCategoricalCrossentropy",
    "TripletLoss",
]
