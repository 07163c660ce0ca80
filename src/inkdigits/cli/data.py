"""``inkdigits data``: which data sets there are, and where."""

from __future__ import annotations

import argparse

from inkdigits.cli.common import FINE, Commands, add_command
from inkdigits.settings import Settings

__all__ = ["add"]

_DATA_EXAMPLES = """\
examples:
  inkdigits data
  inkdigits data --download mnist
"""


def add(commands: Commands) -> None:
    """Add data to the command line."""
    data = add_command(
        commands,
        "data",
        "[options]",
        _data,
        "list the data sets, or download one",
        "List the data sets to train and measure on, and where they are on this machine.",
        _DATA_EXAMPLES,
    )
    data.add_argument("--download", metavar="NAME", help="make sure that this data set is here and whole")


def _data(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    from inkdigits.data.catalog import describe, fetch

    if args.download:
        print(f"{args.download} is here and whole: {fetch(args.download, settings)}")
        return FINE
    for source in describe(settings):
        print(f"{source.name:<8} {source.state:<8} {source.about}")
        print(f"{'':17} {source.where}" + (f": {source.hint}" if source.hint else ""))
    return FINE
