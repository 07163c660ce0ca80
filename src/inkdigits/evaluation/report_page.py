"""Render a report as one self-contained HTML page with style, pictures and charts, without script or network.

``templates/report.html`` has the text; this module makes its numbers, charts and pictures. The numbers of each chart
are also in a table next to it. The template escapes everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image

from inkdigits.data.dataset import CLASSES
from inkdigits.evaluation import charts, figures
from inkdigits.evaluation.charts import Axis, Plot
from inkdigits.evaluation.evaluate import BINS, BLANK, THRESHOLDS, calibration_bins, rejection, wilson
from inkdigits.evaluation.ood import OutOfDistribution, sample
from inkdigits.evaluation.robustness import GROUPS, Robustness, corrupted
from inkdigits.preprocess import ImageSource, Limits
from inkdigits.preprocess.decode import decode
from inkdigits.synthesis.corruptions import CORRUPTIONS, SEVERITIES
from inkdigits.synthesis.non_digits import NON_DIGITS

if TYPE_CHECKING:
    from inkdigits.evaluation.report import Mistake, Report

__all__ = [
    *("TEMPLATES", "Contents", "confidence_plots", "confidence_tables", "given", "link", "micro", "number", "page"),
    *("percent", "versions"),
]

NAMES = {"mnist": "MNIST", "digits": "scikit-learn’s digits", "pen": "pen strokes"}
PART_NAMES = {"train": "training part", "validation": "validation part", "test": "test part", "all": "the whole set"}
CONFUSED = 5  # pairs of digits that are named
SURE = (BINS - 1) / BINS  # lower end of the last bin of confidence
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)  # of the images, rejected
SHOWN_SEVERITY = "medium"  # of the sample pictures
HOT = 0.5  # loss of accuracy with the strongest color
PICTURE_SIDE = 168  # pixels that pictures are reduced to; twice the size on the page
SAMPLE_SIDE = 112  # likewise, of a sample picture
SMALL = 64  # pixels; smaller pictures are enlarged without smoothing
_KILO = 1000

TEMPLATES = Environment(
    loader=PackageLoader("inkdigits.evaluation"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(report: Report) -> str:
    """Render the page."""
    found = report.evaluation
    low, high = found.interval
    bounds = [wilson(round(score.recall * score.n), score.n) if score.n else None for score in found.per_class]
    columns = CLASSES + bool(found.confusion[:, BLANK].any())
    axes = {
        "accuracy": Axis.percent(low, min(1.0, max(high, low + 1e-3)), ""),
        "recall": Axis.percent(min(each[0] for each in bounds if each), 1.0, ""),
        "share": Axis.percent(0, 1, ""),
    }
    plots = {
        **confidence_plots(found.confidences, found.right),
    }
    if report.robustness:
        scores = [score.accuracy for levels in report.robustness.kinds.values() for score in levels.values()]
        axes["robustness"] = Axis.percent(min(scores), 1, "")
        plots["robustness"] = _robustness(report.robustness)
    if report.ood:
        plots["ood"] = _out_of_distribution(report.ood)
    # Sample pictures show an image that was read right, so that they show the corruption and not bad handwriting.
    wrong = {*found.errors.tolist(), *(at for at, _ in found.unreadable)}
    right = next((at for at in range(len(report.dataset)) if at not in wrong), 0)
    return TEMPLATES.get_template("report.html").render(
        report=report,
        data=NAMES.get(report.dataset.name, report.dataset.name),
        part=PART_NAMES[report.dataset.part],
        contents=Contents(),
        axes=axes,
        plots=plots,
        by_digit=list(zip(found.per_class, bounds, strict=True)),
        mix_ups=_mix_ups(found.confusion),
        confusion=found.confusion[:, :columns].tolist(),
        heads=[*map(str, range(CLASSES)), "blank"][:columns],
        one_percent=rejection(found.confidences, found.right, [_threshold(found.confidences, 0.01)])[0],
        **confidence_tables(found.confidences, found.right),
        versions=versions(report.environment),
        corrupted=lambda kind: picture(corrupted(report.dataset, right, kind, SHOWN_SEVERITY), "", side=SAMPLE_SIDE),
        non_digit=lambda kind: picture(sample(kind), "", side=SAMPLE_SIDE),
        given=_given,
        seen=_seen,
    )


def confidence_plots(confidences: np.ndarray, right: np.ndarray) -> dict[str, Plot]:
    """Return the charts of the sections on calibration and rejection.

    Args:
        confidences: (N,) in [0, 1], at least one.
        right: (N,) bool.
    """
    return {
        "reliability": figures.reliability(confidences, right),
        "histogram": _histogram(confidences, right),
        "rejection": _rejection(confidences, right),
    }


def confidence_tables(confidences: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    """Return the numbers of the sections on calibration and rejection; the arguments are as for the charts."""
    bins = [each for each in calibration_bins(confidences, right) if each.n]
    at_shares = rejection(confidences, right, [_threshold(confidences, share) for share in SHARES])
    return {
        "bins": bins,
        "very_sure": sum(each.n for each in bins if each.low >= SURE) / len(right),
        "by_threshold": rejection(confidences, right, THRESHOLDS),
        "by_share": list(zip(SHARES, at_shares, strict=True)),
    }


def versions(environment: Mapping[str, str]) -> str:
    """Return the versions of a report's environment as one text."""
    return ", ".join(f"{name} {text}" for name, text in environment.items() if name != "processor")


def percent(share: float, digits: int = 2) -> str:
    """Format ``0.9954`` as ``99.54%``; only 1 is shown as 100%, and only 0 as 0%."""
    text = f"{share:.{digits}%}"
    step = 10.0**-digits
    if share < 1 and text == f"{1:.{digits}%}":
        return f">{100 - step:.{digits}f}%"
    if share > 0 and text == f"{0:.{digits}%}":
        return f"<{step:.{digits}f}%"
    return text.replace(f".{'0' * digits}%", "%") if share in (0, 1) else text


def number(n: int, noun: str = "") -> str:
    """Format ``10,000``, or with a noun ``1 image``, ``10,000 images``."""
    return f"{n:,}" + (f" {noun}{'' if n == 1 else 's'}" if noun else "")


def micro(us: float) -> str:
    """Format microseconds as ``83 µs`` or ``1.24 ms``."""
    return f"{us:.0f} µs" if us < _KILO else f"{us / _KILO:.2f} ms"


def link(text: str) -> str:
    """Make an anchor from a title: lower-case letters and dashes."""
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def picture(pixels: np.ndarray | Image.Image, alt: str, *, side: int = PICTURE_SIDE, kind: str = "") -> Markup:
    """Make an ``img`` element of a picture, reduced to at most ``side`` pixels a side; small ones show their pixels."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    kinds = " ".join(filter(None, [kind, "pixels" if max(image.size) <= SMALL else ""]))
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return Markup('<img src="{}" alt="{}" class="{}">').format(figures.data_url(image), alt, kinds)


class Contents:
    """The titles of the sections by their anchors, in order."""

    def __init__(self) -> None:
        self.titles: dict[str, str] = {}

    def add(self, title: str) -> str:
        self.titles[link(title)] = title
        return link(title)


def _mix_ups(confusion: np.ndarray) -> list[tuple[int, str, int]]:
    """Return label, digit read and count of all confusions, the most frequent first."""
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = (divmod(int(i), off.shape[1]) for i in np.argsort(-off, axis=None, kind="stable"))
    return [
        (label, "blank" if digit == BLANK else str(digit), int(n)) for label, digit in order if (n := off[label, digit])
    ]


def _threshold(confidence: np.ndarray, share: float) -> float:
    """Return the threshold that rejects this share of the answers, or less if there are ties."""
    return float(np.sort(confidence)[min(int(share * len(confidence)), len(confidence) - 1)])


def given(source: ImageSource, alt: str, *, side: int = PICTURE_SIDE) -> Markup:
    """Make an ``img`` element of an image as it was given."""
    image = decode(source, Limits(max_pixels=1 << 30, max_bytes=1 << 30))
    return picture(image.convert("L") if image.mode == "F" else image, alt, side=side)


def _given(mistake: Mistake) -> Markup:
    return given(mistake.source, f"the image: a {mistake.label}")


def _seen(mistake: Mistake) -> Markup:
    return picture(np.rint(255 * (1 - mistake.seen)).astype(np.uint8), "what the network saw", kind="seen")


def _histogram(confidences: np.ndarray, right: np.ndarray) -> Plot:
    bins = calibration_bins(confidences, right)
    plot = Plot(
        "Answers by confidence",
        f"How many answers lie in each of the {BINS} bins of confidence, on a logarithmic scale.",
        Axis.percent(0, 1, "confidence"),
        Axis.decades(max(each.n for each in bins), "answers, logarithmic"),
        name="histogram",
    )
    plot.columns((each.low, each.high, each.n) for each in bins if each.n)
    return plot


def _rejection(confidences: np.ndarray, right: np.ndarray) -> Plot:
    curve = rejection(confidences, right)
    n, wrong = len(right), int((~right).sum())
    # Up to the share that must be rejected to avoid nine mistakes in ten.
    enough = next((1 - each.answered for each in curve if each.wrong <= wrong / 10), 1.0)
    reach = Axis.percent(0, min(max(2 * enough, 0.01), 1), "share of the images rejected")
    shown = [each for each in curve if 1 - each.answered <= reach.high]
    plot = Plot(
        "Rejection curve",
        f"Accuracy of the answers that remain against the share of images rejected. It starts at {right.mean():.2%} "
        f"and reaches {shown[-1].accuracy:.2%} when {1 - shown[-1].answered:.1%} are rejected.",
        reach,
        Axis.percent(min(each.accuracy for each in shown) - 1e-9, 1, "accuracy of the rest"),
        name="rejection",
    )
    best = np.linspace(0, min(reach.high, 1 - 1 / n), 100)
    plot.line([(r, min(1.0, (n - wrong) / (n * (1 - r)))) for r in best], "ideal")
    plot.line((1 - each.answered, each.accuracy) for each in shown)
    return plot


def _robustness(found: Robustness) -> Plot:
    groups = ("trained", "held out")
    means_of = (
        f"{GROUPS[g]}: " + ", ".join(f"{level} {found.mean(level, g):.1%}" for level in SEVERITIES) for g in groups
    )
    names = {0.0: "none", **{round(severity, 3): level for level, severity in SEVERITIES.items()}}
    plot = Plot(
        "Accuracy by severity of corruption",
        f"Mean accuracy over kinds: uncorrupted {found.plain.accuracy:.1%}; {'; '.join(means_of)}",
        Axis(0, 1, (0, *SEVERITIES.values()), lambda value: names[round(value, 3)], "severity"),
        Axis.percent(min(found.mean("strong", group) for group in groups) - 0.01, 1, "mean accuracy"),
        name="robust",
    )
    for group, kind in zip(groups, (" second", ""), strict=True):
        means = [(SEVERITIES[level], found.mean(level, group)) for level in SEVERITIES]
        plot.line([(0, found.plain.accuracy), *means], f"curve{kind}")
        plot.points(((x, y, y, y) for x, y in means), f"mark{kind}")
    return plot


def _out_of_distribution(found: OutOfDistribution) -> Plot:
    plot = Plot(
        "Non-digits rejected",
        f"Share of the non-digits that are rejected against the share of digits that are, as the threshold on "
        f"{found.score} rises.",
        Axis.percent(0, 0.1, "digits rejected"),
        Axis.percent(0, 1, "non-digits rejected"),
        name="ood",
    )
    plot.line([point for point in found.curve if point[0] <= plot.x.high])
    return plot


TEMPLATES.filters.update(
    percent=percent, number=number, micro=micro, share=lambda value, digits=2: f"{value:.{digits}%}"
)
TEMPLATES.globals.update(
    **{"BINS": BINS, "CONFUSED": CONFUSED, "GROUPS": GROUPS, "HOT": HOT, "SURE": SURE},
    **{"CORRUPTIONS": CORRUPTIONS, "SEVERITIES": SEVERITIES, "NON_DIGITS": NON_DIGITS},
    **{name: lambda *given, draw=draw: Markup(draw(*given)) for name, draw in charts.SMALL_CHARTS.items()},
)
