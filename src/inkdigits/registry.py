"""Change the registry of a folder of models: its entries, and which model answers.

The *champion* is the registry's ``default``; the *challenger* is the last model that went through the gate.
``promotions`` lists each change of the champion, and only grows: a rollback is an entry, too. ``tries`` lists what the
gate decided, and ``withdrawn`` the models that a server found to be worse on live traffic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from inkdigits.atomic import write_atomically
from inkdigits.errors import ModelError, SettingError, TrainingError
from inkdigits.network import REGISTRY_NAME, SHIPPED, file_sha256, read_registry

__all__ = [
    "Roles",
    "add_try",
    "change_registry",
    "data_sha256",
    "earlier_tries",
    "last_promotion",
    "promote",
    "reinstate",
    "roles",
    "rollback",
    "withdraw",
    "withdrawal_of",
]

PROMOTION, ROLLBACK = "promotion", "rollback"
KEPT = ("created", "data", "level", "earlier")  # of the decision, in the entry of a promotion
SHOWN = 12  # letters of a hash in a message


@dataclass(frozen=True)
class Roles:
    """The roles of the models of a folder, by name.

    Attributes:
        champion: answers; "" if there is none.
        challenger: went through the gate last, and does not answer; "" if there is none.
        previous: the champions before, the last one first.
    """

    champion: str
    challenger: str
    previous: tuple[str, ...]

    def of(self, name: str) -> str:
        """Return the role of a model; "" for none."""
        if name == self.champion:
            return "champion"
        return "previous" if name in self.previous else "challenger" if name == self.challenger else ""


def roles(folder: Path) -> Roles:
    """Return the roles of the models of a folder.

    Raises:
        ModelError: the registry is damaged.
    """
    registry = _checked(folder)
    return _roles(registry)


def promote(
    folder: Path, name: str, *, by: str, reason: str = "", decision: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Make a model the champion, and return the entry of the promotion.

    Args:
        folder: of the registry; not the one that ships.
        name: of the model in it.
        by: who decided.
        reason: why, in words.
        decision: the record of the gate, as :meth:`inkdigits.evaluation.decision.Decision.to_dict` gives it; its models
            must be this one and the champion, and it must have passed. None: a person decided without the gate.

    Raises:
        SettingError: the folder cannot be used, the model is not in it or is the champion already, or the decision is
            of other models or did not pass.
        ModelError: the registry is damaged, or the model's file is not the registered one.
        TrainingError: the registry cannot be written.
    """

    def change(registry: dict[str, Any]) -> dict[str, Any]:
        champion = _roles(registry).champion
        if name == champion:
            raise SettingError(f"{name} is the champion already")
        if reason_against := _withdrawal(registry, registry["models"].get(name, {}).get("sha256")):
            raise SettingError(reason_against)
        before, after = _model(folder, registry, champion, checked=False), _model(folder, registry, name)
        if decision is not None:
            _check_decision(decision, before, after)
        return _add(registry, PROMOTION, before, after, by, reason, decision)

    return _changed(folder, change)


def rollback(folder: Path, *, by: str, reason: str = "", sha256: str = "") -> dict[str, Any]:
    """Make the champion before this one the champion again, and return the entry.

    Args:
        folder: of the registry.
        by: who decided.
        reason: why, in words.
        sha256: of the champion that is taken back, if it is to be withdrawn, too; "" for any champion.

    Raises:
        SettingError: there is none, its file was replaced since, another model is the champion by now, or the folder
            cannot be used.
        ModelError: the registry is damaged, or the model's file is not the registered one.
        TrainingError: the registry cannot be written.
    """

    def change(registry: dict[str, Any]) -> dict[str, Any]:
        history = _history(registry)
        if len(history) < 2:
            raise SettingError(f"{folder / REGISTRY_NAME} has no promotion that could be taken back")
        earlier = history[-2]
        after = _model(folder, registry, earlier["name"])
        if after["sha256"] != earlier["sha256"]:
            raise SettingError(
                f"{earlier['name']} is another file than the champion of that name: {after['sha256'][:SHOWN]}, not "
                f"{earlier['sha256'][:SHOWN]}; put that file back, or promote another model"
            )
        before = _model(folder, registry, _roles(registry).champion, checked=False)  # it may be what is broken
        if sha256:
            if before.get("sha256") != sha256:
                raise SettingError(f"{before.get('name', 'none')} is the champion by now, so nothing was taken back")
            _withdraw(registry, before, by, reason)
        return _add(registry, ROLLBACK, before, after, by, reason, None)

    return _changed(folder, change)


def withdraw(folder: Path, name: str, sha256: str, *, by: str, reason: str) -> bool:
    """Record that a model is worse on live traffic; it answers no more until :func:`reinstate`.

    Returns:
        False if it was withdrawn before.

    Raises:
        SettingError, ModelError, TrainingError: as for :func:`promote`.
    """
    added = []

    def change(registry: dict[str, Any]) -> dict[str, Any]:
        added.append(not _withdrawal(registry, sha256))
        if added[0]:
            _withdraw(registry, {"name": name, "sha256": sha256}, by, reason)
        return {}

    _changed(folder, change)
    return added[0]


def reinstate(folder: Path, name: str) -> None:
    """Let a model that was withdrawn answer again.

    Raises:
        SettingError: it was not withdrawn, or the folder cannot be used.
        ModelError, TrainingError: as for :func:`promote`.
    """

    def change(registry: dict[str, Any]) -> dict[str, Any]:
        sha256 = registry["models"].get(name, {}).get("sha256")
        entries = registry.get("withdrawn", [])
        kept = [entry for entry in entries if entry["name"] != name and entry["sha256"] != sha256]
        if len(kept) == len(entries):
            names = ", ".join(entry["name"] for entry in entries) or "none"
            raise SettingError(f"{name} was not withdrawn; those that were: {names}")
        registry["withdrawn"] = kept
        return {}

    _changed(folder, change)


def withdrawal_of(folder: Path, sha256: str) -> str:
    """Return in words why a model was withdrawn, and what to do; "" if it was not.

    Raises:
        ModelError: the registry is damaged.
    """
    return _withdrawal(_checked(folder), sha256)


def last_promotion(folder: Path) -> dict[str, Any] | None:
    """Return the last change of the champion, a promotion or a rollback; None if there is none.

    Raises:
        ModelError: the registry is damaged.
    """
    return next(reversed(_checked(folder).get("promotions", [])), None)


def add_try(folder: Path, name: str, decision: Mapping[str, Any]) -> None:
    """Record that a model went through the gate, and make it the challenger."""

    def change(registry: dict[str, Any]) -> None:
        registry["challenger"] = name
        registry.setdefault("tries", []).append(
            {
                "at": decision["created"],
                "champion": decision["champion"]["sha256"],
                "challenger": decision["challenger"]["sha256"],
                "audit": decision["data"][decision["audit"]["name"]],
                "passed": decision["passed"],
            }
        )

    change_registry(folder, change)


def earlier_tries(folder: Path, champion: str, audit: str) -> int:
    """Return how many tries count against the next one: those against this champion, and those on this audit.

    Args:
        folder: of the registry.
        champion: SHA-256 of its file.
        audit: SHA-256 of the audit.
    """
    return sum(each["champion"] == champion or each["audit"] == audit for each in _checked(folder).get("tries", []))


def data_sha256(files: Mapping[str, str], labels: Sequence[int]) -> str:
    """Return one hash of data, from those of its files and from its labels."""
    return hashlib.sha256(repr((sorted(files.items()), list(labels))).encode()).hexdigest()


def change_registry(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the registry of a folder under a lock, so that concurrent trainings and promotions lose nothing.

    Raises:
        ModelError: the registry is damaged.
        TrainingError: the registry cannot be locked or written.
    """
    path = folder / REGISTRY_NAME
    try:
        lock = FileLock(path.with_name(f".{path.name}.lock")).acquire()
    except OSError as error:
        raise TrainingError(f"cannot lock {path}: {error.strerror}; name another folder, or make it writable") from None
    with lock:
        registry = read_registry(folder)
        change(registry)
        write_atomically(path, (json.dumps(registry, indent=2, ensure_ascii=False) + "\n").encode())


def _changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    if folder.resolve() == SHIPPED.resolve():
        raise SettingError("the models that ship stay as they are; copy them to a folder of your own")
    _checked(folder)
    entries: list[dict[str, Any]] = []
    change_registry(folder, lambda registry: entries.append(change(registry)))
    return entries[0]


def _checked(folder: Path) -> dict[str, Any]:
    """Return the registry of a folder, whose roles are of the right form."""
    if not (folder / REGISTRY_NAME).is_file():
        raise SettingError(f"there is no {REGISTRY_NAME} in folder {str(folder)!r}; inkdigits train --out writes one")
    registry = read_registry(folder)
    for key, needed in (
        ("promotions", ("at", "kind", "from", "to", "by")),
        ("tries", ("champion", "audit")),
        ("withdrawn", ("name", "sha256", "at", "by", "reason")),
    ):
        entries = registry.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(e, dict) and {*needed} <= e.keys() for e in entries):
            raise ModelError(f"{folder / REGISTRY_NAME}: {key} is not a list of entries with {', '.join(needed)}")
    return registry


def _roles(registry: Mapping[str, Any]) -> Roles:
    champion, challenger = registry.get("default") or "", registry.get("challenger") or ""
    previous = [model["name"] for model in _history(registry)[:-1]][::-1]
    return Roles(champion, "" if challenger == champion else challenger, tuple(previous))


def _history(registry: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the champions that a rollback can go back to, and the one in use, as name and hash."""
    history: list[dict[str, str]] = []
    for entry in registry.get("promotions", []):
        if entry["kind"] == ROLLBACK:
            history = history[:-1]
        else:
            if entry["from"] and (not history or history[-1] != entry["from"]):  # the default was set by hand
                history.append(entry["from"])
            history.append(entry["to"])
    return history


def _model(folder: Path, registry: Mapping[str, Any], name: str, *, checked: bool = True) -> dict[str, str]:
    """Return name and hash of a registered model, {} for none.

    Raises:
        SettingError: it is not registered.
        ModelError: its file is not the registered one.
    """
    if not name:
        return {}
    if name not in registry["models"]:
        known = ", ".join(registry["models"]) or "none"
        raise SettingError(f"there is no model {name!r} in {folder / REGISTRY_NAME}; its models are: {known}")
    entry = registry["models"][name]
    registered = str(entry.get("sha256", ""))
    if checked and (found := file_sha256(folder / str(entry.get("file", "")))) != registered:
        hashes = f"{found[:SHOWN]}, not {registered[:SHOWN]}"
        raise ModelError(f"{name} is not the registered file: {hashes}; train and register it again")
    return {"name": name, "sha256": registered}


def _withdraw(registry: dict[str, Any], model: Mapping[str, str], by: str, reason: str) -> None:
    registry.setdefault("withdrawn", []).append({**model, "at": _now(), "by": by, "reason": reason})


def _withdrawal(registry: Mapping[str, Any], sha256: str | None) -> str:
    entry = next((entry for entry in registry.get("withdrawn", []) if entry["sha256"] == sha256), None)
    if entry is None:
        return ""
    return (
        f"{entry['name']} was withdrawn on {entry['at']}: {entry['reason']}; to try it again, run inkdigits models "
        f"reinstate {entry['name']}"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_decision(decision: Mapping[str, Any], champion: Mapping[str, str], challenger: Mapping[str, str]) -> None:
    try:
        passed = decision["passed"]
        pairs = [(side, decision[side]["sha256"]) for side in ("champion", "challenger")]
    except (KeyError, TypeError):
        raise SettingError("the decision is not a record of inkdigits models gate") from None
    for (side, sha256), model in zip(pairs, (champion, challenger), strict=True):
        if sha256 != model.get("sha256"):
            raise SettingError(
                f"the decision is of another {side}: {str(sha256)[:SHOWN]}, not {model.get('sha256', 'none')[:SHOWN]}; "
                "run inkdigits models gate with these models"
            )
    if passed is not True:
        raise SettingError(f"{challenger['name']} did not pass the gate, so it is not promoted")


def _add(
    registry: dict[str, Any],
    kind: str,
    before: Mapping[str, str],
    after: Mapping[str, str],
    by: str,
    reason: str,
    decision: Mapping[str, Any] | None,
) -> dict[str, Any]:
    entry = {
        "at": _now(),
        "kind": kind,
        "from": dict(before) or None,
        "to": dict(after),
        "by": by,
        "reason": reason,
        "decision": None if decision is None else {key: decision.get(key) for key in KEPT},
    }
    registry["default"] = after["name"]
    registry.setdefault("promotions", []).append(entry)
    return entry
