"""The line network reads lines together as it reads each by itself."""

import numpy as np
import pytest

from inkdigits.reading import lines
from inkdigits.reading.lines import read_lines
from inkdigits.reading.search import search
from inkdigits.synthesis.strokes import draw

from support.drawings import number_strokes

TEXTS = ["2", "4701", "35", "98765432", "60", "1", "2026", "31415"]


def ink(text, height=60.0, pen=5.0):
    strokes = [stroke + pen for stroke in number_strokes(text, height)]
    width, bottom = np.ceil(np.concatenate(strokes).max(axis=0) + pen).astype(int)
    cover = draw(strokes, int(width), int(bottom), pen=pen, paper=0, ink=255).astype(np.float32) / 255
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize("most", [lines.BATCH_PIXELS, 1 << 13, 1])
def test_lines_are_read_together_as_alone(monkeypatch, most):
    monkeypatch.setattr(lines, "BATCH_PIXELS", most)
    inks = [ink(text) for text in TEXTS]
    together = read_lines(inks)
    assert [search(frames.scores)[0][0] for frames in together] == TEXTS
    for one, frames in zip(inks, together, strict=True):
        [alone] = read_lines([one])
        assert frames.scores.shape == alone.scores.shape
        best = alone.scores.argmax(axis=1)
        is_digit = (best > 0) & (alone.scores.max(axis=1) > np.log(0.9))
        assert (frames.scores.argmax(axis=1) == best)[is_digit].all()
        assert np.median(np.abs(frames.boxes - alone.boxes)[is_digit]) < 0.5


def test_a_line_is_not_padded_to_one_that_is_much_longer(monkeypatch):
    widths = []
    run = lines._network().run
    monkeypatch.setattr(lines._network(), "run", lambda batch: widths.append(batch.shape) or run(batch))
    read_lines([ink(text) for text in TEXTS])
    assert sum(shape[0] for shape in widths) == len(TEXTS)
    assert len(widths) > 1
    assert read_lines([]) == []
