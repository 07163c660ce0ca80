"""Numbers of several digits, with what stands in them: composed of test digits, and written by real people.

Composed lines are of MNIST's test digits, grouped by the width of their strokes as one hand's, and of the pen writers
of the test part: digits that stand apart, close, or touch. CROHME's numbers are drawn from their strokes with varied
pens; cheques and pictures are read as they are. Those are for measuring: nothing is trained on them.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inkdigits.data.catalog import load
from inkdigits.preprocess import ImageSource
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions.sheet import rounded
from inkdigits.synthesis.fonts import STROKE_FONTS, strokes_of
from inkdigits.synthesis.lines import Contact, Hand, compose_line
from inkdigits.synthesis.non_digits import non_digit_pictures
from inkdigits.synthesis.strokes import draw, place
from inkdigits.training.line_hands import mixed_writers, pen_hands, scanned_hands

from picture_sets.scenes import photographs, scenes
from picture_sets.several import written
from picture_sets.tally import Measured

__all__ = ["CONTACTS", "Written", "composed", "crohme", "folder", "hands", "losable", "on_paper", "without"]

SEED = 31
CONTACTS: tuple[Contact, ...] = ("apart", "tight", "touching")
LENGTHS = (2, 8)  # digits
HANDS = 40  # that MNIST's test digits are sorted into
PAPERS, INKS = (205, 255), (0, 90)  # grey levels
MARGINS = (0.1, 0.8)  # of the line's height
HEIGHTS = (36, 100)  # pixels, of a line
NOISE = (0.0, 3.0)  # grey levels, standard deviation
WORDS = (
    "the",
    "number",
    "of",
    "words",
    "that",
    "people",
    "write",
    "on",
    "a",
    "page",
    "is",
    "no",
    "amount",
    "at",
    "all",
)


class Written(NamedTuple):
    """A picture, and what is written in it; "" if that is no number."""

    image: ImageSource
    text: str
    strokes: list[np.ndarray] | None = None


def hands(settings: Settings) -> dict[str, list[Hand]]:
    """The hands of test digits: MNIST's and the pen writers'."""
    data = load("mnist", settings, part="test")
    images = np.asarray(data.images)
    of = mixed_writers(images, len(images) // HANDS)
    return {"MNIST": scanned_hands(images, data.labels, of), "pens": pen_hands(settings, "test", (2.0, 3.2, 5.0, 7.5))}


def composed(some: list[Hand], contact: Contact, n: int, texts: list[str] | None = None) -> Iterator[Written]:
    """Compose lines of digits by hands of tests."""
    rng = np.random.default_rng((SEED, CONTACTS.index(contact), len(some), n))
    for i in range(n):
        text = (
            texts[i]
            if texts
            else "".join(rng.choice(list("0123456789"), int(rng.integers(LENGTHS[0], LENGTHS[1] + 1))))
        )
        hand = some[int(rng.integers(len(some)))]
        yield Written(on_paper(compose_line(text, hand, rng, contact=contact, is_varied=False).cover, rng), text)


def on_paper(cover: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put cover on a sheet of any tone, at any size: (H, W) uint8."""
    height = rng.uniform(*HEIGHTS)
    scale = height / len(cover)
    size = max(1, round(cover.shape[1] * scale)), max(1, round(height))
    image = Image.fromarray(cover).resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BOX)
    margins = np.rint(rng.uniform(*MARGINS, (2, 2)) * height).astype(int)
    sheet = np.pad(np.clip(np.asarray(image), 0, 1), margins)
    picture = rng.uniform(*PAPERS) * (1 - sheet) + rng.uniform(*INKS) * sheet
    return rounded(picture + rng.uniform(*NOISE) * rng.standard_normal(picture.shape))


def losable(n: int) -> list[str]:
    """Numbers whose digits are lost most easily: zeros in front and at the end, repeats, a lone 1."""
    rng = np.random.default_rng((SEED, 7))
    texts = []
    for i in range(n):
        rest = "".join(rng.choice(list("0123456789"), int(rng.integers(1, 5))))
        one = str(rng.integers(10))
        kinds = (
            "0" * int(rng.integers(1, 4)) + rest,
            one * int(rng.integers(2, 7)),
            rest + "0" * int(rng.integers(1, 4)),
        )
        kinds += (rest + one * 3 + rest, "1", "1" * int(rng.integers(2, 5)), f"1{rest}1")
        texts.append(kinds[i % len(kinds)])
    return texts


def crohme(measured: Measured) -> Iterator[Written]:
    """CROHME's numbers as people wrote them, and their strokes."""
    path = measured.folder("numbers") / "crohme.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for i, row in enumerate(map(json.loads, lines)):
            yield Written(written(_strokes(row), np.random.default_rng((SEED, i))), row["text"], _in_order(row))


def _strokes(row: Mapping[str, Any]) -> list[np.ndarray]:
    return [np.array(s, float) for symbol in row["symbols"] for s in symbol["strokes"] if s]


def _in_order(row: Mapping[str, Any]) -> list[np.ndarray]:
    """The strokes in the order in which they were written."""
    of = [(n, s) for symbol in row["symbols"] for n, s in zip(symbol["order"], symbol["strokes"], strict=True) if s]
    return [np.array(s, float) for _, s in sorted(of, key=lambda each: each[0])]


def folder(measured: Measured, name: str) -> Iterator[Written]:
    """A folder of pictures with an index: "car-a" or "pictures" of the numbers."""
    path = measured.folder("numbers") / name
    with (path / "index.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Written(path / row["file"], row["label"])


def without(n: int) -> dict[str, list[Written]]:
    """Pictures without a number: words, scribbles and drawings, blanks, textures and photographs."""
    kinds: dict[str, list[Written]] = {"words": [], "non-digits": [], "blanks": [], "textures and photographs": []}
    rng = np.random.default_rng((SEED, 9))
    for _ in range(n):
        font = STROKE_FONTS["test"][int(rng.integers(len(STROKE_FONTS["test"])))]
        words = " ".join(rng.choice(WORDS, int(rng.integers(2, 6))))
        strokes = place(strokes_of(words, font), rng.uniform(200, 500), (20, 20))
        wide, tall = np.ceil(np.concatenate(strokes).max(axis=0) + 20).astype(int)
        kinds["words"].append(Written(draw(strokes, wide, tall, pen=rng.uniform(1.5, 4), paper=235, ink=40), ""))
    for kind, picture in non_digit_pictures(4 * n, SEED, "test"):
        if kind in ("blank", "scribble", "shape", "texture", "noise"):
            kinds["blanks" if kind == "blank" else "non-digits"].append(Written(picture, ""))
    kinds["textures and photographs"] = [Written(picture, "") for _, picture in scenes(n) + photographs(n // 4)]
    return kinds
