"""``inkdigits runs``: the training runs that were recorded, listed and compared."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from inkdigits.atomic import check_output
from inkdigits.cli.common import FINE, Commands, add_command, add_settings, output
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

__all__ = ["add"]

_RUNS_EXAMPLES = """\
examples:
  inkdigits runs                                         all, the best first
  inkdigits runs 20250131-101500-lenet                   everything about one
  inkdigits runs 101500 113000 --plot curves.svg         what differs between two, and their curves

A run is named by its folder or by a part of its name that no other has.
"""


def add(commands: Commands) -> None:
    """Add runs to the command line."""
    from inkdigits.training.config import SORTS

    runs = add_command(
        commands,
        "runs",
        "[options] [RUN …]",
        _runs,
        "list the training runs, or compare some",
        "List the training runs that were recorded; or show one; or show what differs between several.",
        _RUNS_EXAMPLES,
    )
    runs.add_argument("names", nargs="*", metavar="RUN", help="a run to show or to compare with the others named")
    runs.add_argument("--sort", choices=SORTS, default=SORTS[0], help=f"order of the list (default: {SORTS[0]})")
    runs.add_argument("--json", action="store_true", help="print everything as JSON")
    runs.add_argument("--plot", metavar="FILE.svg", help="draw the learning curves of the runs named")
    add_settings(runs, ("runs",))


def _runs(args: argparse.Namespace) -> int:
    folder = Path(Settings.from_env(runs=args.runs).runs).expanduser()
    if args.plot and not args.names:
        raise SettingError("--plot draws the curves of the runs that are named; name some")
    if args.plot and args.plot != "-":
        check_output(args.plot, endings=(".svg",))
    from inkdigits.training.runs import compared, curves, find, find_all, listed

    runs = [find(folder, name) for name in args.names] or find_all(folder)
    if args.json:
        print(json.dumps([run.to_dict() for run in runs], indent=2))
    elif args.names:
        print(compared(runs))
    else:
        print(listed(runs, args.sort) if runs else f"there are no runs in {folder}; inkdigits train makes them")
    if args.plot:
        with output(args.plot, endings=(".svg",)) as out:
            out.write(curves(runs))
    return FINE
