"""Evaluation against scikit-learn, scipy and sums written out."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from inkdigits import DataError, Recognizer
from inkdigits.data.dataset import Dataset, Lazy
from inkdigits.evaluation.evaluate import (
    THRESHOLDS,
    calibration_bins,
    calibration_error,
    evaluate,
    rejection,
    unseen,
    wilson,
)
from inkdigits.settings import Settings

from support.drawings import picture

N = 1000


class Reader:
    """Stands for a Recognizer: knows the answer by the image's number, which its first pixels hold."""

    def __init__(self, digits, confidence, entry=None, rejects=()):
        self.answers = [
            SimpleNamespace(digit=d, confidence=c, is_blank=d is None, is_digit=d is not None and at not in rejects)
            for at, (d, c) in enumerate(zip(digits, confidence.tolist(), strict=True))
        ]
        threshold = 0.5 if rejects else None
        self.model = SimpleNamespace(name="reader", sha256="ab" * 32, entry=entry or {}, threshold=threshold)

    def predict_batch(self, images, errors="raise"):
        assert errors == "return"
        return [self.answers[image.ravel()[:2].view(np.uint16)[0]] for image in images]


@pytest.fixture(scope="module")
def case():
    """Labels, digits read (3 is never read, 17 images are blank), confidence, and what evaluate makes of them."""
    random = np.random.default_rng(11)
    labels = random.integers(0, 10, N)
    read = np.where(random.random(N) < 0.8, labels, random.integers(0, 10, N))
    read[read == 3] = 8
    blank = random.choice(N, 17, replace=False)
    read[blank] = 10
    confidence = random.uniform(0.1, 1, N)
    confidence[blank] = 0
    images = np.zeros((N, 28, 28), np.uint8)
    images.reshape(N, -1)[:, :2] = np.arange(N, dtype=np.uint16)[:, None].view(np.uint8)
    dataset = Dataset("made up", "test", images, labels, {})
    reader = Reader([None if d == 10 else d for d in read.tolist()], confidence)
    return SimpleNamespace(labels=labels, read=read, confidence=confidence, found=evaluate(reader, dataset))


def test_counts_agree_with_scikit_learn(case):
    found = case.found
    assert found.n == N
    assert found.accuracy == pytest.approx(np.mean(case.read == case.labels))
    assert np.array_equal(found.confusion, confusion_matrix(case.labels, case.read, labels=range(11))[:10])
    expected = precision_recall_fscore_support(case.labels, case.read, labels=range(10), zero_division=0)
    scores = [(s.precision, s.recall, s.f1, s.n) for s in found.per_class]
    assert np.allclose(np.array(scores).T, expected)
    assert found.per_class[3].precision == 0


def test_errors_come_with_the_most_confident_first(case):
    errors = case.found.errors
    assert sorted(errors.tolist()) == np.flatnonzero(case.read != case.labels).tolist()
    assert np.all(np.diff(case.confidence[errors]) <= 0)
    assert case.found.confidence == pytest.approx(case.confidence.mean())


def test_calibration_error_is_the_sum_of_its_bins(case):
    right = case.read == case.labels
    expected = 0.0
    for i in range(15):
        inside = [j for j in range(N) if i / 15 < case.confidence[j] <= (i + 1) / 15 or (i == 0 == case.confidence[j])]
        if inside:
            expected += len(inside) / N * abs(right[inside].mean() - case.confidence[inside].mean())
    assert case.found.calibration_error == pytest.approx(expected)


def test_honest_confidence_has_no_calibration_error():
    random = np.random.default_rng(0)
    confidence = random.uniform(0.1, 1, 200_000)
    assert calibration_error(confidence, random.random(200_000) < confidence) < 0.01
    assert calibration_error(np.ones(100), np.arange(100) < 70) == pytest.approx(0.3)
    assert calibration_error(np.zeros(4), np.zeros(4, bool)) == 0


def test_the_bins_hold_every_answer_once(case):
    right = case.read == case.labels
    bins = calibration_bins(case.confidence, right)
    assert [each.high for each in bins[:-1]] == [each.low for each in bins[1:]]
    assert sum(each.n for each in bins) == N
    assert sum(each.n * each.accuracy for each in bins) == pytest.approx(right.sum())
    assert sum(each.n * each.confidence for each in bins) == pytest.approx(case.confidence.sum())


def test_rejection_counts_what_stays(case):
    right = case.read == case.labels
    for each in rejection(case.confidence, right, [0, 0.25, case.confidence[7], 0.9, 1, 2]):
        stays = case.confidence >= each.threshold
        assert each.answered == pytest.approx(stays.mean())
        assert each.wrong == (~right[stays]).sum()
        assert each.accuracy == pytest.approx(right[stays].mean() if stays.any() else 1)


def test_the_rejection_curve_runs_from_all_to_almost_none(case):
    right = case.read == case.labels
    curve = rejection(case.confidence, right)
    assert (curve[0].answered, curve[0].wrong) == (1, (~right).sum())
    assert curve[-1].answered == pytest.approx(1 / N)
    assert all(a.answered > b.answered and a.wrong >= b.wrong for a, b in pairwise(curve))
    assert curve == rejection(case.confidence, right, [each.threshold for each in curve])
    assert len(rejection(np.full(9, 0.5), np.ones(9, bool))) == 1


def test_equally_sure_answers_are_rejected_together():
    found = rejection(np.array([0.5, 0.5, 0.9]), np.array([True, False, True]), [0.5, 0.6])
    assert [(each.answered, each.wrong) for each in found] == [(1, 1), (pytest.approx(1 / 3), 0)]


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (1, 3), (9920, 10_000), (9999, 10_000)])
def test_wilson_agrees_with_scipy(right, n):
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_table_shows_every_figure(case):
    text = case.found.table()
    lines = text.splitlines()
    assert "1,000 images" in lines[0]
    assert f"{case.found.accuracy:.2%}" in lines[1]
    assert all(len(line) <= 80 for line in lines)
    numbers = [line.replace("·", "0").replace(",", "").split() for line in lines[-10:]]
    assert [[int(n) for n in row[1:]] for row in numbers] == case.found.confusion.tolist()
    assert "blank" in text


def test_the_dict_survives_json(case):
    whole = case.found.to_dict()
    assert json.loads(json.dumps(whole)) == whole
    assert whole["confusion"] == case.found.confusion.tolist()
    assert whole["per_class"][7]["n"] == int((case.labels == 7).sum())
    assert case.found.figures().items() <= whole.items()
    assert len(whole["calibration"]) == 15
    assert [each["threshold"] for each in whole["rejection"]] == list(THRESHOLDS)


def test_progress_counts_every_image(case):
    seen = []

    class Stage:
        def __call__(self, label, total, unit):
            seen.append(total)
            return self

        def __enter__(self):
            return seen.append

        def __exit__(self, *args):
            pass

    images = np.zeros((1100, 2, 2), np.uint8)
    dataset = Dataset("made up", "test", images, np.zeros(1100, np.int64), {})
    evaluate(Reader([0], np.ones(1)), dataset, Stage())
    assert seen[0] == sum(seen[1:]) == 1100


@pytest.mark.parametrize(
    ("entry", "n"),
    [
        ({}, 1797),
        ({"config": {"data": "mnist"}}, 1797),
        ({"config": {"data": "digits"}}, 359),
        ({"config": {"data": "mnist+digits"}}, 359),
    ],
)
def test_a_model_is_measured_on_digits_that_it_has_not_seen(entry, n):
    assert len(unseen("digits", Settings(), Reader([], np.ones(0), entry))) == n


def test_data_named_by_a_path_is_seen_where_the_registry_has_its_hash(tmp_path):
    for digit in range(10):
        (tmp_path / str(digit)).mkdir()
        for i in range(2):
            Image.fromarray(picture(digit, 40 + i)).save(tmp_path / str(digit) / f"{i}.png")
    name, new = str(tmp_path), Reader([], np.ones(0))
    whole = unseen(name, Settings(), new)
    assert (len(whole), whole.part) == (20, "all")
    entry = {"config": {"data": "another/path"}, "data": whole.sha256}
    assert unseen(name, Settings(), Reader([], np.ones(0), entry)).part == "test"
    assert unseen(name, Settings(), Reader([], np.ones(0), {**entry, "data": {"x": "0" * 64}})).part == "all"


@pytest.fixture
def damaged():
    """Six images, of which the second and the last cannot be read."""
    images = [picture(4), b"not an image", picture(4), picture(7), picture(4), np.zeros((3, 3), np.uint8)]
    return Dataset("made up", "all", Lazy(images.__getitem__, range(6)), np.array([4, 4, 4, 4, 7, 7]), {})


def test_images_that_cannot_be_read_are_left_out_and_listed(recognizer: Recognizer, damaged):
    found = evaluate(recognizer, damaged)
    assert (found.n, found.accuracy) == (4, 0.5)
    assert [at for at, _ in found.unreadable] == [1, 5]
    assert sorted(found.errors.tolist()) == [3, 4]  # places in the data set, not among the readable
    assert len(found.confidences) == len(found.right) == 4
    assert [row["at"] for row in found.to_dict()["unreadable"]] == [1, 5]


def test_nothing_readable_is_an_error(recognizer: Recognizer, damaged):
    with pytest.raises(DataError, match="no image of made up can be read; image 1: not an image"):
        evaluate(recognizer, damaged.take(np.array([1, 5])))
