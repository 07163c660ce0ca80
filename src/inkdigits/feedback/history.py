"""The history of models in the store: training, decisions of the gate, which one answered when, guarantees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from inkdigits.feedback.database import writing
from inkdigits.feedback.tables import Certificate, Correction, GateRun, Model, Promotion, TrainingItem
from inkdigits.profile import Profile

__all__ = ["CHAMPION", "add_certificate", "add_gate_run", "add_model", "add_promotion"]

CHAMPION = "champion"  # the slot of the model that answers
PROMOTE, KEEP = "promote", "keep"
CHUNK = 500  # rows of a query


def add_model(
    engine: Engine, sha256: str, name: str, *, parent: str | None, path: str, recipe: Mapping[str, Any], rows: Any
) -> None:
    """Record a model and the corrections that it was trained on; nothing if it is recorded already.

    Args:
        sha256: of its file.
        name: in its folder.
        parent: SHA-256 of the model that it started from.
        path: of its file.
        recipe: command and options.
        rows: numbers of the corrections; those that were removed meanwhile are left out.

    Raises:
        StoreError: the database cannot be used.
    """
    with writing(engine) as connection:
        if connection.execute(select(Model.sha256).where(Model.sha256 == sha256)).first():
            return
        model = {"sha256": sha256, "parent": parent, "name": name, "path": path, "recipe": dict(recipe)}
        connection.execute(insert(Model), [{**model, "created": datetime.now(UTC)}])
        items = [{"model_sha256": sha256, "correction_id": row} for row in _there(connection, rows)]
        if items:
            connection.execute(insert(TrainingItem), items)


def _there(connection: Connection, rows: Iterable[int]) -> list[int]:
    wanted, found = [int(row) for row in rows], list[int]()
    for start in range(0, len(wanted), CHUNK):
        some = select(Correction.id).where(Correction.id.in_(wanted[start : start + CHUNK]))
        found += connection.execute(some).scalars()
    return found


def add_gate_run(engine: Engine, decision: Mapping[str, Any]) -> int:
    """Record a decision of the gate; return its number.

    Args:
        decision: as :meth:`inkdigits.evaluation.decision.Decision.to_dict` gives it.

    Raises:
        StoreError: the database cannot be used.
    """
    audit = decision["audit"]
    p_pictures, p_users = (check["value"] for check in decision["checks"][:2])
    row = {
        "challenger": decision["challenger"]["sha256"],
        "champion": decision["champion"]["sha256"],
        "set_sha256": decision["data"][audit["name"]],
        "try_number": decision["earlier"] + 1,
        "users": decision["users"],
        "pictures": audit["n"],
        "fixed": audit["fixed"],
        "broken": audit["broken"],
        "p_pictures": p_pictures,
        "p_users": p_users,
        "level": decision["level"],
        "decision": PROMOTE if decision["passed"] else KEEP,
        "record": dict(decision),
        "created": datetime.now(UTC),
    }
    with writing(engine) as connection:
        return int(connection.execute(insert(GateRun).returning(GateRun.id), [row]).scalar_one())


def add_promotion(engine: Engine, entry: Mapping[str, Any]) -> None:
    """Record that a model became the champion, by a promotion or a rollback.

    Args:
        entry: as :func:`inkdigits.registry.promote` and :func:`inkdigits.registry.rollback` return it.

    Raises:
        StoreError: the database cannot be used.
    """
    model, replaced = entry["to"]["sha256"], (entry["from"] or {}).get("sha256")
    with writing(engine) as connection:
        passed = select(func.max(GateRun.id)).where(
            GateRun.challenger == model, GateRun.champion == replaced, GateRun.decision == PROMOTE
        )
        gate_run = connection.execute(passed).scalar_one() if entry["decision"] else None
        row = {"slot": CHAMPION, "model_sha256": model, "replaced": replaced, "gate_run_id": gate_run}
        told = {"by": entry["by"], "reason": f"{entry['kind']}: {entry['reason']}".removesuffix(": ")}
        now = datetime.now(UTC)
        connection.execute(insert(Promotion), [{**row, **told, "created": now}])
        others = update(Certificate).where(Certificate.model_sha256 != model, Certificate.withdrawn.is_(None))
        connection.execute(others.values(withdrawn=now, withdrawn_why=f"{entry['to']['name']} is the champion"))


def add_certificate(engine: Engine, profile: Profile) -> None:
    """Record what was promised of a model on the audit sample. It ends when another model becomes the champion.

    Raises:
        StoreError: the database cannot be used.
    """
    row = {
        "model_sha256": profile.sha256,
        "profile": None,
        "error": profile.error,
        "confidence": profile.confidence,
        "grid": {"normalization": profile.normalization, "ink_sha256": profile.ink_sha256},
        "source": profile.data,
        "users": profile.writers or 0,
        "pictures": profile.n,
        "accepted": profile.accepted,
        "wrong": profile.wrong,
        "threshold": profile.threshold,
        "created": datetime.now(UTC),
    }
    with writing(engine) as connection:
        connection.execute(insert(Certificate), [row])
