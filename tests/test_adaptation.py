"""Answers adapt to a hand: the formula against loops, the switch, and what a recognizer does with it."""

import json
import math

import numpy as np
import pytest
from scipy.ndimage import affine_transform

from inkdigits import DataError, Hand, ModelError, Recognizer
from inkdigits.adaptation import MOST, Correction, copies_of, fit

from support.drawings import number, picture

PENS = (6, 9, 12, 15)  # pixels
SIZES = (110, 150, 190, 230)  # pixels


def drawn(digit, i):
    return picture(digit, 280, ink_size=SIZES[i % 4], pen=PENS[i // 4 % 4])


@pytest.fixture(scope="module")
def crossed(recognizer):
    """A hand whose 1 looks like a 7, and whose other digits are plain."""
    hand = Hand()
    for i in range(6):
        hand.add(recognizer.predict(drawn(7, i)).image, 1)
        for digit in (2, 5, 8):
            hand.add(recognizer.predict(drawn(digit, i)).image, digit)
    return hand


def oracle(hand, recognizer, image):
    """The formula digit by digit, with Python's numbers: the probabilities of ten digits."""
    scale = np.float32(1 / recognizer.model.temperature)

    def run(picture):
        logits, features = recognizer.features(picture.astype(np.float32)[None, None])
        vector = [float(value) for value in features[0]]
        length = math.sqrt(sum(value * value for value in vector))
        return [float(value) for value in logits[0, :10] * scale], [value / length for value in vector]

    seen = [(run(each.image.astype(np.float32) / 255)[1], each.label) for each in hand.corrections]

    def boosted(logits, direction, examples):
        found = []
        for digit in range(10):
            of = [vector for vector, label in examples if label == digit]
            mean = [sum(values) / len(of) for values in zip(*of, strict=True)] or [0.0] * len(direction)
            length = math.sqrt(sum(value * value for value in mean)) or 1.0
            cosine = sum(a * b for a, b in zip(direction, mean, strict=True)) / length
            found.append(logits[digit] + 24 * len(of) / (len(of) + 1) * max(cosine, 0) ** 4)
        return found

    before = after = 0
    for i, each in enumerate(hand.corrections):
        others = seen[:i] + seen[i + 1 :]
        for copy in copies_of(each.image.astype(np.float32) / 255):
            logits, direction = run(copy)
            before += int(np.argmax(logits)) == each.label
            after += int(np.argmax(boosted(logits, direction, others))) == each.label
    logits, direction = run(image)
    scores = [math.exp(value) for value in (boosted(logits, direction, seen) if after > before else logits)]
    return [score / sum(scores) for score in scores], before, after


def test_it_is_the_formula(crossed, recognizer):
    adapted = Recognizer(recognizer.model.path, hand=crossed)
    for digit in (7, 1, 5, 0):
        image = recognizer.predict(drawn(digit, 9)).image
        expected, before, after = oracle(crossed, recognizer, image)
        found = adapted.predict(drawn(digit, 9))
        assert found.probabilities == pytest.approx(expected, abs=1e-6)
        assert (adapted.adaptation.right_before, adapted.adaptation.right_after) == (before, after)
    assert adapted.adaptation.is_on


def test_copies_are_turned_slanted_and_stretched():
    image = np.random.default_rng(3).random((28, 28), np.float32)
    image[:1] = image[-1:] = image[:, :1] = image[:, -1:] = 0
    angles = np.deg2rad([-19, -10, 10, 19])
    maps = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles]
    maps += [np.array([[1, 0], [slant, 1]]) for slant in (-0.25, 0.25)]
    maps += [np.diag([1, width]) for width in (0.76, 1.32)] + [np.diag([height, 1]) for height in (0.81, 1.24)]
    found = copies_of(image)
    assert found.shape == (11, 28, 28)
    assert np.array_equal(found[0], image)
    middle = np.array([13.5, 13.5])
    for copy, turned in zip(found[1:], maps, strict=True):
        expected = affine_transform(image, turned, middle - turned @ middle, order=1, mode="grid-constant")
        np.testing.assert_allclose(copy, expected, atol=1e-6)


def test_answers_follow_the_hand_and_no_others_change(crossed, recognizer):
    adapted = Recognizer(recognizer.model.path, hand=crossed)
    for i in range(7, 12):
        before, after = (each.predict(drawn(7, i)) for each in (recognizer, adapted))
        assert (before.digit, after.digit) == (7, 1)
        assert sum(after.probabilities) == pytest.approx(1)
        assert (after.digit_score, after.is_digit, after.box) == (before.digit_score, before.is_digit, before.box)
        for digit in (0, 1, 3, 4, 6, 9):
            assert adapted.predict(drawn(digit, i)).digit == digit
    assert recognizer.read(number("7")).text == "7"
    assert adapted.read(number("7")).text == "1"


def test_a_hand_that_gains_nothing_changes_nothing(recognizer):
    hand = Hand()
    for digit in range(10):
        for i in range(2):
            hand.add(recognizer.predict(drawn(digit, i)).image, digit)
    adapted = Recognizer(recognizer.model.path, hand=hand)
    assert not adapted.adaptation.is_on
    assert adapted.adaptation.right_before >= adapted.adaptation.right_after > 0
    pictures = [drawn(digit, 5) for digit in range(10)]
    assert adapted.predict_batch(pictures) == recognizer.predict_batch(pictures)


def test_one_label_alone_proves_nothing(recognizer):
    hand = Hand([Correction(np.zeros((28, 28), np.uint8), 3)])
    adapted = Recognizer(recognizer.model.path, hand=hand)
    assert not adapted.adaptation.is_on
    assert adapted.predict(drawn(7, 3)) == recognizer.predict(drawn(7, 3))


def test_what_is_added_and_removed_counts_at_once(recognizer):
    hand = Hand()
    adapted = Recognizer(recognizer.model.path, hand=hand)
    assert adapted.predict(drawn(7, 9)).digit == 7
    for i in range(4):
        hand.add(adapted.predict(drawn(7, i)).image, 1)
    assert adapted.predict(drawn(7, 9)).digit == 1
    hand.add(adapted.predict(drawn(8, 1)).image, None)
    assert adapted.adaptation.examples == 4
    assert hand.remove().label is None
    hand.remove(0)
    assert (len(hand), adapted.adaptation.examples) == (3, 3)
    hand.clear()
    assert adapted.predict(drawn(7, 9)).digit == 7


def test_the_oldest_goes_when_there_are_too_many():
    hand = Hand()
    for i in range(MOST + 3):
        hand.add(np.full((28, 28), i % 256, np.uint8), i % 10)
    assert len(hand) == MOST
    assert hand.corrections[0].label == 3


def test_a_file_holds_the_hand(crossed, tmp_path):
    path = tmp_path / "hand.json"
    crossed.add(np.ones((28, 28)), None)
    crossed.save(path)
    again = Hand.load(path)
    crossed.remove()
    assert [each.label for each in again.corrections][-1] is None
    for found, expected in zip(again.corrections, crossed.corrections, strict=False):
        assert found.label == expected.label
        assert np.array_equal(found.image, expected.image)
    with pytest.raises(DataError, match="cannot write"):
        crossed.save(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a hand: .*give a file that Hand.save or the page wrote"),
        ("[]", "is not a hand: expected an object with format 'inkdigits-hand' and version 1"),
        ('{"format": "inkdigits-hand", "version": 2}', "version 1"),
        ('{"format": "inkdigits-hand", "version": 1}', "corrections is None, not a list"),
        (
            json.dumps({"format": "inkdigits-hand", "version": 1, "corrections": [{"label": 12, "image": ""}]}),
            "correction 0 is .*'label': 12.*; expected a label, 0 to 9 or null, and an image, 784 bytes in base64",
        ),
    ],
)
def test_files_that_are_no_hands(content, message, tmp_path):
    path = tmp_path / "hand.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        Hand.load(path)
    with pytest.raises(DataError, match=r"cannot read .*: No such file"):
        Hand.load(tmp_path / "none.json")


@pytest.mark.parametrize("label", [10, -1, "7", True, 1.5])
def test_labels_that_are_none(label):
    with pytest.raises(ValueError, match=f"the label must be 0 to 9, or None for a non-digit, not {label!r}"):
        Hand().add(np.zeros((28, 28)), label)


def test_images_that_are_none():
    with pytest.raises(ValueError, match=r"such as Prediction.image, not \(28, 27\) float64"):
        Hand().add(np.zeros((28, 27)), 1)
    with pytest.raises(ValueError, match=r"not \(28, 28\) int64"):
        Hand().add(np.zeros((28, 28), np.int64), 1)


def test_models_without_features_say_so(crossed):
    with pytest.raises(ModelError, match=r"the model lenet \(.*\) cannot adapt to a hand"):
        Recognizer("lenet", hand=crossed)


def test_an_empty_hand_is_off(recognizer):
    adaptation = fit(Hand(), recognizer.features)
    assert not adaptation.is_on
    assert np.array_equal(adaptation.boosts(np.ones((2, 80))), np.zeros((2, 10)))
