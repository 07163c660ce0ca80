"""Verdicts of reviewers: rows that are only added, from which the status of a correction follows.

The latest verdict of each reviewer counts; "undo" takes it back, and the one before it counts again. What most of them
say is settled. Where as many say one thing as another, the correction is held.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from inkdigits.feedback.database import reading, writing
from inkdigits.feedback.queues import sizes, to_group
from inkdigits.feedback.submission import check_label
from inkdigits.feedback.tables import (
    ACCEPTED,
    HELD,
    OPEN,
    REJECTED,
    RELABELED,
    SETTLED,
    Correction,
    Reading,
    Review,
)
from inkdigits.feedback.trust import hold_distrusted

__all__ = [
    "STATUS_COUNTED",
    "VERDICTS",
    "Agreement",
    "Decision",
    "Progress",
    "agreement",
    "check_reviewer",
    "decide",
    "progress",
]

VERDICTS = ("accept", "relabel", "reject", "skip", "undo")
AGREEMENT_WINDOW = 2000  # verdicts, the newest, that the agreement is computed from
TODAY = timedelta(days=1)
STATUS_COUNTED = 10_000  # corrections of a status that are counted; more are "10,000 or more"
_REVIEWER = re.compile(r"[\w.-](?:[\w .-]{0,38}[\w.-])?")

Outcome = tuple[str, str | None]  # a status, and the final label


@dataclass(frozen=True, slots=True)
class Decision:
    """What has become of a correction.

    Attributes:
        label: of who sent it; ``text`` is what was answered.
        final: the label that reviewers settled on; None if they did not, or rejected it.
        is_new: whether a row was added; the same verdict again adds none.
    """

    row: int
    status: str
    label: str
    text: str
    final: str | None
    is_new: bool


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two reviewers agree.

    Attributes:
        both: corrections that both reviewed.
        same: those of them on which they said the same.
        kappa: Cohen's kappa, 1 for always and 0 for as often as by chance; None where chance explains all.
    """

    reviewers: tuple[str, str]
    both: int
    same: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the review is.

    Attributes:
        statuses: corrections of each status, up to :data:`STATUS_COUNTED`.
        queues: corrections of each queue for the reviewer, up to :data:`inkdigits.feedback.queues.COUNTED`.
        today: verdicts of the reviewer in the last day, up to as many.
    """

    statuses: dict[str, int]
    queues: dict[str, int]
    today: int
    agreement: list[Agreement]


def check_reviewer(name: Any) -> str:
    """Return a reviewer's name.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(name, str) or not _REVIEWER.fullmatch(name):
        seen = repr(name[:40]) if isinstance(name, str) else type(name).__name__
        raise ValueError(f"{seen}; expected your name: 1 to 40 letters, digits, blanks and . _ -")
    return name


def decide(
    engine: Engine, row: int, reviewer: str, verdict: str, label: str | None = None, *, group: bool = False
) -> list[Decision]:
    """Add a verdict; return what has become of the corrections that it is about. Empty: there is none with this number.

    Args:
        row: number of the correction.
        verdict: one of :data:`VERDICTS`. To relabel with the label that it has is to accept it.
        label: for "relabel".
        group: whether it is about all open corrections of pictures that look the same; "undo" takes back the verdicts
            that were given together.

    Raises:
        ValueError: the label does not fit; the message says what was expected.
        StoreError: the database cannot be used.
    """
    now = datetime.now(UTC)
    with writing(engine) as connection:
        rows = to_group(connection, row) if group else [row]
        query = (
            select(Correction.id, Correction.label, Correction.status, Correction.client, Reading.task, Reading.text)
            .join(Reading, Correction.reading_id == Reading.id)
            .where(Correction.id.in_(rows))
            .order_by(Correction.id)
        )
        corrections = connection.execute(query.with_for_update(of=Correction)).all()
        if row not in {c.id for c in corrections}:
            return []
        stacks, first = _stacks(connection, rows)
        given = _given_with(connection, row, reviewer) if group and verdict == "undo" else None
        added: list[dict[str, Any]] = []
        for c in corrections:
            checked = check_label(label, c.task) if verdict == "relabel" else None
            mine = stacks[c.id][reviewer]
            if group and c.id != row and verdict != "undo" and c.status not in OPEN:
                continue
            if given is not None and c.id not in given:
                continue
            said = "accept" if verdict == "relabel" and checked == c.label else verdict
            outcome = _outcome(said, c.label, checked)
            if (said == "undo" and not mine) or (said != "undo" and mine and mine[-1] == outcome):
                continue
            mine.pop() if said == "undo" else mine.append(outcome)
            added.append(
                {
                    "correction_id": c.id,
                    "reviewer": reviewer,
                    "verdict": said,
                    "label": checked if said == "relabel" else None,
                    "reason": None,
                    "was": c.status,
                    "created": now,
                }
            )
            first.setdefault(c.id, c.status)
        if added:
            connection.execute(insert(Review), added)
        new = {each["correction_id"] for each in added}
        settled = {c.id: _settled(stacks[c.id].values(), first.get(c.id, c.status)) for c in corrections}
        _update(connection, {id: outcome for id, outcome in settled.items() if id in new})
        hold_distrusted(connection, {c.client for c in corrections if settled[c.id][0] in (RELABELED, REJECTED)})
        about = [c for c in corrections if c.id in new or c.id == row]
        return [Decision(c.id, settled[c.id][0], c.label, c.text, settled[c.id][1], c.id in new) for c in about]


def _outcome(verdict: str, label: str, checked: str | None) -> Outcome | None:
    """Return what a verdict would settle; None for "skip", which settles nothing."""
    known = {"accept": (ACCEPTED, label), "relabel": (RELABELED, checked), "reject": (REJECTED, None)}
    return known.get(verdict)


def _stacks(
    connection: Connection, rows: Sequence[int]
) -> tuple[dict[int, dict[str, list[Outcome | None]]], dict[int, str]]:
    """Return the verdicts that hold, by correction and reviewer, and the statuses before the first verdicts."""
    query = (
        select(Review.correction_id, Review.reviewer, Review.verdict, Review.label, Review.was, Correction.label)
        .join(Correction, Review.correction_id == Correction.id)
        .where(Review.correction_id.in_(rows))
        .order_by(Review.id)
    )
    stacks: dict[int, dict[str, list[Outcome | None]]] = defaultdict(lambda: defaultdict(list))
    first: dict[int, str] = {}
    for row, reviewer, verdict, label, was, own in connection.execute(query):
        first.setdefault(row, was)
        _push(stacks[row][reviewer], verdict, own, label)
    return stacks, first


def _push(stack: list[Outcome | None], verdict: str, own: str, label: str | None) -> None:
    if verdict != "undo":
        stack.append(_outcome(verdict, own, label))
    elif stack:
        stack.pop()


def _latest(stack: Iterable[Outcome | None]) -> Outcome | None:
    """Return the verdict of a reviewer that counts: the last one that is not "skip"."""
    return next((outcome for outcome in reversed(list(stack)) if outcome), None)


def _settled(stacks: Iterable[Iterable[Outcome | None]], before: str) -> Outcome:
    """Return what most reviewers say."""
    said = Counter(outcome for outcome in map(_latest, stacks) if outcome).most_common(2)
    if not said:
        return before, None
    if len(said) > 1 and said[0][1] == said[1][1]:
        return HELD, None
    return said[0][0]


def _update(connection: Connection, settled: dict[int, Outcome]) -> None:
    by_outcome: dict[Outcome, list[int]] = defaultdict(list)
    for row, outcome in settled.items():
        by_outcome[outcome].append(row)
    for (status, final), rows in by_outcome.items():
        connection.execute(update(Correction).where(Correction.id.in_(rows)).values(status=status, final=final))


def _given_with(connection: Connection, row: int, reviewer: str) -> set[int]:
    """Return the corrections on which a reviewer gave a verdict together with the latest one on this."""
    mine = select(Review.created).where(Review.correction_id == row, Review.reviewer == reviewer)
    moment = mine.order_by(Review.id.desc()).limit(1).scalar_subquery()
    query = select(Review.correction_id).where(Review.reviewer == reviewer, Review.created == moment)
    return set(connection.execute(query).scalars())


def agreement(engine: Engine) -> list[Agreement]:
    """Return how far each two reviewers agree who reviewed the same, of the last :data:`AGREEMENT_WINDOW` verdicts."""
    newest = select(Review.id).order_by(Review.id.desc()).limit(AGREEMENT_WINDOW).scalar_subquery()
    query = (
        select(Review.correction_id, Review.reviewer, Review.verdict, Review.label, Correction.label)
        .join(Correction, Review.correction_id == Correction.id)
        .where(Review.id.in_(newest))
        .order_by(Review.id)
    )
    stacks: dict[int, dict[str, list[Outcome | None]]] = defaultdict(lambda: defaultdict(list))
    with reading(engine) as connection:
        for row, reviewer, verdict, label, own in connection.execute(query):
            _push(stacks[row][reviewer], verdict, own, label)
    pairs: dict[tuple[str, str], list[tuple[Outcome, Outcome]]] = defaultdict(list)
    for by_reviewer in stacks.values():
        said = {name: outcome for name, stack in by_reviewer.items() if (outcome := _latest(stack))}
        for a, b in combinations(sorted(said), 2):
            pairs[a, b].append((_said(said[a]), _said(said[b])))
    return [_agreement(names, both) for names, both in sorted(pairs.items())]


def _said(outcome: Outcome) -> Outcome:
    """Return a verdict as what the picture is: to accept a label is the same as to relabel with it."""
    return (REJECTED, None) if outcome[0] == REJECTED else ("", outcome[1])


def _agreement(names: tuple[str, str], both: list[tuple[Outcome, Outcome]]) -> Agreement:
    total, same = len(both), sum(a == b for a, b in both)
    first, second = Counter(a for a, _ in both), Counter(b for _, b in both)
    chance = sum(first[each] * second[each] for each in first) / total**2
    kappa = None if chance == 1 else (same / total - chance) / (1 - chance)
    return Agreement(names, total, same, kappa)


def progress(engine: Engine, reviewer: str, *, model: str) -> Progress:
    """Return how far the review is, for a reviewer.

    Args:
        model: SHA-256 of the present model.
    """
    since = datetime.now(UTC) - TODAY
    mine = Review.reviewer == reviewer, Review.created > since, Review.verdict.in_(("accept", "relabel", "reject"))
    with reading(engine) as connection:
        some = select(Review.id).where(*mine).limit(STATUS_COUNTED).subquery()
        today = connection.execute(select(func.count()).select_from(some)).scalar_one()
        statuses = {}
        for status in (*OPEN, *SETTLED):
            some = select(Correction.id).where(Correction.status == status).limit(STATUS_COUNTED).subquery()
            statuses[status] = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return Progress(statuses, sizes(engine, reviewer, model=model), today, agreement(engine))
