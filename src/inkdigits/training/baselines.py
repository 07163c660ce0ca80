"""The ladder of models, from the floor up, each with what it takes to train it; and its two rungs of scikit-learn.

A rung differs from the one before it in one thing, so that what each thing gains can be told.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.mlp import MIDDLE, Mlp
from inkdigits.training.prepare import TrainingSet

__all__ = ["KNN", "LADDER", "LOGISTIC", "Neighbours", "Rung", "logistic"]

LOGISTIC, KNN = "logistic", "knn"
REGULARISATION = 0.3  # scikit-learn's C: the inverse strength of the L2 penalty
ITERATIONS = 100  # of L-BFGS; more gain nothing on validation images
NEIGHBOURS = 3
FLOOR = 1e-3  # probability of a digit that no neighbour shows, so that its logarithm is finite


@dataclass(frozen=True)
class Rung:
    """One model of the ladder.

    Attributes:
        about: what it is, or what it adds to the rung before.
        config: how it is trained; None for a model of scikit-learn, which has no seed and is trained once.
    """

    about: str
    config: TrainConfig | MlpConfig | None = None


_SHIPPED = TrainConfig()

#: From the floor up; the last is what ``inkdigits train`` trains when nothing else is asked for.
LADDER: Mapping[str, Rung] = MappingProxyType(
    {
        LOGISTIC: Rung("logistic regression on the 784 pixels (scikit-learn)"),
        KNN: Rung(f"k-nearest neighbours, k = {NEIGHBOURS}, weighted by distance (scikit-learn)"),
        "mlp": Rung("multilayer perceptron 784-100-40-10, NumPy alone", MlpConfig()),
        "lenet": Rung("LeNet, without augmentation", TrainConfig(network="lenet", augment=0)),
        "baseline": Rung(
            "two 3×3 convolutions, pooling, dropout, dense; likewise", TrainConfig(network="baseline", augment=0)
        ),
        "baseline_augmented": Rung("the same, with augmentation", TrainConfig(network="baseline")),
        "baseline_deep": Rung(
            "the same, with twice the convolutions, more dropout, batch normalisation",
            TrainConfig(network="baseline_deep"),
        ),
        _SHIPPED.network: Rung("the default network", _SHIPPED),
    }
)


def logistic(training: TrainingSet) -> Mlp:
    """Logistic regression: a perceptron without hidden layers, fitted by L-BFGS instead of gradient descent.

    Args:
        training: what to learn from.
    """
    model = LogisticRegression(C=REGULARISATION, max_iter=ITERATIONS)
    images = training.images.reshape(len(training), -1).astype(np.float32) / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping before the end is meant
        model.fit(images - MIDDLE, training.labels)
    return Mlp((model.coef_.T.astype(np.float32),), (model.intercept_.astype(np.float32),))


class Neighbours:
    """k-nearest neighbours among all training images, by Euclidean distance of the pixels.

    Args:
        training: the images that it remembers.
    """

    def __init__(self, training: TrainingSet) -> None:
        self._model = KNeighborsClassifier(NEIGHBOURS, weights="distance", algorithm="brute")
        self._model.fit(training.images.reshape(len(training), -1).astype(np.float32) / 255, training.labels)
        self.parameters = training.images.size  # it learns nothing; it keeps these

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, …) float32 in [0, 1] with 784 pixels each, to (N, 10) float32 logarithms of probabilities."""
        shares = self._model.predict_proba(images.reshape(len(images), -1))
        logits: np.ndarray = np.log(np.maximum(shares, FLOOR)).astype(np.float32)
        return logits
