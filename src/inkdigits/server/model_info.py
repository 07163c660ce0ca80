"""What a server tells of the model that answers."""

from __future__ import annotations

from typing import Any

import inkdigits
from inkdigits.preprocess import NORMALIZATION_VERSION
from inkdigits.recognizer import Recognizer

__all__ = ["CARD", "CARD_SUFFIX", "FIGURES", "about", "card_of", "version_of"]

VERSION_LETTERS = 12  # of the model file's SHA-256
CARD = "model-card.html"  # under which a server shows the card
CARD_SUFFIX = ".card.html"  # of the page that lies beside a model's file
FIGURES = "model.json"  # under which a server tells this too; stands in for the card of a model that has none


def about(recognizer: Recognizer) -> dict[str, Any]:
    """What ``GET /model`` tells; the card is an address, relative to that one."""
    model = recognizer.model
    return {
        "name": model.name,
        "version": version_of(recognizer),
        "sha256": model.sha256,
        "network": model.entry.get("network"),
        "parameters": model.entry.get("parameters"),
        "created": model.entry.get("created"),
        "metrics": dict(model.metrics),
        "card": model.entry.get("card") or (FIGURES if card_of(recognizer) is None else CARD),
        "temperature": model.temperature,
        "threshold": model.threshold,
        "normalisation": NORMALIZATION_VERSION,
        "inkdigits": inkdigits.__version__,
    }


def version_of(recognizer: Recognizer) -> str:
    """The version of a model: its file's SHA-256, shortened, so that another file is another version."""
    return recognizer.model.sha256[:VERSION_LETTERS]


def card_of(recognizer: Recognizer) -> bytes | None:
    """The page beside the model's file that tells of it; None where there is none, or where it tells of another.

    A card is a model's own when it names the SHA-256 of its file: one that was trained anew has none until it is made.
    """
    path = recognizer.model.path.with_suffix(CARD_SUFFIX)
    card = path.read_bytes() if path.is_file() else b""
    return card if recognizer.model.sha256.encode() in card else None
