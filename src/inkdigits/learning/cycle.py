"""One round of learning: from the store's corrections to a challenger, through the gate, to the champion if it may."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Engine

from inkdigits.atomic import write_atomically
from inkdigits.errors import DataError, SettingError
from inkdigits.evaluation.decision import Decision
from inkdigits.feedback import history
from inkdigits.feedback.split import Corrections, assign, audit, to_train_on, trained_rows
from inkdigits.learning.gate import check_audit, try_challenger
from inkdigits.learning.trainer import FLOAT, train_challenger
from inkdigits.network import SHIPPED, read_registry
from inkdigits.progress import Report
from inkdigits.registry import promote, roles
from inkdigits.settings import Settings

__all__ = ["AUTO", "LEAST", "Round", "learn"]

AUTO = "auto"  # who promotes without a person
LEAST = 100  # corrections that no model was trained on, from which a round is worth its time
NAME = "learned-{}"
STATE = "{}.learning.json"  # file of a round that is under way


@dataclass(frozen=True)
class Round:
    """What came of one round.

    Attributes:
        challenger: its name; "" if nothing was trained.
        corrections: that it was trained on, or that are there to train on.
        clients: who sent them.
        decision: of the gate; None if it was not asked.
        reason: why nothing was trained, or the gate was not asked; "" otherwise.
        record: files of the decision.
        promotion: entry of the registry; None if the champion stays.
    """

    challenger: str
    corrections: int
    clients: int
    decision: Decision | None = None
    reason: str = ""
    record: tuple[Path, ...] = ()
    promotion: dict[str, Any] | None = None


def learn(
    engine: Engine,
    folder: Path,
    settings: Settings,
    report: Report,
    *,
    data: str = "",
    validation: str = "mnist+pen",
    least: int = LEAST,
    name: str = "",
    auto: bool = False,
    with_pictures: bool = False,
    command: str = "inkdigits learn",
) -> Round:
    """Train a challenger on the corrections of a store, and have the gate decide.

    A round that was interrupted is resumed, with the corrections that it began with. If one of these was
    removed since, it starts again without.

    Args:
        engine: of the store.
        folder: of the models; the challenger and the record of the decision are written to it.
        settings: where data sets are.
        report: gets lines of text and progress.
        data: that is replayed, as for ``inkdigits train``; "" for what the champion was trained on.
        validation: fixed sets of the gate.
        least: corrections that the champion was not trained on, below which nothing is trained.
        name: of the challenger; "" for ``learned-1``, ``learned-2`` ….
        auto: promote a challenger that passed.
        with_pictures: whether the record shows the audit's pictures, which then outlast their removal from the store.
        command: for the record.

    Raises:
        SettingError: the folder cannot be used, another round is under way, or the champion cannot be fine-tuned.
        DataError: data to replay or to validate on are missing.
        InkdigitsError: a model, the training or the database failed.
    """
    if folder.resolve() == SHIPPED.resolve():
        raise SettingError("the models that ship stay as they are; copy their folder, and name the copy with --folder")
    champion = roles(folder).champion
    if not champion:
        raise SettingError(f"{folder} has no champion to start from; inkdigits models promote makes one")
    try:
        lock = FileLock(folder / ".learning.lock", blocking=False).acquire()
    except Timeout:
        raise SettingError(f"another inkdigits learn is at work in {folder}; wait for it to end") from None
    except OSError as error:
        raise SettingError(f"cannot write to {folder}: {error.strerror}") from None
    with lock:
        assign(engine)
        corrections = to_train_on(engine)
        before = read_registry(folder)["models"][champion]["sha256"]
        state = _State.find(folder, before)
        if state and (kept := state.of(corrections)) is not None and name in ("", state.name):
            name, corrections = state.name, kept
            report.say(f"continuing with {name}, which {len(corrections):,} corrections were chosen for")
        else:
            if state:
                state.discard()
            fresh = len(set(corrections.rows.tolist()) - trained_rows(engine, before))
            if fresh < max(1, least):
                reason = f"{fresh:,} corrections to train on that {champion} does not know; it takes {max(1, least):,}"
                return Round("", len(corrections), corrections.users, reason=reason)
            name = name or _next_name(folder)
            if {name, f"{name}{FLOAT}"} & read_registry(folder)["models"].keys():
                raise SettingError(f"there is a model {name!r} in {folder} already; give another --name")
            state = _State(folder, name, before, corrections.rows.tolist())
            state.write()
        report.say(f"{len(corrections):,} corrections by {corrections.users:,} clients to train on")
        for each in train_challenger(corrections, folder, champion, name, settings, report, data=data):
            _record_model(engine, folder, each, before, corrections)
        state.discard()
        done = Round(name, len(corrections), corrections.users)
        return _decided(engine, folder, settings, done, validation, auto, with_pictures, command)


def _decided(
    engine: Engine,
    folder: Path,
    settings: Settings,
    done: Round,
    validation: str,
    auto: bool,
    with_pictures: bool,
    command: str,
) -> Round:
    audited, name = audit(engine), done.challenger
    try:
        check_audit(audited)
    except DataError as error:
        return Round(name, done.corrections, done.clients, reason=str(error))
    asked: dict[str, Any] = {
        "validation": validation,
        "command": command,
        "engine": engine,
        "with_pictures": with_pictures,
    }
    decision = try_challenger(folder, name, audited, settings, **asked)
    page = folder / f"{name}.decision.html"
    record = (page, decision.write(page))
    entry = None
    if auto and decision.verdict.passed:
        entry = promote(folder, name, by=AUTO, reason="passed the gate", decision=decision.to_dict())
        history.add_promotion(engine, entry)
    return Round(name, done.corrections, done.clients, decision, record=record, promotion=entry)


def _record_model(engine: Engine, folder: Path, name: str, parent: str, corrections: Corrections) -> None:
    entry = read_registry(folder)["models"][name]
    path = str(folder / str(entry["file"]))
    recipe = {"command": entry["command"], "config": entry["config"]}
    rows = corrections.rows.tolist()
    history.add_model(engine, entry["sha256"], name, parent=parent, path=path, recipe=recipe, rows=rows)


def _next_name(folder: Path) -> str:
    taken = [re.fullmatch(NAME.format(r"(\d+)") + f"(?:{FLOAT})?", name) for name in read_registry(folder)["models"]]
    return NAME.format(1 + max((int(each[1]) for each in taken if each), default=0))


@dataclass(frozen=True)
class _State:
    """A round that is under way: the challenger's name, the champion that it starts from, and its corrections."""

    folder: Path
    name: str
    champion: str
    rows: Sequence[int]

    @classmethod
    def find(cls, folder: Path, champion: str) -> _State | None:
        """Return the round that was interrupted, if it started from this champion; remove any other."""
        for path in sorted(folder.glob(STATE.format("*"))):
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                state = cls(folder, str(stored["name"]), str(stored["champion"]), [int(row) for row in stored["rows"]])
            except (OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)
                continue
            if state.champion == champion:
                return state
            state.discard()
        return None

    def of(self, corrections: Corrections) -> Corrections | None:
        """Return the corrections of this round out of those that may be used now; None if one is gone."""
        at = {int(row): i for i, row in enumerate(corrections.rows)}
        return corrections.take([at[row] for row in self.rows]) if all(row in at for row in self.rows) else None

    def write(self) -> None:
        document = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "name": self.name,
            "champion": self.champion,
            "rows": list(self.rows),
        }
        write_atomically(self.folder / STATE.format(self.name), json.dumps(document).encode())

    def discard(self) -> None:
        """Remove the state, and the checkpoints of the training, which hold what it learned."""
        (self.folder / STATE.format(self.name)).unlink(missing_ok=True)
        for name in (self.name, f"{self.name}{FLOAT}"):
            (self.folder / f"{name}.ckpt").unlink(missing_ok=True)
