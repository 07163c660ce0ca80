"""What a network makes of the images that were held back: loss, accuracy, logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdigits.prediction import CLASSES
from inkdigits.training.prepare import NO_DIGIT, Pool

__all__ = ["logits_of", "tensors_of", "validate"]

BATCH = 500  # images


def validate(network: nn.Module, validation: dict[str, Pool]) -> tuple[float, float, dict[str, float]]:
    """Loss and accuracy over all images that hold digits, whatever pool they are of, and a figure by pool.

    Every image counts the same: of two pools the smaller would else decide by chance.
    """
    lost = right = total = 0.0
    figures = {}
    for name, pool in validation.items():
        images, labels = tensors_of(pool)
        logits = logits_of(network, images)
        if (labels == NO_DIGIT).all():
            figures[name] = (logits[:, CLASSES] < 0).double().mean().item()
            continue
        figures[name] = (logits[:, :CLASSES].argmax(dim=1) == labels).double().mean().item()
        lost += F.cross_entropy(logits[:, :CLASSES], labels, reduction="sum").item()
        right += figures[name] * len(labels)
        total += len(labels)
    return lost / total, right / total, figures


def tensors_of(pool: Pool) -> tuple[Tensor, Tensor]:
    """(N, 1, 28, 28) float32 in [0, 1] and (N,) int64."""
    return torch.from_numpy(pool.images)[:, None].float() / 255, torch.from_numpy(pool.labels)


@torch.inference_mode()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(batch) for batch in images.split(BATCH)])
