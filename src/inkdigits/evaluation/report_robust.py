"""Two sections of the report: disturbed pictures, and pictures that show no digit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from inkdigits.evaluation.charts import Axis, Plot, bar, strip
from inkdigits.evaluation.ood import NegativeScore, Refusal, sample
from inkdigits.evaluation.report_parts import count, facts, figure, heat, percent, picture, scale, section, table
from inkdigits.evaluation.robustness import GROUPS, disturbed
from inkdigits.synthesis.corruptions import KINDS, LEVELS
from inkdigits.synthesis.non_digits import NEGATIVES

if TYPE_CHECKING:
    from inkdigits.evaluation.report import Report

__all__ = ["refusal_section", "robustness_section"]

SHOWN_LEVEL = "medium"  # of the sample pictures
SAMPLE_SIDE = 112  # pixels, of a sample picture
HOT = 0.5  # loss of accuracy that is coloured most strongly


def robustness_section(report: Report) -> str:
    """Accuracy by kind and strength of disturbance, with a sample of each."""
    found = report.robustness
    assert found is not None
    scores = [score.accuracy for levels in found.kinds.values() for score in levels.values()]
    axis = Axis.percent(min(scores), 1, "")
    overview = Plot(
        "Accuracy by strength of disturbance",
        f"Mean accuracy over kinds: undisturbed {found.plain.accuracy:.1%}; "
        + "; ".join(
            f"{GROUPS[group]}: " + ", ".join(f"{level} {found.mean(level, group):.1%}" for level in LEVELS)
            for group in ("trained", "held out")
        ),
        Axis(0, 1, (0, *LEVELS.values()), lambda value: _LEVEL_NAMES[round(value, 3)], "strength"),
        Axis.percent(min(found.mean("strong", group) for group in ("trained", "held out")) - 0.01, 1, "mean accuracy"),
        name="robust",
    )
    for group, kind in (("trained", "curve second"), ("held out", "curve")):
        means = [(LEVELS[level], found.mean(level, group)) for level in LEVELS]
        overview.line([(0, found.plain.accuracy), *means], kind)
        overview.points(((x, y, y, y) for x, y in means), "mark second" if group == "trained" else "mark")
    return section(
        "Disturbed pictures",
        f"{count(found.n, 'image')}, drawn as users might send them ({percent(found.plain.accuracy, 1)} read right) "
        f"and then disturbed in {len(KINDS)} ways: mildly, as every day brings it; at medium strength, as now and then "
        "somebody sends it; and strongly, so that a careful person still reads the digit.",
        f'<div class="pair">{figure(overview.svg(), _key())}<div>{_means(report)}</div></div>',
        *(_kinds(report, group, axis) for group in ("held out", "trained")),
    )


_LEVEL_NAMES = {0.0: "none", **{round(strength, 3): level for level, strength in LEVELS.items()}}


def _key() -> str:
    return '<span class="key">held out of training</span> <span class="key second">training may use them</span>'


def _means(report: Report) -> str:
    found = report.robustness
    assert found is not None
    rows = [
        (name, *(percent(found.mean(level, group), 1) for level in LEVELS))
        for group, name in (("held out", "kinds held out"), ("trained", "kinds in training"), ("all", "all kinds"))
    ]
    worst = [found.worst(level) for level in LEVELS]
    rows.append(("worst kind", *(f"{percent(accuracy, 1)}<br><small>{kind}</small>" for kind, accuracy in worst)))
    return table(("mean accuracy", *LEVELS), rows, caption="Mean accuracy by strength")


def _kinds(report: Report, group: str, axis: Axis) -> str:
    found = report.robustness
    assert found is not None
    rows = []
    # Read right before, so that a reader judges the disturbance and not the hand.
    at = _sample_at(report)
    for kind, levels in found.kinds.items():
        if KINDS[kind].trained != (group == "trained"):
            continue
        values = [score.accuracy for score in levels.values()]
        rows.append(
            (
                _sampled(disturbed(report.dataset, at, kind, SHOWN_LEVEL), kind, KINDS[kind].help),
                f'<td class="plot">{strip(values, axis)}</td>',
                *(f"<td{heat((found.plain.accuracy - v) / HOT)}>{percent(v, 1)}</td>" for v in values),
            )
        )
    title = GROUPS[group].capitalize()
    head = ("kind", scale(axis), *LEVELS)
    return f"<h3>{title}</h3>" + table(head, rows, caption=f"Accuracy, {GROUPS[group]}", kind="kinds", quiet=True)


def _sampled(pixels: np.ndarray, name: str, help: str) -> str:
    image = picture(pixels, "", side=SAMPLE_SIDE)
    return f'<span class="sample">{image}<span>{escape(name)}<small>{escape(help)}</small></span></span>'


def _sample_at(report: Report) -> int:
    wrong = {*report.evaluation.errors.tolist(), *(at for at, _ in report.evaluation.unreadable)}
    return next((at for at in range(len(report.dataset)) if at not in wrong), 0)


def refusal_section(found: Refusal) -> str:
    """How what is no digit was refused, by kind, with a sample of each."""
    plot = Plot(
        "Refusal",
        f"Share of the pictures of no digit that are refused against the share of digits that are, as the threshold on "
        f"{found.score} rises.",
        Axis.percent(0, 0.1, "digits refused"),
        Axis.percent(0, 1, "pictures of no digit refused"),
        name="refusal",
    )
    plot.line([point for point in found.curve if point[0] <= plot.x.high])
    own = found.digits_own is not None
    head = ("kind", scale(Axis.percent(0, 1, "")), "pictures", "refused", *(["by the model"] if own else []))

    def row(name: str, score: NegativeScore) -> tuple[str, ...]:
        cells = (name, f'<td class="plot">{bar(score.refused)}</td>', count(score.n), percent(score.refused, 1))
        return cells if score.own is None else (*cells, percent(score.own, 1))

    kinds = [row(_sampled(sample(kind), kind, NEGATIVES[kind].help), score) for kind, score in found.kinds.items()]
    shares = [
        ("mean over the kinds below", f"{percent(found.mean, 1)} refused"),
        ("letters that look like digits, O or l", f"{percent(found.lookalikes.refused, 1)} of {found.lookalikes.n}"),
        ("digits of the data", f"{percent(found.digits_refused, 1)} of {count(found.digits)}"),
    ]
    if own:
        shares.append(("digits, by the model’s own judgement", percent(found.digits_own or 0, 1)))
    return section(
        "What is no digit",
        f"Blanks, noise, scribbles, shapes, and letters of fonts that no training uses. What has a {found.score} under "
        f"{found.threshold:.4f} counts as refused; {percent(found.digits_refused, 1)} of the digits have, too.",
        f'<div class="pair">{figure(plot.svg(), "The farther up and left, the better.")}'
        f"<div>{facts(shares, caption='Refused')}</div></div>",
        table(head, kinds, caption="Pictures of no digit, refused", kind="kinds", quiet=True),
    )
