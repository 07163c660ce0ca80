"""Bulk: rows in order, errors as rows, any number in bounded memory, and the images of a folder."""

import numpy as np
import pytest
from PIL import Image

from inkdigits import NotAnImage, UnreadableImage
from inkdigits.bulk import SUFFIXES, find_images, read
from inkdigits.recognizer import BATCH_SIZE

from support.drawings import picture


def test_rows_are_the_recognizer_s_own_answers_in_order(recognizer):
    images = [(f"{i}", picture(i % 10, 60)) for i in range(BATCH_SIZE + 10)]
    rows = list(read(recognizer, images))
    assert [row.name for row in rows] == [name for name, _ in images]
    for row, expected in zip(rows, recognizer.predict_batch(image for _, image in images), strict=True):
        assert row.error is None
        assert row.prediction == expected
        assert row.to_dict() == {"name": row.name, **expected.to_dict(), "accepted": expected.is_digit}


def test_an_image_that_cannot_be_read_is_a_row_with_its_error(recognizer, tmp_path):
    images = [("good", picture(3)), ("text", b"hello"), ("gone", tmp_path / "gone.png"), ("good too", picture(8))]
    rows = list(read(recognizer, images))
    assert [row.prediction and row.prediction.digit for row in rows] == [3, None, None, 8]
    assert isinstance(rows[1].error, NotAnImage)
    assert isinstance(rows[2].error, UnreadableImage)
    assert rows[1].to_dict() == {"name": "text", "error": str(rows[1].error), "accepted": False}


def test_images_are_taken_a_batch_at_a_time(recognizer):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), np.zeros((28, 28), np.uint8)

    rows = read(recognizer, endless())
    assert next(rows).name == "1"
    assert taken == BATCH_SIZE


def test_no_images_no_rows(recognizer):
    assert list(read(recognizer, [])) == []


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.JPG", "sub/c.webp", "sub/deep/d.tiff", "notes.txt", ".hidden.png", ".cache/e.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_a_folder_is_its_images_sorted_with_those_below(folder):
    found = [(name, path.relative_to(folder).as_posix()) for name, path in find_images([folder])]
    assert [path for _, path in found] == ["a.JPG", "b.png", "sub/c.webp", "sub/deep/d.tiff"]
    assert all(name == str(folder / path) for name, path in found)


def test_a_file_is_itself_whatever_it_is_called(folder):
    given = [str(folder / "notes.txt"), str(folder / "gone.png")]
    assert [name for name, _ in find_images(given)] == given


def test_every_suffix_is_of_a_format_that_is_read():
    formats = {Image.registered_extensions()[suffix] for suffix in SUFFIXES}
    assert formats == {"PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"}
