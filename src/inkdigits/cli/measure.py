"""``inkdigits evaluate``, ``submit``, ``compare`` and ``data``: how well models read, and on what."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from inkdigits.atomic import Output, check_output, is_stream
from inkdigits.cli.common import (
    BAD_IMAGE,
    FINE,
    Commands,
    Layouts,
    add_command,
    add_settings,
    is_stdout,
    output,
    print_errors,
    refuse_own,
)
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.evaluation.numbers_report import NumbersReport
    from inkdigits.evaluation.report import Report

__all__ = ["add"]

_EVALUATE_EXAMPLES = """\
examples:
  inkdigits evaluate cnn
  inkdigits evaluate cnn --data pen --robustness --report report.html
  inkdigits evaluate models/lenet.onnx --data scans/ --json   folders 0 to 9 with pictures
  inkdigits evaluate cnn --numbers cheques/ --digits-only --report cheques.html

exit code: 0 all read; 1 some image could not be read, the others were; 2 nothing was measured
"""
_SUBMIT_EXAMPLES = """\
examples:
  inkdigits submit test.csv -o submission.csv
  inkdigits submit test.csv --model models/mine.onnx -o submission.csv

Non-digits get the nearest digit, and a row without ink the digit that the model finds most probable
on empty paper; a line on standard error says how many there are, and which.
"""
_COMPARE_EXAMPLES = """\
examples:
  inkdigits compare --out comparison
  inkdigits compare --models mlp,lenet,models/mine.onnx --seeds 0 --epochs 5 --out comparison

It takes hours with the defaults. Finished results are kept: the same command resumes after Ctrl-C
or a kill, and with another model or seed it trains only that.
"""
_DATA_EXAMPLES = """\
examples:
  inkdigits data
  inkdigits data --download mnist
"""


def add(commands: Commands) -> None:
    """Add evaluate, submit, compare and data to the command line."""
    evaluate = add_command(
        commands,
        "evaluate",
        "[options] MODEL",
        _evaluate,
        "measure a model on labeled images",
        "Measure a model on labeled images that it was not trained on, or on pictures of numbers.",
        _EVALUATE_EXAMPLES,
    )
    evaluate.add_argument("model", metavar="MODEL", help="name of a shipped model or path of an .onnx file")
    evaluate.add_argument(
        "--data",
        metavar="DATA",
        help="mnist, digits or pen; or the path of a table (label, pixel0, …), of IDX files, or of a folder with "
        "folders 0 to 9 (default: mnist)",
    )
    evaluate.add_argument(
        "--report", metavar="FILE.html", help="write a page with all results, and FILE.json next to it"
    )
    evaluate.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="print all results as JSON, or write them to FILE"
    )
    evaluate.add_argument(
        "--robustness",
        action="store_true",
        help="also measure on corrupted pictures and non-digits; takes minutes",
    )
    evaluate.add_argument(
        "--numbers",
        metavar="PATH",
        help="measure on pictures of numbers instead: a .csv or .jsonl table of file and text, a .parquet table of "
        "image and text, or a folder with such a table",
    )
    evaluate.add_argument(
        "--layout",
        choices=Layouts(),
        metavar="NAME",
        help="of --numbers, as for inkdigits read: %(choices)s (default: auto)",
    )
    evaluate.add_argument(
        "--digits-only",
        action="store_true",
        help="of --numbers: compare digits alone, for texts that leave out points, commas and dashes",
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="measure on at most N of the images")

    submit = add_command(
        commands,
        "submit",
        "[options] TABLE",
        _submit,
        "read a table of digits and write Kaggle's submission",
        "Read the digits of a table, pixel0 to pixel783, a CSV, Parquet or NPZ file, and write ImageId,Label.",
        _SUBMIT_EXAMPLES,
    )
    submit.add_argument("table", metavar="TABLE", help="the table, such as Kaggle's test.csv; labels in it are ignored")
    submit.add_argument("-o", "--output", metavar="OUT", help="write to this file, whole once all is done")
    add_settings(submit, ("model",))

    compare = add_command(
        commands,
        "compare",
        "[options] --out FOLDER",
        _compare,
        "train several models and write a table and a plot",
        "Train or take several models on the same split with several seeds, and write a table and a plot.",
        _COMPARE_EXAMPLES,
    )
    compare.add_argument("--out", required=True, metavar="FOLDER", help="folder to write to, and to resume from")
    compare.add_argument(
        "--models", metavar="A,B", help="names of the ladder, or paths of .onnx files (default: the ladder)"
    )
    compare.add_argument(
        "--data", default="mnist", metavar="DATA", help="data, as for inkdigits train (default: mnist)"
    )
    compare.add_argument("--seeds", default="0,1,2", metavar="N,N", help="one training for each (default: 0,1,2)")
    compare.add_argument(
        "--epochs",
        type=int,
        default=0,
        metavar="N",
        help="epochs of each training; 0: each model's own number (default: 0)",
    )
    compare.add_argument(
        "--threads", type=int, default=0, metavar="N", help="threads of each training; 0: one per core (default: 0)"
    )

    data = add_command(
        commands,
        "data",
        "[options]",
        _data,
        "list the data sets, or download one",
        "List the data sets for training and evaluation, and where they are on this machine.",
        _DATA_EXAMPLES,
    )
    data.add_argument("--download", metavar="NAME", help="download this data set if needed, and verify it")


def _evaluate(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    if args.limit is not None and args.limit < 1:
        raise SettingError(f"--limit must be 1 or more, not {args.limit}")
    if args.numbers and (args.data or args.robustness):
        raise SettingError(f"--{'data' if args.data else 'robustness'} is for digits, not for --numbers; leave out one")
    if not args.numbers and (args.layout or args.digits_only):
        raise SettingError(
            f"--{'layout' if args.layout else 'digits-only'} is for --numbers; name their table or folder"
        )
    from inkdigits.evaluation.report import check_path
    from inkdigits.network import find_model
    from inkdigits.preprocess import Limits
    from inkdigits.recognizer import Recognizer

    _, model, _ = find_model(args.model)
    data = args.data or "mnist"
    inputs = [model, args.numbers] if args.numbers else [model, *data.split("+")]
    if args.report:
        check_path(Path(args.report))
        for path in (args.report, str(Path(args.report).with_suffix(".json"))):
            check_output(path)
            refuse_own(path, inputs)
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    recognizer = Recognizer(args.model, threads=settings.threads, limits=limits)
    command = f"inkdigits evaluate {args.model} " + (f"--numbers {args.numbers}" if args.numbers else f"--data {data}")
    command += " --robustness" * args.robustness + f" --layout {args.layout}" * bool(args.layout)
    command += " --digits-only" * args.digits_only + f" --limit {args.limit}" * bool(args.limit)
    if args.report:
        command += f" --report {Path(args.report).name}"
    found: Report | NumbersReport
    to_file = args.json not in (None, "-")
    with contextlib.ExitStack() as stack:  # opened now, as measuring may take minutes
        if args.report and not is_stream(args.report):
            stack.enter_context(Output(args.report))
        out = stack.enter_context(output(args.json if to_file else None, endings=(".json", ""), inputs=inputs))
        if args.numbers:
            from inkdigits.data.numbers import read_number_pictures
            from inkdigits.evaluation.numbers_report import measure_numbers

            found = measure_numbers(
                recognizer,
                read_number_pictures(args.numbers),
                layout=args.layout or "auto",
                digits_only=args.digits_only,
                limit=args.limit,
                command=command,
            )
        else:
            from inkdigits.evaluation.evaluate import unseen
            from inkdigits.evaluation.report import measure

            dataset = unseen(data, settings, recognizer)
            found = measure(recognizer, dataset, corrupt=args.robustness, limit=args.limit, command=command)
        if to_file:
            out.write(found.json())
        numbers = found.write(Path(args.report)) if args.report else None
    print(found.json() if args.json == "-" else found.table() + "\n", end="")
    if numbers:
        print(f"wrote {args.report} and {numbers}", file=sys.stderr if args.json == "-" else sys.stdout)
    print_errors(found.unreadable)
    return BAD_IMAGE if found.unreadable else FINE


def _submit(args: argparse.Namespace) -> int:
    settings = Settings.from_env(model=args.model)
    from inkdigits.evaluation.submit import submit
    from inkdigits.recognizer import Recognizer

    recognizer = Recognizer(settings.model or None, threads=settings.threads)
    inputs = [args.table, settings.model]
    with output(args.output, endings=(".csv", ".txt", ""), inputs=inputs) as out:
        done = submit(recognizer, Path(args.table), out)
    if not is_stdout(args.output):
        print(f"wrote {args.output}: {done.rows:,} rows read by {recognizer.model.name}")
    if notice := done.notice():
        sys.stdout.flush()  # so that it comes behind the lines where both go to one place
        print(f"inkdigits: {notice}", file=sys.stderr)
    return FINE


def _compare(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    try:
        seeds = tuple(map(int, args.seeds.split(",")))
    except ValueError:
        raise SettingError(f"--seeds must be integers such as 0,1,2, not {args.seeds!r}") from None
    from inkdigits.training.compare import Plan, compare

    named = {"models": tuple(args.models.split(","))} if args.models else {}
    plan = Plan(**named, data=args.data, seeds=seeds, epochs=args.epochs, threads=args.threads)
    folder = Path(args.out)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # compare says what is wrong
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(Output(folder / "comparison"))
        compare(plan, folder, settings)
    return FINE


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
