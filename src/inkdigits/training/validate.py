"""Validation: loss, accuracy and logits of a network on held-out images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdigits.prediction import CLASSES
from inkdigits.training.prepare import TrainingSet

__all__ = ["logits_of", "tensors_of", "validate"]

BATCH = 500  # images


def validate(network: nn.Module, validation: dict[str, TrainingSet]) -> tuple[float, float, dict[str, float]]:
    """Return loss and accuracy over the digits of all sets together, and a figure by set.

    The figure is the accuracy, for non-digits the share rejected. Every image has the same weight: with equal weights
    for the sets, chance in the smallest would decide.
    """
    lost = right = total = 0.0
    figures = {}
    for name, held_out in validation.items():
        images, labels = tensors_of(held_out)
        logits = logits_of(network, images)
        if (labels < 0).all():
            figures[name] = (logits[:, CLASSES] < 0).double().mean().item()
            continue
        figures[name] = (logits[:, :CLASSES].argmax(dim=1) == labels).double().mean().item()
        lost += F.cross_entropy(logits[:, :CLASSES], labels, reduction="sum").item()
        right += figures[name] * len(labels)
        total += len(labels)
    return lost / total, right / total, figures


def tensors_of(images: TrainingSet) -> tuple[Tensor, Tensor]:
    """Convert to images (N, 1, 28, 28) float32 in [0, 1] and labels (N,) int64."""
    return torch.from_numpy(images.images)[:, None].float() / 255, torch.from_numpy(images.labels)


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of (N, 1, 28, 28) images, computed in batches."""
    network.eval()
    return torch.cat([network(batch) for batch in images.split(BATCH)])
