"""QMNIST's writers: read from either form of the file, and errors that say where to get it."""

import gzip

import numpy as np
import pytest

from inkdigits.data import qmnist
from inkdigits.data.catalog import load
from inkdigits.data.qmnist import QMNIST_FILE, load_writers
from inkdigits.errors import DataError
from inkdigits.settings import Settings

from support.handwriting import needs_data


def test_the_writers_are_one_column_of_the_file(tmp_path, monkeypatch):
    rows = np.arange(24, dtype=">i4").reshape(3, 8)
    content = b"\0\0\x0c\x02" + np.array([3, 8], ">i4").tobytes() + rows.tobytes()
    monkeypatch.setattr(qmnist, "QMNIST_SHA256", qmnist.hashlib.sha256(content).hexdigest())
    folder = tmp_path / "qmnist"
    folder.mkdir()
    (folder / QMNIST_FILE).write_bytes(content)
    assert load_writers(Settings(data=str(tmp_path))).tolist() == [2, 10, 18]
    (folder / QMNIST_FILE).unlink()
    (folder / f"{QMNIST_FILE}.gz").write_bytes(gzip.compress(content))
    assert load_writers(Settings(data=str(tmp_path))).tolist() == [2, 10, 18]


def test_errors_say_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"INKDIGITS_DATA to one with a qmnist/ in it, and get https://.*\.gz and put"):
        load_writers(Settings(data=""))
    with pytest.raises(DataError, match=rf"no {QMNIST_FILE}\.gz in .*qmnist: get https://"):
        load_writers(Settings(data=str(tmp_path)))
    (tmp_path / "qmnist").mkdir()
    file = tmp_path / "qmnist" / f"{QMNIST_FILE}.gz"
    file.write_bytes(b"junk")
    with pytest.raises(DataError, match=r"cannot be read: .*; download it again"):
        load_writers(Settings(data=str(tmp_path)))
    file.write_bytes(gzip.compress(b"other"))
    with pytest.raises(DataError, match="is not the file it should be: its content has SHA-256"):
        load_writers(Settings(data=str(tmp_path)))


@needs_data
def test_mnist_s_training_digits_are_of_539_writers():
    settings = Settings.from_env()
    writers = load_writers(settings)
    assert writers.shape == load("mnist", settings, part="train").labels.shape == (60000,)
    assert len(np.unique(writers)) == 539
    assert np.bincount(writers).max() == 131
