"""inkdigits reads handwritten digits and numbers from any picture and reports how sure it is."""

from importlib import import_module
from os import environ as _environ
from typing import TYPE_CHECKING, Any

from inkdigits import _aliases
from inkdigits.errors import (
    DataError,
    ImageError,
    ImageTooLarge,
    ImageTooSmall,
    InkdigitsError,
    InvalidPixels,
    InvalidStrokes,
    ModelError,
    NotAnImage,
    ServerBusy,
    ServerError,
    ServerUnreachable,
    SettingError,
    StoreError,
    TrainingError,
    UnreadableImage,
)

if TYPE_CHECKING:
    from inkdigits.adaptation import Hand
    from inkdigits.client import Client
    from inkdigits.prediction import Alternative, Box, Digit, ModelInfo, Number, Prediction, Reading
    from inkdigits.preprocess import Limits
    from inkdigits.recognizer import Recognizer

# Since 1.29, ONNX Runtime sends usage data to Microsoft unless this is set before its import, and leaves files in the
# home folder. This module is imported before any other of inkdigits, in each process. A value that the user set stands.
if not _environ.get("ORT_DISABLE_TELEMETRY"):
    _environ["ORT_DISABLE_TELEMETRY"] = "1"

_aliases.install()

__version__ = "0.1.0"

__all__ = [
    "Alternative",
    "Box",
    "Client",
    "DataError",
    "Digit",
    "Hand",
    "ImageError",
    "ImageTooLarge",
    "ImageTooSmall",
    "InkdigitsError",
    "InvalidPixels",
    "InvalidStrokes",
    "Limits",
    "ModelError",
    "ModelInfo",
    "NotAnImage",
    "Number",
    "Prediction",
    "Reading",
    "Recognizer",
    "ServerBusy",
    "ServerError",
    "ServerUnreachable",
    "SettingError",
    "StoreError",
    "TrainingError",
    "UnreadableImage",
    "__version__",
]

# Imported when first asked for: they bring NumPy and ONNX Runtime, which `inkdigits --help` has no use for.
_LATE = {
    "Alternative": "inkdigits.prediction",
    "Box": "inkdigits.prediction",
    "Client": "inkdigits.client",
    "Digit": "inkdigits.prediction",
    "Hand": "inkdigits.adaptation",
    "Limits": "inkdigits.preprocess",
    "ModelInfo": "inkdigits.prediction",
    "Number": "inkdigits.prediction",
    "Prediction": "inkdigits.prediction",
    "Reading": "inkdigits.prediction",
    "Recognizer": "inkdigits.recognizer",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LATE[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
