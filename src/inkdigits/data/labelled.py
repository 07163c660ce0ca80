"""Your own labeled images, named by a path: a table, a pair of IDX files, or a folder per class.

``digits.csv``                     a table with the columns label and pixel0 … pixel783, as :mod:`.tables` reads it
``x-images-idx3-ubyte``            IDX images of any size; the labels are in the file of the same name with labels-idx1
``images.idx,labels.idx``          IDX images and labels under any names
``folder/`` with such a pair       that pair; with a train and a test (or t10k) pair, these two are its parts
``folder/0/ … folder/9/``          image files of any supported format and size, the folder's name their label

The column ``writer`` of a table says who wrote each digit; in folders, the one below does: ``folder/7/anna/3.png``.

Plain IDX files are mapped and pictures opened one by one, so that a set need not fit in memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from inkdigits.data.dataset import CLASSES, Dataset, Lazy, Part, checked_labels, stratified
from inkdigits.data.idx import is_idx, map_idx
from inkdigits.errors import DataError

__all__ = ["FORMS", "looks_like_path", "parts_of", "picture_files", "read_path"]

TEST_SHARE = 0.1  # of a set that has no test part of its own, held back from training
SPLIT_SEED = 0

FORMS = (
    "a CSV, Parquet or NPZ table, an IDX file of images next to its labels, IMAGES,LABELS, "
    "or a folder with folders 0 to 9 or with IDX files"
)
_LITTER = {"thumbs.db", "desktop.ini"}  # what Windows leaves in folders of pictures
_TEST_WORDS = ("t10k", "test")

_Pair = tuple[Path, Path]


def looks_like_path(text: str) -> bool:
    """Return whether a name of data is meant as a path: it exists, or has what the name of a data set never has."""
    return any(mark in text for mark in "./\\,~") or Path(text).exists()


def parts_of(text: str) -> tuple[Part, ...]:
    """Return the parts that the data at a path can be read in.

    Raises:
        DataError: there is no labelled data in a known form.
    """
    path = Path(text).expanduser()
    if path.is_dir() and not _class_folders(path) and len(_idx_parts(path)) > 1:
        return ("train", "test")
    return ("train", "test", "all")


def read_path(text: str, part: Part) -> Dataset:
    """Labelled images from a path.

    Args:
        text: in one of the forms above.
        part: "all"; or "train" and "test", which are the set's own, or else 9 : 1, every digit by its share and always
            the same images.

    Raises:
        DataError: there is nothing, in no known form, or damaged; the message names the file, and what in it is wrong.
    """
    path = Path(text).expanduser()
    if part not in (parts := parts_of(text)):
        raise DataError(f"data in {text} has no part {part!r}; its parts are: {', '.join(parts)}")
    if not path.exists():
        if "," not in text:
            raise DataError(f"there is no file or folder {text!r}; expected {FORMS}")
        images, _, labels = text.partition(",")
        whole = _from_idx((Path(images).expanduser(), Path(labels).expanduser()))
    elif path.is_file():
        whole = _from_idx(_pair_of(path)) if is_idx(path) else _from_table(path)
    elif classes := _class_folders(path):
        whole = _from_classes(path, classes)
    else:
        pairs = _idx_parts(path)
        whole = _from_idx(pairs.get(part) or pairs["all"], path.resolve().name)
        if part in pairs:
            return replace(whole, part=part)
    if part == "all":
        return whole
    train, test = stratified(whole.labels, round(TEST_SHARE * len(whole)), SPLIT_SEED)
    return whole.take(train if part == "train" else test, part)


def _from_table(path: Path) -> Dataset:
    # What reads tables is a large package, which the other forms do without.
    from inkdigits.data.tables import read_table
    from inkdigits.data.writers import read_writers

    images, labels = read_table(path, labelled=True)
    assert labels is not None  # as they were asked for
    with path.open("rb") as file:
        sha256 = {path.name: hashlib.file_digest(file, "sha256").hexdigest()}
    labels = checked_labels(labels, len(images), path)
    return Dataset(path.name, "all", images, labels, sha256, writers=read_writers(path, len(images)))


def _from_idx(pair: _Pair, name: str = "") -> Dataset:
    arrays, hashes = zip(*map(map_idx, pair), strict=True)
    images, labels = arrays
    if images.ndim != 3 or labels.ndim != 1:
        text = " and ".join(f"{path}: {'×'.join(map(str, a.shape))}" for path, a in zip(pair, arrays, strict=True))
        raise DataError(f"expected IDX images, N×height×width, and labels, N; found {text}")
    sha256 = {path.name: found for path, found in zip(pair, hashes, strict=True)}
    return Dataset(name or pair[0].name, "all", images, checked_labels(labels, len(images), pair[1]), sha256)


def _pair_of(images: Path) -> _Pair:
    labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
    if labels == images:
        raise DataError(f"whose labels are those of {images} its name does not tell; give IMAGES,LABELS")
    # Either of the two may be gzipped.
    plain = labels.with_name(labels.name.removesuffix(".gz"))
    for found in (labels, plain, plain.with_name(f"{plain.name}.gz")):
        if found.is_file():
            return images, found
    raise DataError(f"there is no {plain.name} next to {images}; put the labels there, or give IMAGES,LABELS")


def _idx_parts(folder: Path) -> dict[Part, _Pair]:
    """Return the IDX pairs of a folder by part: "train" and "test", or one "all"."""
    images = sorted(path for path in folder.iterdir() if "images" in path.name and path.is_file() and is_idx(path))
    if not images:
        raise DataError(f"folder {folder} has neither folders 0 to 9 nor IDX files of images; expected {FORMS}")
    if len(images) == 1:
        return {"all": _pair_of(images[0])}
    test = [path for path in images if any(word in path.name.lower() for word in _TEST_WORDS)]
    if len(images) != 2 or len(test) != 1:
        names = ", ".join(path.name for path in images)
        raise DataError(f"folder {folder} has several IDX files of images: {names}; name one of them")
    [train] = set(images) - set(test)
    return {"train": _pair_of(train), "test": _pair_of(test[0])}


def _class_folders(folder: Path) -> list[Path]:
    """Return the folders 0 to 9 of a folder; empty where it has none."""
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    names = set(map(str, range(CLASSES)))
    if not any(path.name in names for path in inside):
        return []
    if others := [path.name for path in inside if path.name not in names]:
        raise DataError(f"folder {folder} has folder {others[0]!r}, which is not a digit; its folders must be 0 to 9")
    return inside


def _from_classes(folder: Path, classes: list[Path]) -> Dataset:
    files = [path for of_class in classes for path in picture_files(of_class)]
    labels = np.array([int(path.relative_to(folder).parts[0]) for path in files], np.int64)
    name = folder.resolve().name
    checked_labels(labels, len(files), folder)
    whole = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    below = [path.relative_to(folder).parts[1:-1] for path in files]
    writers = np.array([names[0] for names in below]) if all(below) else None
    images = Lazy(files.__getitem__, range(len(files)))
    return Dataset(name, "all", images, labels, {name: whole.hexdigest()}, writers=writers)


def picture_files(folder: Path) -> list[Path]:
    """Return the files in a folder and those below it, in order, without hidden ones and what systems leave there."""

    def is_hidden(path: Path) -> bool:
        return any(part.startswith(".") for part in path.relative_to(folder).parts)

    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name.lower() not in _LITTER)
    return [path for path in found if not is_hidden(path)]
