"""The record of a decision of the gate: an HTML page and JSON, which ``inkdigits models promote`` asks for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from inkdigits.data.catalog import load, stratified
from inkdigits.data.catalog import parts as parts_of
from inkdigits.data.dataset import VALIDATION, VALIDATION_SEED, Dataset, Lazy
from inkdigits.errors import DataError
from inkdigits.evaluation.charts import Axis, Plot
from inkdigits.evaluation.evaluate import BLANK, Answers, read_answers, wilson
from inkdigits.evaluation.gate import NON_DIGIT, Check, Contender, Paired, Sample, Verdict, judge
from inkdigits.evaluation.latency import environment, times_us
from inkdigits.evaluation.report import WORST, Written
from inkdigits.preprocess import ImageSource
from inkdigits.progress import Progress
from inkdigits.recognizer import Recognizer
from inkdigits.registry import data_sha256
from inkdigits.settings import Settings
from inkdigits.synthesis.non_digits import non_digit_pictures

__all__ = ["Decision", "Example", "decide", "validation_sets"]

DIGITS = 4  # significant ones of a probability
NON_DIGITS, NON_DIGITS_SEED = 2000, 97  # pictures; other ones than trainings and evaluations draw
ROUNDS, CALLS = 3, 60  # of timing, in turn, so that both models get the same machine


@dataclass(frozen=True)
class Example:
    """One picture of the audit that one model answers right and the other wrong.

    Attributes:
        title: its name, or its number in the audit.
        label: what it shows: a digit or "non-digit".
        champion, challenger: what each answers: a digit, "blank" or "rejected", with its confidence.
        at: its index in the audit.
    """

    title: str
    label: str
    champion: tuple[str, float]
    challenger: tuple[str, float]
    at: int


@dataclass(frozen=True, eq=False)
class Decision(Written):
    """A decision with all that it was made by.

    Attributes:
        verdict: of the gate.
        audit: the pictures that it was made by.
        validation: the fixed sets.
        command: that made the record.
        created: time in UTC.
        environment: processor and versions.
    """

    verdict: Verdict
    audit: Sample
    validation: Sequence[Sample]
    command: str
    created: datetime
    environment: Mapping[str, str]

    def examples(self, at: Sequence[int]) -> list[Example]:
        """Return pictures of the audit by their indices, at most WORST."""
        return [self._example(i) for i in at[:WORST]]

    def to_dict(self) -> dict[str, Any]:
        """Return everything but pictures as plain values for JSON."""
        verdict = self.verdict
        named = {"fixed": verdict.fixed, "broken": verdict.broken}
        return {
            **verdict.to_dict(),
            **{name: [vars(self._example(i)) for i in at] for name, at in named.items()},
            "data": {sample.name: sample.sha256 for sample in (self.audit, *self.validation)},
            "command": self.command,
            "created": self.created.isoformat(timespec="seconds"),
            "environment": dict(self.environment),
        }

    def table(self) -> str:
        """Format the conditions for a terminal."""
        verdict = self.verdict
        width = max(len(check.name) for check in verdict.checks)
        rows = [
            f"{'pass' if check.passed else 'FAIL'}  {check.name:<{width}}  {shown(check)}" for check in verdict.checks
        ]
        audit = verdict.audit
        fixed = f"{audit.fixed:,} fixed and {audit.broken:,} broken of {audit.n:,} pictures by {verdict.users:,} users"
        word = "passes" if verdict.passed else "does not pass"
        return "\n".join([f"{verdict.challenger.name} {word}: {fixed}", *rows])

    def html(self) -> str:
        """Return one self-contained page with pictures, charts and style, without script."""
        from inkdigits.evaluation import report_page

        verdict = self.verdict
        return report_page.TEMPLATES.get_template("decision.html").render(
            decision=self,
            verdict=verdict,
            contents=report_page.Contents(),
            axis_of=_axis,
            bounds=lambda right, n: wilson(right, n),
            shown=shown,
            users_plot=_by_user(verdict),
            groups=[("Fixed", verdict.fixed), ("Broken", verdict.broken)],
            given=lambda each: self._picture(each.at),
            versions=report_page.versions(self.environment),
            WORST=WORST,
        )

    def _example(self, at: int) -> Example:
        audit = self.audit
        label = int(audit.labels[at])
        return Example(
            title=audit.titles[at] if audit.titles else f"picture {at:,}",
            label="non-digit" if label == NON_DIGIT else str(label),
            champion=_answer(audit.champion, at),
            challenger=_answer(audit.challenger, at),
            at=at,
        )

    def _picture(self, at: int) -> Any:
        from inkdigits.evaluation import report_page

        images = self.audit.images
        return "" if images is None else report_page.given(images[at], f"the picture: a {self._example(at).label}")


def decide(
    champion: Recognizer,
    challenger: Recognizer,
    audit: Dataset | Sample,
    validation: Sequence[Dataset],
    *,
    earlier: int = 0,
    command: str = "",
    progress: Progress | None = None,
) -> Decision:
    """Have both models read all pictures, and decide.

    Args:
        champion: the model in use.
        challenger: the model that may replace it.
        audit: a random sample of pictures of the service, with the users as their writers; or what both read in it.
        validation: fixed sets; the label NON_DIGIT is of a picture that does not show a digit.
        earlier: tries that count, as :func:`inkdigits.registry.earlier_tries` gives them.
        command: that makes the record.
        progress: reports progress; default: bars on standard error when that is a terminal.

    Raises:
        DataError: there is too little to decide by, or an image cannot be read.
    """
    first = audit if isinstance(audit, Sample) else _sample(champion, challenger, audit, progress)
    sets = [first, *(_sample(champion, challenger, each, progress) for each in validation)]
    times = _times(champion, challenger, validation[0].images[0])
    models = champion.model, challenger.model
    old, new = (Contender(each.name, each.sha256, us) for each, us in zip(models, times, strict=True))
    verdict = judge(old, new, sets[0], sets[1:], earlier=earlier)
    return Decision(verdict, sets[0], sets[1:], command, datetime.now(UTC), environment())


def validation_sets(names: str, settings: Settings, progress: Progress | None = None) -> list[Dataset]:
    """Load the fixed sets: digits by name, joined to one set, and rendered non-digits.

    Args:
        names: joined by "+": mnist and pen stand for what trainings hold out to validate on, never for test images; a
            path for all pictures there.

    Raises:
        DataError: a set cannot be loaded.
    """
    parts = [_held_out(name, settings, progress) for name in names.split("+")]
    images: list[ImageSource] = [image for part in parts for image in part.images]
    labels = np.concatenate([part.labels for part in parts])
    sha256 = {key: value for part in parts for key, value in part.sha256.items()}
    digits = Dataset("digits", "validation", Lazy(images.__getitem__, range(len(images))), labels, sha256)
    others = [picture for _, picture in non_digit_pictures(NON_DIGITS, NON_DIGITS_SEED, "train")]
    hashes = {"non-digits": _hash_of(others)}
    rendered = Lazy(others.__getitem__, range(len(others)))
    return [digits, Dataset("non-digits", "validation", rendered, np.full(len(others), NON_DIGIT), hashes)]


def _held_out(name: str, settings: Settings, progress: Progress | None) -> Dataset:
    if name == "mnist":
        train = load(name, settings, part="train", progress=progress)
        return train.take(stratified(train.labels, VALIDATION, VALIDATION_SEED)[1], "validation")
    return load(name, settings, part="validation" if "validation" in parts_of(name) else "all", progress=progress)


def _sample(champion: Recognizer, challenger: Recognizer, dataset: Dataset, progress: Progress | None) -> Sample:
    answers = []
    for recognizer in (champion, challenger):
        found, unreadable = read_answers(recognizer, dataset, progress)
        if unreadable:
            at, error = unreadable[0]
            raise DataError(f"{dataset.title(at)} of {dataset.name} cannot be read ({error}); take it out")
        answers.append(found)
    return Sample(
        name=dataset.name,
        labels=dataset.labels,
        champion=answers[0],
        challenger=answers[1],
        sha256=data_sha256(dataset.sha256, dataset.labels.tolist()),
        titles=[dataset.title(at) for at in range(len(dataset))],
        images=dataset.images,
        users=dataset.writers,
    )


def _times(champion: Recognizer, challenger: Recognizer, image: ImageSource) -> list[float]:
    """Return the median time of a picture for each model, in microseconds: the best of some rounds in turn."""
    rounds = [
        [float(np.median(times_us(partial(each.predict, image), CALLS))) for each in (champion, challenger)]
        for _ in range(ROUNDS)
    ]
    return [min(times) for times in zip(*rounds, strict=True)]


def _hash_of(pictures: Sequence[np.ndarray]) -> str:
    whole = hashlib.sha256()
    for picture in pictures:
        whole.update(repr(picture.shape).encode() + picture.tobytes())
    return whole.hexdigest()


def shown(check: Check) -> str:
    """Return the value and the limit of a condition as text."""
    side = "at least" if check.at_least else "at most"
    value, limit = (_value(each, check.unit) for each in (check.value, check.limit))
    return f"{value}, {side} {limit}"


def _value(value: float, unit: str) -> str:
    if unit == "p":
        return f"p = {value:.{DIGITS}g}"
    if unit == "points":
        return f"{100 * value:+.2f} points"
    return f"{value:.2f} times" if unit == "times" else f"{value:.2%}"


def _answer(answers: Answers, at: int) -> tuple[str, float]:
    digit, confidence = int(answers.digits[at]), float(answers.confidences[at])
    if digit == BLANK:
        return "blank", confidence
    return (str(digit) if answers.accepted[at] else "rejected"), confidence


def _axis(parts: Sequence[Paired]) -> Axis:
    """Return an axis for the shares of these parts that the challenger answers right."""
    return Axis.percent(min(wilson(part.challenger, part.n)[0] for part in parts), 1.0, "")


def _by_user(verdict: Verdict) -> Plot:
    gains = dict(verdict.user_gains)
    low, high = min(-1, *gains), max(1, *gains)
    step = max(1, round((high - low) / 8))
    ticks = [tick for tick in range(low, high + 1) if tick % step == 0]
    better, worse = (sum(n for gain, n in gains.items() if np.sign(gain) == sign) for sign in (1, -1))
    plot = Plot(
        "Users by net gain",
        f"Pictures fixed less pictures broken: {better} users gain, {worse} lose, {gains.get(0, 0)} neither.",
        Axis(low - 0.5, high + 0.5, ticks, lambda gain: f"{gain:+.0f}" if gain else "0", "pictures fixed less broken"),
        Axis.decades(max(gains.values()), "users, logarithmic"),
        name="users",
    )
    plot.columns((gain - 0.35, gain + 0.35, n) for gain, n in gains.items())
    return plot
