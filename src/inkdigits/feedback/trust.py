"""How far a correction is trusted before a person has looked at it: which are held, and how much one client weighs.

A correction is *held* if it may do harm: a label that the model finds impossible, one more of a client that sends many
or whose corrections were found to be wrong, and one more copy of a picture. Held ones are used for nothing until a
reviewer accepts them, nor are those that contradict each other. Of the others, a bounded number of each client may be
used unreviewed; without an id, all are one client's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, select, update

from inkdigits.feedback.queries import Listed, every
from inkdigits.feedback.tables import ACCEPTED, HELD, PENDING, RELABELED, SETTLED, Correction

__all__ = ["CLIENT_CAP", "Trust", "hold_distrusted", "trainable"]

HELD_SUSPICION = 0.998  # from which a label is held: the model gave it less than 0.1%, and another more than 99.9%
FLOOD, FLOOD_TIME = 200, timedelta(days=1)  # corrections of one client in this time, after which more are held
COPIES = 3  # corrections of pictures that look the same, after which more are held
DISTRUST_LEAST = 3  # wrong ones, and at least half of those that were reviewed: then a client's others are held
CLIENT_CAP = 50  # corrections of one client that may be used without a reviewer's verdict, the oldest


class Trust:
    """What is known of the clients of a transaction.

    Args:
        clients: of the corrections that it adds; None for those without an id.
    """

    def __init__(self, connection: Connection, clients: Iterable[str | None], now: datetime) -> None:
        named = {client for client in clients if client is not None}
        self._recent: Counter[str] = Counter()
        self._distrusted: set[str] = set()
        if named:
            recent = Correction.client.in_(named), Correction.created > now - FLOOD_TIME
            counts = select(Correction.client, func.count()).where(*recent).group_by(Correction.client)
            self._recent.update({str(client): count for client, count in connection.execute(counts)})
            self._distrusted = _distrusted(connection, named)

    def holds(self, client: str | None, *, suspicion: float, copies: int) -> bool:
        """Return whether the next correction of a client is held.

        Args:
            suspicion: how much speaks against its label; see :class:`inkdigits.feedback.tables.Correction`.
            copies: corrections of pictures that look the same.
        """
        floods = False
        if client is not None:
            self._recent[client] += 1
            floods = self._recent[client] > FLOOD or client in self._distrusted
        return floods or suspicion >= HELD_SUSPICION or copies >= COPIES


def _distrusted(connection: Connection, clients: Iterable[str]) -> set[str]:
    """Return those clients of whose reviewed corrections at least half, and :data:`DISTRUST_LEAST`, were wrong."""
    query = (
        select(Correction.client, Correction.status, func.count())
        .where(Correction.client.in_(list(clients)), Correction.status.in_(SETTLED))
        .group_by(Correction.client, Correction.status)
    )
    wrong: Counter[str] = Counter()
    reviewed: Counter[str] = Counter()
    for client, status, count in connection.execute(query):
        reviewed[str(client)] += count
        wrong[str(client)] += count if status != ACCEPTED else 0
    return {c for c, count in wrong.items() if count >= DISTRUST_LEAST and 2 * count >= reviewed[c]}


def hold_distrusted(connection: Connection, clients: Iterable[str | None]) -> int:
    """Hold what waits of clients that lost their trust; return how many corrections that are."""
    found = _distrusted(connection, {client for client in clients if client is not None})
    if not found:
        return 0
    theirs = update(Correction).where(Correction.client.in_(found), Correction.status == PENDING)
    held: Any = connection.execute(theirs.values(status=HELD))
    return int(held.rowcount)


def trainable(engine: Engine, *, cap: int = CLIENT_CAP) -> Iterator[tuple[Listed, str]]:
    """Yield the corrections that may be used, each with its label: reviewed ones, and ``cap`` others of each client."""
    used: Counter[str | None] = Counter()
    for each in every(engine):
        if each.status in (ACCEPTED, RELABELED):
            assert each.truth is not None
            yield each, each.truth
        elif each.status == PENDING and not each.disputes and used[each.client] < cap:
            used[each.client] += 1
            yield each, each.label
