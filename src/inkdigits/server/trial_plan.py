"""Which models are on trial, by the settings and the registry of the folder that is served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from inkdigits.errors import InkdigitsError, SettingError
from inkdigits.network import SHIPPED, read_registry
from inkdigits.preprocess import Limits
from inkdigits.recognizer import Recognizer
from inkdigits.registry import PROMOTION, last_promotion, roles, withdrawal_of
from inkdigits.self_test import self_test
from inkdigits.settings import Settings

__all__ = ["CHALLENGER", "Mode", "Plan", "check_trial", "plan_of"]

CHALLENGER = "challenger"  # names the registry's challenger, whichever it is

Mode = Literal["shadow", "canary", "watch"]


@dataclass(frozen=True, slots=True)
class Plan:
    """A trial, or why there is none.

    Attributes:
        mode: what the candidate does: it reads along, it answers a share, or it is the champion.
        name: of the candidate.
        reference: the champion; in the watch, the champion before.
        candidate: the model on trial; None if it cannot be loaded.
        shadow_share: of the images of the model that answers, those that the other one reads, too.
        canary_share: of the requests, those that the candidate answers.
        folder: of the registry that is served; None if it is another model.
        until: end of the watch, in seconds since 1970; 0 for none.
        objection: why there is no trial; "" if there is one.
    """

    mode: Mode
    name: str
    reference: Recognizer | None
    candidate: Recognizer | None
    shadow_share: float
    canary_share: float = 0.0
    folder: Path | None = None
    until: float = 0.0
    objection: str = ""

    def is_past(self) -> bool:
        """Return whether the watch is over."""
        return bool(self.until) and time.time() > self.until

    @property
    def until_text(self) -> str | None:
        """The end of the watch, as ISO 8601; None if there is none."""
        return datetime.fromtimestamp(self.until, UTC).isoformat(timespec="seconds") if self.until else None


def check_trial(settings: Settings) -> None:
    """Check what the settings say of trials.

    Raises:
        SettingError: they contradict each other.
    """
    if settings.shadow and settings.canary and settings.shadow != settings.canary:
        raise SettingError(
            f"shadow (INKDIGITS_SHADOW) is {settings.shadow!r} and canary (INKDIGITS_CANARY) {settings.canary!r}; a "
            "server tries one model at a time, so name the same one, or leave one out"
        )
    if settings.canary and settings.profile:
        raise SettingError(
            "profile (INKDIGITS_PROFILE) is what one model promises, so there can be no canary (INKDIGITS_CANARY); "
            "leave one out, or try the model as a shadow"
        )
    for name in ("shadow", "canary"):
        if getattr(settings, name) == CHALLENGER and _folder(settings) is None:
            raise SettingError(
                f"{name} (INKDIGITS_{name.upper()}) is {CHALLENGER!r}, which needs a folder of models; set model "
                "(INKDIGITS_MODEL) to one, or name the file"
            )
    if settings.watch and _folder(settings) is None:
        raise SettingError(
            "watch (INKDIGITS_WATCH) is set, which needs a folder of models, where the previous one is kept; set model "
            "(INKDIGITS_MODEL) to one"
        )


def plan_of(settings: Settings, champion: Recognizer, limits: Limits) -> Plan | None:
    """Return the trial that the settings ask for now, None for none. A model that cannot be tried does no harm.

    Args:
        champion: the model that answers.
        limits: of one image.
    """
    folder = _folder(settings)
    if settings.watch and folder and (watch := _watch(settings, folder, champion, limits)):
        return watch
    wanted = settings.canary or settings.shadow
    if not wanted:
        return None
    mode: Mode = "canary" if settings.canary else "shadow"
    # With a canary alone, the champion's own answers are not read again.
    shares = settings.shadow_share if settings.shadow else 0.0, settings.canary_share if settings.canary else 0.0
    candidate: Recognizer | None = None
    try:
        if wanted == CHALLENGER and folder:
            wanted = roles(folder).challenger
            if not wanted:
                return None  # it was promoted, or there was none yet
        known = read_registry(folder)["models"] if folder else {}
        model = folder / known[wanted]["file"] if folder and wanted in known else wanted
        candidate = Recognizer(model, threads=settings.threads, limits=limits)
        objection = self_test(candidate) or _objection_to(candidate, champion, mode, folder)
    except InkdigitsError as error:
        objection = str(error)
    except (KeyError, TypeError) as error:
        objection = f"the registry's entry of {wanted} has no file: {error}"
    name = candidate.model.name if candidate else wanted
    return Plan(mode, name, champion, candidate, *shares, folder=folder, objection=objection)


def _objection_to(candidate: Recognizer, champion: Recognizer, mode: Mode, folder: Path | None) -> str:
    """Return why a model that works cannot be tried; "" if it can."""
    if mode != "canary":
        return ""
    if candidate.model.name == champion.model.name:
        return f"it has the name of the champion, {champion.model.name}, by which answers tell who read them; rename it"
    return withdrawal_of(folder, candidate.model.sha256) if folder else ""


def _watch(settings: Settings, folder: Path, champion: Recognizer, limits: Limits) -> Plan | None:
    """Return the trial of a champion that was promoted a short time ago; None if it was not."""
    entry = last_promotion(folder)
    if entry is None or entry["kind"] != PROMOTION or entry["to"].get("sha256") != champion.model.sha256:
        return None
    before: Any = entry["from"]
    until = _time_of(entry["at"]) + settings.watch
    if not before or before["sha256"] == champion.model.sha256 or time.time() > until:
        return None
    reference: Recognizer | None = None
    objection = ""
    try:
        reference = Recognizer(folder / read_registry(folder)["models"][before["name"]]["file"], limits=limits)
        if reference.model.sha256 != before["sha256"]:
            objection = f"the previous champion {before['name']} was replaced by another file of this name"
    except InkdigitsError as error:
        objection = str(error)
    except KeyError:
        objection = f"the previous champion {before['name']} is not in the registry any more"
    return Plan(
        "watch",
        champion.model.name,
        reference,
        champion,
        settings.shadow_share,
        folder=folder,
        until=until,
        objection=objection,
    )


def _time_of(text: str) -> float:
    """Return a time of the registry in seconds since 1970; 0 for one that is none, which is long past."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _folder(settings: Settings) -> Path | None:
    """Return the folder of models that is served; None if it is one model, or what ships."""
    folder = Path(settings.model or "-")
    return folder if folder.is_dir() and folder.resolve() != SHIPPED.resolve() else None
