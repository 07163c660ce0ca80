"""Calibration: a temperature, bounds of the digit score, a baseline for drift.

Below the first bound, the threshold, input is rejected as out-of-distribution; from the second up to the threshold,
what it shows is unclear. All are fitted on validation images, stored with the model, and used at inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkdigits.prediction import CLASSES
from inkdigits.training.prepare import TrainingSet
from inkdigits.training.validate import logits_of, tensors_of

__all__ = ["Calibration", "baseline", "calibrate", "fit_temperature", "fit_threshold", "fit_unclear", "rejected_share"]

REJECTED_DIGITS = 0.003  # share of the validation digits below the threshold
TEMPERATURES = (0.2, 5.0)  # without a mistake on validation images the best confidence would be infinite


@dataclass(frozen=True)
class Calibration:
    """Values fitted for one network.

    Attributes:
        temperature: of its logits.
        threshold: score below which a network with an eleventh output rejects its input; None for one without.
        unclear: score from which rejected input is more likely a digit than not; None where it is not known.
        figures: reference for drift detection: the figures of :func:`baseline`, and the share of rejected digits.
    """

    temperature: float
    threshold: float | None
    unclear: float | None
    figures: dict[str, float]

    @property
    def metadata(self) -> dict[str, str]:
        """Return the metadata for the exported file, in addition to the temperature."""
        bounds = {"threshold": self.threshold, "unclear": self.unclear}
        return {name: repr(bound) for name, bound in bounds.items() if bound is not None}


def calibrate(network: nn.Module, clean: Iterable[TrainingSet], non_digits: Sequence[TrainingSet] = ()) -> Calibration:
    """Fit temperature, bounds of the score, and baseline.

    Args:
        clean: uncorrupted validation images of digits; corrupted ones are not typical.
        non_digits: validation images of non-digits; without them, the second bound is unknown.
    """
    images, labels = (torch.cat(each) for each in zip(*map(tensors_of, clean), strict=True))
    logits = logits_of(network, images)
    temperature = fit_temperature(logits[:, :CLASSES], labels)
    figures = baseline(logits[:, :CLASSES], images, temperature)
    if logits.shape[1] == CLASSES:
        return Calibration(temperature, None, None, figures)
    scores = logits[:, CLASSES]
    threshold, unclear = fit_threshold(scores), None
    if non_digits:
        others = torch.cat([logits_of(network, tensors_of(each)[0])[:, CLASSES] for each in non_digits])
        unclear = fit_unclear(scores, others)
    figures["refusals"] = rejected_share(scores, threshold)
    return Calibration(temperature, threshold, unclear, figures)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature that maximizes the likelihood of the labels, within 0.2 to 5.

    Args:
        logits: (N, 10).
        labels: (N,) int64.

    C. Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    z = logits.double()
    of_label = z.gather(1, labels[:, None])[:, 0]
    # The loss is convex in the inverse temperature, so its slope changes sign once: bisect.
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(50):
        middle = (low + high) / 2
        slope = ((z * middle).softmax(dim=1) * z).sum(dim=1) - of_label
        low, high = (low, middle) if slope.mean() > 0 else (middle, high)
    return 2 / (low + high)


def fit_threshold(logits: Tensor) -> float:
    """Return the score, 0 to 1, below which a small share of digits is rejected (REJECTED_DIGITS).

    Args:
        logits: (N,) of "this is a digit", for validation images of digits.
    """
    return torch.quantile(logits.double(), REJECTED_DIGITS).sigmoid().item()


def fit_unclear(digits: Tensor, others: Tensor) -> float:
    """Return the score, 0 to 1, from which an image is more likely a digit than a non-digit if both are as frequent.

    It separates the two with the least sum of the share of digits below it and the share of non-digits from it on.

    Args:
        digits: (N,) logits of "this is a digit", for validation images of digits.
        others: (M,) the same, for validation images of non-digits.
    """
    bounds = torch.cat([digits, others]).double().sort().values
    below = torch.searchsorted(digits.double().sort().values, bounds) / len(digits)
    above = 1 - torch.searchsorted(others.double().sort().values, bounds) / len(others)
    return bounds[(below + above).argmin()].sigmoid().item()


def rejected_share(logits: Tensor, threshold: float) -> float:
    """Return the share of images whose score is below the threshold.

    Args:
        logits: (N,) of "this is a digit".
        threshold: score, 0 to 1.
    """
    return (logits.double().sigmoid() < threshold).double().mean().item()


def baseline(logits: Tensor, images: Tensor, temperature: float) -> dict[str, float]:
    """Return means on validation data, the reference for drift detection on a server.

    Args:
        logits: (N, 10).
        images: (N, 1, 28, 28) in [0, 1], that the logits belong to.

    Returns:
        "confidence" of the predicted digit, and "ink", the share of an image that is ink.
    """
    confidence = (logits.double() / temperature).softmax(dim=1).amax(dim=1)
    return {"confidence": confidence.mean().item(), "ink": images.double().mean().item()}
