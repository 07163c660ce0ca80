"""Search the most likely texts of a line, all or those of a given length or pattern, and align a text to its frames.

A. Graves et al., Connectionist Temporal Classification, 2006, https://doi.org/10.1145/1143844.1143891; prefix search
with a beam: A. Hannun et al., First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent
DNNs, 2014, https://arxiv.org/abs/1408.2873.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

from inkdigits.prediction import CHARACTERS, MARK

__all__ = ["Restriction", "align", "log_probability", "search"]

BEAM = 10  # texts that are followed
RESTRICTED_BEAM = 40
FLOOR, RESTRICTED_FLOOR = -8.0, -16.0  # log-probability of a character in a frame, below which it is not followed
NEVER = -1e9  # log-probability of what cannot be

PATTERN = re.compile(r"[d.,-]+")


@dataclass(frozen=True)
class Restriction:
    """Which texts may be found.

    Attributes:
        length: number of digits; None: any.
        pattern: "d" for a digit, and ".", "," and "-" for themselves, such as "dd.dd.dddd"; None: any.

    Raises:
        ValueError: the length is not positive, or the pattern has other characters, or another length.
    """

    length: int | None = None
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.length is not None and (isinstance(self.length, bool) or self.length < 1):
            raise ValueError(f"length must be a number of digits, at least 1, not {self.length!r}")
        if self.pattern is not None:
            if not PATTERN.fullmatch(self.pattern) or "d" not in self.pattern:
                raise ValueError(
                    f'pattern must be of "d" for a digit, ".", "," and "-", as in "dd.dd.dddd", not {self.pattern!r}'
                )
            if self.length is not None and self.pattern.count("d") != self.length:
                digits = self.pattern.count("d")
                raise ValueError(f"length is {self.length}, but pattern {self.pattern!r} has {digits} digits; give one")

    @property
    def is_any(self) -> bool:
        """Whether every text may be found."""
        return self.length is None and self.pattern is None

    def begins(self, text: str) -> bool:
        """Return whether a text is the beginning of one that may be found."""
        if self.pattern is not None:
            return len(text) <= len(self.pattern) and all(map(_fits, text, self.pattern))
        return self.length is None or (MARK not in text and sum(map(str.isdigit, text)) <= self.length)

    def allows(self, text: str) -> bool:
        """Return whether a text may be found."""
        if self.pattern is not None:
            return len(text) == len(self.pattern) and self.begins(text)
        return self.length is None or (MARK not in text and sum(map(str.isdigit, text)) == self.length)


def _fits(character: str, of_pattern: str) -> bool:
    return character.isdigit() if of_pattern == "d" else character == of_pattern


ANY = Restriction()
_likely = itemgetter(3)  # of a text in the beam
_COLUMN = {character: 1 + i for i, character in enumerate(CHARACTERS)}  # of scores


def search(scores: np.ndarray, restriction: Restriction = ANY) -> list[tuple[str, float]]:
    """Find the most likely texts.

    Args:
        scores: (T, 1 + len(CHARACTERS)) log-probabilities of none and each character.
        restriction: which texts may be found.

    Returns:
        Texts and their log-probabilities, the most likely first; none, if no text that may be found is likely enough.
    """
    width, floor = (BEAM, FLOOR) if restriction.is_any else (RESTRICTED_BEAM, RESTRICTED_FLOOR)
    # Each text so far, and the log-probabilities that its last frame is none, that it is a character, and of both.
    beam = [("", 0.0, NEVER, 0.0)]
    is_any, begins = restriction.is_any, _Beginnings(restriction)
    for row, is_likely in zip(scores.tolist(), scores > floor, strict=True):
        candidates = [(CHARACTERS[i], row[1 + i]) for i in np.flatnonzero(is_likely[1:]).tolist()]
        if not candidates:
            ends = [
                (text, both + row[0], last + row[_COLUMN[text[-1]]] if text else NEVER) for text, _, last, both in beam
            ]
            beam = [(text, none, last, _add(none, last)) for text, none, last in ends]
            continue
        found: dict[str, tuple[float, float]] = {}
        for text, none, last, both in beam:
            ending = text[-1:]
            is_none = both + row[0]
            stays = last + row[_COLUMN[ending]] if text else NEVER
            earlier = found.get(text)
            found[text] = (_add(earlier[0], is_none), _add(earlier[1], stays)) if earlier else (is_none, stays)
            for character, likely in candidates:
                longer = text + character
                if is_any or begins[longer]:
                    ends = (none if ending == character else both) + likely
                    earlier = found.get(longer)
                    found[longer] = (earlier[0], _add(earlier[1], ends)) if earlier else (NEVER, ends)
        beam = [(text, none, last, _add(none, last)) for text, (none, last) in found.items()]
        if len(beam) > width:
            beam = sorted(beam, key=_likely, reverse=True)[:width]
    texts = [(text, both) for text, _, _, both in beam if text and restriction.allows(text)]
    return sorted(texts, key=lambda each: -each[1])


class _Beginnings(dict[str, bool]):
    """Whether texts are beginnings of those that may be found, each asked for once."""

    def __init__(self, restriction: Restriction) -> None:
        super().__init__()
        self._restriction = restriction

    def __missing__(self, text: str) -> bool:
        begins = self[text] = self._restriction.begins(text)
        return begins


def _add(a: float, b: float) -> float:
    """Add probabilities that are given by their logarithms."""
    if a < b:
        a, b = b, a
    return a + math.log1p(math.exp(b - a)) if b > a - 40 else a


def _states(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the column of scores of each state, with none around characters, and which states may be skipped to."""
    columns = np.zeros(2 * len(text) + 1, int)
    columns[1::2] = [1 + CHARACTERS.index(character) for character in text]
    skips = np.zeros(len(columns), bool)
    skips[3::2] = columns[3::2] != columns[1:-2:2]
    return columns, skips


def log_probability(scores: np.ndarray, text: str) -> float:
    """Return the log-probability of a text, of all its alignments."""
    columns, skips = _states(text)
    reached = np.full(len(columns), NEVER)
    reached[:2] = scores[0, columns[:2]]
    for row in scores[1:]:
        stay = np.logaddexp(reached, np.concatenate([[NEVER], reached[:-1]]))
        skip = np.concatenate([[NEVER, NEVER], reached[:-2]])
        reached = np.where(skips, np.logaddexp(stay, skip), stay) + row[columns]
    return float(np.logaddexp(reached[-1], reached[-2]))


def align(scores: np.ndarray, texts: Sequence[str]) -> list[list[int]]:
    """Return, for each text, the frame of each character where it is most certain, along the best alignment.

    All texts are aligned at once, which takes hardly longer than one.
    """
    width = 2 * max(map(len, texts)) + 1
    columns, skips = np.zeros((len(texts), width), int), np.zeros((len(texts), width), bool)
    for i, text in enumerate(texts):
        own, skipped = _states(text)
        columns[i, : len(own)], skips[i, : len(own)] = own, skipped
    reached = np.full((len(texts), 2 + width), NEVER)  # two states that cannot be, before the others
    reached[:, 2:4] = np.take_along_axis(scores[0][None], columns[:, :2], axis=1)
    came = np.zeros((len(scores), len(texts), width), np.int8)
    for row, moves in zip(scores[1:], came[1:], strict=True):
        best, step = reached[:, 2:], reached[:, 1:-1]
        skip = np.where(skips, reached[:, :-2], NEVER)
        moves[step > best] = 1
        best = np.maximum(best, step)
        moves[skip > best] = 2
        reached[:, 2:] = np.maximum(best, skip) + row[columns]
    return [_path(scores, came[:, i], columns[i], reached[i, 2:], text) for i, text in enumerate(texts)]


def _path(scores: np.ndarray, came: np.ndarray, columns: np.ndarray, reached: np.ndarray, text: str) -> list[int]:
    """Follow the best alignment of a text back from its end."""
    last = 2 * len(text)
    state = last - int(reached[last - 1] > reached[last])
    best: dict[int, int] = {}
    for t in range(len(scores) - 1, -1, -1):
        if state % 2:
            i = state // 2
            if i not in best or scores[t, columns[state]] > scores[best[i], columns[state]]:
                best[i] = t
        state -= int(came[t, state])
    return [best.get(i, 0) for i in range(len(text))]
