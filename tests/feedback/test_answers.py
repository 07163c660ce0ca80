"""What was answered, and the prediction ids that are made of it."""

import time
from dataclasses import replace

import numpy as np
import pytest

from inkdigits.feedback.answers import MAX_SIGNED, VALID_SECONDS, Answer, Expired, NotSigned, Signer, digest_of
from inkdigits.self_test import known_digit

from support.corrections import answer
from support.drawings import number_strokes


def test_an_answer_is_what_the_recognizer_says(recognizer):
    found = recognizer.predict(known_digit())
    made = Answer.of(found, recognizer.model.sha256, source="s", audit=True)
    assert (made.task, made.text, made.model, made.source, made.audit) == (
        "digit",
        "3",
        recognizer.model.sha256,
        "s",
        True,
    )
    assert made.seen == np.rint(found.image * 255).astype(np.uint8).tobytes()
    assert made.confidence == pytest.approx(found.probabilities[3] * found.digit_score, abs=1e-5)
    assert sum(made.chance(label) for label in ["", *"0123456789"]) == pytest.approx(1, abs=1e-4)
    assert made.suspicion("3") == 0
    assert made.suspicion("8") > 0.9


def test_a_rejected_image_is_the_answer_that_it_is_nothing(recognizer):
    blank = Answer.of(recognizer.predict(np.full((50, 50), 255, np.uint8)), "m")
    assert (blank.text, blank.confidence, blank.chance("7")) == ("", 1.0, 0.0)
    number = Answer.of(recognizer.read([s.tolist() for s in number_strokes("2024")]), "m")
    assert (number.task, number.text, number.seen) == ("number", "2024", None)
    assert 0.5 < number.confidence <= 1
    assert number.chance("2025") == pytest.approx(1 - number.confidence, abs=1e-5)


def test_a_prediction_id_is_the_answer():
    signer, given = Signer(b"k" * 32), answer(audit=True)
    assert signer.open(signer.sign(given)) == given


def test_a_prediction_id_of_another_key_or_changed_is_none():
    signer, given = Signer(b"k" * 32), answer()
    text = signer.sign(given)
    assert text.isascii()
    assert len(text) < 3000
    for wrong in ("", "x", "é", text[:-3], text + "AAAA", "A" * (MAX_SIGNED + 1), Signer(b"l" * 32).sign(given)):
        with pytest.raises(NotSigned):
            signer.open(wrong)
    for i in range(0, len(text), 17):
        other = "A" if text[i] != "A" else "B"
        with pytest.raises(NotSigned):
            signer.open(text[:i] + other + text[i + 1 :])


def test_a_prediction_id_ends_after_a_day():
    signer, now = Signer(b"k" * 32), int(time.time())
    assert signer.open(signer.sign(answer(at=now - VALID_SECONDS + 60)))
    for at in (now - VALID_SECONDS - 60, now + 3600):
        with pytest.raises(Expired):
            signer.open(signer.sign(answer(at=at)))


def test_the_id_of_a_page_full_of_numbers_is_bounded():
    number = {"text": "123", "confidence": 0.7, "box": [0, 0, 9, 9], "characters": [0.9, 0.8, 0.7]}
    details = {"text": "123 " * 500, "numbers": [number] * 499 + [{**number, "confidence": 0.2}]}
    given = replace(answer(), task="number", text="", details=details, seen=None)
    text = Signer(b"k").sign(given)
    assert len(text) < MAX_SIGNED
    opened = Signer(b"k").open(text)
    assert opened.chance("1") == given.chance("1") == pytest.approx(0.8)


def test_the_same_pixels_have_one_digest_in_any_memory():
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    assert digest_of(pixels) == digest_of(np.asfortranarray(pixels)) != digest_of(pixels.T.copy())
    assert digest_of(pixels) != digest_of(pixels.tobytes())
