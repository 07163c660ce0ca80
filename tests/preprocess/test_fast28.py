"""28×28 pictures, one or many at once: bit for bit the same as the four steps for all pictures."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from inkdigits.data.catalog import load
from inkdigits.errors import ImageError
from inkdigits.preprocess import Limits, Spent, preprocess, preprocess_batch, preprocess_picture
from inkdigits.preprocess.components import PIECE_SHARE
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.fast28 import Plain28
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions import CORRUPTIONS, corrupt

from support.drawings import DIGITS, picture
from support.files import png
from support.handwriting import HANDWRITING
from support.requests import encode

LOOKS = (
    *("as they are", "inverted", "at 20 pixels", "bars of 20 pixels", "faint", "on grey", "moved", "small", "noise"),
    *("specks", "on noise", "framed", "blank", "one pixel"),
)


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's digits at three times their size, framed: (1797, 28, 28) uint8."""
    from sklearn.datasets import load_digits

    small = np.minimum(load_digits().images * 16, 255).astype(np.uint8)
    return np.pad(small.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (2, 2), (2, 2)])


def hard(kind, digits):
    random = np.random.default_rng(7)
    noise = random.integers(0, 256, (300, 28, 28), dtype=np.uint8)
    frame = (np.arange(28) < 4) | (np.arange(28) >= 24)
    return {
        "as they are": digits,
        "inverted": 255 - digits,
        "at 20 pixels": np.pad(digits[:, 4:24, 4:24], [(0, 0), (4, 4), (4, 4)]),
        "bars of 20 pixels": np.pad(noise[:, :20, 3:9] | 128, [(0, 0), (4, 4), (11, 11)]),
        "faint": digits // 14,
        "on grey": digits // 2 + 64,
        "moved": np.roll(digits, (5, -3), (1, 2)),
        "small": np.pad(digits[:, ::2, ::2], [(0, 0), (3, 11), (7, 7)]),
        "noise": noise,
        "specks": np.where(random.random(noise.shape) < 0.03, noise, 0).astype(np.uint8),
        "on noise": np.maximum(digits[:300], noise // 8),
        "framed": np.where(frame[:, None] | frame, 90, digits).astype(np.uint8),
        "blank": np.full((3, 28, 28), 77, np.uint8),
        "one pixel": np.eye(784, dtype=np.uint8).reshape(784, 28, 28) * 255,
    }[kind]


def same(one, other) -> bool:
    return one.box == other.box and one.polarity == other.polarity and np.array_equal(one.image, other.image)


def long_way(source):
    """The way of all other pictures."""
    return preprocess_picture(decode(source, Limits()))


def assert_same(images):
    """Together, and each by itself, as one by one on the way for all."""
    together, expected = preprocess_batch([*images]), [long_way(image) for image in images]
    wrong = [i for i, (a, b) in enumerate(zip(together, expected, strict=True)) if not same(a, b)]
    assert not wrong
    assert all(found.image.dtype == np.float32 and found.image.shape == (28, 28) for found in together)
    assert all(same(preprocess(image), e) for image, e in zip(images[:50], expected[:50], strict=True))


@pytest.mark.parametrize("kind", LOOKS)
def test_together_as_one_by_one(kind, digits):
    assert_same(hard(kind, digits)[:600])


@pytest.mark.parametrize("data", HANDWRITING)
def test_real_handwriting(data):
    """MNIST's 10,000 test images, and scikit-learn's 1,797 digits, smoothly enlarged."""
    if data == "mnist":
        images = load("mnist", Settings.from_env(), part="test").images
    else:
        pictures = map(Image.fromarray, load("digits", Settings(), part="all").images)
        images = np.stack([np.asarray(image.resize((28, 28), Image.Resampling.BOX)) for image in pictures])
    assert_same(images)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_corrupted_drawings(kind):
    random = np.random.default_rng(5)
    found = []
    for digit in DIGITS:
        for severity in (0.3, 0.6, 1.0):
            corrupted = Image.fromarray(corrupt(picture(digit, 112), kind, severity, random)).convert("L")
            for how in (Image.Resampling.BOX, Image.Resampling.NEAREST):
                found.append(np.asarray(corrupted.resize((28, 28), how)))
    assert_same(np.stack([*found, *(255 - image for image in found)]))


@given(arrays(bool, (28, 28)), st.integers(1, 255), st.sampled_from((0, 77, 255)))
@settings(max_examples=200, deadline=None)
def test_made_up_masks(mask, ink, paper):
    assert_same(np.where(mask, ink, paper).astype(np.uint8)[None])


def specks_next_to(size: int) -> np.ndarray:
    """A component of this many pixels; next to it a speck that is just too small to be kept, and one that is not."""
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 2:22] = 255 * (np.arange(400) < size).reshape(20, 20)
    least = int(np.ceil(PIECE_SHARE * size))
    image[4 : 3 + least, 24] = 255
    image[6 : 6 + least, 27] = 255
    return image


def test_specks_of_every_size():
    images = np.stack([specks_next_to(size) for size in range(1, 401)])
    assert_same(images)


def test_the_plain_case_is_mnist_s(digits, monkeypatch):
    """Of MNIST's own kind, ink in a 20×20 box, no picture takes the four steps."""
    box = np.pad(digits[:300, 3:25, 3:25][:, :20, :20], [(0, 0), (4, 4), (4, 4)])
    monkeypatch.setattr("inkdigits.preprocess.preprocess_picture", None)
    assert len(preprocess_batch([*box])) == 300


def test_each_source_in_its_place(digits):
    sources = [
        *(encode(Image.fromarray(image)) for image in digits[:5]),
        b"hello",
        png(28, 28, zlib.compress(digits[4].tobytes())[:60]),  # plain by its header, and cut short
        png(28, 28, zlib.compress(bytes(29 * 28))),
        encode(Image.fromarray(digits[5]).convert("RGB")),
        encode(picture(6)),
        *digits[7:9],
        digits[9].astype(np.float32) / 255,
        np.zeros((28, 28), np.uint8),
    ]
    spent = Spent()
    found = preprocess_batch(sources, Limits(), spent)
    for source, seen in zip(sources, found, strict=True):
        if isinstance(seen, ImageError):
            with pytest.raises(type(seen)):
                long_way(source)
        else:
            assert same(seen, long_way(source))
            assert same(preprocess(source), seen)
    assert [i for i, seen in enumerate(found) if isinstance(seen, ImageError)] == [5, 6]
    assert spent.decode > 0
    assert spent.normalize > 0
    assert preprocess_batch([], Limits()) == []


def test_what_is_plain():
    image = np.zeros((28, 28), np.uint8)

    def takes(source, **limits):
        return Plain28(1).take(0, source, Limits(**limits))

    assert takes(image)
    assert takes(image[::-1])
    for other in (image[:27], image.astype(float), image.tolist(), b"", np.zeros((28, 28, 3), np.uint8)):
        assert not takes(other)
    assert not takes(image, min_side=29)
    assert not takes(image, max_pixels=783)


def test_the_recognizer_answers_the_same_either_way(recognizer, digits):
    together = recognizer.predict_batch(digits[:40])
    apart = [recognizer.predict(image) for image in digits[:40]]
    assert [p.digit for p in together] == [p.digit for p in apart]
    np.testing.assert_allclose([p.probabilities for p in together], [p.probabilities for p in apart], atol=1e-6)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(together, apart, strict=True))
