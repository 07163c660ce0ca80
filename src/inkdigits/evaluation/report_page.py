"""The report as one HTML page that stands alone: style, pictures and charts inside it, no script, no network.

Each section is a function from the :class:`~inkdigits.evaluation.report.Report` to HTML. What a chart shows stands as
numbers in a table under it. Names and messages that come from outside are escaped where they enter.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inkdigits.data.dataset import CLASSES
from inkdigits.evaluation.charts import Axis, Plot, interval
from inkdigits.evaluation.evaluate import BINS, BLANK, THRESHOLDS, calibration_bins, rejection, wilson
from inkdigits.evaluation.report_parts import (
    count,
    facts,
    figure,
    fold,
    heat,
    link,
    micro,
    percent,
    picture,
    scale,
    section,
    table,
)
from inkdigits.evaluation.report_robust import refusal_section, robustness_section
from inkdigits.preprocess import Limits
from inkdigits.preprocess.decode import decode

if TYPE_CHECKING:
    from inkdigits.evaluation.report import Mistake, Report

__all__ = ["page"]

STYLE = Path(__file__).with_name("report.css")

NAMES = {"mnist": "MNIST", "digits": "scikit-learn’s digits", "pen": "pen strokes"}
PART_NAMES = {"train": "training part", "validation": "validation part", "test": "test part", "all": "the whole set"}
CONFUSED = 5  # pairs of digits named
SURE = (BINS - 1) / BINS  # lower end of the last bin of confidence
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)  # of the images, refused


def page(report: Report) -> str:
    """The whole page."""
    sections = [
        _digits(report),
        _confusion(report),
        _calibration(report),
        _rejection(report),
        *([robustness_section(report)] if report.robustness else []),
        *([refusal_section(report.refusal)] if report.refusal else []),
        _mistakes(report),
        _cost(report),
        _origin(report),
    ]
    name, data = escape(report.model.name), _data_name(report)
    title = f"{name} on {data}"
    style = STYLE.read_text(encoding="utf-8")
    made = report.created
    contents = "".join(f'<li><a href="#{link(t)}">{t}</a></li>' for t in (_title_of(s) for s in sections))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{title} · inkdigits</title><style>{style}</style></head><body>"
        f'<header><p class="mark">inkdigits</p><p>Evaluation, {made.day} {made:%B %Y}</p></header><main>'
        f"{_head(report)}<nav aria-label='Contents'><ol>{contents}</ol></nav>{''.join(sections)}</main></body></html>\n"
    )


def _title_of(section: str) -> str:
    return section.partition("<h2")[2].partition(">")[2].partition("</h2>")[0]


def _data_name(report: Report) -> str:
    return NAMES.get(report.dataset.name, escape(report.dataset.name))


def _head(report: Report) -> str:
    found, cost = report.evaluation, report.cost
    low, high = found.interval
    some = f", a sample of {report.whole:,}" if report.whole > len(report.dataset) else ""
    wrong = len(found.errors)
    axis = Axis.percent(low, min(1.0, max(high, low + 1e-3)), "")
    tiles = [
        ("wrong", count(wrong), f"of {count(found.n)}"),
        ("calibration error", percent(found.calibration_error), f"{BINS} bins"),
        ("one image", micro(cost.predict_us), "median, one thread"),
        ("model file", f"{cost.bytes / 1e6:.2f} MB", f"{count(cost.parameters)} parameters"),
    ]
    if report.robustness:
        tiles.insert(2, ("disturbed", percent(report.robustness.mean("medium"), 1), "mean at medium strength"))
    if report.refusal:
        tiles.insert(3, ("no digit", percent(report.refusal.mean, 1), "refused, mean over kinds"))
    terms = "".join(f"<div><dt>{term}</dt><dd>{value}</dd><dd>{note}</dd></div>" for term, value, note in tiles)
    return (
        f"<h1>{escape(report.model.name)} <span>on {_data_name(report)}</span></h1>"
        f'<p class="under">{count(found.n, "image")}, {PART_NAMES[report.dataset.part]}{some}</p>'
        f'<div class="hero"><div class="accuracy"><p><b>{percent(found.accuracy)}</b> read right</p>'
        f"{interval(found.accuracy, low, high, axis)}"
        f"<p>95% interval {percent(low)} to {percent(high)}</p></div><dl>{terms}</dl></div>"
        f'<p class="summary">{_summary(report)}</p>{_unreadable(report)}'
    )


def _summary(report: Report) -> str:
    found = report.evaluation
    if not len(found.errors):
        return f"Every one of the {count(found.n, 'image')} was read right."
    (label, digit), times = _mix_ups(found.confusion)[0]
    as_digit = "a blank" if digit == BLANK else f"a {digit}"
    text = [
        f"The most frequent mistake is a {label} taken for {as_digit} ({count(times, 'time')})."
        if times > 1
        else "No two digits were mixed up more than once."
    ]
    sure = found.confidence - found.accuracy
    if abs(sure) < 0.002:
        text.append("Its confidence is honest: on average it claims what it keeps.")
    else:
        word = "overrates" if sure > 0 else "underrates"
        text.append(f"It {word} itself: it claims {percent(found.confidence)} on average.")
    one = rejection(found.confidences, found.right, [_threshold(found.confidences, 0.01)])[0]
    text.append(
        f"Without the {percent(1 - one.answered, 1)} of images it is least sure of, "
        f"{percent(one.accuracy)} are right and {count(one.wrong, 'mistake')} of {count(len(found.errors))} "
        f"{'is' if one.wrong == 1 else 'are'} left."
    )
    if report.robustness:
        kind, accuracy = report.robustness.worst("medium")
        text.append(
            f"Of the disturbances at medium strength, “{kind}” hurts it most: {percent(accuracy, 1)} are read right."
        )
    return " ".join(text)


def _unreadable(report: Report) -> str:
    if not (failed := report.evaluation.unreadable):
        return ""
    rows = [(escape(report.dataset.title(at)), escape(str(error))) for at, error in failed]
    names = table(("image", "why"), rows, caption="Images that could not be read")
    return (
        f'<div class="warning"><p>{count(len(failed), "image")} could not be read and is not counted.</p>'.replace(
            " and is not", " and is not" if len(failed) == 1 else " and are not"
        )
        + f"{fold('Which', names)}</div>"
    )


def _digits(report: Report) -> str:
    found = report.evaluation
    shown = [score for score in found.per_class if score.n]
    bounds = {id(score): wilson(round(score.recall * score.n), score.n) for score in shown}
    axis = Axis.percent(min(low for low, _ in bounds.values()), 1.0, "")

    def row(digit: int) -> tuple[str, ...]:
        score = found.per_class[digit]
        if not score.n:
            return (str(digit), "0", *["–"] * 4)
        low, high = bounds[id(score)]
        return (
            str(digit),
            count(score.n),
            percent(score.recall),
            f'<td class="plot">{interval(score.recall, low, high, axis)}</td>',
            percent(score.precision),
            percent(score.f1),
        )

    return section(
        "By digit",
        "Recall is the share of a digit’s images that were read as it, with its 95% interval; precision is the share "
        "of the images read as it that do show it; F1 is their harmonic mean.",
        table(
            ("digit", "images", "recall", scale(axis), "precision", "F1"),
            map(row, range(CLASSES)),
            caption="How each digit was read",
            kind="digits",
            quiet=True,
        ),
    )


def _mix_ups(confusion: np.ndarray) -> list[tuple[tuple[int, int], int]]:
    """(label, digit read) and how often, of all that were mixed up, the most frequent first."""
    off = confusion.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")
    pairs = [divmod(int(i), off.shape[1]) for i in order]
    return [(pair, int(off[pair])) for pair in pairs if off[pair]]


def _confusion(report: Report) -> str:
    confusion = report.evaluation.confusion
    pairs = _mix_ups(confusion)
    most = pairs[0][1] if pairs else 1
    columns = CLASSES + 1 if confusion[:, BLANK].any() else CLASSES

    def cell(label: int, digit: int) -> str:
        n = int(confusion[label, digit])
        if label == digit:
            return f'<td class="hit">{n:,}</td>'
        return f"<td{heat((n / most) ** 0.5)}>{n:,}</td>" if n else '<td class="none">·</td>'

    rows = [(str(label), *(cell(label, digit) for digit in range(columns))) for label in range(CLASSES)]
    head = ('<span class="unseen">label</span>', *map(str, range(CLASSES)), "blank")[: columns + 1]
    words = ", ".join(
        f"{label} as {'blank' if digit == BLANK else digit} ({n:,}×)" for (label, digit), n in pairs[:CONFUSED]
    )
    lead = f"Most often mixed up: {words}." if pairs else "Nothing was mixed up."
    matrix = table(head, rows, caption="Rows: the digit shown. Columns: the digit read.", kind="confusion")
    return section("What is taken for what", lead, matrix)


def _calibration(report: Report) -> str:
    found = report.evaluation
    bins = [each for each in calibration_bins(found.confidences, found.right) if each.n]
    share = Axis.percent(0, 1, "confidence")
    reliability = Plot(
        "Reliability diagram",
        f"Share of right answers against confidence in {BINS} bins. The calibration error, the mean distance from the "
        f"diagonal, is {found.calibration_error:.2%}.",
        share,
        Axis.percent(0, 1, "share of answers that are right"),
        name="reliability",
    )
    reliability.line([(0, 0), (1, 1)], "ideal")
    reliability.points(
        (each.confidence, each.accuracy, *wilson(round(each.accuracy * each.n), each.n)) for each in bins
    )
    histogram = Plot(
        "Answers by confidence",
        f"How many answers lie in each of the {BINS} bins of confidence, on a logarithmic scale.",
        share,
        Axis.decades(max(each.n for each in bins), "answers, logarithmic"),
        name="histogram",
    )
    histogram.columns((each.low, each.high, each.n) for each in bins)
    numbers = table(
        ("confidence", "answers", "mean", "right", "gap"),
        [
            (
                f"{each.low:.1%} – {each.high:.1%}",
                count(each.n),
                percent(each.confidence),
                percent(each.accuracy),
                f"{(each.accuracy - each.confidence) * 100:+.2f}",
            )
            for each in bins
        ],
        caption="Answers by confidence; the gap is in points",
    )
    off = (
        "Right answers by confidence, with 95% intervals. The mean distance from the diagonal, each bin by its "
        f"answers, is the calibration error: {percent(found.calibration_error)}."
    )
    sure = sum(each.n for each in bins if each.low >= SURE) / found.n
    often = f"{percent(sure, 1)} of the answers are at least {SURE:.1%} sure."
    return section(
        "Is its confidence honest?",
        "When it says 90%, it should be right 90% of the time: a point on the diagonal.",
        f'<div class="pair">{figure(reliability.svg(), off)}{figure(histogram.svg(), often)}</div>',
        fold("The numbers", numbers),
    )


def _threshold(confidence: np.ndarray, share: float) -> float:
    """The threshold that refuses this share of the answers, or a little less where several are equally sure."""
    return float(np.sort(confidence)[min(int(share * len(confidence)), len(confidence) - 1)])


def _rejection(report: Report) -> str:
    found = report.evaluation
    confidence, right = found.confidences, found.right
    curve = rejection(confidence, right)
    wrong = len(found.errors)
    # As far as it takes to be rid of nine mistakes in ten.
    enough = next((1 - each.answered for each in curve if each.wrong <= wrong / 10), 1.0)
    reach = Axis.percent(0, min(max(2 * enough, 0.01), 1), "share of the images refused")
    shown = [each for each in curve if 1 - each.answered <= reach.high]
    plot = Plot(
        "Rejection curve",
        f"Accuracy of the answers that remain against the share of images refused. It starts at {found.accuracy:.2%} "
        f"and reaches {shown[-1].accuracy:.2%} when {1 - shown[-1].answered:.1%} are refused.",
        reach,
        Axis.percent(min(each.accuracy for each in shown) - 1e-9, 1, "accuracy of the rest"),
        name="rejection",
    )
    n = len(right)
    refused = np.linspace(0, min(reach.high, 1 - 1 / n), 100)
    plot.line([(r, min(1.0, (n - wrong) / (n * (1 - r)))) for r in refused], "ideal")
    plot.line((1 - each.answered, each.accuracy) for each in shown)

    def row(name: str, threshold: float) -> tuple[str, ...]:
        [each] = rejection(confidence, right, [threshold])
        accuracy = percent(each.accuracy) if each.answered else "–"
        return name, percent(each.answered, 1), accuracy, count(each.wrong)

    head = ("answered", "right", "mistakes")
    by_threshold = table(
        ("confidence from", *head), [row(f"{t:g}", t) for t in THRESHOLDS], caption="By threshold on confidence"
    )
    by_share = table(
        ("refused, about", *head),
        [row(f"{share:.1%}", _threshold(confidence, share)) for share in SHARES],
        caption="By share refused",
    )
    return section(
        "If it may refuse",
        "Answers under a threshold of confidence can be handed to a person; what is left is read better.",
        f'<div class="pair">{figure(plot.svg(), "Dashed, the best there could be: every mistake refused first.")}'
        f"<div>{by_threshold}{fold('By share refused', by_share)}</div></div>",
    )


def _mistakes(report: Report) -> str:
    total = len(report.evaluation.errors)
    if not total:
        return section("Mistakes", "There is none.")
    which = "All of them" if total <= len(report.mistakes) else f"{len(report.mistakes)} of {count(total)}"
    cards = "".join(map(_card, report.mistakes))
    return section(
        "Worst mistakes",
        f"{which}, the most confident first: the image as it came, what the network saw of it, and what it made of it.",
        f'<ol class="gallery">{cards}</ol>',
    )


def _card(mistake: Mistake) -> str:
    answer = "blank" if mistake.digit is None else str(mistake.digit)
    seen = np.rint(255 * (1 - mistake.seen)).astype(np.uint8)
    second = f", then {mistake.second} {percent(mistake.second_confidence, 1)}" if mistake.second is not None else ""
    given = decode(mistake.source, Limits(max_pixels=1 << 30, max_bytes=1 << 30))
    if given.mode == "F":
        given = given.convert("L")
    return (
        f'<li><div class="pictures">{picture(given, f"the image: a {mistake.label}")}'
        f"{picture(seen, 'what the network saw', kind='seen')}</div>"
        f"<p><b>{mistake.label}</b> read as <b>{answer}</b></p>"
        f"<p>{percent(mistake.confidence, 1)} sure{second}</p><p>{escape(mistake.title)}</p></li>"
    )


def _cost(report: Report) -> str:
    cost = report.cost
    rows = [
        ("one image, from its pixels to the answer", micro(cost.predict_us)),
        ("the same, 99th percentile", micro(cost.predict_p99_us)),
        ("the network alone, one image", micro(cost.network_us)),
        (f"the network alone, an image in a batch of {cost.batch}", micro(cost.batch_us)),
        ("model file", f"{count(cost.bytes)} bytes"),
        ("parameters", count(cost.parameters)),
    ]
    lead = f"Times are medians of {cost.calls} calls with one thread on {escape(report.environment['processor'])}."
    return section("What an answer costs", lead, facts(rows, caption="Time and size"))


def _origin(report: Report) -> str:
    entry = report.model.entry
    versions = {name: text for name, text in report.environment.items() if name != "processor"}
    rows = [
        ("model", f"{escape(report.model.name)}, <code>{report.model.sha256}</code>"),
        *([("trained", escape(entry["created"][:10]))] if "created" in entry else []),
        *([("trained by", f"<code>{escape(entry['command'])}</code>")] if "command" in entry else []),
        ("data", f"{_data_name(report)}, {PART_NAMES[report.dataset.part]}"),
        *((escape(name), f"<code>{sha256}</code>") for name, sha256 in report.dataset.sha256.items()),
        *([("this report", f"<code>{escape(report.command)}</code>")] if report.command else []),
        ("versions", escape(", ".join(f"{name} {version}" for name, version in versions.items()))),
    ]
    lead = (
        "Every image went through <code>Recognizer</code>, as a user’s does. Intervals are Wilson’s, 95%. "
        "The same numbers stand as JSON in the file beside this one."
    )
    return section("How this was measured", lead, facts(rows, caption="Origin"))
