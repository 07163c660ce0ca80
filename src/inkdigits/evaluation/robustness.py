"""Measure accuracy on corrupted pictures: every kind of :mod:`.corruptions` at every severity.

The same images are used for all figures, rendered as pictures that a user might send, so that only the corruption
changes. Kinds that training may use and held-out kinds are reported separately: only the latter show how a model reads
corruptions that it was not trained on.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

from inkdigits.data.dataset import Dataset, Lazy
from inkdigits.evaluation.evaluate import Share, wilson
from inkdigits.preprocess import ImageSource, Limits, preprocess
from inkdigits.preprocess.decode import decode
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES, corrupt, picture_of

__all__ = ["PICTURES", "CorruptionScore", "Robustness", "corrupted", "robustness"]

PICTURES = 500  # of a data set, per kind and severity
SEED = 0
SMALL = 64  # pixels of the longer side; smaller pictures are enlarged like MNIST images before they are corrupted
LARGE = 280  # pixels of the longer side; larger pictures are reduced

GROUPS = {"trained": "kinds that training may use", "held out": "kinds held out of training", "all": "all kinds"}


@dataclass(frozen=True)
class CorruptionScore:
    """Scores of one kind at one severity.

    Attributes:
        accuracy: share read right, 0 to 1.
        interval: 95% Wilson score interval of it.
        confidence: mean confidence of the answers, 0 to 1; that of a calibrated model falls with its accuracy.
        blank: share in which no ink was found.
    """

    accuracy: float
    interval: Share
    confidence: float
    blank: float


@dataclass(frozen=True)
class Robustness:
    """Result of :func:`robustness`.

    Attributes:
        n: images.
        plain: scores of the same pictures without corruption.
        kinds: scores by kind and level, in the order of ``CORRUPTIONS`` and ``SEVERITIES``.
    """

    n: int
    plain: CorruptionScore
    kinds: dict[str, dict[str, CorruptionScore]]

    def mean(self, level: str, group: str = "all") -> float:
        """Return the mean accuracy at a level, over the kinds of a group: "trained", "held out" or "all"."""
        chosen = [k for k in self.kinds if group == "all" or CORRUPTIONS[k].trained == (group == "trained")]
        return mean(self.kinds[kind][level].accuracy for kind in chosen)

    def worst(self, level: str) -> tuple[str, float]:
        """Return the kind with the lowest accuracy at a level, and this accuracy."""
        kind = min(self.kinds, key=lambda kind: self.kinds[kind][level].accuracy)
        return kind, self.kinds[kind][level].accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        about = ("name", "group", "trained", "help")
        return {
            "n": self.n,
            "levels": SEVERITIES,
            "plain": asdict(self.plain),
            "means": {group: {level: self.mean(level, group) for level in SEVERITIES} for group in GROUPS},
            "kinds": [
                {
                    **{name: getattr(CORRUPTIONS[kind], name) for name in about},
                    **{level: asdict(score) for level, score in scores.items()},
                }
                for kind, scores in self.kinds.items()
            ],
        }

    def table(self) -> str:
        """Format accuracy by kind and level for a terminal, in lines of at most 80 characters."""
        lines = [
            f"corrupted pictures: {self.n:,} images in {len(self.kinds)} kinds × {len(SEVERITIES)} severities; "
            f"uncorrupted {self.plain.accuracy:.2%}",
            f"{'kind':<24}" + "".join(level.rjust(9) for level in SEVERITIES),
        ]
        for group in ("trained", "held out"):
            lines.append(f"{GROUPS[group]}:")
            for kind, scores in self.kinds.items():
                if CORRUPTIONS[kind].trained == (group == "trained"):
                    lines.append(f"  {kind:<22}" + "".join(f"{score.accuracy:9.1%}" for score in scores.values()))
            lines.append(f"  {'mean':<22}" + "".join(f"{self.mean(level, group):9.1%}" for level in SEVERITIES))
        lines.append(f"{'mean of all':<24}" + "".join(f"{self.mean(level):9.1%}" for level in SEVERITIES))
        return "\n".join(lines)


def robustness(
    recognizer: Recognizer, dataset: Dataset, *, pictures: int = PICTURES, progress: Progress | None = None
) -> Robustness:
    """Read corrupted pictures of a data set's digits.

    Args:
        recognizer: the model to measure.
        dataset: images, all readable; see :meth:`Dataset.take` to leave others out.
        pictures: how many of them to corrupt, every digit by its share; always the same ones.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Raises:
        ImageError: an image cannot be read.
    """
    chosen = dataset.limited(pictures)

    def score(kind: str, level: str) -> CorruptionScore:
        answers = recognizer.predict_batch(Lazy(lambda at: corrupted(chosen, at, kind, level), range(len(chosen))))
        right = sum(a.digit == label for a, label in zip(answers, chosen.labels.tolist(), strict=True))
        confidence, blank = (
            mean(values) for values in zip(*((a.confidence, a.is_blank) for a in answers), strict=True)
        )
        return CorruptionScore(right / len(chosen), wilson(right, len(chosen)), confidence, float(blank))

    with (progress or bars())("corrupting", len(CORRUPTIONS) * len(SEVERITIES), "") as advance:

        def counted(kind: str, level: str) -> CorruptionScore:
            found = score(kind, level)
            advance(1)
            return found

        kinds = {kind: {level: counted(kind, level) for level in SEVERITIES} for kind in CORRUPTIONS}
    return Robustness(len(chosen), score("", ""), kinds)


def corrupted(dataset: Dataset, at: int, kind: str, level: str) -> np.ndarray:
    """Render image ``at`` as a picture and corrupt it; always the same for the same data, image, kind and level.

    Returns:
        (H, W) or (H, W, 3) uint8, dark ink on light paper before the corruption; not corrupted if ``kind`` is empty.
    """
    number = dataset.number(at)
    picture = _picture(dataset.images[at], np.random.default_rng((SEED, number)))
    if not kind:
        return picture
    # A generator for each kind and level, so that a new kind does not change the figures of others.
    rng = np.random.default_rng((SEED, number, zlib.crc32(kind.encode()), list(SEVERITIES).index(level)))
    return corrupt(picture, kind, SEVERITIES[level], rng)


def _picture(image: ImageSource, rng: np.random.Generator) -> np.ndarray:
    """Render any image with dark ink on light paper: enlarge small ones, reduce large ones."""
    pixels = np.asarray(_reduced(decode(image, Limits())))
    light_on_dark = preprocess(pixels).polarity == "light-on-dark"
    if max(pixels.shape[:2]) <= SMALL:
        grey = pixels if pixels.ndim == 2 else np.rint(pixels.mean(axis=2)).astype(np.uint8)
        return picture_of(grey if light_on_dark else 255 - grey, rng)
    return 255 - pixels if light_on_dark else pixels


def _reduced(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        picture = Image.fromarray(np.rint(np.asarray(picture)).astype(np.uint8))
    if max(picture.size) > LARGE:
        picture.thumbnail((LARGE, LARGE), Image.Resampling.BOX)
    return picture
