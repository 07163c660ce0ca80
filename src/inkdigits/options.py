"""One base for tables of options: the settings of the server and the options of a training run.

Each option is a field of a frozen dataclass and says everything about itself once: default, help, bounds, choices, unit
and environment variable. Value checks, command-line options and the tables in the docs are all read from it.
"""

from __future__ import annotations

import difflib
import math
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from inkdigits.errors import SettingError

__all__ = ["Options", "bounds", "did_you_mean", "flag", "option", "reader_of", "type_of"]

_NOUNS = {int: "an integer", float: "a number", str: "text"}
_SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}  # in each unit of a time


def option(
    default: Any,
    help: str,
    *,
    env: str = "",
    unit: str = "",
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare an option; the type of its default is its type.

    Args:
        default: an int, float or str.
        help: what it means, for the command line and the docs.
        env: the environment variable that sets it; "" for none.
        unit: of the value, such as "bytes".
        low, high: bounds of a number, both included.
        choices: the only values of a text; () for any.
    """
    metadata = {"env": env, "help": help, "unit": unit, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """Base of a frozen dataclass whose fields are declared with :func:`option`.

    Attributes:
        KIND: what messages call one of the options.
        RENAMED: the new name for each old one that is still accepted.

    Raises:
        SettingError: a value has the wrong type or is out of bounds; the message names the option.
    """

    KIND: ClassVar[str] = "option"
    RENAMED: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        for f in fields(self):
            value: Any = getattr(self, f.name)
            kind, choices = type_of(f), f.metadata["choices"]
            label = f"{f.name} ({f.metadata['env']})" if f.metadata["env"] else f"{self.KIND} {f.name}"
            if kind is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, f.name, value)
            if type(value) is not kind:
                raise SettingError(f"{label} must be {_NOUNS[kind]}, not {value!r}")
            if choices and value not in choices:
                raise SettingError(f"{label} must be one of {', '.join(choices)}, not {value!r}")
            low, high = f.metadata["low"], f.metadata["high"]
            if kind is not str and not (low <= value <= high and math.isfinite(value)):
                raise SettingError(f"{label} must be {bounds(f.metadata, 'from ')}, not {value}")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """Return the options with these values, the others at their defaults.

        Raises:
            SettingError: an option does not exist, or its value cannot be used.
        """
        options, known = cls.renamed(options), [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                raise SettingError(
                    f"unknown {cls.KIND} {name!r}; {did_you_mean(name, known, f'{cls.KIND.split()[-1]}s')}"
                )
        return cls(**options)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Read the options from the environment; ``overrides`` that are not None, such as CLI options, come first.

        An empty environment variable counts as not set.

        Raises:
            SettingError: a value cannot be used, or an override names no option.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for f in fields(cls):
            if text := environ.get(f.metadata["env"]):
                try:
                    values[f.name] = reader_of(f)(text)
                except ValueError:
                    values[f.name] = text  # which the check below names
        given = {name: value for name, value in cls.renamed(overrides).items() if value is not None}
        return cls.from_dict({**values, **given})

    @classmethod
    def renamed(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options with old names replaced by today's."""
        return {cls.RENAMED.get(name, name): value for name, value in options.items()}

    def arguments(self, always: Collection[str] = ()) -> list[str]:
        """Return the options as a command line has them, quoted for a shell; omit defaults, except those named."""
        shown = [f for f in fields(self) if f.name in always or getattr(self, f.name) != f.default]
        return [f"{flag(f.name)} {shlex.quote(str(getattr(self, f.name)))}" for f in shown]

    def to_dict(self) -> dict[str, Any]:
        """Return all options as plain values, for JSON."""
        return asdict(self)


def type_of(f: Field[Any]) -> Any:
    """Return the type of an option: int, float or str."""
    return type(f.default)


def reader_of(f: Field[Any]) -> Callable[[str], Any]:
    """Return what makes a value of an option's text: ``10%`` is a share from 0 to 1, and ``1h`` a time in seconds."""
    kind = type_of(f)
    is_share = kind is float and (f.metadata.get("low"), f.metadata.get("high")) == (0, 1)
    is_time = kind is int and f.metadata.get("unit") == "seconds"

    def read(text: str) -> Any:
        if is_share and text.endswith("%"):
            return float(text[:-1]) / 100
        if is_time and text[-1:] in _SECONDS:
            return int(text[:-1]) * _SECONDS[text[-1]]
        return kind(text)

    read.__name__ = kind.__name__  # which argparse shows
    return read


def flag(name: str) -> str:
    """Return the command line's name of an option: ``--batch-size`` for ``batch_size``."""
    return "--" + name.replace("_", "-")


def bounds(metadata: Mapping[str, Any], start: str = "") -> str:
    """Return the bounds of a number as text, such as "0 to 9" or "1 or more"; "" without any."""
    low, high = metadata["low"], metadata["high"]
    return "" if low == -math.inf else f"{start}{low} to {high}" if high < math.inf else f"{low} or more"


def did_you_mean(name: str, known: Iterable[str], what: str = "") -> str:
    """Return a hint for an unknown name: the known one nearest to it, else all of them, under ``what`` they are.

    Without ``what`` the hint is "" where no known name is near.
    """
    known = list(known)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"the {what} are: {', '.join(known)}" if what else ""
