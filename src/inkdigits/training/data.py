"""Data sets in memory: found on this machine or downloaded, verified, and read whole.

``mnist``   60,000 training and 10,000 test digits, 28×28 (Y. LeCun, C. Cortes, C. Burges; CC BY-SA 3.0). Read from the
            folder that ``INKDIGITS_DATA`` names, else downloaded once to the cache.
``digits``  1,797 digits that come inside scikit-learn, so that training works with no download (E. Alpaydin, C. Kaynak,
            UCI Machine Learning Repository, data set 80).

A test part is for measuring. Nothing here or in ``fit`` trains, tunes or chooses by it.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from inkdigits.errors import DataError
from inkdigits.settings import Settings
from inkdigits.training.download import download
from inkdigits.training.progress import Progress, bars

__all__ = ["DATASETS", "MIRRORS", "Dataset", "Source", "describe", "fetch", "load", "read_idx", "stratified"]

DATASETS = ("mnist", "digits")

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

IDX_UINT8 = 0x08  # the format's code for unsigned bytes

DIGITS_MARGIN = 1  # pixels of paper put around the 8×8 digits, whose ink touches the edge
DIGITS_SCALE = 4  # each of their pixels counts the ink in 4×4 of the original scan, whose size this gives back
DIGITS_FULL = 16  # their value of full ink
DIGITS_TEST_SHARE = 0.2  # held back for testing when a model is trained on this set
DIGITS_SPLIT_SEED = 0

Part = Literal["train", "test", "all"]

_ANEW = "delete it and get it anew"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images.

    Attributes:
        name: of the data set, such as "mnist".
        part: "train", "test" or "all".
        images: (N, H, W) uint8, raw as the data set has them: ink 255 on paper 0 for those known here.
        labels: (N,) int64, 0 to 9.
        sha256: hash by file or array that the images and labels came from.
    """

    name: str
    part: Part
    images: np.ndarray
    labels: np.ndarray
    sha256: dict[str, str]

    def __len__(self) -> int:
        return len(self.labels)


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
        name: "mnist" or "digits".
        settings: ``data`` is the folder to read from; where it is empty, ``cache`` is where downloads are kept.
        part: "train" or "test". For "digits" also "all": its 1,797 for a model that was not trained on them.
        progress: shows a download; default a bar on standard error when that is a terminal.
        mirrors: addresses to download from, in this order.

    Raises:
        DataError: unknown name or part; or the data is missing, incomplete, damaged or of another format.
    """
    _check_name(name)
    parts = ("train", "test", "all") if name == "digits" else tuple(MNIST_PARTS)
    if part not in parts:
        raise DataError(f"data set {name} has no part {part!r}; its parts are: {', '.join(parts)}")
    if name == "digits":
        return _digits(part)
    files = {file: _mnist_file(file, settings, progress or bars(), mirrors) for file in MNIST_PARTS[part]}
    images, labels = files.values()
    return Dataset(name, part, images, labels.astype(np.int64), {file: MNIST_SHA256[file] for file in files})


def fetch(name: str, settings: Settings, *, progress: Progress | None = None, mirrors: Sequence[str] = MIRRORS) -> str:
    """Make sure that every part of a data set is on this machine and whole; returns where it is.

    Raises:
        DataError: as in :func:`load`.
    """
    _check_name(name)
    if name == "digits":
        _digits_arrays()
        return "inside scikit-learn"
    for file in MNIST_SHA256:
        _mnist_file(file, settings, progress or bars(), mirrors)
    return str(_mnist_folder(settings))


def describe(settings: Settings) -> list[Source]:
    """Each data set and where it stands on this machine; downloads nothing. The files' hashes are verified."""
    return [_describe_mnist(settings), _describe_digits()]


def read_idx(path: Path, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, the format of MNIST's files; gzip is told by its content.

    Args:
        path: the file.
        sha256: hash that its uncompressed content must have; None takes any.

    Returns:
        uint8 array of the shape that the file's header gives. It is writable and owns its memory.

    Raises:
        DataError: the file is missing, cut short, too long, not of this format, or its hash differs.

    The format: http://yann.lecun.com/exdb/mnist/
    """
    content = _uncompressed(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{path} is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}; {_ANEW}")
    kind, axes = content[2], content[3]
    if kind != IDX_UINT8:
        raise DataError(f"{path} holds IDX values of type 0x{kind:02x}; only unsigned bytes, 0x08, are read")
    start = 4 + 4 * axes
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape)
    if len(content) < start or len(content) != expected:
        size = "×".join(map(str, shape))
        raise DataError(f"{path} has {len(content):,} bytes; its header, {size}, promises {expected:,}; {_ANEW}")
    found = hashlib.sha256(content).hexdigest() if sha256 else None
    if found != sha256:
        raise DataError(f"{path} is not the file it should be: its SHA-256 is {found}, expected {sha256}; {_ANEW}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def stratified(labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split into the rest and ``size`` held back, every class by its share; the same for the same seed, for ever.

    Args:
        labels: (N,) int.
        size: how many to hold back, 0 to N.
        seed: any int from 0 to 2³² - 1.

    Returns:
        Indices of the rest and of those held back, each (·,) int64 in rising order.
    """
    # RandomState's stream is frozen by NumPy's own promise, default_rng's is not: a split must outlive upgrades.
    order = np.random.RandomState(seed).permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        place[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    held = np.argsort(place, kind="stable")[:size]
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return rest, np.sort(held)


def _check_name(name: str) -> None:
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known are: {', '.join(DATASETS)}")


def _uncompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is cut short or damaged ({error}); {_ANEW}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None


def _mnist_folder(settings: Settings) -> Path:
    """The folder that MNIST's files are in or will be downloaded to."""
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
            path.unlink(missing_ok=True)  # the cache is ours to mend
    return verify(download(f"{file}.gz", folder, mirrors, verify, progress))


def _describe_mnist(settings: Settings) -> Source:
    about = "MNIST: 60,000 training and 10,000 test digits, 28×28"
    folder = _mnist_folder(settings)
    get = (
        "put MNIST's four files there, or unset INKDIGITS_DATA"
        if settings.data_folder
        else "inkdigits data --download mnist (11 MB)"
    )
    found = {file: _find(folder, file) for file in MNIST_SHA256}
    if missing := [file for file, path in found.items() if path is None]:
        return Source("mnist", about, "missing", str(folder), f"{len(missing)} of 4 files are missing: {get}")
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


def _digits_arrays() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise DataError("data set digits is part of scikit-learn: pip install 'inkdigits[train]'") from None
    bunch = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.int64)


def _digits(part: Part) -> Dataset:
    small, labels = _digits_arrays()
    sha256 = {"digits": hashlib.sha256(small.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()}
    if part != "all":
        train, test = stratified(labels, round(DIGITS_TEST_SHARE * len(labels)), DIGITS_SPLIT_SEED)
        chosen = train if part == "train" else test
        small, labels = small[chosen], labels[chosen]
    padded = np.pad(small, ((0, 0), (DIGITS_MARGIN, DIGITS_MARGIN), (DIGITS_MARGIN, DIGITS_MARGIN)))
    grey = np.rint(padded * (255 / DIGITS_FULL)).astype(np.uint8)
    side = grey.shape[1] * DIGITS_SCALE
    images = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in grey]
    return Dataset("digits", part, np.stack(images), labels, sha256)
