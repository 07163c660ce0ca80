"""Who hears how a training run goes: nobody, by default; ``tracking.Recorder`` records it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Callback"]


class Callback:
    """Called by a run as it goes on; what a method raises ends the run."""

    def begin(self, sha256: Mapping[str, str]) -> None:
        """Hear that the data is prepared and training begins; ``sha256`` are its hashes by file."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Hear the figures of an epoch by name: "epoch" from 1, accuracies from 0 to 1, "seconds" of the run so far."""

    def end(self, entry: Mapping[str, Any]) -> None:
        """Hear the registry's entry of the model that is written, measured and registered."""
