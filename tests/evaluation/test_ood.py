"""Non-digits: the threshold, the shares and the curve, against sums written out."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from inkdigits.data.dataset import Dataset
from inkdigits.evaluation import ood as module
from inkdigits.evaluation.ood import out_of_distribution, sample
from inkdigits.progress import silent
from inkdigits.synthesis.non_digits import NON_DIGITS

from support.drawings import picture

N = 400
KINDS = list(NON_DIGITS)


class Reader:
    """Stands for a Recognizer: the score of an image is its first pixel, over 255; 0 is blank."""

    def __init__(self, threshold):
        self.model = SimpleNamespace(threshold=threshold)

    def predict_batch(self, images):
        answers = []
        for image in images:
            score = float(image[0, 0]) / 255
            own = None if self.model.threshold is None else score
            is_digit = score > 0 and (own is None or own >= self.model.threshold)
            answers.append(
                SimpleNamespace(
                    is_blank=score == 0,
                    # A model with a score of its own is not judged by its confidence.
                    confidence=score if own is None else 0.5,
                    digit_score=own if score else None,
                    is_digit=is_digit,
                )
            )
        return answers


def shade(value):
    return np.full((12, 12), value, np.uint8)


@pytest.fixture
def case(monkeypatch):
    """400 digits with scores from 0.2 up, and non-digits with lower ones, some of them blank."""
    random = np.random.default_rng(3)
    digits = random.integers(51, 256, N)
    others = [(KINDS[i % len(KINDS)], int(random.integers(0, 120))) for i in range(200)]
    monkeypatch.setattr(module, "non_digit_pictures", lambda n, seed, part: [(k, shade(v)) for k, v in others])
    monkeypatch.setattr(module, "lookalikes", lambda n, seed, part: [("O", shade(v)) for v in (10, 200, 250, 255)])
    images = np.stack([shade(v) for v in digits])
    return SimpleNamespace(
        digits=np.sort(digits), others=others, data=Dataset("made up", "test", images, np.arange(N) % 10, {})
    )


@pytest.mark.parametrize("own", [None, 0.3])
def test_shares_are_counted_at_the_threshold_that_rejects_one_in_a_hundred(case, own):
    found = out_of_distribution(Reader(own), case.data, progress=silent)
    assert found.digits == N
    assert found.threshold == pytest.approx(case.digits[4] / 255)
    assert found.digits_rejected == (case.digits < case.digits[4]).mean() <= 0.01
    for kind in KINDS:
        values = np.array([v for k, v in case.others if k == kind])
        score = found.kinds[kind]
        assert (score.n, score.rejected) == (len(values), (values < case.digits[4]).mean())
        assert score.own == (None if own is None else pytest.approx((values / 255 < own).mean()))
    assert found.mean == pytest.approx(np.mean([score.rejected for score in found.kinds.values()]))
    assert (found.lookalikes.n, found.lookalikes.rejected) == (4, 0.25)
    assert found.score == ("confidence" if own is None else "digit score")
    assert found.digits_own == (None if own is None else pytest.approx((case.digits / 255 < own).mean()))


def test_the_curve_rises_to_all(case):
    curve = out_of_distribution(Reader(None), case.data, progress=silent).curve
    assert curve[0][0] == 0
    assert curve[-1] == (1, 1)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(curve))
    values = np.array([v for _, v in case.others])
    for digits_rejected, others_rejected in curve[:-1]:
        level = case.digits[round(digits_rejected * N)]
        assert others_rejected == (values < level).mean()


@pytest.mark.parametrize("own", [None, 0.3])
def test_the_table_and_the_dict_have_every_kind(case, own):
    found = out_of_distribution(Reader(own), case.data, progress=silent)
    lines = found.table().splitlines()
    assert len(lines) == len(KINDS) + 4
    assert all(len(line) <= 80 for line in lines)
    assert ("by the model" in lines[1]) == (own is not None)
    whole = json.loads(json.dumps(found.to_dict()))
    assert [each["name"] for each in whole["kinds"]] == KINDS


def test_samples_are_always_the_same():
    for kind in KINDS:
        assert sample(kind).dtype == np.uint8
        assert np.array_equal(sample(kind), sample(kind))


def test_a_real_model_reads_real_non_digits(recognizer, monkeypatch):
    monkeypatch.setattr(module, "PICTURES", 5 * len(KINDS))
    monkeypatch.setattr(module, "LOOKALIKES", 10)
    images = np.stack([picture(digit, 100) for digit in range(10)])
    found = out_of_distribution(recognizer, Dataset("made up", "test", images, np.arange(10), {}), progress=silent)
    assert all(score.n == 5 for score in found.kinds.values())
    assert found.lookalikes.n == 10
    assert found.digits_rejected == 0
    assert (found.digits_own is None) == (recognizer.model.threshold is None)
