"""Describes the model in use: ``GET /model``, its version and its card."""

from __future__ import annotations

from typing import Any

import inkdigits
from inkdigits.network import shipped_network
from inkdigits.preprocess import NORMALIZATION_VERSION
from inkdigits.profile import Profile
from inkdigits.recognizer import Recognizer

__all__ = ["CARD", "CARD_SUFFIX", "FIGURES", "about", "card_of", "version_of"]

VERSION_LETTERS = 12  # of the model file's SHA-256
CARD = "model-card.html"  # path of the card on a server
CARD_SUFFIX = ".card.html"  # of the page next to a model's file
FIGURES = "model.json"  # path of the same description; linked instead of the card if a model has none


def about(recognizer: Recognizer) -> dict[str, Any]:
    """Return the answer to ``GET /model``; its ``card`` is a relative address."""
    model = recognizer.model
    return {
        "name": model.name,
        "version": version_of(recognizer),
        "sha256": model.sha256,
        "ink_sha256": shipped_network("ink")[1],
        "line_sha256": shipped_network("line")[1],
        "network": model.entry.get("network"),
        "parameters": model.entry.get("parameters"),
        "created": model.entry.get("created"),
        "metrics": dict(model.metrics),
        "card": model.entry.get("card") or (FIGURES if card_of(recognizer) is None else CARD),
        "temperature": model.temperature,
        "threshold": model.threshold,
        "normalisation": NORMALIZATION_VERSION,
        "inkdigits": inkdigits.__version__,
        **({"guarantee": _guarantee(recognizer.profile)} if recognizer.profile else {}),
    }


def _guarantee(profile: Profile) -> dict[str, Any]:
    """Return what a profile promises, without the data that it was found with."""
    names = ("threshold", "error", "confidence", "n", "accepted", "writers", "created")
    return {name: getattr(profile, name) for name in names}


def version_of(recognizer: Recognizer) -> str:
    """Return the version of a model: its file's SHA-256, shortened, so that every file has its own version."""
    return recognizer.model.sha256[:VERSION_LETTERS]


def card_of(recognizer: Recognizer) -> bytes | None:
    """Return the page next to the model's file that describes it; None if there is none, or if it is out of date.

    A card must contain the SHA-256 of the file, so a retrained model has none until its card is generated again.
    """
    path = recognizer.model.path.with_suffix(CARD_SUFFIX)
    card = path.read_bytes() if path.is_file() else b""
    return card if recognizer.model.sha256.encode() in card else None
