"""Digits with what preprocessing leaves or loses: the digit stays, and the marks alone are no digit's."""

from itertools import pairwise

import numpy as np
import pytest

from inkdigits.data.catalog import PEN_WRITERS
from inkdigits.data.pen import load_pendigits
from inkdigits.preprocess import preprocess
from inkdigits.preprocess.layout import lay_out
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.synthesis.residue import CHANGES, HEIGHT, changed, enlarged, residue
from inkdigits.synthesis.strings import cover_of

from support.handwriting import needs_data


@pytest.fixture(scope="module")
def digits():
    return [d for d in load_pendigits(Settings.from_env()) if d.writer in PEN_WRITERS["train"]][:200:5]


@needs_data
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_changes_the_ink_and_keeps_most_of_it(digits, name):
    change, _ = CHANGES[name]
    for seed, (digit, other) in enumerate(pairwise(digits)):
        cover = np.pad(cover_of(digit.strokes, HEIGHT, 6, 0), 12)
        changed = change(cover, cover_of(other.strokes, HEIGHT, 6, 0), np.random.default_rng(seed))
        assert changed.min() >= 0
        assert changed.max() <= 1
        if name == "neighbor":
            assert changed.sum() > cover.sum() * 0.85
        elif name in ("broken", "hidden"):
            assert cover.sum() * 0.6 < changed.sum() <= cover.sum() * 1.001
        else:
            assert (changed >= cover - 1e-6).all()


@needs_data
def test_people_s_digits_are_still_read_after_a_change(digits):
    recognizer = Recognizer("cnn_float")
    covers = [cover_of(d.strokes, HEIGHT, 6, 0) for d in digits]
    rng = np.random.default_rng(1)
    images = [lay_out(changed(cover, covers[i - 1], rng)) for i, cover in enumerate(covers)]
    images += [preprocess(enlarged(cover, rng)).image for cover in covers]
    logits = recognizer.logits(np.stack(images)[:, None].astype(np.float32))[:, :10]
    assert np.mean(logits.argmax(axis=1) == [d.label for d in digits * 2]) >= 0.85


def test_residue_is_ink_on_a_page_and_the_same_again():
    for seed in range(60):
        cover = residue(np.random.default_rng(seed))
        assert lay_out(cover).max() > 0.2
        np.testing.assert_array_equal(cover, residue(np.random.default_rng(seed)))
