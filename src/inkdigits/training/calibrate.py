"""What turns logits into probabilities that can be trusted: a temperature, a threshold of refusal, and a baseline.

All three are fitted on validation images, stored with the model, and applied wherever it answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from inkdigits.prediction import CLASSES
from inkdigits.training.prepare import Pool
from inkdigits.training.validate import logits_of, tensors_of

__all__ = ["Calibration", "baseline", "calibrate", "fit_temperature", "fit_threshold", "refusals"]

REFUSED_DIGITS = 0.001  # share of the validation digits under the threshold: to refuse a digit is the worse mistake
TEMPERATURES = (0.2, 5.0)  # a validation part without a mistake would ask for endless certainty


@dataclass(frozen=True)
class Calibration:
    """What was fitted for one network.

    Attributes:
        temperature: of its logits.
        threshold: score under which a network that refuses does; None for one that does not.
        figures: what a server in use is compared with: of :func:`baseline`, and the share of refusals.
    """

    temperature: float
    threshold: float | None
    figures: dict[str, float]

    @property
    def metadata(self) -> dict[str, str]:
        """What an exported file says of it beside the temperature."""
        return {} if self.threshold is None else {"threshold": repr(self.threshold)}


def calibrate(network: nn.Module, calm: Iterable[Pool]) -> Calibration:
    """Fit all three.

    Args:
        calm: validation images that are drawn, written or scanned well; disturbed pictures are for hard days.
    """
    images, labels = (torch.cat(each) for each in zip(*map(tensors_of, calm), strict=True))
    logits = logits_of(network, images)
    temperature = fit_temperature(logits[:, :CLASSES], labels)
    figures = baseline(logits[:, :CLASSES], images, temperature)
    if logits.shape[1] == CLASSES:
        return Calibration(temperature, None, figures)
    threshold = fit_threshold(logits[:, CLASSES])
    return Calibration(temperature, threshold, {**figures, "refusals": refusals(logits[:, CLASSES], threshold)})


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes the likelihood of the labels largest, within 0.2 to 5.

    Args:
        logits: (N, 10).
        labels: (N,) int64.

    C. Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    z = logits.double()
    of_label = z.gather(1, labels[:, None])[:, 0]
    # In the inverse temperature the loss is convex, so its slope changes sign once: halve the interval around that.
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(50):
        middle = (low + high) / 2
        slope = ((z * middle).softmax(dim=1) * z).sum(dim=1) - of_label
        low, high = (low, middle) if slope.mean() > 0 else (middle, high)
    return 2 / (low + high)


def fit_threshold(logits: Tensor) -> float:
    """The score, 0 to 1, under which a small share of digits lies (REFUSED_DIGITS); less is refused.

    Args:
        logits: (N,) of "this is a digit", for validation images that are.
    """
    return torch.quantile(logits.double(), REFUSED_DIGITS).sigmoid().item()


def refusals(logits: Tensor, threshold: float) -> float:
    """Share of images whose score lies under the threshold.

    Args:
        logits: (N,) of "this is a digit".
        threshold: score, 0 to 1.
    """
    return (logits.double().sigmoid() < threshold).double().mean().item()


def baseline(logits: Tensor, images: Tensor, temperature: float) -> dict[str, float]:
    """Means on validation that a server in use is compared with, to tell drift.

    Args:
        logits: (N, 10).
        images: (N, 1, 28, 28) in [0, 1], what they are of.

    Returns:
        "confidence", of the likeliest digit, and "ink", the share of an image that is ink.
    """
    confidence = (logits.double() / temperature).softmax(dim=1).amax(dim=1)
    return {"confidence": confidence.mean().item(), "ink": images.double().mean().item()}
