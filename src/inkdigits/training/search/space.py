"""The search space of a study: a file that fixes some training options and gives others a range or choices.

In TOML, or likewise in JSON::

    [fixed]
    network = "sprint"
    epochs = 10

    [search]
    learning_rate = { low = 1e-3, high = 1e-1, log = true }   # a float, like the option
    batch_size = { choices = [32, 64, 128] }
    patience = { low = 0, high = 4, step = 2 }                # an integer, like the option
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from inkdigits.errors import SettingError
from inkdigits.options import did_you_mean
from inkdigits.training.config import RENAMED, MlpConfig, TrainConfig, config_of, option_types, read_table

__all__ = ["Range", "Space"]


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included.

    Attributes:
        low, high: integers for an integer option, else floats; low < high.
        log: draw uniformly on a logarithmic scale.
        step: distance between values, starting at low; None: all values.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None


@dataclass(frozen=True)
class Space:
    """A validated search space.

    Attributes:
        fixed: training options of every trial.
        search: for each searched option a range, or the values to choose from.
    """

    fixed: dict[str, Any]
    search: dict[str, Range | tuple[Any, ...]]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a space from a TOML or JSON file.

        Raises:
            SettingError: the file cannot be read, or an entry is invalid; the message names it.
        """
        table = read_table(path)
        try:
            return cls.from_dict(table)
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """Make a space of plain values, as in a file.

        Raises:
            SettingError: an entry is invalid; the message names it.
        """
        _known(table, ("fixed", "search"), "part")
        fixed, search = table.get("fixed", {}), table.get("search", {})
        for name, part in (("fixed", fixed), ("search", search)):
            if not isinstance(part, dict):
                raise SettingError(f"{name} must be a table of options, not {part!r}")
        if not search:
            raise SettingError(
                "there is nothing to search; give search.learning_rate = { low = …, high = … } or another option"
            )
        if both := sorted(set(TrainConfig.renamed(fixed)) & set(TrainConfig.renamed(search))):
            raise SettingError(f"option {both[0]!r} is both fixed and searched; leave one of them out")
        config_of(fixed)
        types = option_types()
        types |= {old: types[new] for old, new in RENAMED.items()}  # a resumed study keeps its option names
        _known(search, types, "training option")
        space = cls(dict(fixed), {name: _dimension(name, each, types[name]) for name, each in search.items()})
        first = {name: space.ends(name)[0] for name in search}
        for name in search:
            for end in space.ends(name):
                space.config({**first, name: end})
        return space

    def ends(self, name: str) -> tuple[Any, ...]:
        """Return both ends of a searched option, or all its choices."""
        each = self.search[name]
        return (each.low, each.high) if isinstance(each, Range) else each

    def config(self, found: Mapping[str, Any]) -> TrainConfig | MlpConfig:
        """Make the config with these values of the searched options.

        Raises:
            SettingError: a value is invalid.
        """
        return config_of({**self.fixed, **found})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; equal values mean equal spaces."""
        search = {
            name: vars(each) if isinstance(each, Range) else {"choices": list(each)}
            for name, each in self.search.items()
        }
        return {"fixed": self.fixed, "search": search}


def _dimension(name: str, table: Any, kind: type) -> Range | tuple[Any, ...]:
    if not isinstance(table, dict):
        raise SettingError(f"search.{name} must be a table such as {{ low = 1, high = 9 }}, not {table!r}")
    _known(table, ("choices",) if "choices" in table else ("low", "high", "log", "step"), f"key of search.{name}:")
    if "choices" in table:
        choices = table["choices"]
        if not isinstance(choices, list) or not choices:
            raise SettingError(f"search.{name}.choices must be a list with at least one value, not {choices!r}")
        return tuple(choices)
    if kind is str:
        raise SettingError(f"option {name} is text; give search.{name} = {{ choices = […] }}")
    if missing := [end for end in ("low", "high") if end not in table]:
        raise SettingError(f"search.{name} has no {missing[0]}; give low and high, or choices")
    numbers = {key: table[key] for key in ("low", "high", "step") if key in table}
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
            raise SettingError(
                f"search.{name}.{key} must be {'an integer' if kind is int else 'a number'}, not {value!r}"
            )
    log, step = table.get("log", False), numbers.get("step")
    if not isinstance(log, bool):
        raise SettingError(f"search.{name}.log must be true or false, not {log!r}")
    found = Range(kind(numbers["low"]), kind(numbers["high"]), log, None if step is None else kind(step))
    if found.low >= found.high:
        raise SettingError(f"search.{name}.low must be less than high, not {found.low} with high {found.high}")
    if log and (found.low <= 0 or step is not None):
        raise SettingError(f"search.{name} with log = true must have a low above 0 and no step, not {table}")
    if step is not None and step <= 0:
        raise SettingError(f"search.{name}.step must be above 0, not {step}")
    return found


def _known(table: Mapping[str, Any], names: Iterable[str], what: str) -> None:
    for name in table:
        if name not in names:
            raise SettingError(f"unknown {what} {name!r}; {did_you_mean(name, names, 'names')}")
