"""The self-test: a server proves that its model reads known digits before it gets work."""

from __future__ import annotations

from inkdigits.known import known_digit
from inkdigits.recognizer import CLASSES, Recognizer

__all__ = ["self_test"]


def self_test(recognizer: Recognizer) -> str:
    """Read each known digit, which also warms the model up. "" when all were read right, else what was wrong."""
    seen = [recognizer.predict(known_digit(digit)).digit for digit in range(CLASSES)]
    wrong = [f"{digit} as {read}" for digit, read in enumerate(seen) if digit != read]
    return f"the model {recognizer.model.name} reads known digits wrong: {', '.join(wrong)}" if wrong else ""
