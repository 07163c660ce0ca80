"""Real people's pictures of single digits, as they are, cut at the ink's box, and with a dark thing in them.

``pictures/`` and ``failing/`` of the folder that ``INKDIGITS_DATA`` names, each with an ``index.csv``. They are for
measuring: nothing is trained on them.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inkdigits.prediction import Box
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode

from picture_sets import dark_things, ink_box
from picture_sets.tally import Case, Measured, Row, Target, at_least

__all__ = ["as_they_are", "cut_tight", "failing", "with_dark_things"]

HARD = "dida"  # crops of old parish books, often with neighbors: measured apart
FORMS = ("scan", "framed")  # may have printed lines near the edges
WITH_ROOM = ("photo", "scan")  # things are put into these
LEAST_SIDE = 60  # pixels of the shorter side, for a thing to look like one
NARROW = 0.02  # of the ink's longer side: the margin of pictures that people cut tight
LEAST_TALL = 3  # times as high as wide, and
MOST_FILLED = 0.75  # of its box: a 1 of which only a bar of ink is left
SEVERAL = "several digits"  # in index.csv's ``why``, and as Prediction.reason


@dataclass(frozen=True)
class Picture:
    """A real picture and what its index says."""

    path: Path
    label: str
    about: str

    def decoded(self) -> Image.Image:
        return decode(self.path, Limits()).convert("RGB")

    def ink(self) -> ink_box.Ink | None:
        return ink_box.find(self.decoded(), lines=self.about in FORMS)


def pictures(folder: Path) -> list[Picture]:
    """The pictures of a folder with an ``index.csv``, whose third column is the kind, or what goes wrong."""
    with (folder / "index.csv").open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    return [Picture(folder / name, label, about) for name, label, about in rows]


def as_they_are(measured: Measured) -> Iterator[Row]:
    """Each kind, and all but the hard one."""
    cases: dict[str, list[Case]] = {}
    for picture in pictures(measured.folder("pictures")):
        cases.setdefault(picture.about, []).append(Case(picture.path, int(picture.label)))
    targets = {"framed": at_least(0.98), HARD: at_least(0.8)}
    yield from _by_kind(measured, "pictures", cases, targets, at_least(0.996))


def cut_tight(measured: Measured) -> Iterator[Row]:
    """Each kind cut at its ink, without margin and with a narrow one, where straight strokes go from edge to edge.

    A 1 of which only a bar of ink is left is not readable, and left out.
    """
    kept: list[tuple[Picture, ink_box.Ink]] = []
    for picture in pictures(measured.folder("pictures")):
        if picture.about != HARD and (ink := picture.ink()) and not only_a_bar(ink):
            kept.append((picture, ink))
    for name, margin in (("cut at the ink", 0), (f"cut with {100 * NARROW:g}% around", NARROW)):
        cases: dict[str, list[Case]] = {}
        for picture, ink in kept:
            left, top, right, bottom = ink.box
            free = round(margin * max(right - left, bottom - top))
            whole = picture.decoded()
            low, high = (max(0, left - free), max(0, top - free)), (right + free, bottom + free)
            box = (*low, *(min(side, at) for side, at in zip(whole.size, high, strict=True)))
            cases.setdefault(picture.about, []).append(Case(whole.crop(box), int(picture.label)))
        yield from _by_kind(measured, name, cases, {}, at_least(0.993))


def only_a_bar(ink: ink_box.Ink) -> bool:
    left, top, right, bottom = ink.box
    return ink.filled > MOST_FILLED and bottom - top > LEAST_TALL * (right - left)


def with_dark_things(measured: Measured) -> Iterator[Row]:
    """Each thing in each photograph and scan of dark ink that has room for it."""
    cases: dict[str, list[Case]] = {thing: [] for thing in dark_things.THINGS}
    for picture in pictures(measured.folder("pictures")):
        if picture.about not in WITH_ROOM or not (ink := picture.ink()) or not ink.dark:
            continue
        pixels = np.asarray(picture.decoded())
        if min(pixels.shape[:2]) < LEAST_SIDE:
            continue
        for number, thing in enumerate(dark_things.THINGS):
            rng = np.random.default_rng((zlib.crc32(picture.path.name.encode()), number))
            found = dark_things.add(pixels, Box(*ink.box), thing, rng)
            if found is not None:
                cases[thing].append(Case(found, int(picture.label)))
    yield from _by_kind(measured, "dark thing", cases, {}, at_least(0.97))


def failing(measured: Measured) -> Iterator[Row]:
    """Pictures that an earlier version got wrong: all must be right, or rejected for the right reason."""
    cases: dict[str, list[Case]] = {}
    for picture in pictures(measured.folder("failing")):
        several = picture.about.startswith(SEVERAL)
        case = Case(picture.path, None, SEVERAL) if several else Case(picture.path, int(picture.label))
        cases.setdefault(SEVERAL if several else picture.about.partition(":")[0], []).append(case)
    everything = at_least(1)
    yield from _by_kind(measured, "failing", cases, dict.fromkeys(cases, everything), everything)


def _by_kind(
    measured: Measured, name: str, cases: dict[str, list[Case]], targets: dict[str, Target], target: Target
) -> Iterator[Row]:
    """Count each kind, and all of them but the hard one, for which the last target is."""
    answers = {kind: measured.read(these) for kind, these in cases.items()}
    for kind, these in cases.items():
        yield measured.count(f"{name}: {kind}", these, targets.get(kind), answers=answers[kind])
    kinds = [kind for kind in cases if kind != HARD]
    together = [case for kind in kinds for case in cases[kind]], [a for kind in kinds for a in answers[kind]]
    yield measured.count(
        f"{name}: all" + f" without {HARD}" * (HARD in cases), together[0], target, answers=together[1]
    )
