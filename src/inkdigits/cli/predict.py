"""``inkdigits predict``: the digit in each image."""

from __future__ import annotations

import argparse

from inkdigits.cli.bulk import KEPT, add_bulk, run_bulk
from inkdigits.cli.common import Commands, add_command, add_settings
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

__all__ = ["add"]

_COUNTED = {
    "digit": ("{:,} digit", "{:,} digits"),
    "several digits": ("{:,} with several digits",) * 2,
    "not a digit": ("{:,} not a digit", "{:,} not digits"),
    "unclear": ("{:,} unclear",) * 2,
    "unsure": ("{:,} unsure",) * 2,
    "blank": ("{:,} blank",) * 2,
    "error": ("{:,} error", "{:,} errors"),
}
_EXAMPLES = f"""\
examples:
  inkdigits predict seven.png nine.jpg
  inkdigits predict scans/ --csv -o digits.csv   every image in a folder and below
  inkdigits predict scans/ --min-confidence 0.9  "unsure" instead of digits with less
  inkdigits predict scans/ --profile cnn.profile.json --sure   see inkdigits guarantee
  inkdigits predict --json *.png | jq 'select(.accepted).digit'   one JSON object per line
  curl -s https://example.com/5.png | inkdigits predict -
  inkdigits predict scans.tar.gz train.parquet t10k-images-idx3-ubyte.gz -o digits.parquet
  inkdigits predict scans/ -o digits.csv --resume   continue after Ctrl-C, a kill or a power cut
  inkdigits predict scans/ -o digits.csv --engine ray   on all machines of a Ray cluster

Rejected images are reported with the reason: "blank", "several digits", "not a digit" or
"unclear", in a line, a table or JSON. For several images, the last line is a summary on standard
error. For numbers of several digits, see inkdigits read.

{KEPT}"""


def add(commands: Commands) -> None:
    """Add predict to the command line."""
    predict = add_command(
        commands,
        "predict",
        "[options] IMAGE …",
        _predict,
        "read the digit in each image",
        "Read the digit in each image: PNG, JPEG, GIF, WebP, BMP or TIFF; or an archive or a table of them.",
        _EXAMPLES,
    )
    add_bulk(predict, accepted="digits")
    predict.add_argument(
        "--explain", action="store_true", help="also show how much each part of the ink mattered; not in tables"
    )
    add_settings(predict, ("profile",))
    predict.add_argument(
        "--sure",
        action="store_true",
        help="report digits that the profile does not promise as unsure instead of accepted; needs --profile",
    )


def _predict(args: argparse.Namespace) -> int:
    from inkdigits.bulk.rows import Digits

    no_table = "--explain gives a 28×28 map for each image, which a table has no place for; use --json"
    profile = Settings.from_env(profile=args.profile).profile
    if args.sure and not profile:
        raise SettingError("--sure needs --profile FILE (INKDIGITS_PROFILE), which inkdigits guarantee writes")
    task = Digits(args.explain, args.min_confidence, only_sure=args.sure, has_sure=bool(profile))
    no_table = no_table if args.explain else ""
    return run_bulk(args, task, _COUNTED, command="predict", no_table=no_table, profile=profile)
