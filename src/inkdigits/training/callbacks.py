"""Who is told how a training run goes. Nobody, here; ``tracking.Recorder`` keeps what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["UNWATCHED", "Watch"]


class Watch:
    """Told how a run goes, by the run itself; what a method raises ends the run."""

    def begin(self, sha256: Mapping[str, str]) -> None:
        """The data is there and training begins, or goes on.

        Args:
            sha256: hash by file of the data that is learnt from.
        """

    def epoch(self, figures: Mapping[str, float]) -> None:
        """An epoch is over.

        Args:
            figures: by name; "epoch" counts from 1, accuracies are from 0 to 1, "seconds" are of the run so far.
        """

    def end(self, entry: Mapping[str, Any]) -> None:
        """The model is written, measured and registered.

        Args:
            entry: the registry's.
        """


UNWATCHED = Watch()
