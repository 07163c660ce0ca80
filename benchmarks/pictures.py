"""Measure a model on what users meet, and on what must not become worse.

    python benchmarks/pictures.py
    python benchmarks/pictures.py --only pictures failing --model models/mine.onnx --no-record --sheets /tmp/sheets

Real people's pictures as they are, cut tight, and with dark things in them; structured paper; several digits;
non-digits; plain digits; cost. Each set gives rows: how many pictures were read right and accepted, wrong and accepted,
and rejected, and the share that its target bounds. Real pictures are read from the folder that INKDIGITS_DATA names;
sets that it lacks are named at the end, and not measured. docs/robustness.md says how each set is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from inkdigits.errors import DataError
from inkdigits.evaluation.latency import environment
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import keep, kept, make_parser, provenance
from picture_sets import cost, digits, not_digits, real, several, structured
from picture_sets.tally import HEADING, Measured, Row

SETS: dict[str, Callable[[Measured], Iterator[Row]]] = {
    "pictures": real.as_they_are,
    "tight": real.cut_tight,
    "things": real.with_dark_things,
    "failing": real.failing,
    "structured": structured.structured,
    "several": several.several,
    "not_digits": not_digits.not_digits,
    "plain": digits.plain,
    "cost": cost.cost,
}


def options() -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument("--model", help="name of a shipped model, or path of an .onnx file; default: the shipped one")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=", ".join(SETS))
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of what was read wrong")
    parser.add_argument("--no-record", action="store_true", help="do not append to benchmarks/results/pictures.csv")
    return parser.parse_args()


def main() -> None:
    args = options()
    if args.sheets:
        args.sheets.mkdir(parents=True, exist_ok=True)
    measured = Measured(Recognizer(args.model), Settings.from_env(), args.sheets)
    model = measured.recognizer.model
    about = {**provenance(), "model": model.name, "sha256": model.sha256[:12]}
    machine = environment()
    machine = {"cpu": machine.pop("processor"), **machine}
    rows: list[Row] = []
    missing = []
    print(f"{model.name} {model.sha256[:12]}\n{HEADING}", flush=True)
    for name in args.only:
        try:
            for row in SETS[name](measured):
                print(row, flush=True)
                rows.append(row)
        except DataError as error:
            missing.append(f"{name} not measured: {error}")
    if rows and not args.no_record:
        keep([*kept(), *({**about, **asdict(row), **machine} for row in rows)])
    print("\n".join(missing), end="\n" if missing else "")


if __name__ == "__main__":
    main()
