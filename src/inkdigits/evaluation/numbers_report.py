"""Measure how a model reads pictures of numbers, as one report: an HTML page and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import Levenshtein

from inkdigits.data.numbers import NumberPictures
from inkdigits.errors import DataError, ImageError
from inkdigits.evaluation.evaluate import wilson
from inkdigits.evaluation.latency import environment
from inkdigits.evaluation.numbers import ALMOST_ALL, StringFigures, same_text, string_figures
from inkdigits.evaluation.report import WORST, Written, check_limit
from inkdigits.network import shipped_network
from inkdigits.prediction import ModelInfo, Reading
from inkdigits.preprocess import ImageSource
from inkdigits.progress import Progress, bars
from inkdigits.recognizer import Recognizer
from inkdigits.text import visible

if TYPE_CHECKING:
    from inkdigits.reading import Layout

__all__ = ["NumberMistake", "NumbersReport", "measure_numbers"]

PICTURE_SIDE = 440  # pixels that pictures are reduced to; twice the width on the page


@dataclass(frozen=True, eq=False)
class NumberMistake:
    """One picture that was read wrong.

    Attributes:
        title: its file or row.
        text: what it shows; "" for no number.
        read: what was read; "" for blank.
        confidence: of the whole text, 0 to 1.
        accepted: whether it was accepted as a number.
        source: the picture.
    """

    title: str
    text: str
    read: str
    confidence: float
    accepted: bool
    source: ImageSource


@dataclass(frozen=True, eq=False)
class NumbersReport(Written):
    """Result of :func:`measure_numbers`.

    Attributes:
        model: the model for single digits.
        line_sha256: of the line network.
        pictures: what was read.
        whole: number of pictures before the limit.
        figures: of those that can be read.
        wrong: pictures read wrong, and pictures without a number that were accepted.
        mistakes: the most confident of them.
        unreadable: title and error of each picture that could not be read.
        layout, digits_only: as for :func:`measure_numbers`.
        command: command that made the report.
        created: time in UTC.
        environment: processor and versions.
    """

    model: ModelInfo
    line_sha256: str
    pictures: NumberPictures
    whole: int
    figures: StringFigures
    wrong: int
    mistakes: tuple[NumberMistake, ...]
    unreadable: tuple[tuple[str, ImageError], ...]
    layout: Layout
    digits_only: bool
    command: str
    created: datetime
    environment: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values for JSON."""
        mistakes = [asdict(mistake) for mistake in self.mistakes]
        for mistake in mistakes:
            del mistake["source"]
        return {
            "model": self.model.name,
            "sha256": self.model.sha256,
            "line_sha256": self.line_sha256,
            "data": self.pictures.name,
            "data_sha256": dict(self.pictures.sha256),
            "of": self.whole,
            "layout": self.layout,
            "digits_only": self.digits_only,
            **self.figures.to_dict(),
            "mistakes": mistakes,
            "unreadable": [{"title": title, "error": str(error)} for title, error in self.unreadable],
            "command": self.command,
            "created": self.created.isoformat(timespec="seconds"),
            "environment": self.environment,
        }

    def table(self) -> str:
        """Format the figures for a terminal, in lines of at most 80 characters."""
        n = len(self.pictures) - len(self.unreadable)
        return f"{self.model.name} on {visible(self.pictures.name)}: {n:,} pictures\n{self.figures.table()}"

    def html(self) -> str:
        """Return one self-contained page with pictures, charts and style, without script."""
        from inkdigits.evaluation import report_page
        from inkdigits.evaluation.charts import Axis

        found = self.figures
        groups = [*found.by_length.values(), *found.by_contact.values()]
        low, high = found.interval
        least = min((wilson(group.right, group.n)[0] for group in groups), default=0.0)
        charted: dict[str, Any] = {}
        if found.n:
            charted = report_page.confidence_tables(found.confidences, found.is_right)
            charted["plots"] = report_page.confidence_plots(found.confidences, found.is_right)
        return report_page.TEMPLATES.get_template("numbers-report.html").render(
            report=self,
            contents=report_page.Contents(),
            hero=Axis.percent(low, min(1.0, max(high, low + 1e-3)), ""),
            axis=Axis.percent(least, 1.0, ""),
            bounds=lambda group: wilson(group.right, group.n),
            marks=lambda mistake: _marks(mistake.text, mistake.read),
            given=lambda mistake: report_page.given(
                mistake.source, f"the picture: {mistake.text or 'no number'}", side=PICTURE_SIDE
            ),
            versions=report_page.versions(self.environment),
            ALMOST_ALL=ALMOST_ALL,
            **charted,
        )


def measure_numbers(
    recognizer: Recognizer,
    pictures: NumberPictures,
    *,
    layout: Layout = "auto",
    digits_only: bool = False,
    limit: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> NumbersReport:
    """Read pictures of numbers and compare them with their texts.

    Args:
        recognizer: the model.
        pictures: at least one; unreadable ones are listed and left out.
        layout: as for :meth:`Recognizer.read`.
        digits_only: compare the digits alone, for texts that leave out points, commas and dashes.
        limit: at most this many pictures, always the same ones.
        command: the command that makes the report, which it shows.
        progress: reports progress; default: a bar on standard error when that is a terminal.

    Raises:
        DataError: no picture can be read.
        ValueError: ``limit`` is less than 1.
    """
    check_limit(limit)
    whole = len(pictures)
    if limit is not None:
        pictures = pictures.limited(limit)
    texts: list[str] = []
    readings: list[Reading] = []
    unreadable: list[tuple[str, ImageError]] = []
    mistakes: list[NumberMistake] = []
    with (progress or bars())(f"reading {pictures.name}", len(pictures), "") as advance:
        for title, source, text in zip(pictures.titles, pictures.images, pictures.texts, strict=True):
            try:
                reading = recognizer.read(source, layout=layout)
            except ImageError as caught:
                unreadable.append((title, caught))
            else:
                texts.append(text)
                readings.append(reading)
                is_right = same_text(text, reading.text, digits_only) if text.strip() else not reading.is_number
                if not is_right:
                    mistake = NumberMistake(title, text, reading.text, reading.confidence, reading.is_number, source)
                    mistakes.append(mistake)
            advance(1)
    if not readings:
        title, error = unreadable[0]
        raise DataError(f"no picture of {pictures.name} can be read; {title}: {error}")
    mistakes.sort(key=lambda mistake: (not mistake.accepted, -mistake.confidence))
    return NumbersReport(
        model=recognizer.model,
        line_sha256=shipped_network("line")[1],
        pictures=pictures,
        whole=whole,
        figures=string_figures(texts, readings, digits_only=digits_only),
        wrong=len(mistakes),
        mistakes=tuple(mistakes[:WORST]),
        unreadable=tuple(unreadable),
        layout=layout,
        digits_only=digits_only,
        command=command,
        created=datetime.now(UTC),
        environment=environment(),
    )


def _marks(text: str, read: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Split a text and what was read into parts, and say of each whether it differs from the other."""
    edits = Levenshtein.opcodes(text, read)
    shows = [(text[e.src_start : e.src_end], e.tag != "equal") for e in edits if e.src_end > e.src_start]
    found = [(read[e.dest_start : e.dest_end], e.tag != "equal") for e in edits if e.dest_end > e.dest_start]
    return shows, found
