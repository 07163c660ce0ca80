"""Every option of a training run: name, default, bounds and help. ``inkdigits train`` makes its options of them.

Apart from the loop, so that reading the options needs no torch.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from inkdigits.errors import SettingError

__all__ = ["PRUNERS", "SORTS", "MlpConfig", "TrainConfig", "config_of", "read_options", "read_table", "to_toml"]

PRUNERS = ("median", "hyperband", "none")  # how a study chooses the trials that it ends early
SORTS = ("validation", "test", "started", "seconds")  # what a list of runs can be sorted by


def _option(
    default: Any, help: str, *, low: float = -math.inf, high: float = math.inf, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class _Options:
    """What the frozen dataclasses below share: checked values, and ways from and to plain ones.

    Raises:
        SettingError: a value is of the wrong type or out of its range; the message names the option.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            value: Any = getattr(self, f.name)
            kind: Any = type(f.default)
            if kind is float and type(value) is int:
                value = float(value)
                object.__setattr__(self, f.name, value)
            if type(value) is not kind:
                noun = {int: "a whole number", float: "a number", str: "text"}[kind]
                raise SettingError(f"training option {f.name} must be {noun}, not {value!r}")
            low, high, choices = f.metadata["low"], f.metadata["high"], f.metadata["choices"]
            if choices and value not in choices:
                raise SettingError(f"training option {f.name} must be one of {', '.join(choices)}, not {value!r}")
            if kind is not str and not (low <= value <= high and math.isfinite(value)):
                bounds = f"from {low} to {high}" if high < math.inf else f"{low} or more"
                raise SettingError(f"training option {f.name} must be {bounds}, not {value}")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Self:
        """The config with these options, the others at their defaults.

        Raises:
            SettingError: an option does not exist, or its value cannot be used.
        """
        known = [f.name for f in fields(cls)]
        for name in options:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {close[0]}?" if close else f"the options are: {', '.join(known)}"
                raise SettingError(f"unknown training option {name!r}; {hint}")
        return cls(**options)

    def to_dict(self) -> dict[str, Any]:
        """All options as plain values, for JSON."""
        return asdict(self)

    def command(self, out_name: str) -> str:
        """The command line that trains with these options; defaults are left out, but for the first two."""
        shown = [f for f in fields(self) if f.name in ("network", "data") or getattr(self, f.name) != f.default]
        options = [f"--{f.name.replace('_', '-')} {shlex.quote(str(getattr(self, f.name)))}" for f in shown]
        return " ".join(["inkdigits train", *options, f"--out {out_name}"])


@dataclass(frozen=True)
class TrainConfig(_Options):
    """Options of one training run; with the data and the same kind of machine they determine the model to the bit.

    Raises:
        SettingError: a value is of the wrong type or out of its range; the message names the option.
    """

    network: str = _option(
        "cnn",
        "network to train: cnn, cnn_small, cnn_medium, cnn_large, cnn_huge, lenet, lenet_padded, baseline, "
        "baseline_deep, sprint or mlp",
    )
    data: str = _option("mnist", "data to train on: mnist, digits, pen, several joined by +, or a path")
    pen_variants: int = _option(8, "pictures drawn of each pen digit, each with another pen", low=1, high=1000)
    disturbed: float = _option(
        0.0, "pictures disturbed as cameras, paper and scanners do, as a share of the undisturbed", low=0, high=10
    )
    negatives: float = _option(
        0.0, "pictures of what is no digit, to learn to refuse, as a share of the digits", low=0, high=10
    )
    epochs: int = _option(30, "passes over the training images", low=1)
    batch_size: int = _option(128, "images a step", low=1)
    learning_rate: float = _option(3e-3, "peak of the schedule, AdamW", low=0)
    warmup: float = _option(0.15, "share of the steps in which the learning rate rises to its peak", low=0, high=1)
    weight_decay: float = _option(0.02, "of the weight matrices, AdamW", low=0)
    label_smoothing: float = _option(0.05, "share of the target spread over all ten digits", low=0, high=0.9)
    augment: float = _option(1.0, "share of the training images that are disturbed, anew each epoch", low=0, high=1)
    elastic: float = _option(
        0.25, "pixels by which those disturbances bend the lines; 1 and more cost accuracy", low=0, high=10
    )
    coarse: float = _option(
        0.1, "share of the images that are made as coarse as a picture of 9 to 18 pixels", low=0, high=1
    )
    init: str = _option("", "model of the same network to start from, by name or path; empty: fresh weights")
    keep: float = _option(0.0, "share of the weights to start from that the result keeps", low=0, high=1)
    teacher: str = _option("", "models whose answers are learnt beside the labels, joined by commas; empty: none")
    distillation: float = _option(0.5, "share of the digits' loss that compares with the teachers", low=0, high=1)
    ema_decay: float = _option(
        0.998, "a step's weight in the averaged weights is 1 minus this; 0 averages nothing", low=0, high=0.99999
    )
    validation: int = _option(
        5000, "training images held back to choose the epoch by, the same for every seed; at most a fifth", low=10
    )
    patience: int = _option(0, "epochs without a better one after which the run stops; 0: never", low=0)
    seed: int = _option(0, "of the weights, the order of the images and their disturbances", low=0, high=2**32 - 1)
    precision: str = _option(
        "auto",
        "arithmetic of the training steps: float32, bfloat16, or auto: bfloat16 where the processor has it",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int = _option(0, "threads; 0: PyTorch's choice, one a core", low=0, high=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep and not self.init:
            raise SettingError(f"training option keep is {self.keep}, but there is no model to start from; give init")


@dataclass(frozen=True)
class MlpConfig(_Options):
    """Options of one training run of the multilayer perceptron; with the data they determine the model to the bit.

    Raises:
        SettingError: as for TrainConfig; or ``hidden`` is not a list of widths.
    """

    network: str = _option("mlp", "the multilayer perceptron", choices=("mlp",))
    data: str = _option("mnist", "data to train on: mnist, digits, pen, several joined by +, or a path")
    hidden: str = _option("100,40", "widths of the hidden layers, the input's first; empty: none, a linear model")
    epochs: int = _option(40, "passes over the training images", low=1)
    batch_size: int = _option(64, "images a step of gradient descent", low=1)
    learning_rate: float = _option(0.3, "of gradient descent; it falls to zero in half a cosine", low=0)
    l2: float = _option(3e-4, "strength of the penalty on the squared weights, L2", low=0)
    swap: float = _option(
        0.5, "share of the training images whose ink and paper are swapped, anew each epoch", low=0, high=1
    )
    shift: int = _option(1, "pixels that a batch is moved by at most, either way", low=0, high=4)
    validation: int = _option(
        5000, "training images held back to choose the epoch by, the same for every seed; at most a fifth", low=10
    )
    seed: int = _option(0, "of the weights, the order of the images and their changes", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"([1-9]\d{0,4}(,[1-9]\d{0,4})*)?", self.hidden):
            raise SettingError(f"training option hidden must be widths such as 100,40, not {self.hidden!r}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the hidden layers."""
        return tuple(map(int, filter(None, self.hidden.split(","))))


def config_of(options: Mapping[str, Any]) -> TrainConfig | MlpConfig:
    """The config of the network that the options name, the other options at that network's defaults.

    Raises:
        SettingError: an option does not exist for that network, or its value cannot be used.
    """
    kind, other = (MlpConfig, TrainConfig) if options.get("network") == "mlp" else (TrainConfig, MlpConfig)
    own, others = ({f.name for f in fields(each)} for each in (kind, other))
    for name in options:
        if name in others - own:
            network = options.get("network", kind.network)
            raise SettingError(f"training option {name!r} is not one of network {network}'s; leave it out")
    return kind.from_dict(options)


def read_table(path: Path) -> dict[str, Any]:
    """What is in a JSON or TOML file, by its suffix.

    Raises:
        SettingError: it cannot be read, is damaged, or holds no table of names and values.
    """
    import tomllib  # only here: every command imports this module, for its options

    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix.lower() not in readers:
        raise SettingError(f"{path}: a file of options must end in .toml or .json")
    try:
        table = readers[path.suffix.lower()](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # of either format, and of text that is no UTF-8
        raise SettingError(f"{path} is damaged: {error}") from None
    if not isinstance(table, dict):
        raise SettingError(f"{path} must hold names and values, not {table!r:.40}")
    return table


def read_options(path: Path) -> dict[str, Any]:
    """The training options in a JSON or TOML file, fit for :func:`config_of` together with others.

    Raises:
        SettingError: as for read_table; or it names something that no network has for an option.
    """
    options = read_table(path)
    known = {f.name for kind in (TrainConfig, MlpConfig) for f in fields(kind)}
    if unknown := [name for name in options if name not in known]:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the options are: {', '.join(sorted(known))}"
        raise SettingError(f"{path}: unknown training option {', '.join(map(repr, unknown))}; {hint}")
    return options


def to_toml(options: Mapping[str, Any]) -> str:
    """Options as lines of TOML, which :func:`read_options` reads."""
    # A JSON string or number is one of TOML, too, as long as a DEL is escaped.
    return "".join(f"{name} = {json.dumps(value)}\n".replace("\x7f", "\\u007f") for name, value in options.items())
