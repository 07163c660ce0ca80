"""How accuracy holds when pictures are corrupted: every kind of :mod:`.corruptions` at every strength.

The same images are used throughout, each first drawn as a picture that a user might send, so that what changes from
figure to figure is the corruption alone. Kinds that training may use and kinds held out of it are reported apart: only
the latter show how a model takes what it has never met.
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

PICTURES = 500  # of a data set, corrupted in each kind and strength
SEED = 0
SMALL = 64  # pixels; a picture whose longer side is shorter is enlarged as MNIST's are, before it is corrupted
LARGE = 280  # pixels, that a longer side is reduced to

GROUPS = {"trained": "kinds that training may use", "held out": "kinds held out of training", "all": "all kinds"}


@dataclass(frozen=True)
class CorruptionScore:
    """How the images were read in one kind and strength.

    Attributes:
        accuracy: share read right, 0 to 1.
        interval: 95% Wilson score interval of it.
        confidence: mean confidence of the answers, 0 to 1; of a model that knows what it knows it falls with accuracy.
        blank: share in which no ink was found.
    """

    accuracy: float
    interval: Share
    confidence: float
    blank: float


@dataclass(frozen=True)
class Robustness:
    """What :func:`robustness` measured.

    Attributes:
        n: images.
        plain: the same images, drawn as pictures but not corrupted.
        kinds: scores by kind and then by level, in the order of ``CORRUPTIONS`` and ``SEVERITIES``.
    """

    n: int
    plain: CorruptionScore
    kinds: dict[str, dict[str, CorruptionScore]]

    def mean(self, level: str, group: str = "all") -> float:
        """Mean accuracy at a level, over the kinds that training may use ("trained"), those "held out", or "all"."""
        chosen = [k for k in self.kinds if group == "all" or CORRUPTIONS[k].trained == (group == "trained")]
        return mean(self.kinds[kind][level].accuracy for kind in chosen)

    def worst(self, level: str) -> tuple[str, float]:
        """Return the kind that is read worst at a level, and its accuracy."""
        kind = min(self.kinds, key=lambda kind: self.kinds[kind][level].accuracy)
        return kind, self.kinds[kind][level].accuracy

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
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
        """Accuracy by kind and level as text for a terminal, lines of at most 80 characters."""
        lines = [
            f"corrupted pictures: {self.n:,} images in {len(self.kinds)} kinds × {len(SEVERITIES)} strengths; "
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
        dataset: images that can all be read; see :meth:`Dataset.take` to leave others out.
        pictures: how many of them to corrupt, every digit by its share; always the same ones.
        progress: shows the kinds and strengths; default a bar on standard error when that is a terminal.

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
    """Image ``at`` as a picture, corrupted; the same for the same data, place, kind and level.

    Returns:
        (H, W) or (H, W, 3) uint8; without a kind the picture as it was before, dark ink on light paper.
    """
    number = dataset.number(at)
    picture = _picture(dataset.images[at], np.random.default_rng((SEED, number)))
    if not kind:
        return picture
    # Of its own for each kind and level, so that a new kind leaves the others' figures as they are.
    rng = np.random.default_rng((SEED, number, zlib.crc32(kind.encode()), list(SEVERITIES).index(level)))
    return corrupt(picture, kind, SEVERITIES[level], rng)


def _picture(image: ImageSource, rng: np.random.Generator) -> np.ndarray:
    """Return any image as a picture with dark ink on light paper: small ones enlarged, large ones reduced."""
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
