"""What is read in each image, its digit or its numbers, and what formats and the journal need to know of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field
from typing import Any, ClassVar, Protocol

from inkdigits.errors import ImageError
from inkdigits.preprocess import ImageSource
from inkdigits.recognizer import Recognizer

__all__ = ["Found", "Task"]


class Found(Protocol):
    """What became of one image: a row, or several if it has several numbers."""

    @property
    def name(self) -> str:
        """Name of the image."""

    @property
    def error(self) -> ImageError | None:
        """Why it could not be read; None where it could."""

    @property
    def verdict(self) -> str:
        """One of the task's verdicts."""

    @property
    def size(self) -> int:
        """How many rows it is."""

    def cells(self) -> list[list[object]]:
        """Return the values of each row by the task's columns, None for none, in lists of the caller's own."""

    def to_dicts(self) -> Sequence[Mapping[str, Any]]:
        """Return plain values of each row for JSON."""

    def lines(self) -> Sequence[str]:
        """Return what is printed after the name for each row."""

    def below(self) -> Sequence[str]:
        """Return lines to print below these."""


class Task(Protocol):
    """What to read; a frozen dataclass, whose fields are the options that decide the content of rows."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def verdicts(self) -> Sequence[str]:
        """All that an image may be counted as; the last is "error"."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a table between the name and the error, with their types in Arrow."""

    @property
    def networks(self) -> Sequence[str]:
        """Names of the networks that it uses in addition to the model's: "ink", "line"."""

    def read(self, recognizer: Recognizer, images: Iterable[tuple[str, ImageSource | ImageError]]) -> Iterator[Found]:
        """Yield what became of each image, in order."""
