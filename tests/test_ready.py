"""Many 28×28 arrays at once: the same as one by one, to the last bit, on digits and on what is hard."""

import numpy as np
import pytest

from inkdigits.image import Limits, normalise
from inkdigits.ready import is_ready, normalise_ready

KINDS = (
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


@pytest.mark.parametrize("kind", KINDS)
def test_together_as_one_by_one(kind, digits):
    images = hard(kind, digits)[:600]
    for image, found in zip(images, normalise_ready(images), strict=True):
        expected = normalise(image)
        assert found.box == expected.box
        assert found.polarity == expected.polarity
        assert found.image.dtype == np.float32
        np.testing.assert_array_equal(found.image, expected.image)


def test_the_plain_case_is_mnist_s(digits, monkeypatch):
    """Of MNIST's own kind, ink in a 20×20 box, nothing goes the long way."""
    box = np.pad(digits[:300, 3:25, 3:25][:, :20, :20], [(0, 0), (4, 4), (4, 4)])
    monkeypatch.setattr("inkdigits.ready.normalise", None)
    assert len(normalise_ready(box)) == 300


def test_what_is_ready():
    image = np.zeros((28, 28), np.uint8)
    assert is_ready(image, Limits())
    assert is_ready(image[::-1], Limits())
    for other in (image[:27], image.astype(float), image.tolist(), b"", np.zeros((28, 28, 3), np.uint8)):
        assert not is_ready(other, Limits())
    assert not is_ready(image, Limits(min_side=29))
    assert not is_ready(image, Limits(max_pixels=783))


def test_the_recogniser_answers_the_same_either_way(recognizer, digits):
    together = recognizer.predict_batch(digits[:40])
    apart = [recognizer.predict(image) for image in digits[:40]]
    assert [p.digit for p in together] == [p.digit for p in apart]
    np.testing.assert_allclose([p.probabilities for p in together], [p.probabilities for p in apart], atol=1e-6)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(together, apart, strict=True))
