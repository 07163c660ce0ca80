"""Every option of a training run: name, default, bounds and help. ``inkdigits train`` takes its options from here.

Separate from training, so that reading the options needs no PyTorch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from inkdigits.errors import SettingError
from inkdigits.options import Options, did_you_mean, option

__all__ = [
    "PRUNERS",
    "SORTS",
    "InkConfig",
    "LineConfig",
    "MlpConfig",
    "StepsConfig",
    "TrainConfig",
    "config_of",
    "read_options",
    "read_table",
    "to_toml",
]

PRUNERS = ("median", "hyperband", "none")  # rules by which a study ends trials early
SORTS = ("validation", "test", "started", "seconds")  # keys to sort a list of runs by
# Option names until release 0.1, which older commands, files and registries use.
RENAMED = {"disturbed": "corrupted", "negatives": "non_digits", "coarse": "low_res", "keep": "init_weight"}

_data = partial(option, "mnist", "data to train on: mnist, digits, pen, several joined by +, or a path")
_validation = partial(
    option,
    5000,
    "training images held out to choose the best epoch, the same for every seed; at most a fifth",
    low=10,
)


@dataclass(frozen=True)
class _TrainingOptions(Options):
    """Base of the options of all networks."""

    KIND: ClassVar[str] = "training option"
    RENAMED: ClassVar[Mapping[str, str]] = RENAMED

    def command(self, out_name: str) -> str:
        """Return the command that trains with these options; omit defaults, except network and data."""
        return " ".join(["inkdigits train", *self.arguments(("network", "data")), f"--out {out_name}"])

    def of_data(self) -> TrainConfig:
        """Return the options that determine the training images, all others at their defaults: a cache key."""
        names = (
            "data",
            "validation",
            "pen_variants",
            "corrupted",
            "non_digits",
            "several",
            "characters",
            "residue",
            "pages",
        )
        return TrainConfig(**{name: getattr(self, name) for name in names if hasattr(self, name)})


@dataclass(frozen=True)
class TrainConfig(_TrainingOptions):
    """Options of one training run. With the data and the kind of machine they determine the model to the bit.

    Raises:
        SettingError: a value has the wrong type or is out of bounds; the message names the option.
    """

    network: str = option(
        "cnn",
        "network to train: cnn, cnn_small, cnn_medium, cnn_large, cnn_huge, lenet, lenet_padded, baseline, "
        "baseline_deep, sprint or mlp",
    )
    data: str = _data()
    pen_variants: int = option(8, "pictures drawn from each pen digit, each with a different pen", low=1, high=1000)
    corrupted: float = option(
        0.0, "corrupted pictures (camera, paper, scanner), as a share of the clean ones", low=0, high=10
    )
    non_digits: float = option(
        0.0,
        "pictures of non-digits, to detect out-of-distribution input, as a share of the digits",
        low=0,
        high=10,
    )
    several: float = option(
        0.0, "numbers of two and three digits, as non-digits, as a share of the digits", low=0, high=10
    )
    characters: float = option(0.0, "Omniglot's characters, as non-digits, as a share of the digits", low=0, high=10)
    residue: float = option(
        0.0, "digits with traces of rules, frames, specks or neighbors, as a share of the digits", low=0, high=10
    )
    pages: float = option(
        0.0,
        "digits and numbers on composed pages, with rules, shadows and things, as a share of the digits",
        low=0,
        high=10,
    )
    epochs: int = option(30, "passes over the training images", low=1)
    batch_size: int = option(128, "images per step", low=1)
    learning_rate: float = option(3e-3, "peak learning rate of the schedule, AdamW", low=0)
    warmup: float = option(0.15, "share of the steps in which the learning rate rises to its peak", low=0, high=1)
    weight_decay: float = option(0.02, "weight decay of the weight matrices, AdamW", low=0)
    label_smoothing: float = option(0.05, "share of the target spread over all ten digits", low=0, high=0.9)
    augment: float = option(
        1.0, "share of the training images that are augmented, differently each epoch", low=0, high=1
    )
    elastic: float = option(
        0.25, "elastic distortion of the augmentation, in pixels; 1 and more cost accuracy", low=0, high=10
    )
    low_res: float = option(
        0.1, "share of the images augmented as low-resolution pictures of 9 to 18 pixels", low=0, high=1
    )
    init: str = option("", "model of the same network to fine-tune, by name or path; empty: train from scratch")
    init_weight: float = option(
        0.0, "weight of the initial model in the average with the fine-tuned one", low=0, high=1
    )
    teacher: str = option("", "models to distill from, comma-separated; empty: none")
    distillation: float = option(0.5, "share of the digit loss that compares with the teachers", low=0, high=1)
    ema_decay: float = option(
        0.998, "decay of the exponential moving average of the weights; 0: no average", low=0, high=0.99999
    )
    validation: int = _validation()
    patience: int = option(0, "epochs without improvement before the run stops; 0: never", low=0)
    seed: int = option(0, "seed of the weights, the order of the images and their augmentation", low=0, high=2**32 - 1)
    precision: str = option(
        "auto",
        "arithmetic of the training steps: float32, bfloat16, or auto: bfloat16 if the processor has it",
        choices=("auto", "float32", "bfloat16"),
    )
    threads: int = option(0, "threads; 0: PyTorch's default, one per core", low=0, high=1024)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init_weight and not self.init:
            raise SettingError(f"training option init_weight is {self.init_weight}, but init is empty; give init")


@dataclass(frozen=True)
class MlpConfig(_TrainingOptions):
    """Options of one training run of the multilayer perceptron. With the data they determine the model to the bit.

    Raises:
        SettingError: as for TrainConfig; or ``hidden`` is not a list of widths.
    """

    network: str = option("mlp", "the multilayer perceptron", choices=("mlp",))
    data: str = _data()
    hidden: str = option("100,40", "widths of the hidden layers, first to last; empty: none, a linear model")
    epochs: int = option(40, "passes over the training images", low=1)
    batch_size: int = option(64, "images per step of gradient descent", low=1)
    learning_rate: float = option(0.3, "learning rate of gradient descent; it falls to zero in half a cosine", low=0)
    l2: float = option(3e-4, "strength of the L2 penalty on the weights", low=0)
    swap: float = option(
        0.5, "share of the training images whose ink and paper are swapped, differently each epoch", low=0, high=1
    )
    shift: int = option(1, "largest shift of a batch in each direction, in pixels", low=0, high=4)
    validation: int = _validation()
    seed: int = option(0, "seed of the weights, the order of the images and their changes", low=0, high=2**32 - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"([1-9]\d{0,4}(,[1-9]\d{0,4})*)?", self.hidden):
            raise SettingError(f"training option hidden must be widths such as 100,40, not {self.hidden!r}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(map(int, filter(None, self.hidden.split(","))))


@dataclass(frozen=True)
class StepsConfig(Options):
    """Options of one training run on batches that are composed as it goes.

    Raises:
        SettingError: as for TrainConfig.
    """

    KIND: ClassVar[str] = "training option"

    steps: int = option(12_000, "batches to train on", low=1)
    learning_rate: float = option(3e-3, "peak learning rate of the schedule, AdamW", low=0)
    warmup: float = option(0.01, "share of the steps in which the learning rate rises to its peak", low=0, high=1)
    weight_decay: float = option(0.01, "weight decay, AdamW", low=0)
    ema_decay: float = option(
        0.998, "decay of the exponential moving average of the weights; 0: no average", low=0, high=0.99999
    )
    seed: int = option(0, "seed of the weights and the batches", low=0, high=2**32 - 1)
    precision: str = option("float32", "arithmetic of the training steps", choices=("float32", "bfloat16"))
    threads: int = option(0, "threads; 0: PyTorch's default, one per core", low=0, high=1024)
    workers: int = option(1, "processes that compose batches; 0: the one that trains", low=0, high=1024)


@dataclass(frozen=True)
class InkConfig(StepsConfig):
    """Options of one training run of the network that finds ink."""


@dataclass(frozen=True)
class LineConfig(StepsConfig):
    """Options of one training run of the network that reads lines of digits."""

    steps: int = option(30_000, "batches to train on", low=1)


def option_types() -> dict[str, type]:
    """Return the type of each option of any network, by name."""
    return {f.name: type(f.default) for kind in (TrainConfig, MlpConfig) for f in fields(kind)}


def config_of(options: Mapping[str, Any]) -> TrainConfig | MlpConfig:
    """Return the config of the network named by the options, the other options at that network's defaults.

    Raises:
        SettingError: an option does not exist for that network, or its value is invalid.
    """
    kind = MlpConfig if options.get("network") == "mlp" else TrainConfig
    own = {f.name for f in fields(kind)}
    for name in kind.renamed(options):
        if name in option_types() and name not in own:
            network = options.get("network", kind.network)
            raise SettingError(f"network {network} has no training option {name!r}; leave it out")
    return kind.from_dict(options)


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON or TOML file, depending on its suffix.

    Raises:
        SettingError: the file cannot be read, is damaged, or does not hold a table of names and values.
    """
    import tomllib  # only here: every command imports this module, for its options

    readers = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix.lower() not in readers:
        raise SettingError(f"{path}: an options file must end in .toml or .json")
    try:
        table = readers[path.suffix.lower()](path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a syntax error in either format, or text that is not UTF-8
        raise SettingError(f"{path} is damaged: {error}") from None
    if not isinstance(table, dict):
        raise SettingError(f"{path} must hold names and values, not {table!r:.40}")
    return table


def read_options(path: Path) -> dict[str, Any]:
    """Read training options from a JSON or TOML file, to be merged with others for :func:`config_of`.

    Raises:
        SettingError: as for read_table; or a name is not an option of any network.
    """
    options, known = TrainConfig.renamed(read_table(path)), option_types()
    if unknown := [name for name in options if name not in known]:
        hint = did_you_mean(unknown[0], sorted(known), "options")
        raise SettingError(f"{path}: unknown training option {', '.join(map(repr, unknown))}; {hint}")
    return options


def to_toml(options: Mapping[str, Any]) -> str:
    """Return options as lines of TOML, which :func:`read_options` reads."""
    # JSON strings and numbers are also valid TOML once a DEL is escaped.
    return "".join(f"{name} = {json.dumps(value)}\n".replace("\x7f", "\\u007f") for name, value in options.items())
