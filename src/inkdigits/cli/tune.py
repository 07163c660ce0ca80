"""``inkdigits tune``: a search for the best options of a training."""

from __future__ import annotations

import argparse
from pathlib import Path

from inkdigits.cli.common import FINE, Commands, add_command
from inkdigits.settings import Settings

__all__ = ["add"]

_TUNE_EXAMPLES = """\
examples:
  inkdigits tune space.toml --out study
  inkdigits tune space.toml --out study --trials 200 --workers 4
  inkdigits train --config study/best.toml --out models/best.onnx

The space is a file such as

  [fixed]
  network = "sprint"
  epochs = 10
  [search]
  learning_rate = { low = 1e-3, high = 1e-1, log = true }
  batch_size = { choices = [32, 64, 128] }

Any option of inkdigits train can be fixed or searched. Trials are compared by validation accuracy;
the test set is not used. The same command resumes after Ctrl-C or a kill, and with more --trials it
continues the search.
"""


def add(commands: Commands) -> None:
    """Add tune to the command line."""
    from inkdigits.training.config import PRUNERS

    tune = add_command(
        commands,
        "tune",
        "[options] SPACE.toml --out FOLDER",
        _tune,
        "search for the best training options",
        "Search for the training options with the best validation accuracy, and write them to best.toml.",
        _TUNE_EXAMPLES,
    )
    tune.add_argument("space", metavar="SPACE.toml", help="what is fixed and what is searched, in .toml or .json")
    tune.add_argument("--out", required=True, metavar="FOLDER", help="folder to write to, and to resume from")
    tune.add_argument("--trials", type=int, default=40, metavar="N", help="number of trainings (default: 40)")
    tune.add_argument("--workers", type=int, default=1, metavar="N", help="trainings in parallel (default: 1)")
    tune.add_argument(
        "--pruner",
        choices=PRUNERS,
        default=PRUNERS[0],
        help="how unpromising trials are stopped early (default: median)",
    )
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the proposals (default: 0)")


def _tune(args: argparse.Namespace) -> int:
    from inkdigits.training.search.space import Space

    settings = Settings.from_env()
    space = Space.read(Path(args.space))
    from inkdigits.training.search.tune import tune

    tune(
        space,
        Path(args.out),
        settings,
        trials=args.trials,
        workers=args.workers,
        pruner=args.pruner,
        seed=args.seed,
    )
    return FINE
