"""``inkdigits read``: the numbers in each image."""

from __future__ import annotations

import argparse

from inkdigits.cli.bulk import KEPT, add_bulk, run_bulk
from inkdigits.cli.common import Commands, Layouts, add_command
from inkdigits.errors import SettingError

__all__ = ["add"]

_COUNTED = {
    "number": ("{:,} read",) * 2,
    "unsure": ("{:,} unsure",) * 2,
    "not a number": ("{:,} not a number", "{:,} not numbers"),
    "blank": ("{:,} blank",) * 2,
    "error": ("{:,} error", "{:,} errors"),
}
_EXAMPLES = f"""\
examples:
  inkdigits read amount.png page.jpg
  inkdigits read codes/ --length 8 --csv -o codes.csv   every number has eight digits
  inkdigits read dates/ --pattern dd.dd.dddd --min-confidence 0.9
  inkdigits read prices.jpg --decimal ,          1.420 is one thousand four hundred and twenty
  inkdigits read cheque.png --alternatives 3     the next best texts, with their confidence
  inkdigits read form.png --per-number --csv     a row for each number, with its box
  inkdigits read --json *.png | jq -r 'select(.accepted).text'   one JSON object per line
  inkdigits read scans.zip -o numbers.parquet --resume   continue after Ctrl-C or a kill

Images are rejected with the reason: "blank", "not a number" or "unsure", with the nearest text; a
digit in brackets is uncertain, and ? is ink that is not a digit. For several images, the last line
is a summary on standard error.

{KEPT}"""


def add(commands: Commands) -> None:
    """Add read to the command line."""
    read = add_command(
        commands,
        "read",
        "[options] IMAGE …",
        _read,
        "read the numbers in each image",
        "Read the numbers in each image: one or many, apart or touching, in lines or in a table.",
        _EXAMPLES,
    )
    add_bulk(read, accepted="numbers")
    read.add_argument(
        "--layout",
        choices=Layouts(),
        default="auto",
        metavar="NAME",
        help="where the numbers are: %(choices)s; line: the image is one number (default: auto)",
    )
    read.add_argument("--length", type=int, metavar="N", help="digits of each number, such as 8 for a code")
    read.add_argument(
        "--pattern",
        metavar="TEXT",
        help="of each number: d for a digit, and . , and - for themselves, such as dd.dd.dddd",
    )
    read.add_argument(
        "--decimal",
        choices=(".", ","),
        metavar="SIGN",
        help="the decimal sign, . or , where the value of 1.420 would be ambiguous",
    )
    read.add_argument(
        "--alternatives",
        type=int,
        default=0,
        metavar="N",
        help="other texts to give for each number, the most likely first (default: 0)",
    )
    read.add_argument(
        "--per-number", action="store_true", help="one line, JSON object or row for each number, with its box"
    )


def _read(args: argparse.Namespace) -> int:
    from inkdigits.bulk import Numbers
    from inkdigits.reading import Restriction

    try:
        Restriction(args.length, args.pattern)
    except ValueError as error:  # it begins with the name
        raise SettingError(f"--{error}") from None
    if args.alternatives < 0:
        raise SettingError(f"--alternatives must be 0 or more, not {args.alternatives}")
    task = Numbers(
        layout=args.layout,
        length=args.length,
        pattern=args.pattern,
        decimal=args.decimal,
        alternatives=args.alternatives,
        min_confidence=args.min_confidence,
        per_number=args.per_number,
    )
    return run_bulk(args, task, _COUNTED, command="read")
