"""Prepare the images of a run: generate them, normalize them as for inference, and cache them for the next run.

These can be mixed: images of a data set such as MNIST; pen strokes, each drawn many times with different pens; both
corrupted at full size, as by cameras, paper and scanners; digits and numbers on composed pages, with rules, shadows and
things at the edge; digits with traces of rules, frames and neighbors, broken or coarse; and non-digits, so that the
model learns to reject them: shapes and letters, numbers of several digits, and Omniglot's characters. The writers of
the numbers and characters to validate on are never trained on as such. Generating them takes minutes, so the result is
cached under a hash of options, data and recipe version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from inkdigits.atomic import staged
from inkdigits.data.catalog import PEN_WRITERS, fetch, load
from inkdigits.data.dataset import NON_DIGIT, VALIDATION_SEED, Dataset, Lazy, stratified
from inkdigits.data.omniglot import HELD_BACK, LOOKALIKES, load_omniglot
from inkdigits.data.pen import PenDigit, load_pendigits, pen_picture
from inkdigits.network import shipped_network
from inkdigits.preprocess import NORMALIZATION_VERSION, SIDE, ImageSource, preprocess
from inkdigits.preprocess.components import dilate
from inkdigits.preprocess.layout import lay_out
from inkdigits.progress import Progress
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES, corrupt, picture_of
from inkdigits.synthesis.non_digits import NON_DIGITS, drawn
from inkdigits.synthesis.pages import Hands as PageHands
from inkdigits.synthesis.pages import compose
from inkdigits.synthesis.residue import HEIGHT, changed, enlarged, residue
from inkdigits.synthesis.strings import cover_of, cropped, number_picture, photographed
from inkdigits.training.config import TrainConfig
from inkdigits.training.hands import DataSets, hands_of

__all__ = ["NO_DIGIT", "SEVERAL", "Prepared", "TrainingSet", "joined", "prepare", "split_names"]

RECIPE_VERSION = "3"  # increase when the same options and data give other pictures, so that cached ones are not used
CORRUPTED_SET, NON_DIGIT_SET = "disturbed", "no digit"  # their keys in registries, which must not change
SEVERAL_SET, CHARACTER_SET, RESIDUE_SET, EMPTY_SET = "several", "characters", "residue", "residue alone"
PAGE_SET, REJECTED_PAGE_SET = "pages", "rejected on pages"
NO_DIGIT, SEVERAL = NON_DIGIT, -2  # labels of non-digits; those of several digits
VALIDATION_SHARE = 0.2  # largest share of the training images to hold out, for small data sets
CORRUPTED_VALIDATION = 1500  # pictures
NON_DIGIT_VALIDATION = 1500  # pictures, of each sort of non-digits
RESIDUE_VALIDATION = 1500  # pictures
PAGE_VALIDATION = 1500  # pictures
PAGE_SIDES = ((160, 160), (160, 112), (112, 160), (128, 128), (160, 80), (96, 96), (64, 64), (40, 28))  # pixels
PAGE_NUMBERS = 0.15  # share of the pages with two or three digits
PAGE_EMPTY = 0.2  # share of the pages without a digit: empty, or with a scribble
INKED = 0.3  # cover, at least, of what counts as ink
FOUND = 0.75  # share of a page's ink that preprocessing must find, and of what it finds that must be ink
VALIDATION_DRAWERS = 17  # Omniglot's drawers from this one on are for validation
TWO_DIGITS = 0.65  # share of the numbers that have two digits; the others have three
WHOLE = 0.9  # of a number's width and height, that must be left after preprocessing
PENS = (0.05, 0.2)  # of the height, for digits with residue
COARSE = 0.2  # share of the digits with residue that are enlarged from a small picture instead
EMPTY_SHARE = 0.15  # traces without a digit, as a share of those with one
TRAINED_SEVERITY = (0.2, 1.0)  # range of the severity of corruptions in training
EMPHASIS = {"motion": 3, "shadow": 2, "table": 2}  # relative frequency of the hardest corruptions; others have 1
REJECTED_MORE = ("shape", "shape", "scribble", "line", "blank", "noise")  # the hardest, in addition to each kind
TWICE = 0.3  # share of the corrupted pictures that are corrupted in two ways
WORTHWHILE = 5000  # pictures, from which several processes and caching pay off
CHUNK = 500  # pictures per task of a worker process

# Augmentation varies the handwriting in each batch, and normalization removes the polarity.
_TRAINED = tuple(
    kind.name for kind in CORRUPTIONS.values() if kind.trained and kind.group != "hand" and kind.name != "inverted"
)
_OFTEN = np.array([EMPHASIS.get(name, 1) for name in _TRAINED])
_OFTEN = _OFTEN / _OFTEN.sum()


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images as a network reads them, with labels.

    Attributes:
        images: (N, 28, 28) uint8, ink 255 on paper 0.
        labels: (N,) int64, 0 to 9, or NO_DIGIT, or SEVERAL.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, numbers: np.ndarray) -> TrainingSet:
        """Return the images with these numbers."""
        return TrainingSet(self.images[numbers], self.labels[numbers])


@dataclass(frozen=True, eq=False)
class Prepared:
    """The images of a run.

    Attributes:
        training: images to train on.
        validation: held-out images to select the best epoch by: of each data set by its name, and of the sets that
            are named above.
        sha256: hashes of the source data, by file or array.
        clean: the uncorrupted validation images of digits, for calibration.
        non_digits: the validation images of non-digits, for calibration; empty where there are none.
        held_out: number of validation images.
    """

    training: TrainingSet
    validation: dict[str, TrainingSet]
    sha256: dict[str, str]
    clean: list[TrainingSet]
    non_digits: list[TrainingSet]
    held_out: int


def split_names(data: str) -> list[str]:
    """Split an option such as "mnist+pen" into data sets; a path is one name, even with a plus sign in it."""
    return [data] if os.sep in data or "." in data else data.split("+")


def prepare(config: TrainConfig, settings: Settings, progress: Progress, *, test: bool = False) -> Prepared:
    """Generate the images of a run, or load them from the cache.

    Args:
        config: the options; only those that ``of_data`` keeps matter.
        settings: where data sets and the cache are.
        progress: shows progress.
        test: download the test set, too, so that a long run does not fail for lack of it at the end.

    Raises:
        DataError: a data set cannot be loaded.
    """
    if test:
        for name in split_names(config.data):
            fetch(name, settings, progress=progress)
    sets: dict[str, tuple[Dataset, np.ndarray, np.ndarray]] = {}
    pen: dict[str, list[PenDigit]] = {}
    sha256: dict[str, str] = {}
    for name in split_names(config.data):
        dataset = load(name, settings, part="train", progress=progress)
        sha256.update(dataset.sha256)
        if name == "pen":
            digits = load_pendigits(settings)
            pen = {part: [d for d in digits if d.writer in PEN_WRITERS[part]] for part in ("train", "validation")}
        else:
            size = min(config.validation, int(VALIDATION_SHARE * len(dataset)))
            sets[name] = (dataset, *stratified(dataset.labels, size, VALIDATION_SEED))

    def made(what: str, make: Callable[..., TrainingSet], *columns: Any) -> TrainingSet:
        """Run ``make`` on columns of sources, labels, seeds…, in several processes if there are many rows."""
        if len(columns[0]) < WORTHWHILE:
            with progress(what, len(columns[0]), "") as advance:
                images = make(*columns)
                advance(len(columns[0]))
            return images
        return _cached(_key(config, sha256, what), settings, lambda: _in_parallel(what, make, columns, progress))

    def sample(part: str, n: int, seed: int) -> tuple[list[ImageSource | PenDigit], list[int]]:
        images = [(d.images, d.labels, fitting if part == "train" else held) for d, fitting, held in sets.values()]
        return _sample(images, pen.get(part, []), n, seed=seed)

    training, validation = [], {}
    for name, (dataset, fitting, held) in sets.items():
        whole = made(f"normalizing {name}", _plain, dataset.images, dataset.labels)
        training.append(whole.take(fitting))
        validation[name] = whole.take(held)
    if pen:
        validation["pen"] = made("drawing validation strokes", _drawn, pen["validation"], range(len(pen["validation"])))
        many = pen["train"] * config.pen_variants
        training.append(made("drawing pen strokes", _drawn, many, range(1_000_000, 1_000_000 + len(many))))
    if config.corrupted:

        def corrupted(part: str, n: int, first_seed: int) -> TrainingSet:
            sources = sample(part, n, int(part == "train"))
            make = partial(_corrupted, part)
            return made(f"corrupting pictures to {part} on", make, *sources, range(first_seed, first_seed + n))

        validation[CORRUPTED_SET] = corrupted("validation", CORRUPTED_VALIDATION, 0)
        training.append(corrupted("train", int(config.corrupted * sum(map(len, training))), 2_000_000))
    count = sum(map(len, training))
    if config.pages:

        def on_pages(part: str, n: int, first_seed: int) -> TrainingSet:
            rows = _rows(*sample(part, 3 * n, first_seed + 1), first_seed)
            return made(f"composing {n} pages to {part} on", _on_pages, *rows)

        pages = on_pages("validation", PAGE_VALIDATION, 0)
        validation[PAGE_SET] = pages.take(np.flatnonzero(pages.labels >= 0))
        validation[REJECTED_PAGE_SET] = pages.take(np.flatnonzero(pages.labels < 0))
        training.append(on_pages("train", int(config.pages * count), 8_000_000))
    if config.non_digits:
        n = int(config.non_digits * count)
        # Both use the training fonts with different seeds; the fonts of the test set are never used here.
        validation[NON_DIGIT_SET] = made("drawing non-digits to validate on", _non_digits, range(NON_DIGIT_VALIDATION))
        training.append(made("drawing non-digits to train on", _non_digits, range(3_000_000, 3_000_000 + n)))
    if config.several or config.characters or config.residue:
        hard = _hard_sets(config, sets, pen, count, settings, sha256)
        for name, part, what, make, columns in hard:
            images = made(f"{what} to {part} on", make, *columns)
            if part == "train":
                training.append(images)
            else:
                validation[name] = images
    of_digits = [each for name, each in validation.items() if name not in (CORRUPTED_SET, RESIDUE_SET, PAGE_SET)]
    clean = [each for each in of_digits if (each.labels >= 0).all()]
    non_digits = [each for each in of_digits if (each.labels < 0).all()]
    return Prepared(joined(training), validation, sha256, clean, non_digits, sum(map(len, validation.values())))


def _hard_sets(
    config: TrainConfig,
    sets: DataSets,
    pen: Mapping[str, list[PenDigit]],
    count: int,
    settings: Settings,
    sha256: dict[str, str],
) -> Iterator[tuple[str, str, str, Callable[..., TrainingSet], tuple[Any, ...]]]:
    """Yield name, part, description, maker and columns of each set of numbers, characters and digits with residue.

    The description has the number of pictures, which the key of the cache needs.
    """
    sizes = {name: int(getattr(config, name) * count) for name in (SEVERAL_SET, CHARACTER_SET, RESIDUE_SET)}
    if config.several or config.residue:
        hands = hands_of(sets, pen, settings, sha256)
        for name, what, make, first, held in (
            (SEVERAL_SET, "writing {} numbers", _several, 4_000_000, NON_DIGIT_VALIDATION),
            (RESIDUE_SET, "changing {} digits", _changed, 5_000_000, RESIDUE_VALIDATION),
        ):
            parts = (("validation", held, 0), ("train", sizes[name], first)) if sizes[name] else ()
            for part, n, seed in parts:
                two = np.random.default_rng((7, seed)).random(n) < TWO_DIGITS
                together = np.where(two | (make is _changed), 2, 3).tolist()
                columns: tuple[Any, ...] = (*hands[part].draw(together, seed), range(seed, seed + n))
                yield name, part, what.format(n), make, columns
    if sizes[RESIDUE_SET]:
        for part, n, seed in (
            ("validation", NON_DIGIT_VALIDATION, 0),
            ("train", int(EMPTY_SHARE * sizes[RESIDUE_SET]), 6_000_000),
        ):
            yield EMPTY_SET, part, f"drawing {n} traces", _empty, (range(seed, seed + n),)
    if sizes[CHARACTER_SET]:
        characters = [c for c in load_omniglot(settings) if c.alphabet != HELD_BACK]
        points = b"".join(stroke.tobytes() for c in characters for stroke in c.strokes)
        sha256["omniglot"] = hashlib.sha256(points).hexdigest()
        characters = [c for c in characters if (c.alphabet, c.name) not in LOOKALIKES]
        for part, n, seed in (("validation", NON_DIGIT_VALIDATION, 0), ("train", sizes[CHARACTER_SET], 7_000_000)):
            among = [c.strokes for c in characters if (c.drawer >= VALIDATION_DRAWERS) == (part == "validation")]
            chosen = np.random.default_rng((8, seed)).integers(len(among), size=n)
            columns = ([among[i] for i in chosen], range(seed, seed + n))
            yield CHARACTER_SET, part, f"drawing {n} characters", _characters, columns


def _sample(
    images: Sequence[tuple[np.ndarray | Lazy, np.ndarray, np.ndarray]], pen: list[PenDigit], n: int, *, seed: int
) -> tuple[list[ImageSource | PenDigit], list[int]]:
    """Draw ``n`` images or pen digits, half of each if both exist, and their labels."""
    rng = np.random.default_rng((4, seed))
    sources: list[ImageSource | PenDigit] = []
    labels: list[int] = []
    for _ in range(n):
        if images and (not pen or rng.random() < 0.5):
            pixels, truth, allowed = images[int(rng.integers(len(images)))]
            chosen = int(allowed[rng.integers(len(allowed))])
            sources.append(pixels[chosen])
            labels.append(int(truth[chosen]))
        else:
            sources.append(digit := pen[int(rng.integers(len(pen)))])
            labels.append(digit.label)
    return sources, labels


def _rows(digits: list[Any], labels: list[int], seed: int) -> tuple[list[Any], list[int], range]:
    """Arrange digits as rows of one to three, each with a label, and a seed."""
    rng = np.random.default_rng((13, seed))
    rows, truth = [], []
    for i in range(0, len(digits), 3):
        n = int(rng.integers(2, 4)) if rng.random() < PAGE_NUMBERS else 1
        alike = [d for d in digits[i : i + n] if isinstance(d, PenDigit) == isinstance(digits[i], PenDigit)]
        is_empty = rng.random() < PAGE_EMPTY
        rows.append([] if is_empty else alike)
        truth.append(NO_DIGIT if is_empty else labels[i] if len(alike) == 1 else SEVERAL)
    return rows, truth, range(seed, seed + len(rows))


# The functions below run in worker processes; their results depend only on their arguments.


def _plain(images: np.ndarray, labels: np.ndarray) -> TrainingSet:
    return _normalized(zip(images, labels, strict=True), keep_blank=True)


def _drawn(digits: list[PenDigit], seeds: Sequence[int]) -> TrainingSet:
    return _normalized((pen_picture(d, np.random.default_rng(s)), d.label) for d, s in zip(digits, seeds, strict=True))


def _corrupted(part: str, sources: list[np.ndarray | PenDigit], labels: list[int], seeds: Sequence[int]) -> TrainingSet:
    def pictures() -> Iterator[tuple[np.ndarray, int]]:
        for source, label, seed in zip(sources, labels, seeds, strict=True):
            rng = np.random.default_rng(seed)
            picture = pen_picture(source, rng) if isinstance(source, PenDigit) else picture_of(source, rng)
            times = 1 + int(part == "train" and rng.random() < TWICE)
            for kind in rng.choice(_TRAINED, times, replace=False, p=_OFTEN if part == "train" else None):
                severity = rng.uniform(*TRAINED_SEVERITY) / times if part == "train" else SEVERITIES["medium"]
                picture = corrupt(picture, str(kind), severity, rng)
            yield picture, label

    return _normalized(pictures())


def _on_pages(rows: list[Any], labels: list[int], seeds: Sequence[int]) -> TrainingSet:
    """Compose a page of each row of digits; leave out those whose ink preprocessing does not find.

    A page of no digits is empty, or has a scribble; it is left out if preprocessing finds no ink at all.
    """

    def images() -> Iterator[tuple[np.ndarray, int]]:
        for row, label, seed in zip(rows, labels, seeds, strict=True):
            rng = np.random.default_rng((14, seed))
            height, width = PAGE_SIDES[int(rng.integers(len(PAGE_SIDES)))]
            if not row:
                seen = preprocess(compose(None, height, width, rng, digits=0).grey)
                if seen.box is not None:
                    yield seen.image, label
                continue
            are_pens = isinstance(row[0], PenDigit)
            scans = np.zeros((0, SIDE, SIDE), np.uint8) if are_pens else np.stack(row)
            hands = PageHands(scans, [digit.strokes for digit in row] if are_pens else [], [])
            page = compose(hands, height, width, rng, digits=len(row))
            seen = preprocess(page.grey)
            if seen.box is not None and page.ink.max() > INKED and _is_found(seen.image, lay_out(cropped(page.ink))):
                yield seen.image, label

    return _stacked(images())


def _is_found(found: np.ndarray, true: np.ndarray) -> bool:
    """Return whether most ink of a page was found, and most of what was found is ink; both (28, 28), laid out."""
    found, true = found > INKED, true > INKED
    recall = (true & dilate(found, 1)).sum() / true.sum()
    precision = (found & dilate(true, 1)).sum() / max(found.sum(), 1)
    return bool(min(recall, precision) >= FOUND)


def _non_digits(seeds: Sequence[int]) -> TrainingSet:
    kinds = [NON_DIGITS[name] for name in (*NON_DIGITS, *REJECTED_MORE)]
    return _normalized((kinds[s % len(kinds)].make(np.random.default_rng((5, s)), "train"), NO_DIGIT) for s in seeds)


def _several(sources: list[tuple[Any, ...]], labels: list[int], seeds: Sequence[int]) -> TrainingSet:
    def images() -> Iterator[tuple[np.ndarray, int]]:
        for digits, seed in zip(sources, seeds, strict=True):
            picture, cover = number_picture(digits, np.random.default_rng((9, seed)))
            seen = preprocess(picture)
            left, top, right, bottom = seen.box or (0, 0, 0, 0)
            h, w = cover.shape
            is_whole = right - left >= WHOLE * w and bottom - top >= WHOLE * h
            yield seen.image if is_whole else lay_out(cover), SEVERAL

    return _stacked(images())


def _changed(sources: list[tuple[Any, ...]], labels: list[int], seeds: Sequence[int]) -> TrainingSet:
    def images() -> Iterator[tuple[np.ndarray, int]]:
        for digits, label, seed in zip(sources, labels, seeds, strict=True):
            rng = np.random.default_rng((10, seed))
            pen = HEIGHT * float(np.exp(rng.uniform(*np.log(PENS))))
            digit, other = (cover_of(source, HEIGHT, pen, 0.0) for source in digits)
            if rng.random() < COARSE:
                seen = preprocess(enlarged(digit, rng))
                yield seen.image if seen.box is not None else lay_out(digit), label
            else:
                yield lay_out(changed(digit, other, rng)), label

    return _stacked(images())


def _empty(seeds: Sequence[int]) -> TrainingSet:
    return _stacked((lay_out(residue(np.random.default_rng((11, n)))), NO_DIGIT) for n in seeds)


def _characters(drawings: list[tuple[np.ndarray, ...]], seeds: Sequence[int]) -> TrainingSet:
    rngs = (np.random.default_rng((12, n)) for n in seeds)
    rows = zip(drawings, rngs, strict=True)
    return _normalized((photographed(drawn(list(strokes), rng), rng), NO_DIGIT) for strokes, rng in rows)


def _stacked(images: Iterable[tuple[np.ndarray, int]]) -> TrainingSet:
    pixels, labels = zip(*((np.rint(image * 255).astype(np.uint8), label) for image, label in images), strict=True)
    return TrainingSet(np.stack(pixels), np.array(labels, np.int64))


def _normalized(pictures: Any, *, keep_blank: bool = False) -> TrainingSet:
    """Normalize pictures; omit those without any ink left, as they cannot be learned."""
    images, labels = [], []
    for picture, label in pictures:
        seen = preprocess(picture)
        if keep_blank or seen.box is not None:
            images.append(np.rint(seen.image * 255).astype(np.uint8))
            labels.append(int(label))
    return TrainingSet(np.array(images, np.uint8).reshape(-1, SIDE, SIDE), np.array(labels, np.int64))


def _in_parallel(
    what: str, make: Callable[..., TrainingSet], columns: tuple[Any, ...], progress: Progress
) -> TrainingSet:
    """Run ``make`` in worker processes, on CHUNK rows of the columns per task."""
    n = len(columns[0])
    tasks = [tuple(column[i : i + CHUNK] for column in columns) for i in range(0, n, CHUNK)]
    made = []
    # Spawn, not fork: a fork of a process with PyTorch's threads may hang.
    workers = ProcessPoolExecutor(min(os.cpu_count() or 1, len(tasks)), get_context("spawn"))
    with progress(what, n, "") as advance, workers:
        for task, images in zip(tasks, workers.map(make, *zip(*tasks, strict=True)), strict=True):
            made.append(images)
            advance(len(task[0]))
    return joined(made)


def joined(sets: Iterable[TrainingSet]) -> TrainingSet:
    """Concatenate training sets."""
    images, labels = zip(*((each.images, each.labels) for each in sets), strict=True)
    return TrainingSet(np.concatenate(images), np.concatenate(labels))


def _key(config: TrainConfig, sha256: dict[str, str], what: str) -> str:
    """Return a cache key for generated images: a hash of options, data and versions of the code that makes them."""
    options = [config.data, config.validation, config.pen_variants, config.corrupted, config.non_digits]
    parts = [NORMALIZATION_VERSION, RECIPE_VERSION, shipped_network("ink")[1], what, options, sorted(sha256.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _cached(key: str, settings: Settings, make: Callable[[], TrainingSet]) -> TrainingSet:
    path = Path(settings.cache).expanduser() / "prepared" / f"{key[:32]}.npz"
    try:
        with np.load(path) as kept:
            return TrainingSet(kept["images"], kept["labels"])
    except (OSError, ValueError, KeyError):  # missing or incomplete: make it again
        made = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as part:
        np.savez_compressed(part, images=made.images, labels=made.labels)
    return made
