"""Train the network that reads lines of digits: from a line's ink to the character of each of its columns.

It is a fully convolutional network, so lines may have any width. Every other column of pixels is a frame, with the
probability of each character and of none, and the box of the character there. A. Graves et al., Connectionist Temporal
Classification, 2006, https://doi.org/10.1145/1143844.1143891; as composed lines are known exactly, the middle of each
character is also trained on by itself, and its box.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from inkdigits.prediction import CHARACTERS
from inkdigits.preprocess.layout import LINE_HEIGHT
from inkdigits.progress import Report
from inkdigits.reading.ink import find_page_ink, page_grey
from inkdigits.reading.lines import BOX, FRAME, LOGITS
from inkdigits.settings import Settings
from inkdigits.synthesis.lines import LENGTHS, Line, Sample, compose_line, line_text, put_on_paper, sample
from inkdigits.training.config import LineConfig
from inkdigits.training.export import store_in_8_bits, to_onnx, write_model
from inkdigits.training.line_hands import LineHands, line_hands
from inkdigits.training.steps import Task, train_steps

__all__ = ["LineNetwork", "export_line", "greedy", "train_line", "validate"]

WIDTHS = (24, 40, 56, 80, 112)  # channels
CHARACTERS_PER_BATCH, BATCHES = 480, (40, 96)  # fewest and most lines
MIDDLE_WEIGHT = 0.2  # of the loss in the middle frames of characters
BOX_WEIGHT = 1.0
CORE = 0.3  # of a character's width, to each side of its middle: frames that give its box
SHARES = (0.48, 0.46, 0.06)  # of lines by scanned hands, pens, and in print
FOUND = 0.1  # share of lines that are put on paper and found there, as when they are read
VALIDATION_LINES = 120  # of each contact and source
LENGTH_RANGE = (2, 8)  # digits of validation lines


class Batch(NamedTuple):
    """Lines of about the same length.

    Attributes:
        ink: (N, 1, LINE_HEIGHT, W) float32.
        frames: (N,) int64, of each line.
        targets: (N, L) int64, indices of characters plus 1, 0 after the end.
        lengths: (N,) int64.
        middles: (N, T) int64, the character whose middle a frame is, or -1.
        boxes: (N, 4, T) float32, in units of LINE_HEIGHT from the frame's middle (left, right) and from the top.
        has_box: (N, T) bool.
    """

    ink: Tensor
    frames: Tensor
    targets: Tensor
    lengths: Tensor
    middles: Tensor
    boxes: Tensor
    has_box: Tensor


class LineNetwork(nn.Module):
    """(N, 1, LINE_HEIGHT, W) ink, W a multiple of FRAME, to (N, LOGITS + BOX, W / FRAME) logits and boxes."""

    def __init__(self) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = WIDTHS
        self.picture = nn.Sequential(
            _conv(1, c0, 5, stride=2),
            _conv(c0, c1),
            nn.MaxPool2d((2, 1)),
            _conv(c1, c2),
            _Residual(_conv(c2, c2)),
            nn.MaxPool2d((2, 1)),
            _conv(c2, c3),
            _Residual(_conv(c3, c3)),
        )
        self.column = nn.Sequential(nn.Conv2d(c3, c4, (LINE_HEIGHT // 8, 1), bias=False), nn.BatchNorm2d(c4), nn.ReLU())
        self.along = nn.Sequential(*(_Residual(_along(c4, step)) for step in (1, 2, 4)))
        self.out = nn.Conv2d(c4, LOGITS + BOX, 1)

    def forward(self, ink: Tensor) -> Tensor:
        """Return logits and boxes."""
        frames: Tensor = self.out(self.along(self.column(self.picture(ink)))).squeeze(2)
        return frames


class _Residual(nn.Module):
    def __init__(self, change: nn.Module) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = x + self.change(x)
        return changed


def _conv(inputs: int, outputs: int, side: int = 3, *, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _along(channels: int, step: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, channels, (1, 3), padding=(0, step), dilation=(1, step), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU())


class _Batches(Dataset[tuple[Tensor, ...]]):
    """Batches by number."""

    def __init__(self, hands: LineHands, seed: int, steps: range) -> None:
        self._hands, self._seed, self._steps = hands, seed, steps

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, number: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng((self._seed, self._steps[number]))
        digits = 1 + int(rng.choice(len(LENGTHS), p=np.array(LENGTHS) / sum(LENGTHS)))
        n = int(np.clip(CHARACTERS_PER_BATCH // (digits + 1), *BATCHES))
        lines = []
        for _ in range(n):
            hands = (self._hands.scanned, self._hands.pens, self._hands.printed)[int(rng.choice(3, p=SHARES))]
            hand = hands[int(rng.integers(len(hands)))]
            line = compose_line(line_text(rng, digits), hand, rng, marks=self._hands.signs)
            is_found = rng.random() < FOUND
            lines.append(sample(_found(line, rng) if is_found else line, rng, is_damaged=not is_found))
        return _batch(lines)


def _found(line: Line, rng: np.random.Generator) -> Line:
    """Return a line on paper as it is found there; as it is, if no ink is found."""
    picture, (left, top, right, bottom) = put_on_paper(line.cover, rng)
    page = find_page_ink(*page_grey(Image.fromarray(picture)))
    if page is None:
        return line
    box = (left / page.step, top / page.step, right / page.step, bottom / page.step)
    size = right - left, bottom - top
    ink = Image.fromarray(page.cover).resize(size, Image.Resampling.BILINEAR, box=box)
    times = np.array(size * 2) / (line.cover.shape[::-1] * 2)
    return Line(np.asarray(ink), line.text, line.boxes * times)


def _batch(lines: list[Sample]) -> Batch:
    frames = [-(-line.ink.shape[1] // FRAME) for line in lines]
    n, most = len(lines), max(frames)
    ink = np.zeros((n, 1, LINE_HEIGHT, FRAME * most), np.float32)
    targets = np.zeros((n, max(len(line.text) for line in lines)), np.int64)
    middles = np.full((n, most), -1, np.int64)
    boxes, has_box = np.zeros((n, BOX, most), np.float32), np.zeros((n, most), bool)
    for i, line in enumerate(lines):
        ink[i, 0, :, : line.ink.shape[1]] = line.ink
        targets[i, : len(line.text)] = [1 + CHARACTERS.index(c) for c in line.text]
        x = FRAME * np.arange(most) + FRAME / 2
        left, _, right, _ = line.boxes.T[:, :, None]
        away = np.abs(x - (left + right) / 2)  # (characters, frames)
        nearest = away.argmin(axis=0)
        at = np.arange(most)
        has_box[i] = away[nearest, at] < np.maximum(CORE * (right - left), FRAME)[nearest, 0]
        chosen = line.boxes[nearest]
        boxes[i] = np.stack([x - chosen[:, 0], chosen[:, 1], chosen[:, 2] - x, chosen[:, 3]]) / LINE_HEIGHT
        middle = np.clip(((left + right) / 2 // FRAME).astype(int)[:, 0], 0, frames[i] - 1)
        middles[i, middle] = targets[i, : len(line.text)]
    lengths = [len(line.text) for line in lines]
    arrays = ink, np.array(frames), targets, np.array(lengths), middles, boxes, has_box
    return Batch(*map(torch.from_numpy, arrays))


def _loss(output: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
    _, frames, targets, lengths, middles, boxes, has_box = batch
    scores = F.log_softmax(output[:, :LOGITS], dim=1)
    each = F.ctc_loss(scores.permute(2, 0, 1), targets, frames, lengths, reduction="none", zero_infinity=True)
    middle = F.nll_loss(scores, middles, ignore_index=-1)
    off = F.smooth_l1_loss(output[:, LOGITS:], boxes, reduction="none", beta=0.1).sum(dim=1)
    return (each / (lengths + 1)).mean() + MIDDLE_WEIGHT * middle + BOX_WEIGHT * (off * has_box).sum() / has_box.sum()


def train_line(
    config: LineConfig, checkpoint: Path | None, settings: Settings, report: Report, *, resume: bool = False
) -> tuple[nn.Module, Mapping[str, float]]:
    """Train a line network; return it with averaged weights, and its figures on validation lines, as :func:`validate`.

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
    held, hands = validation_lines(settings, config.seed), line_hands(settings, "train")
    task = Task(
        LineNetwork,
        lambda steps: _Batches(hands, config.seed, steps),
        _loss,
        lambda network: validate(network, held),
        "line network",
    )
    return train_steps(config, task, checkpoint, report, resume=resume)


def validation_lines(settings: Settings, seed: int) -> dict[str, list[Sample]]:
    """Compose lines by hands held back: of scanned digits and of pens, apart, tight and touching."""
    hands, rng = line_hands(settings, "validation"), np.random.default_rng((seed, 2**32))
    lines: dict[str, list[Sample]] = {}
    for source, some in (("scans", hands.scanned), ("pens", hands.pens)):
        for contact in ("apart", "tight", "touching"):
            name = lines[f"{source} {contact}"] = []
            for _ in range(VALIDATION_LINES):
                text = "".join(rng.choice(list("0123456789"), int(rng.integers(LENGTH_RANGE[0], LENGTH_RANGE[1] + 1))))
                hand = some[int(rng.integers(len(some)))]
                line = compose_line(text, hand, rng, contact=contact, is_varied=False)
                name.append(sample(line, rng, is_varied=False))
    return lines


@torch.no_grad()
def validate(network: nn.Module, lines: Mapping[str, list[Sample]]) -> dict[str, float]:
    """Return the share of lines that are read right as a whole, for each set of them."""
    shares = {}
    for name, some in lines.items():
        right = 0
        for start in range(0, len(some), BATCHES[0]):
            part = some[start : start + BATCHES[0]]
            batch = _batch(part)
            output = network(batch.ink)[:, :LOGITS]
            for line, found, n in zip(part, output, batch.frames, strict=True):
                right += greedy(found[:, :n].numpy()) == line.text
        shares[name] = right / len(some)
    return shares


def greedy(logits: np.ndarray) -> str:
    """Return the most likely character of each frame, without repeats and none: (LOGITS, T) float32 to text."""
    best = logits.argmax(axis=0)
    kept = best[np.flatnonzero(np.diff(best, prepend=0) != 0)]
    return "".join(CHARACTERS[i - 1] for i in kept if i)


def export_line(network: nn.Module, out: Path) -> None:
    """Write a line network as an ONNX file: input ``ink`` (N, 1, LINE_HEIGHT, W), output ``frames``, both float32.

    The output is (N, LOGITS + BOX, W / FRAME), as of :class:`LineNetwork`.

    The weights are stored as 8-bit integers, as those of the ink network.

    Raises:
        TrainingError: the network cannot be exported, or the file cannot be written.
    """
    sides = {0: torch.export.Dim("N"), 3: FRAME * torch.export.Dim("T")}
    model = to_onnx(network, torch.zeros(2, 1, LINE_HEIGHT, 40 * FRAME), "ink", "frames", sides)
    store_in_8_bits(model.graph)
    write_model(model, out, 1.0, {"network": "line", "characters": CHARACTERS})
