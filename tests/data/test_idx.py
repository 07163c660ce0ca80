"""IDX files: what was written is read, and a damaged file says what is wrong with it."""

from __future__ import annotations

import gzip
import hashlib

import numpy as np
import pytest

from inkdigits import DataError
from inkdigits.data.idx import is_idx, map_idx, read_idx

from support.files import idx


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), (0, 28, 28), (2, 1)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_idx_gives_back_what_was_written(tmp_path, shape, compress):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    content = idx(array)
    (tmp_path / "file").write_bytes(compress(content))
    found = read_idx(tmp_path / "file", hashlib.sha256(content).hexdigest())
    assert found.dtype == np.uint8
    assert np.array_equal(found, array)
    found += 1  # writable


GOOD = idx(np.arange(12, dtype=np.uint8).reshape(3, 4))
PACKED = gzip.compress(GOOD, mtime=0)  # without the time, which would give tests another name in each process


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: it begins with nothing"),
        (b"\x89PNG" + bytes(30), "not an IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x0d\x01" + bytes(8), "type 0x0d"),
        (GOOD[:-1], r"has 23 bytes; its header, 3×4, promises 24"),
        (GOOD + b"\0", r"has 25 bytes; its header, 3×4, promises 24"),
        (GOOD[:7], "has 7 bytes"),
        (PACKED[:-9], "cut short or damaged"),
        (PACKED[:12] + b"????" + PACKED[16:], "cut short or damaged"),
    ],
)
def test_a_damaged_idx_file_says_what_is_wrong(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_a_wrong_hash_names_both(tmp_path):
    (tmp_path / "file").write_bytes(GOOD)
    with pytest.raises(DataError, match=f"{hashlib.sha256(GOOD).hexdigest()}, expected {'0' * 64}; delete it"):
        read_idx(tmp_path / "file", "0" * 64)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "file")


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), (0, 28, 28), (2, 1)])
@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_mapped_and_read_are_the_same(tmp_path, shape, compress):
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    content = idx(array)
    (tmp_path / "file").write_bytes(compress(content))
    found, sha256 = map_idx(tmp_path / "file")
    assert np.array_equal(found, array)
    assert found.shape == shape
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_a_plain_file_is_not_read_into_memory(tmp_path):
    (tmp_path / "file").write_bytes(GOOD)
    assert isinstance(map_idx(tmp_path / "file")[0], np.memmap)


@pytest.mark.parametrize("content", [b"", b"\x89PNG" + bytes(30), GOOD[:-1], GOOD + b"\0", PACKED[:-9]])
def test_mapping_finds_the_same_faults(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError) as expected:
        read_idx(tmp_path / "file")
    with pytest.raises(DataError) as found:
        map_idx(tmp_path / "file")
    assert str(found.value) == str(expected.value)


def test_idx_is_told_by_its_content(tmp_path):
    contents = {GOOD: True, PACKED: True, b"label,pixel0\n": False, b"": False, b"\x1f\x8b": False}
    for content, expected in contents.items():
        (tmp_path / "file").write_bytes(content)
        assert is_idx(tmp_path / "file") is expected
    with pytest.raises(DataError, match="cannot read"):
        is_idx(tmp_path / "gone")
