"""Search and alignment: the same as trying every path of a few frames; restrictions hold."""

from collections import defaultdict
from itertools import groupby, product

import numpy as np
import pytest

from inkdigits.prediction import CHARACTERS
from inkdigits.reading.search import Restriction, align, log_probability, search

FRAMES = 5
USED = (0, 1, 2, 3, 11)  # none, "0", "1", "2" and "."


@pytest.fixture(params=range(6))
def scores(request):
    """Log-probabilities of few frames, in which only a few characters are possible."""
    rng = np.random.default_rng(request.param)
    logits = np.full((FRAMES, 1 + len(CHARACTERS)), -60.0)
    logits[:, USED] = rng.normal(0, 1.5, (FRAMES, len(USED)))
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def text_of(path):
    return "".join(CHARACTERS[i - 1] for i, _ in groupby(path) if i)


def every_text(scores):
    """The probability of each text: that of all paths that give it."""
    found = defaultdict(float)
    for path in product(USED, repeat=FRAMES):
        found[text_of(path)] += float(np.exp(sum(scores[t, i] for t, i in enumerate(path))))
    return found


def test_the_probability_of_a_text_is_that_of_all_its_paths(scores):
    for text, probability in every_text(scores).items():
        if text:
            assert np.exp(log_probability(scores, text)) == pytest.approx(probability, rel=1e-6)


def test_the_search_finds_the_most_likely_text(scores):
    expected = {text: p for text, p in every_text(scores).items() if text}
    found = search(scores)
    best = max(expected, key=expected.get)
    assert found[0][0] == best
    assert 0.5 * expected[best] < np.exp(found[0][1]) <= 1.0001 * expected[best]  # paths off the beam are left out
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_of_a_given_length_the_most_likely_text_is_found(scores, length):
    restriction = Restriction(length=length)
    expected = {t: p for t, p in every_text(scores).items() if sum(map(str.isdigit, t)) == length}
    found = search(scores, restriction)
    assert found[0][0] == max(expected, key=expected.get)
    assert all(restriction.allows(text) for text, _ in found)


def test_a_pattern_gives_its_signs_and_digits(scores):
    expected = {t: p for t, p in every_text(scores).items() if len(t) == 3 and t[1] == "." and (t[0] + t[2]).isdigit()}
    found = search(scores, Restriction(pattern="d.d"))
    assert found[0][0] == max(expected, key=expected.get)
    assert {text[1] for text, _ in found} == {"."}


def test_a_pattern_that_does_not_fit_gives_nothing(scores):
    assert search(scores, Restriction(pattern="dd.dd.dddd")) == []  # more characters than frames


def test_each_character_is_aligned_where_the_best_path_has_it(scores):
    texts = ["01", "0.2", "11", "2"]
    for text, frames in zip(texts, align(scores, texts), strict=True):
        paths = [path for path in product(USED, repeat=FRAMES) if text_of(path) == text]
        best = max(paths, key=lambda path: sum(scores[t, i] for t, i in enumerate(path)))
        runs, t = [], 0
        for i, run in groupby(best):
            n = len(list(run))
            if i:
                runs.append(range(t, t + n))
            t += n
        for frame, run in zip(frames, runs, strict=True):
            assert frame in run
        assert align(scores, [text]) == [frames]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"length": 0}, "length must be a number of digits, at least 1, not 0"),
        ({"length": -2}, "not -2"),
        ({"pattern": "dd/dd"}, "not 'dd/dd'"),
        ({"pattern": ".."}, "not '..'"),
        ({"pattern": ""}, "not ''"),
        ({"length": 3, "pattern": "dd.dd"}, "length is 3, but pattern 'dd.dd' has 4 digits"),
    ],
)
def test_a_wrong_restriction_is_named(arguments, said):
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        Restriction(**arguments)
