"""Images in, the numbers of each out, a row for each image or for each number, with one recognizer in one process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from inkdigits.errors import ImageError
from inkdigits.prediction import MARK, Number, Reading
from inkdigits.preprocess import ImageSource
from inkdigits.recognizer import Recognizer

if TYPE_CHECKING:
    from inkdigits.reading import Layout

__all__ = ["Numbers", "NumbersRow", "Verdict"]

Verdict = Literal["number", "unsure", "not a number", "blank", "error"]
DOUBTFUL = 0.9  # of a character's confidence; in lines, characters below it are in brackets
LISTED = 5  # numbers of an image that are listed as not accepted, at most
EXACT = 1 << 53  # integers up to it are exact as floats
EMPTY = "·"  # an empty cell of a table, in lines


@dataclass(frozen=True, slots=True)
class NumbersRow:
    """What became of one image: the numbers in it, or the error that says why there are none.

    Attributes:
        name: of the image.
        reading: None where the image could not be read.
        error: None where it could.
        min_confidence: the confidence that each number needs to be accepted, 0 to 1.
        per_number: whether tables, JSON and lines have a row for each number, and not for each image.
    """

    name: str
    reading: Reading | None
    error: ImageError | None
    min_confidence: float = 0.0
    per_number: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the row says of the image; "not a number" if all that is not accepted has ink that is not a digit."""
        if self.reading is None:
            return "error"
        if self.reading.is_blank:
            return "blank"
        numbers = self.reading.numbers
        if all(map(self.accepts, numbers)):
            return "number"
        return "not a number" if all(MARK in n.text or not _has_digit(n) for n in numbers) else "unsure"

    @property
    def accepted(self) -> bool:
        """Whether the image shows numbers, and each of them is confident enough to be used."""
        return self.verdict == "number"

    def accepts(self, number: Number) -> bool:
        """Return whether a number is confident enough to be used."""
        return number.is_number and number.confidence >= self.min_confidence

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: ``name``, what :meth:`Reading.to_dict` gives or ``error``, and ``accepted``."""
        found = {"error": str(self.error)} if self.reading is None else self.reading.to_dict()
        return {"name": self.name, **found, "accepted": self.accepted}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return :meth:`to_dict`, or plain values of each number."""
        if not self.per_number or self.reading is None or self.reading.is_blank:
            return [self.to_dict()]
        return [
            {"name": self.name, "row": row, "column": column, **number.to_dict(), "accepted": self.accepts(number)}
            for row, column, number in self._places()
        ]

    @property
    def size(self) -> int:
        """How many rows it is: at least one."""
        return max(1, len(self.reading.numbers)) if self.per_number and self.reading else 1

    def cells(self) -> list[list[object]]:
        """Return the values of :attr:`Numbers.columns`."""
        reading = self.reading
        if not self.per_number:
            if reading is None:
                return [[None, None, None, self.accepted, None]]
            numbers = _json([number.to_dict() for number in reading.numbers])
            return [[reading.text, reading.confidence, reading.is_number, self.accepted, numbers]]
        if reading is None or reading.is_blank:
            return [[None, None, None, None, None, None, False, *[None] * 6]]
        return [
            [
                *(row, column, n.text, _exact(n.value), n.confidence, n.is_number, self.accepts(n), *n.box),
                _json([digit.to_dict() for digit in n.digits]),
                _json([alternative._asdict() for alternative in n.alternatives]),
            ]
            for row, column, n in self._places()
        ]

    def lines(self) -> list[str]:
        """Return the text and its confidence, or what is not certain; of each number if asked for."""
        reading = self.reading
        if reading is None or reading.is_blank:
            return [self.verdict]
        if self.per_number:
            return [f"{self._line_of(n)}   at {', '.join(f'{v:.0f}' for v in n.box)}" for n in reading.numbers]
        if len(reading.numbers) == 1:
            return [self._line_of(reading.numbers[0])]
        count = f"{len(reading.numbers)} numbers"
        if reading.table is not None:
            count += f" in a table of {len(reading.table)} × {len(reading.table[0])}"
        elif len(reading.lines) > 1:
            count += f" in {len(reading.lines)} lines"
        else:
            count = reading.text
        if self.accepted:
            return [f"{count}  {reading.confidence:.1%}"]
        rejected = [number for number in reading.numbers if not self.accepts(number)]
        listed = ", ".join(f"{_doubts(n)} {n.confidence:.1%}" for n in rejected[:LISTED])
        more = ", …" if len(rejected) > LISTED else ""
        return [f"{self.verdict} ({count}; {len(rejected)} of them uncertain: {listed}{more})"]

    def below(self) -> list[str]:
        """Return the numbers as they are on the page, where that is in several lines or in a table."""
        if self.per_number or self.reading is None or len(rows := self.reading.rows()) < 2:
            return []
        cells = [[EMPTY if cell is None else cell for cell in row] for row in rows]
        if self.reading.table is not None:
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            cells = [[cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
        return [f"    {'  '.join(row)}" for row in cells]

    def _line_of(self, number: Number) -> str:
        if self.accepts(number):
            others = ", ".join(f"{other.text} {other.confidence:.1%}" for other in number.alternatives)
            return f"{number.text}  {number.confidence:.1%}" + (f"   then {others}" if others else "")
        if MARK in number.text or not _has_digit(number):  # how sure it is of that would read as how sure it is
            return f"not a number (nearest {_doubts(number)})"
        return f"unsure (nearest {_doubts(number)}, {number.confidence:.1%})"

    def _places(self) -> Iterator[tuple[int, int, Number]]:
        """Yield row and column from 1, and the number, for each in the table if there is one, else in the lines."""
        reading = self.reading
        assert reading is not None  # as it is not asked for where there is an error
        for row, members in enumerate(reading.lines if reading.table is None else reading.table, 1):
            for column, at in enumerate(members, 1):
                if at is not None:
                    yield row, column, reading.numbers[at]


@dataclass(frozen=True, slots=True)
class Numbers:
    """Read the numbers in each image.

    Attributes:
        layout, length, pattern, decimal, alternatives: as for :meth:`inkdigits.Recognizer.read`.
        min_confidence: that each number needs to be accepted, 0 to 1.
        per_number: whether tables, JSON and lines have a row for each number, and not for each image.
    """

    layout: Layout = "auto"
    length: int | None = None
    pattern: str | None = None
    decimal: Literal[".", ","] | None = None
    alternatives: int = 0
    min_confidence: float = 0.0
    per_number: bool = False

    verdicts: ClassVar[tuple[Verdict, ...]] = get_args(Verdict)
    networks: ClassVar[tuple[str, ...]] = ("ink", "line")

    @property
    def columns(self) -> dict[str, str]:
        """Columns of a table; "numbers", "digits" and "alternatives" are JSON."""
        if not self.per_number:
            flags = {"is_number": "bool", "accepted": "bool"}
            return {"text": "string", "confidence": "float64", **flags, "numbers": "string"}
        return {
            **{"row": "int32", "column": "int32", "text": "string", "value": "float64", "confidence": "float64"},
            **{"is_number": "bool", "accepted": "bool"},
            **dict.fromkeys(("left", "top", "right", "bottom"), "float64"),
            **{"digits": "string", "alternatives": "string"},
        }

    def read(
        self, recognizer: Recognizer, images: Iterable[tuple[str, ImageSource | ImageError]]
    ) -> Iterator[NumbersRow]:
        """Yield a row for each image, in order.

        Args:
            recognizer: the model to read with.
            images: as for :func:`inkdigits.bulk.read`.
        """
        for name, source in images:
            reading, error = None, None
            try:
                if isinstance(source, ImageError):
                    raise source
                reading = recognizer.read(
                    source,
                    layout=self.layout,
                    length=self.length,
                    pattern=self.pattern,
                    decimal=self.decimal,
                    alternatives=self.alternatives,
                )
            except ImageError as caught:
                error = caught
            yield NumbersRow(name, reading, error, self.min_confidence, self.per_number)


def _has_digit(number: Number) -> bool:
    return any(digit.digit is not None for digit in number.digits)


def _doubts(number: Number) -> str:
    """Return the text with brackets around digits that are not certain."""
    return "".join(
        f"[{digit.char}]" if digit.confidence < DOUBTFUL and digit.char != MARK else digit.char
        for digit in number.digits
    )


def _exact(value: float | None) -> float | None:
    """Return a value that has a place in a column of floats."""
    return float(str(value)) if isinstance(value, int) and abs(value) > EXACT else value


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
