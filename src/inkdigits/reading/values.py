"""What a number is worth, where its text leaves no doubt."""

from __future__ import annotations

import re

__all__ = ["value_of"]

PRICE = re.compile(r"(?<=\d)[.,]?-$")  # the dash in place of cents, as in "5.-"


def value_of(text: str, decimal: str | None = None) -> int | float | None:
    """Return the value of a number; None where it is ambiguous or not a number.

    A point or comma is the decimal one if ``decimal`` says so, if the text has both and it is the last, or if what
    follows is not exactly three digits. "1.420" may be one thousand four hundred and twenty, or a little more than one.

    Args:
        text: of digits, points, commas and dashes.
        decimal: "." or ","; None: unknown.
    """
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    rest = PRICE.sub("", rest)
    if re.fullmatch(r"\d+", rest):
        return sign * int(rest)
    signs = [c for c in rest if c in ".,"]
    if not signs or not re.fullmatch(r"[\d.,]+", rest):
        return None
    group = _other(decimal) if decimal else None
    point = decimal
    if not decimal:
        if len(set(signs)) == 2:
            group, point = signs[0], signs[-1]
        elif len(signs) > 1:
            group = signs[0]
        elif re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", rest):
            return None
        else:
            point = signs[0]
    whole, _, part = rest.partition(point) if point and point in rest else (rest, "", "")
    if group and group in whole:
        if not re.fullmatch(rf"\d{{1,3}}(\{group}\d{{3}})+", whole):
            return None
        whole = whole.replace(group, "")
    if not re.fullmatch(r"\d*", whole) or not re.fullmatch(r"\d*", part) or not whole + part:
        return None
    return sign * (float(f"{whole or 0}.{part}") if part else int(whole))


def _other(decimal: str) -> str:
    return "," if decimal == "." else "."
