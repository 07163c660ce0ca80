"""A profile: the confidence from which a model's answers may be relied on, as ``inkdigits guarantee`` found it.

It belongs to one model and one way to find ink. With another file of weights, another ink network or another version of
the preprocessing, the same confidence means something else, so such a profile is rejected.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from inkdigits.errors import ModelError, SettingError

__all__ = ["Profile"]

FORMAT = 1  # of the file
SHOWN = 12  # letters of a hash in a message
_SHARES = ("threshold", "error", "confidence")
_COUNTS = ("n", "accepted", "wrong")


@dataclass(frozen=True)
class Profile:
    """The threshold of a model, and what it was found with.

    Attributes:
        model: name of the model.
        sha256: of the model's file.
        ink_sha256: of the network that finds ink.
        normalization: version of the preprocessing.
        threshold: confidence from which an accepted answer is sure, 0 to 1.
        error: largest share of wrong answers among those that are sure, 0 to 1.
        confidence: probability, over the pictures that were drawn, that the promise holds, 0 to 1.
        n: pictures that the threshold was found with.
        accepted: of them, those that are sure.
        wrong: of those that are sure, the wrong ones.
        writers: who wrote the pictures; None where the data do not say.
        data: name of the data.
        data_sha256: hash by file of the data.
        created: time in UTC, ISO 8601.
        inkdigits: version that found it.
    """

    model: str
    sha256: str
    ink_sha256: str
    normalization: str
    threshold: float
    error: float
    confidence: float
    n: int
    accepted: int
    wrong: int
    writers: int | None
    data: str
    data_sha256: Mapping[str, str]
    created: str
    inkdigits: str

    def check(self, sha256: str, ink_sha256: str, normalization: str) -> None:
        """Check that the profile is of this model.

        Args:
            sha256: of the model's file.
            ink_sha256: of the network that finds ink.
            normalization: version of the preprocessing.

        Raises:
            ModelError: it is of another one.
        """
        parts = (
            ("model", self.sha256, sha256),
            ("ink network", self.ink_sha256, ink_sha256),
            ("preprocessing", self.normalization, normalization),
        )
        for what, of_profile, used in parts:
            if of_profile != used:
                raise ModelError(
                    f"the profile for {self.model} is of another {what}: {of_profile[:SHOWN]}, and here it is "
                    f"{used[:SHOWN]}; run inkdigits guarantee again with this model"
                )

    def json(self) -> str:
        """Return the content of the profile's file."""
        return json.dumps({"profile": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a profile's file.

        Raises:
            SettingError: it is missing, or not a profile.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingError(f"cannot read the profile {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise SettingError(f"{path} is not a profile of inkdigits guarantee: {error}") from None
        try:
            return cls._from_dict(document)
        except (KeyError, TypeError, ValueError) as error:
            raise SettingError(f"{path} is not a profile of inkdigits guarantee: {_reason(error)}") from None

    @classmethod
    def _from_dict(cls, document: Any) -> Self:
        if not isinstance(document, dict):
            raise TypeError("it is not a JSON object")
        if document.get("profile") != FORMAT:
            raise ValueError(f"its format is {document.get('profile')!r:.40}, not {FORMAT}")
        values = {f.name: document[f.name] for f in fields(cls)}
        for name, value in values.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if name in _SHARES:
                if not (is_number and math.isfinite(value) and 0 <= value <= 1):
                    raise ValueError(f"{name} is {value!r:.40}, not a number from 0 to 1")
            elif name in _COUNTS or name == "writers":
                if not (type(value) is int and value >= 0) and not (name == "writers" and value is None):
                    raise ValueError(f"{name} is {value!r:.40}, not a count")
            elif not isinstance(value, dict if name == "data_sha256" else str):
                raise TypeError(f"{name} is {value!r:.40}")
        return cls(**values)


def _reason(error: Exception) -> str:
    return f"it has no {error}" if isinstance(error, KeyError) else str(error)
