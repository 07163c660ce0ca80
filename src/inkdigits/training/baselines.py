"""The ladder of models, from the simplest up, each with its training options; and the two from scikit-learn.

Each rung differs from the previous one in one thing, so that the gain of each can be measured.
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

__all__ = ["KNN", "LADDER", "LOGISTIC", "Neighbors", "Rung", "logistic"]

LOGISTIC, KNN = "logistic", "knn"
REGULARIZATION = 0.3  # scikit-learn's C: the inverse strength of the L2 penalty
ITERATIONS = 100  # of L-BFGS; more do not improve the accuracy on validation images
NEIGHBORS = 3
FLOOR = 1e-3  # probability of a digit that no neighbor shows, so that its logarithm is finite


@dataclass(frozen=True)
class Rung:
    """One model of the ladder.

    Attributes:
        about: description, or what it adds to the previous rung.
        config: training options; None for a scikit-learn model, which has no seed and is trained once.
    """

    about: str
    config: TrainConfig | MlpConfig | None = None


_SHIPPED = TrainConfig()

#: From the simplest up; the last is what ``inkdigits train`` trains by default.
LADDER: Mapping[str, Rung] = MappingProxyType(
    {
        LOGISTIC: Rung("logistic regression on the 784 pixels (scikit-learn)"),
        KNN: Rung(f"k-nearest neighbors, k = {NEIGHBORS}, weighted by distance (scikit-learn)"),
        "mlp": Rung("multilayer perceptron 784-100-40-10, NumPy alone", MlpConfig()),
        "lenet": Rung("LeNet, without augmentation", TrainConfig(network="lenet", augment=0)),
        "baseline": Rung(
            "two 3×3 convolutions, pooling, dropout, dense; likewise", TrainConfig(network="baseline", augment=0)
        ),
        "baseline_augmented": Rung("the same, with augmentation", TrainConfig(network="baseline")),
        "baseline_deep": Rung(
            "the same, with twice the convolutions, more dropout, batch normalization",
            TrainConfig(network="baseline_deep"),
        ),
        _SHIPPED.network: Rung("the default network", _SHIPPED),
    }
)


def logistic(training: TrainingSet) -> Mlp:
    """Fit logistic regression, a perceptron without hidden layers, by L-BFGS instead of gradient descent.

    Args:
        training: images to train on.
    """
    model = LogisticRegression(C=REGULARIZATION, max_iter=ITERATIONS)
    images = training.images.reshape(len(training), -1).astype(np.float32) / 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is intended
        model.fit(images - MIDDLE, training.labels)
    return Mlp((model.coef_.T.astype(np.float32),), (model.intercept_.astype(np.float32),))


class Neighbors:
    """k-nearest neighbors among all training images, by Euclidean distance of the pixels.

    Args:
        training: images to store.
    """

    def __init__(self, training: TrainingSet) -> None:
        self._model = KNeighborsClassifier(NEIGHBORS, weights="distance", algorithm="brute")
        self._model.fit(training.images.reshape(len(training), -1).astype(np.float32) / 255, training.labels)
        self.parameters = training.images.size  # nothing is learned; the images are stored

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return (N, 10) float32 log probabilities of (N, …) float32 images in [0, 1] with 784 pixels each."""
        shares = self._model.predict_proba(images.reshape(len(images), -1))
        logits: np.ndarray = np.log(np.maximum(shares, FLOOR)).astype(np.float32)
        return logits
