"""What a server tells of the model that answers."""

from __future__ import annotations

from typing import Any

import inkdigits
from inkdigits.image import NORMALISATION_VERSION
from inkdigits.recognizer import Recognizer

__all__ = ["CARD", "about", "version_of"]

VERSION_LETTERS = 12  # of the model file's SHA-256
CARD = "model.json"  # under which a server tells this too; the card of a model whose registry names none


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
        "card": model.entry.get("card", CARD),
        "temperature": model.temperature,
        "threshold": model.threshold,
        "normalisation": NORMALISATION_VERSION,
        "inkdigits": inkdigits.__version__,
    }


def version_of(recognizer: Recognizer) -> str:
    """The version of a model: its file's SHA-256, shortened, so that another file is another version."""
    return recognizer.model.sha256[:VERSION_LETTERS]
