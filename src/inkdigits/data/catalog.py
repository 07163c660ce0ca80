"""Data sets by name or path: found on this machine or downloaded, verified, split.

``mnist``   60,000 training and 10,000 test digits, 28×28 (Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0). Read from the
            folder that ``INKDIGITS_DATA`` names, else downloaded once to the cache.
``digits``  1,797 digits that come inside scikit-learn, so that training works with no download (E. Alpaydin, C. Kaynak,
            UCI Machine Learning Repository, data set 80).
``pen``     7,494 digits by 30 writers as pen strokes, drawn as a drawing page draws them (E. Alpaydin, F. Alimoglu,
            data set 81, CC BY 4.0). Read from the folder that ``INKDIGITS_DATA`` names.

Anything else is the path of your own labeled images: see :mod:`inkdigits.data.labelled`.

A test part is for measuring. Nothing here or in ``fit`` trains, tunes or chooses by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from inkdigits.data.dataset import Dataset, Lazy, Part, stratified
from inkdigits.data.download import download
from inkdigits.data.idx import read_idx
from inkdigits.data.labelled import FORMS, looks_like_path, parts_of, read_path
from inkdigits.data.pen import PENDIGITS_FILE, PENDIGITS_SHA256, load_pendigits, pen_picture
from inkdigits.errors import DataError
from inkdigits.progress import Progress, bars
from inkdigits.settings import Settings

__all__ = [
    "DATASETS",
    "MIRRORS",
    "PARTS",
    "PEN_WRITERS",
    "Dataset",
    "Source",
    "data_at_hand",
    "describe",
    "fetch",
    "load",
    "parts",
    "stratified",
]

PARTS: dict[str, tuple[Part, ...]] = {
    "mnist": ("train", "test"),
    "digits": ("train", "test", "all"),
    "pen": ("train", "validation", "test"),
}
DATASETS = tuple(PARTS)

MIRRORS = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)
# Of the uncompressed files, so that they hold whatever the gzip around them.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_PARTS = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

KAGGLE = Path("/kaggle/input")  # where Kaggle's notebooks have the data sets that are attached to them

DIGITS_MARGIN = 1  # pixels of paper put around the 8×8 digits, whose ink touches the edge
DIGITS_SCALE = 4  # each of their pixels counts the ink in 4×4 of the original scan, whose size this gives back
DIGITS_FULL = 16  # their value of full ink
DIGITS_TEST_SHARE = 0.2  # held back for testing when a model is trained on this set
DIGITS_SPLIT_SEED = 0

# Writers 1 to 30 of the pen strokes, held back whole: np.random.RandomState(0).permutation(30) + 1, the first six to
# test with, the next six to validate with. A model that meets a writer's hand in training has seen all their digits.
PEN_WRITERS = {
    "train": (1, 2, 4, 5, 7, 8, 9, 10, 13, 15, 16, 19, 20, 21, 22, 24, 26, 30),
    "validation": (6, 12, 17, 18, 23, 28),
    "test": (3, 11, 14, 25, 27, 29),
}
PEN_SEED = 0  # of the pens, sizes, tilts and places that the strokes are drawn with


@dataclass(frozen=True)
class Source:
    """Where a data set stands: one row of ``inkdigits data``."""

    name: str
    about: str
    state: Literal["ready", "missing", "damaged"]
    where: str
    hint: str  # what to do; empty when ready


def load(
    name: str,
    settings: Settings,
    *,
    part: Part,
    progress: Progress | None = None,
    mirrors: Sequence[str] = MIRRORS,
) -> Dataset:
    """Read a part of a data set; what is not on this machine is downloaded first.

    Args:
        name: "mnist", "digits", "pen", or a path that :func:`inkdigits.data.labelled.read_path` takes.
        settings: ``data`` is the folder to read from; where it is empty, ``cache`` is where downloads are kept.
        part: one of :func:`parts`.
        progress: shows a download; default a bar on standard error when that is a terminal.
        mirrors: addresses to download from, in this order.

    Raises:
        DataError: unknown name or part; or the data is missing, incomplete, damaged or of another format.
    """
    if part not in parts(name):
        raise DataError(f"data set {name} has no part {part!r}; its parts are: {', '.join(parts(name))}")
    if name == "digits":
        return _digits(part)
    if name == "pen":
        return _pen(part, settings)
    if name not in DATASETS:
        return read_path(name, part)
    files = {file: _mnist_file(file, settings, progress or bars(), mirrors) for file in MNIST_PARTS[part]}
    images, labels = files.values()
    return Dataset(name, part, images, labels.astype(np.int64), {file: MNIST_SHA256[file] for file in files})


def parts(name: str) -> tuple[Part, ...]:
    """Return the parts of a data set. "all" is for a model that was trained on nothing of it.

    Raises:
        DataError: it is neither a known name nor the path of data in a known form.
    """
    if name in PARTS:
        return PARTS[name]
    if not looks_like_path(name):
        raise DataError(f"unknown data set {name!r}; known are: {', '.join(DATASETS)}; or give the path of {FORMS}")
    return parts_of(name)


def fetch(name: str, settings: Settings, *, progress: Progress | None = None, mirrors: Sequence[str] = MIRRORS) -> str:
    """Make sure that every part of a data set is on this machine and whole; returns where it is.

    Raises:
        DataError: as in :func:`load`.
    """
    if name == "digits":
        _digits_arrays()
        return "inside scikit-learn"
    if name == "pen":
        load_pendigits(settings)
        assert settings.data_folder is not None  # as they were found in it
        return str(settings.data_folder / "pendigits")
    if name not in DATASETS:
        load(name, settings, part=parts(name)[0])
        return name
    for file in MNIST_SHA256:
        _mnist_file(file, settings, progress or bars(), mirrors)
    return str(_mnist_folder(settings))


def describe(settings: Settings) -> list[Source]:
    """Describe each data set and where it is on this machine. Verify the files' hashes; download nothing."""
    return [_describe_mnist(settings), _describe_digits(), _describe_pen(settings)]


def data_at_hand(settings: Settings) -> str:
    """Return what to train on without a download, as a value for the option ``data``.

    That is Kaggle's ``train.csv`` where it is attached, MNIST where it is ready, else the digits inside scikit-learn.
    """
    for table in sorted(KAGGLE.glob("**/train.csv")):
        with table.open(encoding="utf-8") as file:
            if file.readline().startswith("label,pixel0"):
                return str(table)
    return "mnist" if _describe_mnist(settings).state == "ready" else "digits"


def _mnist_folder(settings: Settings) -> Path:
    """Return the folder that MNIST's files are in or will be downloaded to."""
    if folder := settings.data_folder:
        return folder / "mnist" if (folder / "mnist").is_dir() else folder
    return Path(settings.cache).expanduser() / "mnist"


def _find(folder: Path, file: str) -> Path | None:
    return next((path for path in (folder / f"{file}.gz", folder / file) if path.is_file()), None)


def _mnist_file(file: str, settings: Settings, progress: Progress, mirrors: Sequence[str]) -> np.ndarray:
    folder = _mnist_folder(settings)
    path = _find(folder, file)
    verify: Callable[[Path], np.ndarray] = lambda path: read_idx(path, MNIST_SHA256[file])  # noqa: E731
    if settings.data_folder:
        if path is None:
            raise DataError(
                f"there is no {file}.gz in {folder}, the folder that INKDIGITS_DATA names; "
                "put MNIST's four files there, or unset INKDIGITS_DATA to have them downloaded"
            )
        return verify(path)
    if path is not None:
        try:
            return verify(path)
        except DataError:
            path.unlink(missing_ok=True)  # the cache can be repaired
    return verify(download(f"{file}.gz", folder, mirrors, verify, progress))


def _describe_mnist(settings: Settings) -> Source:
    about = "MNIST: 60,000 training and 10,000 test digits, 28×28"
    folder = _mnist_folder(settings)
    get = (
        "put MNIST's four files there, or unset INKDIGITS_DATA"
        if settings.data_folder
        else "inkdigits data --download mnist (11 MB)"
    )
    found = {file: path for file in MNIST_SHA256 if (path := _find(folder, file))}
    if missing := len(MNIST_SHA256) - len(found):
        return Source("mnist", about, "missing", str(folder), f"{missing} of 4 files are missing: {get}")
    try:
        for file, path in found.items():
            read_idx(path, MNIST_SHA256[file])
    except DataError as error:
        return Source("mnist", about, "damaged", str(folder), str(error))
    return Source("mnist", about, "ready", str(folder), "")


def _describe_digits() -> Source:
    about = "scikit-learn's 1,797 digits, 8×8"
    try:
        _digits_arrays()
    except DataError as error:
        return Source("digits", about, "missing", "inside scikit-learn", str(error))
    return Source("digits", about, "ready", "inside scikit-learn", "")


def _describe_pen(settings: Settings) -> Source:
    about = "pen strokes: 7,494 digits by 30 writers"
    folder = settings.data_folder and settings.data_folder / "pendigits"
    there = folder is not None and any(folder.glob(f"{PENDIGITS_FILE}*"))
    try:
        load_pendigits(settings)
    except DataError as error:
        return Source("pen", about, "damaged" if there else "missing", str(folder or "no folder"), str(error))
    return Source("pen", about, "ready", str(folder), "")


def _digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise DataError("data set digits is part of scikit-learn: pip install 'inkdigits[eval]'") from None
    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def _digits(part: Part) -> Dataset:
    small, labels = _digits_arrays()
    sha256 = {"digits": hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()}
    padded = np.pad(small, ((0, 0), (DIGITS_MARGIN, DIGITS_MARGIN), (DIGITS_MARGIN, DIGITS_MARGIN)))
    grey = np.rint(padded * (255 / DIGITS_FULL)).astype(np.uint8)
    side = grey.shape[1] * DIGITS_SCALE
    images = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in grey]
    whole = Dataset("digits", "all", np.stack(images), labels, sha256)
    if part == "all":
        return whole
    train, test = stratified(labels, round(DIGITS_TEST_SHARE * len(labels)), DIGITS_SPLIT_SEED)
    return whole.take(train if part == "train" else test, part)


def _pen(part: Part, settings: Settings) -> Dataset:
    digits = load_pendigits(settings)

    def picture(number: int) -> np.ndarray:
        return pen_picture(digits[number], np.random.default_rng((PEN_SEED, number)))

    numbers = np.flatnonzero([digit.writer in PEN_WRITERS[part] for digit in digits])
    labels = np.array([digits[number].label for number in numbers], np.int64)
    writers = np.array([str(digits[number].writer) for number in numbers])
    sha256 = {PENDIGITS_FILE: PENDIGITS_SHA256}
    return Dataset("pen", part, Lazy(picture, numbers), labels, sha256, numbers, writers)
