"""Callbacks of a training run. The base class does nothing; ``tracking.Recorder`` records the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Callback"]


class Callback:
    """Receives the events of a run. An exception in a method ends the run."""

    def begin(self, sha256: Mapping[str, str]) -> None:
        """Handle the start of training, once the data is prepared; ``sha256`` are its hashes by file."""

    def epoch(self, figures: Mapping[str, float]) -> None:
        """Handle the figures of an epoch by name: "epoch" from 1, accuracies from 0 to 1, "seconds" since the start."""

    def end(self, entry: Mapping[str, Any]) -> None:
        """Handle the registry entry of the exported, measured and registered model."""
