"""What a training run learns from and chooses by: pictures made, normalised as at run time, and kept for the next run.

Four things can be mixed. Images of a data set such as MNIST; pen strokes, each drawn many times by another pen;
pictures of both that were disturbed at full size, as cameras, paper and scanners do; and pictures that show no digit,
to learn to refuse. Making them takes minutes, so the result is kept in the cache under a hash of all that determines
it: options, data and the version of the recipe.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from inkdigits.atomic import staged
from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.dataset import Dataset, Lazy, stratified
from inkdigits.data.pen import PenDigit, load_pendigits, pen_picture
from inkdigits.preprocess import NORMALIZATION_VERSION, SIDE, ImageSource, preprocess
from inkdigits.progress import Progress
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES, corrupt, picture_of
from inkdigits.synthesis.non_digits import NON_DIGITS
from inkdigits.training.config import TrainConfig

__all__ = ["NO_DIGIT", "Pool", "Pools", "joined", "make_pools", "split_names"]

RECIPE_VERSION = "1"  # changes when the same options and data give other pictures; kept pools are then made again
NO_DIGIT = -1  # the label of pictures that show no digit
VALIDATION_SEED = 0  # of the images held back: the same in every run, so that runs can be compared
VALIDATION_SHARE = 0.2  # of the training images, at most, for small data sets
DISTURBED_VALIDATION = 1500  # pictures
NEGATIVE_VALIDATION = 1500  # pictures
STRENGTHS = (0.2, 1.0)  # of the disturbances learnt from
EMPHASIS = {"motion": 3, "shadow": 2, "table": 2}  # how often the hardest disturbances come, for each other one
REFUSED_MORE = ("shape", "shape", "scribble", "line", "blank", "noise")  # beside each kind once: the hardest to refuse
TWICE = 0.3  # share of the disturbed pictures that are disturbed in two ways
WORTHWHILE = 5000  # pictures, from which several processes and a place in the cache pay
CHUNK = 500  # pictures a task of a worker process

# What the hand does is left to the augmentation of each batch, and the polarity is undone by the normalisation.
_LEARNT = tuple(
    kind.name for kind in CORRUPTIONS.values() if kind.trained and kind.group != "hand" and kind.name != "inverted"
)
_OFTEN = np.array([EMPHASIS.get(name, 1) for name in _LEARNT])
_OFTEN = _OFTEN / _OFTEN.sum()


@dataclass(frozen=True, eq=False)
class Pool:
    """Preprocessed images.

    Attributes:
        images: (N, 28, 28) uint8, ink 255 on paper 0.
        labels: (N,) int64, 0 to 9, or NO_DIGIT.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Pools:
    """Attributes:
    training: what to learn from.
    validation: by name what to choose by, never learnt from: the data sets' own, "disturbed", "no digit".
    sha256: hash by file or array of the data that they were made of.
    """

    training: Pool
    validation: dict[str, Pool]
    sha256: dict[str, str]


def split_names(data: str) -> list[str]:
    """The data sets of an option such as "mnist+pen"; a path is one name, whatever it contains."""
    return [data] if os.sep in data or "." in data else data.split("+")


def make_pools(config: TrainConfig, settings: Settings, progress: Progress) -> Pools:
    """Make, or take from the cache, what a run needs.

    Raises:
        DataError: a data set cannot be had.
    """
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

    def made(what: str, make: Callable[..., Pool], *columns: Any) -> Pool:
        """What ``make`` gives for columns of sources, labels, seeds…, in parts by several processes."""
        if len(columns[0]) < WORTHWHILE:
            with progress(what, len(columns[0]), "") as advance:
                pool = make(*columns)
                advance(len(columns[0]))
            return pool
        return _kept(_key(config, sha256, what), settings, lambda: _run(what, make, columns, progress))

    training, validation = [], {}
    for name, (dataset, fitting, held) in sets.items():
        whole = made(f"normalising {name}", _plain, dataset.images, dataset.labels)
        training.append(_take(whole, fitting))
        validation[name] = _take(whole, held)
    if pen:
        validation["pen"] = made("drawing validation strokes", _drawn, pen["validation"], range(len(pen["validation"])))
        many = pen["train"] * config.pen_variants
        training.append(made("drawing pen strokes", _drawn, many, range(1_000_000, 1_000_000 + len(many))))
    if config.corrupted:
        for part, n in (
            ("validation", DISTURBED_VALIDATION),
            ("train", int(config.corrupted * sum(map(len, training)))),
        ):
            images = [
                (d.images, d.labels, held if part == "validation" else fitting) for d, fitting, held in sets.values()
            ]
            sources = _sample(images, pen.get(part, []), n, seed=part == "train")
            seeds = range(n) if part == "validation" else range(2_000_000, 2_000_000 + n)
            pool = made(f"disturbing pictures to {part} on", partial(_disturbed, part), *sources, seeds)
            training.append(pool) if part == "train" else validation.update(disturbed=pool)
    if config.non_digits:
        n = int(config.non_digits * sum(map(len, training)))
        # Both from the training fonts, by other seeds; the fonts of the test part are seen by no run.
        validation["no digit"] = made("drawing what is no digit", _negative, range(NEGATIVE_VALIDATION))
        training.append(made("drawing what is no digit, to refuse", _negative, range(3_000_000, 3_000_000 + n)))
    return Pools(joined(training), validation, sha256)


def _sample(
    images: Sequence[tuple[np.ndarray | Lazy, np.ndarray, np.ndarray]], pen: list[PenDigit], n: int, *, seed: int
) -> tuple[list[ImageSource | PenDigit], list[int]]:
    """``n`` images or pen digits, half of each where there are both, and their labels."""
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
            digit = pen[int(rng.integers(len(pen)))]
            sources.append(digit)
            labels.append(digit.label)
    return sources, labels


# These make pictures from columns of sources and seeds, in worker processes: the same pictures whoever asks.


def _plain(images: np.ndarray, labels: np.ndarray) -> Pool:
    return _normalised(zip(images, labels, strict=True), keep_blank=True)


def _drawn(digits: list[PenDigit], seeds: Sequence[int]) -> Pool:
    return _normalised((pen_picture(d, np.random.default_rng(s)), d.label) for d, s in zip(digits, seeds, strict=True))


def _disturbed(part: str, sources: list[np.ndarray | PenDigit], labels: list[int], seeds: Sequence[int]) -> Pool:
    def pictures() -> Iterator[tuple[np.ndarray, int]]:
        for source, label, seed in zip(sources, labels, seeds, strict=True):
            rng = np.random.default_rng(seed)
            picture = pen_picture(source, rng) if isinstance(source, PenDigit) else picture_of(source, rng)
            times = 1 + int(part == "train" and rng.random() < TWICE)
            for kind in rng.choice(_LEARNT, times, replace=False, p=_OFTEN if part == "train" else None):
                strength = rng.uniform(*STRENGTHS) / times if part == "train" else SEVERITIES["medium"]
                picture = corrupt(picture, str(kind), strength, rng)
            yield picture, label

    return _normalised(pictures())


def _negative(seeds: Sequence[int]) -> Pool:
    kinds = [NON_DIGITS[name] for name in (*NON_DIGITS, *REFUSED_MORE)]
    return _normalised((kinds[s % len(kinds)].make(np.random.default_rng((5, s)), "train"), NO_DIGIT) for s in seeds)


def _normalised(pictures: Any, *, keep_blank: bool = False) -> Pool:
    """Normalise pictures; where the ink is lost altogether there is nothing to learn, and the picture is left out."""
    images, labels = [], []
    for picture, label in pictures:
        seen = preprocess(picture)
        if keep_blank or seen.box is not None:
            images.append(np.rint(seen.image * 255).astype(np.uint8))
            labels.append(int(label))
    return Pool(np.array(images, np.uint8).reshape(-1, SIDE, SIDE), np.array(labels, np.int64))


def _run(what: str, make: Callable[..., Pool], columns: tuple[Any, ...], progress: Progress) -> Pool:
    """``make`` for CHUNK rows of the columns at a time, each task taking along its own rows only."""
    n = len(columns[0])
    tasks = [tuple(column[i : i + CHUNK] for column in columns) for i in range(0, n, CHUNK)]
    made = []
    # Spawned, not forked: a fork of a process with PyTorch's threads may hang.
    workers = ProcessPoolExecutor(min(os.cpu_count() or 1, len(tasks)), get_context("spawn"))
    with progress(what, n, "") as advance, workers:
        for task, pool in zip(tasks, workers.map(make, *zip(*tasks, strict=True)), strict=True):
            made.append(pool)
            advance(len(task[0]))
    return joined(made)


def joined(pools: Sequence[Pool]) -> Pool:
    """One pool of several."""
    return Pool(np.concatenate([p.images for p in pools]), np.concatenate([p.labels for p in pools]))


def _take(pool: Pool, numbers: np.ndarray) -> Pool:
    return Pool(pool.images[numbers], pool.labels[numbers])


def _key(config: TrainConfig, sha256: dict[str, str], what: str) -> str:
    """A hash of all that determines a pool: the options, the data, and the versions of what makes it."""
    options = [config.data, config.validation, config.pen_variants, config.corrupted, config.non_digits]
    parts = [NORMALIZATION_VERSION, RECIPE_VERSION, what, options, sorted(sha256.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _kept(key: str, settings: Settings, make: Callable[[], Pool]) -> Pool:
    path = Path(settings.cache).expanduser() / "prepared" / f"{key[:32]}.npz"
    try:
        with np.load(path) as kept:
            return Pool(kept["images"], kept["labels"])
    except (OSError, ValueError, KeyError):  # not there, or cut short: make it anew
        pool = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    with staged(path) as part:
        np.savez_compressed(part, images=pool.images, labels=pool.labels)
    return pool
