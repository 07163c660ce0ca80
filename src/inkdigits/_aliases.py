"""Names that documented modules had before, for one release: they work, and warn."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["find", "install", "renamed"]

# Old module → new module, and the names that changed in it: old → new.
MOVED: dict[str, tuple[str, dict[str, str]]] = {
    "inkdigits.decode": ("inkdigits.preprocess", {}),
    "inkdigits.image": (
        "inkdigits.preprocess",
        {
            "NORMALISATION_VERSION": "NORMALIZATION_VERSION",
            "Normalised": "Preprocessed",
            "normalise": "preprocess",
            "normalise_picture": "preprocess_picture",
        },
    ),
    "inkdigits.ready": ("inkdigits.preprocess", {"normalise_each": "preprocess_batch"}),
    "inkdigits.training.data": ("inkdigits.data.catalog", {}),
    "inkdigits.training.disturb": (
        "inkdigits.synthesis.corruptions",
        {"disturb": "corrupt", "KINDS": "CORRUPTIONS", "LEVELS": "SEVERITIES"},
    ),
    "inkdigits.training.evaluate": ("inkdigits.evaluation.evaluate", {}),
    "inkdigits.training.report": ("inkdigits.evaluation.report", {}),
    # These modules are still there, and some of their names are not.
    "inkdigits.recognizer": ("inkdigits.network", {}),
    "inkdigits.training.fit": ("inkdigits.training.train", {}),
    "inkdigits.training.mlp": ("inkdigits.training.train", {}),
}


class _Finder(MetaPathFinder, Loader):
    """Makes an old module of the names of the new one. Asked last, so that it costs what is there nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__getattr__"] = partial(find, module.__name__)


def find(old: str, name: str) -> Any:
    """Return what an old module's name stands for, and warn that it goes."""
    if name.startswith("__"):  # what the import system asks of any module
        raise AttributeError(f"module {old!r} has no attribute {name!r}")
    new, names = MOVED[old]
    value = getattr(import_module(new), names.get(name, name))
    renamed(f"{old}.{name}", f"{new}.{names.get(name, name)}")
    return value


def renamed(old: str, new: str) -> None:
    """Warn the caller's caller that a name is deprecated."""
    warnings.warn(f"{old} is now {new}; the old name goes with the next release", DeprecationWarning, stacklevel=3)


def install() -> None:
    """Let the old modules be imported."""
    sys.meta_path.append(_Finder())
