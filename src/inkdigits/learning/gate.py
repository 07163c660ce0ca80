"""The gate with the store: the audit sample of its corrections, and the decision in the registry and the store."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from inkdigits.data.dataset import Dataset
from inkdigits.errors import DataError, SettingError
from inkdigits.evaluation.decision import Decision, decide, validation_sets
from inkdigits.evaluation.evaluate import read_answers
from inkdigits.evaluation.gate import MIN_PICTURES, MIN_USERS, Sample
from inkdigits.feedback import history
from inkdigits.feedback.split import Corrections
from inkdigits.network import read_registry
from inkdigits.preprocess import Limits
from inkdigits.recognizer import Recognizer
from inkdigits.registry import add_try, data_sha256, earlier_tries
from inkdigits.settings import Settings

__all__ = ["audit_sample", "check_audit", "try_challenger"]

NAME = "audit"


def check_audit(audit: Corrections) -> None:
    """Check that there are enough pictures and users to decide by.

    Raises:
        DataError: there are not; the message says how many are needed and how they come.
    """
    if len(audit) < MIN_PICTURES or audit.users < MIN_USERS:
        raise DataError(
            f"the gate needs an audit of {MIN_PICTURES:,} reviewed pictures by {MIN_USERS} clients, and the store has "
            f"{len(audit):,} by {audit.users:,}; set feedback_audit (INKDIGITS_FEEDBACK_AUDIT), and review the audit "
            "at /review"
        )


def try_challenger(
    folder: Path,
    name: str,
    audit: Corrections | Dataset,
    settings: Settings,
    *,
    validation: str,
    command: str,
    engine: Engine | None = None,
    with_pictures: bool = False,
) -> Decision:
    """Have the gate compare a model of a folder with its champion, and record the decision.

    Args:
        folder: of the models.
        name: of the challenger in it.
        audit: from :func:`inkdigits.feedback.split.audit`, or pictures with their users as writers.
        settings: where data sets are, and limits.
        validation: fixed sets, as for :func:`inkdigits.evaluation.decision.validation_sets`.
        command: that asked for it.
        engine: of the store to record the decision in, besides the registry; None: in no store.
        with_pictures: whether the decision holds the pictures of corrections, which would outlast their removal.

    Raises:
        SettingError: the challenger is not in the folder, or is the champion.
        DataError: there is too little to decide by.
        ModelError: a model cannot be used.
        StoreError: the database cannot be used.
    """
    models = read_registry(folder)["models"]
    if name not in models:
        raise SettingError(f"there is no model {name!r} in {folder}; its models are: {', '.join(models)}")
    if isinstance(audit, Corrections):
        check_audit(audit)
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    champion = Recognizer(folder, threads=settings.threads, limits=limits)
    challenger = Recognizer(folder / str(models[name].get("file", "")), threads=settings.threads, limits=limits)
    if champion.model.sha256 == challenger.model.sha256:
        raise SettingError(f"{name} is the champion; name the model that is to replace it")
    if isinstance(audit, Corrections):
        sample: Sample | Dataset = audit_sample(champion, challenger, audit, with_pictures=with_pictures)
        sha256 = audit.sha256
    else:
        sample, sha256 = audit, data_sha256(audit.sha256, audit.labels.tolist())
    earlier = earlier_tries(folder, champion.model.sha256, sha256)
    sets = validation_sets(validation, settings)
    decision = decide(champion, challenger, sample, sets, earlier=earlier, command=command)
    add_try(folder, name, decision.to_dict())
    if engine is not None:
        history.add_gate_run(engine, decision.to_dict())
    return decision


def audit_sample(
    champion: Recognizer, challenger: Recognizer, audit: Corrections, *, with_pictures: bool = False
) -> Sample:
    """Have both models read the audit's pictures, from what the network saw of each."""
    old, new = (read_answers(each, audit.dataset(NAME))[0] for each in (champion, challenger))
    return Sample(
        name=NAME,
        labels=audit.labels,
        champion=old,
        challenger=new,
        sha256=audit.sha256,
        sources=audit.sources,
        images=255 - audit.images if with_pictures else None,
        users=audit.clients,
    )
