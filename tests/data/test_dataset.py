"""Data sets that are held lazily, taken from and limited."""

import numpy as np
import pytest

from inkdigits import DataError
from inkdigits.data.dataset import Dataset, Lazy, checked_labels


@pytest.fixture
def asked():
    return []


@pytest.fixture
def dataset(asked):
    """100 images that are made when asked for; image i shows i."""

    def make(number):
        asked.append(number)
        return np.full((12, 12), number, np.uint8)

    return Dataset("made up", "all", Lazy(make, range(100)), np.arange(100) % 10, {})


def test_images_are_made_only_when_asked_for(dataset, asked):
    assert len(dataset.images[10:20]) == 10
    assert not asked
    assert dataset.images[-1][0, 0] == 99
    assert [image[0, 0] for image in dataset.images[10:20][::3]] == [10, 13, 16, 19]
    assert asked == [99, 10, 13, 16, 19]
    with pytest.raises(IndexError):
        dataset.images[100]


def test_what_is_taken_keeps_its_numbers(dataset):
    some = dataset.take(np.array([7, 50, 3])).take(np.array([2, 1]), "test")
    assert (some.part, len(some), some.labels.tolist()) == ("test", 2, [3, 0])
    assert [image[0, 0] for image in some.images] == [3, 50]
    assert [some.number(at) for at in range(2)] == [3, 50]
    assert some.title(1) == "image 50"


def test_a_limit_takes_every_digit_by_its_share_and_always_the_same(dataset):
    some = dataset.limited(30)
    assert np.bincount(some.labels).tolist() == [3] * 10
    assert some.numbers.tolist() == dataset.limited(30).numbers.tolist()
    assert dataset.limited(100) is dataset


def test_arrays_are_taken_from_in_the_same_way():
    images = np.arange(5 * 144, dtype=np.uint16).astype(np.uint8).reshape(5, 12, 12)
    some = Dataset("made up", "all", images, np.arange(5), {}).take(np.array([4, 2]))
    assert np.array_equal(some.images, images[[4, 2]])
    assert some.title(0) == "image 4"


@pytest.mark.parametrize(
    ("labels", "images", "message"),
    [
        ([1, 2], 3, r"x has 3 images but labels of shape \(2,\)"),
        ([], 0, "x holds no image"),
        ([1, 10], 2, "x: the label of image 1 is 10; digits are 0 to 9"),
        ([-1], 1, "image 0 is -1"),
    ],
)
def test_labels_that_cannot_be_right(labels, images, message):
    with pytest.raises(DataError, match=message):
        checked_labels(np.array(labels, np.int64), images, "x")
