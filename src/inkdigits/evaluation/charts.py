"""Draw charts as SVG text, for reports, training runs and notebooks. No library.

A chart is drawn at the width of a phone and scales up. In a report it takes its colors from the page by class names
(``report.css``); an SVG file contains them. Both have light and dark colors. Titles and descriptions are for screen
readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["SERIES", "Axis", "Drawing", "Format", "Plot", "bar", "interval", "ranked", "sheet", "strip", "svg_file"]

WIDTH, HEIGHT = 360, 290  # of a chart, in units that are pixels on a phone
LEFT, RIGHT, TOP, BOTTOM = 54, 12, 30, 42  # margins around the plot area
MARK = 3.2  # radius of a point
LETTER = 6.2  # average width of a letter
GAP, LEGEND = 28, 26  # gap between the plots of a sheet, and height of a line of the legend
SERIES = 8  # colors of curves: classes s0 to s7

Format = Callable[[float], str]


@dataclass(frozen=True)
class Axis:
    """One axis: its range, ticks and label.

    Attributes:
        low, high: ends of the range; low < high.
        ticks: values of the ticks.
        text: formats a tick.
        label: what the axis shows, with its unit.
        log: whether the scale is logarithmic.
    """

    low: float
    high: float
    ticks: Sequence[float]
    text: Format
    label: str
    log: bool = False

    def share(self, value: float) -> float:
        """Return the position of a value, 0 at the low end and 1 at the high end, clipped to these."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = min(max(value, self.low), self.high)
        return ((math.log(value) if self.log else value) - low) / (high - low)

    @classmethod
    def percent(cls, low: float, high: float, label: str) -> Axis:
        """Make an axis from ``low`` to ``high``, both moved outwards to round shares, with four to seven ticks."""
        step = next(s for s in (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2) if s * 6 >= high - low)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if first == last:
            first, last = (first - 1, last) if first else (0, 1)
        ticks = [round(i * step, 6) for i in range(first, last + 1)]
        digits = max(0, -math.floor(math.log10(step) + 1e-9) - 2)
        return cls(ticks[0], ticks[-1], ticks, lambda value: f"{value:.{digits}%}", label)

    @classmethod
    def linear(cls, low: float, high: float, label: str) -> Axis:
        """Make an axis from ``low`` to ``high``, both moved outwards to round values, with at most eight ticks."""
        step = next(m * 10.0**e for e in range(-9, 10) for m in (1, 2, 5) if high - low <= 6 * m * 10.0**e)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [round(i * step, 9) for i in range(first, max(last, first + 1) + 1)]
        return cls(ticks[0], ticks[-1], ticks, lambda value: f"{value:g}", label)

    @classmethod
    def decades(cls, high: float, label: str) -> Axis:
        """Make a logarithmic axis of counts from 1 to at least ``high``; 0 is at the low end."""
        top = max(1, math.ceil(math.log10(max(high, 1))))
        return cls(0.5, 10**top, [10**i for i in range(top + 1)], lambda value: f"{value:,.0f}", label, log=True)

    @classmethod
    def logarithmic(cls, low: float, high: float, text: Format, label: str) -> Axis:
        """Make a logarithmic axis from ``low`` to ``high``, both above 0, with ticks at 1, 2, 5, 10…"""
        steps = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]
        first = max((i for i, step in enumerate(steps) if step <= low * (1 + 1e-9)), default=0)
        last = min((i for i, step in enumerate(steps) if step >= high * (1 - 1e-9)), default=len(steps) - 1)
        ticks = steps[first : max(last, first + 1) + 1]
        return cls(ticks[0], ticks[-1], ticks, text, label, log=True)

    @classmethod
    def count(cls, first: int, last: int, label: str) -> Axis:
        """Make an axis of integers from ``first`` to ``last``, with at most eight ticks."""
        step = next(m * 10**e for e in range(9) for m in (1, 2, 5) if (last - first) / (m * 10**e) <= 7)
        ticks = [first, *(i for i in range(step * (first // step + 1), last + 1, step) if i - first >= step / 2)]
        return cls(first, max(last, first + 1), ticks, lambda value: f"{value:,.0f}", label)


class Plot:
    """A plot area with two axes.

    Args:
        title: title of the chart.
        about: what it shows, in a sentence or two.
        x, y: the axes.
        name: prefix of its ids, unique in the file or page.
        height: of the whole chart.
    """

    def __init__(self, title: str, about: str, x: Axis, y: Axis, *, name: str, height: int = HEIGHT) -> None:
        self.x, self.y, self.height = x, y, height
        self._head = (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-labelledby="{name}-title {name}-about"><title id="{name}-title">{escape(title)}</title>'
            f'<desc id="{name}-about">{escape(about)}</desc>'
        )
        self._parts: list[str] = []
        self._axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point in the drawing."""
        return (
            LEFT + self.x.share(x) * (WIDTH - LEFT - RIGHT),
            self.height - BOTTOM - self.y.share(y) * (self.height - TOP - BOTTOM),
        )

    def line(self, points: Iterable[tuple[float, float]], kind: str = "curve") -> None:
        """Draw a line through points."""
        text = " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in points)
        self._parts.append(f'<polyline class="{kind}" points="{text}"/>')

    def points(self, points: Iterable[tuple[float, float, float, float]], kind: str = "mark") -> None:
        """Draw points (x, y, low, high) with their intervals in y."""
        for x, y, low, high in points:
            (px, py), (_, bottom), (_, top) = self.at(x, y), self.at(x, low), self.at(x, high)
            self._parts.append(f'<path class="whisker" d="M{px:.1f} {bottom:.1f}V{top:.1f}"/>')
            self._parts.append(f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="{MARK}"/>')

    def columns(self, columns: Iterable[tuple[float, float, float]]) -> None:
        """Draw columns (from x, to x, y) from the low end of y."""
        for left, right, y in columns:
            (x0, top), (x1, bottom) = self.at(left, y), self.at(right, self.y.low)
            if bottom - top > 0.05:
                self._parts.append(
                    f'<rect class="column" x="{x0 + 0.75:.1f}" y="{top:.1f}" width="{x1 - x0 - 1.5:.1f}" '
                    f'height="{bottom - top:.1f}"/>'
                )

    def note(self, x: float, y: float, text: str, *, anchor: str = "start", dx: float = 0, dy: float = 0) -> None:
        """Write text at a point; ``dx`` and ``dy`` move it by units of the drawing."""
        px, py = self.at(x, y)
        self._parts.append(
            f'<text class="note" x="{px + dx:.1f}" y="{py + dy:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """Return the chart as SVG."""
        return f"{self._head}{''.join(self._parts)}</svg>"

    def _axes(self) -> None:
        floor, wall = self.height - BOTTOM, WIDTH - RIGHT
        for tick in self.y.ticks:
            _, py = self.at(self.x.low, tick)
            self._parts.append(f'<path class="grid" d="M{LEFT} {py:.1f}H{wall}"/>')
            self._parts.append(f'<text x="{LEFT - 7}" y="{py + 4:.1f}" text-anchor="end">{self.y.text(tick)}</text>')
        for tick in self.x.ticks:
            px, _ = self.at(tick, self.y.low)
            self._parts.append(f'<path class="tick" d="M{px:.1f} {floor}v4"/>')
            # Keep the last label inside the drawing.
            over = px + len(self.x.text(tick)) * LETTER / 2 - WIDTH
            self._parts.append(
                f'<text x="{px - max(over, 0):.1f}" y="{floor + 17}" text-anchor="middle">{self.x.text(tick)}</text>'
            )
        self._parts.append(f'<path class="axis" d="M{LEFT} {floor}H{wall}"/>')
        self._parts.append(f'<text class="label" x="0" y="12">{escape(self.y.label)}</text>')
        middle, under = (LEFT + wall) / 2, self.height - 6
        self._parts.append(
            f'<text class="label" x="{middle}" y="{under}" text-anchor="middle">{escape(self.x.label)}</text>'
        )


def bar(value: float, kind: str = "") -> str:
    """Draw a bar for a table cell next to its number: ``value`` from 0 to 1."""
    return (
        f'<svg class="bar {kind}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="track" width="100" height="8"/><rect class="fill" width="{100 * value:.2f}" height="8"/></svg>'
    )


def interval(value: float, low: float, high: float, axis: Axis) -> str:
    """Draw a point with its interval for a table cell next to its numbers."""
    x, left, right = (4 + 112 * axis.share(v) for v in (value, low, high))
    return (
        '<svg class="dots" viewBox="0 0 120 14" aria-hidden="true"><path class="grid" d="M4 7H116"/>'
        f'<path class="whisker" d="M{left:.1f} 7H{right:.1f}"/><circle class="mark" cx="{x:.1f}" cy="7" r="3.2"/></svg>'
    )


def strip(values: Sequence[float], axis: Axis) -> str:
    """Draw points that grow from first to last, joined by a line, for a table cell next to its numbers."""
    places = [4 + 152 * axis.share(value) for value in values]
    grid = "".join(f'<path class="grid" d="M{4 + 152 * axis.share(t):.1f} 0V18"/>' for t in axis.ticks)
    dots = "".join(
        f'<circle class="mark m{i}" cx="{x:.1f}" cy="9" r="{2.4 + 0.9 * i:.1f}"/>' for i, x in enumerate(places)
    )
    span = f'<path class="whisker" d="M{min(places):.1f} 9H{max(places):.1f}"/>'
    return f'<svg class="dots" viewBox="0 0 160 18" aria-hidden="true">{grid}{span}{dots}</svg>'


_STYLE = (
    ".paper{fill:#fcfaf5}text{font:12px -apple-system,'Segoe UI',Roboto,Arial,sans-serif;fill:#5a5f6d;"
    "font-variant-numeric:tabular-nums}.label,.note,.head{fill:#1b2333}.head{font-size:15px}.bold{font-weight:600}"
    ".grid{stroke:#e0d8c8}.tick,.axis,.ideal{stroke:#5a5f6d}.ideal{fill:none;stroke-dasharray:4 4}"
    ".curve{fill:none;stroke-width:1.8;stroke-linejoin:round}.column,.mark{fill:#b0311d}.whisker{stroke:#b0311d}"
    ".gone{fill:none;stroke:#5a5f6d}.held{fill:none;stroke:#3d6a8a;stroke-width:1.6}.dot{stroke:none}"
)
_DARK_STYLE = (
    ".paper{fill:#14171d}text{fill:#a8a79f}.label,.note,.head{fill:#f2eadb}.grid{stroke:#343b47}"
    ".tick,.axis,.ideal,.gone{stroke:#a8a79f}.column,.mark{fill:#ff8e6e}.whisker{stroke:#ff8e6e}.held{stroke:#8fbfe0}"
)
_LIGHT = ("#b0311d", "#3d6a8a", "#6f7f2a", "#8a5a9e", "#b97a10", "#2f8f83", "#6b6b6b", "#c4588a", "#5c4a2f", "#1f4fb4")
_DARK = ("#ff8e6e", "#8fbfe0", "#b9cc6a", "#c9a2dc", "#f0bb5c", "#74cfc2", "#b5b5b5", "#f09cc4", "#d2b48c", "#8ea8ff")


def _colors(of: Sequence[str]) -> str:
    return "".join(f".s{i}{{stroke:{color}}}.f{i}{{fill:{color}}}" for i, color in enumerate(of))


class Drawing(str):
    """The text of an SVG file, which a notebook displays as a picture."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Drawing of {len(self):,} characters>"

    def _repr_svg_(self) -> str:
        return str(self)


def svg_file(title: str, width: float, height: float, parts: Iterable[str], about: str = "") -> Drawing:
    """Make an SVG file for light and dark screens, with its title on top."""
    dark = f"@media(prefers-color-scheme:dark){{{_DARK_STYLE}{_colors(_DARK)}}}"
    head = f'<title id="title">{escape(title)}</title><desc id="about">{escape(about)}</desc>' if about else ""
    role = ' role="img" aria-labelledby="title about"' if about else ""
    return Drawing(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}"{role}>{head}<style>{_STYLE}{_colors(_LIGHT)}{dark}</style>'
        f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>'
        f'<text class="head" x="{GAP}" y="30">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def sheet(title: str, plots: Sequence[Plot], legend: Sequence[str] = ()) -> Drawing:
    """Make an SVG file of plots next to each other.

    Args:
        title: title above them.
        plots: at least one.
        legend: names of the curves "curve s0", "curve s1"…, at most SERIES.
    """
    width = len(plots) * (WIDTH + GAP) + GAP
    columns = max(1, int(width / (LETTER * max(map(len, legend), default=0) + 60)))
    top = 46 + LEGEND * -(-len(legend) // columns)
    parts = []
    for i, text in enumerate(legend):
        x, y = GAP + i % columns * (width - GAP) / columns, 54 + LEGEND * (i // columns)
        parts.append(
            f'<path class="curve s{i}" d="M{x:.0f} {y}h24"/><text x="{x + 32:.0f}" y="{y + 4}">{escape(text)}</text>'
        )
    for i, plot in enumerate(plots):
        x = GAP + i * (WIDTH + GAP)
        parts.append(f'<svg x="{x}" y="{top}" width="{WIDTH}" height="{plot.height}">{plot.svg()}</svg>')
    return svg_file(title, width, top + max(plot.height for plot in plots) + 12, parts)


def ranked(title: str, shares: Mapping[str, float]) -> Drawing:
    """Make an SVG file of horizontal bars.

    Args:
        title: title above them.
        shares: 0 to 1 by name, in this order; at least one.
    """
    left, right, row = GAP + 12 + LETTER * max(map(len, shares)), 56, 30
    width, longest, parts = WIDTH + left, max(max(shares.values()), 1e-9), []
    for i, (name, share) in enumerate(shares.items()):
        y, end = 54 + row * (i + 0.5), left + share / longest * (width - left - right)
        parts.append(f'<text class="label" x="{left - 12:.0f}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="column" x="{left:.0f}" y="{y - 8}" width="{end - left:.1f}" height="16"/>')
        parts.append(f'<text x="{end + 8:.1f}" y="{y + 4}">{share:.1%}</text>')
    about = "; ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return svg_file(title, width, 54 + row * len(shares) + 14, parts, about)


#: Charts for table cells, by their names in templates.
SMALL_CHARTS: dict[str, Callable[..., str]] = {"bar": bar, "interval": interval, "strip": strip}
