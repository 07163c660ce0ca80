"""Train the network that finds ink: from a grey picture to the probability, for each pixel, that it is ink.

It is trained on composed pages (:mod:`inkdigits.synthesis.pages`), whose ink is known exactly.

O. Ronneberger, P. Fischer and T. Brox, U-Net, 2015, https://arxiv.org/abs/1505.04597; depthwise separable convolutions:
A. Howard et al., MobileNets, 2017, https://arxiv.org/abs/1704.04861.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.omniglot import HELD_BACK, load_omniglot
from inkdigits.data.pen import load_pendigits
from inkdigits.preprocess.ink import STRIDE, enlarged, enlargement, padded
from inkdigits.preprocess.planes import PLANES, planes
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.synthesis.pages import Hands, compose
from inkdigits.training.config import InkConfig
from inkdigits.training.export import store_in_8_bits, to_onnx, write_model
from inkdigits.training.steps import Task, train_steps

__all__ = ["InkNetwork", "export_ink", "hands", "train_ink", "validate"]

CHANNELS = (16, 24, 32, 56)  # at 1/2, 1/4, 1/8 and 1/16 of the picture's side
SCANS_HELD_BACK = 5000  # of MNIST's training images
DRAWERS_HELD_BACK = 4  # of Omniglot's 20
# Sides of the training pages; a long side of 160 pixels is the most common in pictures that were reduced.
SIDES = (
    *[(160, 160)] * 4,
    *[(160, 112), (112, 160), (128, 128), (160, 128), (128, 160), (160, 80), (80, 160)],
    *[(96, 96), (96, 64), (64, 96), (64, 64), (160, 48), (48, 160), (112, 112)],
    *[(28, 28), (40, 28), (48, 56)],  # enlarged for the network
)
VALIDATION_SIDES = ((160, 160), (160, 112), (96, 96), (128, 160), (40, 28))
VALIDATION_PAGES = 48  # of each of these sides
PIXELS = 16 * 160 * 160  # of a batch, about
BATCHES = (12, 48)  # fewest and most pages
NEAR_INK = 7  # pixels, the side of the square in which a pixel is near ink
NEAR_WEIGHT = 3.0  # by which the loss of pixels near ink is increased
DICE = 0.5  # weight of the Dice loss


class InkNetwork(nn.Module):
    """A small U-Net: (N, 2, H, W) planes to (N, 1, H, W) logits of ink; H and W are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        c0, c1, c2, c3 = CHANNELS
        self.down0 = nn.Sequential(_conv(PLANES, c0, 4, stride=2), _conv(c0, c0))
        self.down1 = nn.Sequential(_conv(c0, c1, stride=2), _Separable(c1, c1), _Separable(c1, c1))
        self.down2 = nn.Sequential(_conv(c1, c2, stride=2), _Separable(c2, c2, 5), _Separable(c2, c2, 5))
        self.down3 = nn.Sequential(_Separable(c2, c3, 5, stride=2), *(_Separable(c3, c3, 5) for _ in range(3)))
        self.whole = nn.Conv2d(c3, c3, 1)  # of the mean of the picture
        self.middle = _Separable(c3, c3, 5)
        self.lift2, self.lift1, self.lift0 = nn.Conv2d(c3, c2, 1), nn.Conv2d(c2, c1, 1), nn.Conv2d(c1, c0, 1)
        self.up2 = nn.Sequential(_Separable(c2, c2, 5), _Separable(c2, c2))
        self.up1 = nn.Sequential(_conv(c1, c1), _Separable(c1, c1))
        self.up0 = _conv(c0, c0)
        self.out = nn.Conv2d(c0, 4, 3, padding=1)
        nn.init.constant_(self.out.bias, -2.0)  # type: ignore[arg-type]  # most pixels are paper

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        a = self.down0(x)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)
        d = self.middle(d + self.whole(d.mean((2, 3), keepdim=True)))
        c = self.up2(F.relu(c + _twice(self.lift2(d))))
        b = self.up1(F.relu(b + _twice(self.lift1(c))))
        a = self.up0(F.relu(a + _twice(self.lift0(b))))
        return F.pixel_shuffle(self.out(a), 2)


class _Separable(nn.Module):
    """A depthwise and a pointwise convolution, around which the input goes if the shapes allow."""

    def __init__(self, inputs: int, outputs: int, side: int = 3, *, stride: int = 1) -> None:
        super().__init__()
        self.across = _conv(inputs, inputs, side, stride=stride, groups=inputs)
        self.mix = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.across(x))
        return F.relu(x + y if self.residual else y)


def _conv(inputs: int, outputs: int, side: int = 3, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, (side - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def hands(settings: Settings, part: str) -> Hands:
    """Load the handwriting of one part, "train" or "validation"; no hand is in both, nor any test image.

    Raises:
        DataError: MNIST, the pen strokes or Omniglot cannot be loaded.
    """
    train = part == "train"
    scans = np.asarray(load("mnist", settings, part="train").images)
    pens = [digit.strokes for digit in load_pendigits(settings) if digit.writer in PEN_WRITERS[part]]
    known = [c for c in load_omniglot(settings) if c.alphabet != HELD_BACK]
    last = max(c.drawer for c in known) - DRAWERS_HELD_BACK
    characters = [c.strokes for c in known if (c.drawer <= last) == train]
    return Hands(scans[:-SCANS_HELD_BACK] if train else scans[-SCANS_HELD_BACK:], pens, characters)


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batches by number: (planes, ink) of pages of one size."""

    def __init__(self, source: Hands, seed: int, steps: range) -> None:
        self._source, self._seed, self._steps = source, seed, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng((self._seed, self._steps[number]))
        height, width = SIDES[rng.integers(len(SIDES))]
        n = int(np.clip(PIXELS // (height * width * enlargement(height, width) ** 2), *BATCHES))
        return _batch(self._source, n, height, width, rng)


def _batch(source: Hands, n: int, height: int, width: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    times = enlargement(height, width)
    pages = [compose(source, height, width, rng) for _ in range(n)]
    inputs = [padded(planes(enlarged(page.grey.astype(np.float32), times))) for page in pages]
    inks = [padded(enlarged(page.ink, times)) for page in pages]
    return torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(inks))[:, None]


def train_ink(
    config: InkConfig,
    checkpoint: Path | None,
    settings: Settings,
    report: Report,
    *,
    resume: bool = False,
) -> tuple[nn.Module, Mapping[str, float]]:
    """Train an ink network; return it with averaged weights, and its figures on validation pages, as :func:`validate`.

    Args:
        config: every option.
        checkpoint: file to save the state of the run to; None: do not save it.
        settings: where the data are.
        report: gets lines of text.
        resume: continue from the checkpoint.

    Raises:
        DataError: the data cannot be loaded.
        TrainingError: the checkpoint is missing or belongs to another run, or the loss is not a number.
    """
    rng = np.random.default_rng((config.seed, 2**32))
    held = hands(settings, "validation")
    validation = [_batch(held, VALIDATION_PAGES, h, w, rng) for h, w in VALIDATION_SIDES]
    source = hands(settings, "train")
    task = Task(
        InkNetwork,
        lambda steps: _Batches(source, config.seed, steps),
        lambda logits, batch: _loss(logits, batch[1]),
        lambda network: validate(network, validation),
        "ink network",
    )
    return train_steps(config, task, checkpoint, report, resume=resume)


def export_ink(network: nn.Module, out: Path) -> None:
    """Write an ink network as an ONNX file: input ``planes`` (N, 2, H, W), output ``logits`` (N, 1, H, W), float32.

    The weights are stored as 8-bit integers, and the arithmetic is in floating point, which gives the same logits on
    every processor and in browsers.

    Raises:
        TrainingError: the network cannot be exported, or the file cannot be written.
    """
    sides = {0: torch.export.Dim("N"), 2: STRIDE * torch.export.Dim("h"), 3: STRIDE * torch.export.Dim("w")}
    model = to_onnx(network, torch.zeros(2, PLANES, 4 * STRIDE, 6 * STRIDE), "planes", "logits", sides)
    store_in_8_bits(model.graph)
    write_model(model, out, 1.0, {"network": "ink"})


def _loss(logits: Tensor, ink: Tensor) -> Tensor:
    """Return binary cross-entropy, more near ink, and the Dice loss of F. Milletari et al., V-Net, 2016."""
    weight = 1 + NEAR_WEIGHT * F.max_pool2d(ink, NEAR_INK, 1, NEAR_INK // 2)
    entropy = (F.binary_cross_entropy_with_logits(logits, ink, reduction="none") * weight).sum() / weight.sum()
    found, total = torch.sigmoid(logits), partial(torch.sum, dim=(1, 2, 3))
    dice = 1 - (2 * total(found * ink) + 1) / (total(found * found) + total(ink * ink) + 1)
    return entropy + DICE * dice.mean()


@torch.no_grad()
def validate(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Measure a network on validation pages.

    Returns:
        "loss", mean over the pages; "overlap", mean intersection over union of found and true ink, of pages with ink;
        "poor", the share of these pages with an overlap under a half.
    """
    losses, overlaps = [], []
    for inputs, ink in batches:
        logits = network(inputs)
        losses.append(_loss(logits, ink).item())
        found, true = logits > 0, ink > 0.5
        both, either = (found & true).sum((1, 2, 3)), (found | true).sum((1, 2, 3))
        overlaps += (both / either.clamp(min=1))[true.any(dim=3).any(dim=2)[:, 0]].tolist()
    poor = float(np.mean(np.array(overlaps) < 0.5))
    return {"loss": float(np.mean(losses)), "overlap": float(np.mean(overlaps)), "poor": poor}
