"""QMNIST: who wrote each of MNIST's training digits.

C. Yadav and L. Bottou, Cold Case: The Lost MNIST Digits, 2019, https://arxiv.org/abs/1905.10498. NIST's forms are in
the public domain; the labels come with https://github.com/facebookresearch/qmnist (BSD).
"""

from __future__ import annotations

import gzip
import hashlib
import zlib

import numpy as np

from inkdigits.errors import DataError
from inkdigits.settings import Settings

__all__ = ["QMNIST_FILE", "QMNIST_SHA256", "load_writers"]

QMNIST_FILE = "qmnist-train-labels-idx2-int"
QMNIST_SHA256 = "bb1b6e1ec7b04fd5696f1ed50b5f58f8ef195118edd5c93c81783df9740b8ac5"  # of the uncompressed file
URL = f"https://raw.githubusercontent.com/facebookresearch/qmnist/main/{QMNIST_FILE}.gz"
HEADER = 12  # bytes: the type of the values and two sizes
COLUMNS = 8  # values per digit
WRITER = 2  # the column with the number of the writer


def load_writers(settings: Settings) -> np.ndarray:
    """Load the number of the writer of each of MNIST's 60,000 training images, in MNIST's order: (60000,) int64.

    Read from the folder that ``INKDIGITS_DATA`` names: its ``qmnist/qmnist-train-labels-idx2-int``, gzipped (.gz) or
    plain.

    Raises:
        DataError: no folder is named, the file is missing, or it is not that very file.
    """
    get = f"get {URL} and put it there"
    if not (folder := settings.data_folder):
        raise DataError(f"no folder for QMNIST's writers: set INKDIGITS_DATA to one with a qmnist/ in it, and {get}")
    places = [folder / "qmnist" / f"{QMNIST_FILE}{suffix}" for suffix in (".gz", "")]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise DataError(f"no {places[0].name} in {places[0].parent}: {get}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}; download it again") from None
    if (found := hashlib.sha256(content).hexdigest()) != QMNIST_SHA256:
        raise DataError(
            f"{path} is not the file it should be: its content has SHA-256 {found}, expected {QMNIST_SHA256}; "
            "download it again"
        )
    return np.frombuffer(content, ">i4", offset=HEADER).reshape(-1, COLUMNS)[:, WRITER].astype(np.int64)
