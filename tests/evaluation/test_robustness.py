"""Corrupted pictures: always the same, of the same digits throughout, and counted right."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from inkdigits.data.dataset import Dataset, Lazy
from inkdigits.evaluation.evaluate import wilson
from inkdigits.evaluation.robustness import corrupted, robustness
from inkdigits.progress import silent
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES, corrupt

from support.drawings import picture

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small():
    """Ten digits as MNIST has them: 28×28, ink 255 on 0."""
    images = np.stack([255 - picture(digit, 28, ink_size=20) for digit in range(10)])
    return Dataset("made up", "test", images, np.arange(10), {})


@pytest.fixture
def few_kinds(monkeypatch):
    """Two kinds that training may use and one held out."""
    chosen = {name: CORRUPTIONS[name] for name in ("affine", "inverted", "cropped")}
    monkeypatch.setattr("inkdigits.evaluation.robustness.CORRUPTIONS", chosen)
    return chosen


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corrupted_picture_is_always_the_same_whichever_others_there_are(small, kind):
    whole = corrupted(small, 6, kind, "medium")
    assert np.array_equal(whole, corrupted(small.take(np.array([3, 6])), 1, kind, "medium"))
    assert not np.array_equal(whole, corrupted(small, 6, kind, "strong"))
    assert whole.dtype == np.uint8


def test_severity_is_that_of_the_level_on_the_same_picture(small, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "inkdigits.evaluation.robustness.corrupt", lambda picture, *rest: asked.append((picture, *rest[:2])) or picture
    )
    for level in SEVERITIES:
        corrupted(small, 2, "fog", level)
    assert [(kind, severity) for _, kind, severity in asked] == [("fog", severity) for severity in SEVERITIES.values()]
    assert all(np.array_equal(asked[0][0], picture) for picture, *_ in asked)


@pytest.mark.parametrize(
    "image",
    [
        255 - picture(4, 28, ink_size=20),  # light on dark, small, as MNIST's
        picture(4, 40, ink_size=30),
        picture(4, 200),
        255 - picture(4, 900),
        np.stack([picture(4, 300)] * 3, axis=2),
        picture(4, 120) / 255,
        (255 - picture(4, 120)).astype(np.uint16) * 257,
        Image.fromarray(picture(4, 500)),
    ],
)
def test_any_image_becomes_a_dark_on_light_picture_of_the_same_digit(recognizer, image):
    found = corrupted(Dataset("made up", "all", Lazy([image].__getitem__, [0]), np.array([4]), {}), 0, "", "")
    assert max(found.shape[:2]) in (120, 140, 200, 280)
    answer = recognizer.predict(found)
    assert (answer.digit, answer.polarity) == (4, "dark-on-light")
    assert corrupt(found, "affine", 0.5, np.random.default_rng(0)).dtype == np.uint8


class Reader:
    """Stands for a Recognizer: reads each image of a batch as its place in it, and every third one as blank."""

    def predict_batch(self, images):
        return [
            SimpleNamespace(digit=None if i % 3 == 2 else i, confidence=0.5, is_blank=i % 3 == 2)
            for i, _ in enumerate(images)
        ]


def test_shares_and_means_are_counted(small, few_kinds):
    found = robustness(Reader(), small, progress=silent)
    assert list(found.kinds) == list(few_kinds)
    for score in [found.plain, *(s for levels in found.kinds.values() for s in levels.values())]:
        assert (score.accuracy, score.interval, score.confidence, score.blank) == (0.7, wilson(7, 10), 0.5, 0.3)
    assert found.mean("mild") == found.mean("strong", "trained") == pytest.approx(0.7)
    assert found.worst("medium") == ("affine", 0.7)
    whole = found.to_dict()
    assert json.loads(json.dumps(whole))["kinds"][2]["name"] == "cropped"
    assert [each["trained"] for each in whole["kinds"]] == [True, True, False]
    text = found.table()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(kind in text for kind in few_kinds)


def test_means_keep_trained_and_held_out_apart(recognizer, small, few_kinds):
    found = robustness(recognizer, small, progress=silent)
    accuracy = {kind: found.kinds[kind]["strong"].accuracy for kind in few_kinds}
    assert found.mean("strong", "trained") == pytest.approx((accuracy["affine"] + accuracy["inverted"]) / 2)
    assert found.mean("strong", "held out") == accuracy["cropped"]
    assert accuracy["inverted"] == found.plain.accuracy == 1


def test_only_this_many_pictures_are_read_and_progress_counts_them(small, few_kinds):
    steps = []

    class Stage:
        def __call__(self, label, total, unit):
            steps.append(total)
            return self

        def __enter__(self):
            return steps.append

        def __exit__(self, *args):
            pass

    assert robustness(Reader(), small, pictures=5, progress=Stage()).n == 5
    assert steps[0] == sum(steps[1:]) == 9
