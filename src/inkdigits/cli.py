"""The command line: parse, call, print, exit code.

What a command needs is imported inside it: ``inkdigits --help`` answers at once, and only ``train`` needs torch.

Exit codes: 0 fine; 1 an image could not be read, the others were; 2 a mistake in the command line, a setting, a model
or the data; 70 a fault of inkdigits itself; 130 stopped by Ctrl-C; 141 whoever read the output has left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import inkdigits
from inkdigits.errors import InkdigitsError, SettingError
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.bulk import Row

__all__ = ["build_parser", "main"]

FINE, BAD_IMAGE, MISTAKE, FAULT, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141
HELP_WIDTH = 100  # characters
NAME_WIDTH = 60  # characters; longer names are not aligned with
_TRAINING = (
    "torch",
    "onnx",
    "onnxscript",
    "sklearn",
    "rich",
    "pyarrow",
    "threadpoolctl",
)  # what the extra [train] brings
_NOT_OF_SERVER = ("data", "cache")  # settings that a server has no use for
_FORMATS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}

_EXAMPLES = """\
examples:
  inkdigits predict seven.png                    read one image
  inkdigits serve                                draw and upload at http://127.0.0.1:9696
  inkdigits train --network lenet --out my.onnx  train a model of your own
  inkdigits evaluate my.onnx                     measure it
"""
_PREDICT_EXAMPLES = """\
examples:
  inkdigits predict seven.png nine.jpg
  inkdigits predict scans/ --csv -o digits.csv   every image in a folder and below
  inkdigits predict --json *.png | jq .digit     one JSON object a line
  curl -s https://example.com/5.png | inkdigits predict -

exit code: 0 all read; 1 some image could not be read, the others were; 2 nothing was done
"""
_SERVE_EXAMPLES = """\
examples:
  inkdigits serve
  inkdigits serve --host 0.0.0.0 --port 80 --workers 4
  INKDIGITS_MODEL=my.onnx inkdigits serve

SIGTERM and Ctrl-C let requests under way end. With several workers, SIGHUP replaces them one by
one.
"""
_TRAIN_EXAMPLES = """\
examples:
  inkdigits train --out models/cnn.onnx
  inkdigits train --network lenet --epochs 10 --out models/lenet.onnx
  inkdigits train --network mlp --out models/mlp.onnx       a perceptron, done in half a minute
  inkdigits train --data digits --out models/small.onnx     no download, done in a minute
  inkdigits train --data train.csv --out models/mine.onnx   Kaggle's table: label, pixel0, …

Of the perceptron's lines, test_accuracy is measured on the images held back for validation: no
training looks at the test part before it is over.

Ctrl-C ends the training early and keeps the best so far. registry.json beside the model gets its
entry.
"""
_EVALUATE_EXAMPLES = """\
examples:
  inkdigits evaluate cnn
  inkdigits evaluate cnn --data pen --robustness --report report.html
  inkdigits evaluate models/lenet.onnx --data scans/ --json   folders 0 to 9 with pictures

exit code: 0 all read; 1 some image could not be read, the others were; 2 nothing was measured
"""
_SUBMIT_EXAMPLES = """\
examples:
  inkdigits submit test.csv -o submission.csv
  inkdigits submit test.csv --model models/mine.onnx -o submission.csv

A row without ink gets the digit that the model finds most probable on empty paper.
"""
_COMPARE_EXAMPLES = """\
examples:
  inkdigits compare --out comparison
  inkdigits compare --models mlp,lenet,models/mine.onnx --seeds 0 --epochs 5 --out comparison

It takes hours with the defaults. What is finished is kept: the same command goes on after Ctrl-C
or a kill, and with another model or seed trains only that.
"""
_DATA_EXAMPLES = """\
examples:
  inkdigits data
  inkdigits data --download mnist
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, ``sys.argv`` when None, and return its exit code.

    Raises:
        SystemExit: after ``--help``, ``--version`` or a command line that does not parse.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name need not be text
    try:
        parser = build_parser()
        args = parser.parse_args(argv)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Python would flush once more at exit, and complain: https://docs.python.org/3/library/signal.html#note-on-sigpipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NO_READER
    except InkdigitsError as error:
        return _fail(error, MISTAKE)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _TRAINING:
            return _fault(error)
        return _fail(f"this needs {error.name}, which is not installed: pip install 'inkdigits[train]'", MISTAKE)
    except OSError as error:
        return _fail(f"{error.filename or 'file'}: {error.strerror}" if error.strerror else error, MISTAKE)
    except Exception as error:
        return _fault(error)


def _fail(message: object, code: int) -> int:
    print(f"inkdigits: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


def _fault(error: Exception) -> int:
    if os.environ.get("INKDIGITS_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    hint = "INKDIGITS_LOG_LEVEL=debug shows where"
    return _fail(f"this is a fault of inkdigits: {type(error).__name__}: {error}; {hint}", FAULT)


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar; its help texts are in ``docs/cli.md``."""
    from inkdigits.training.config import MlpConfig, TrainConfig

    parser = _Parser("inkdigits", "COMMAND …", "Reads handwritten digits and says how sure it is.", _EXAMPLES)
    version = f"inkdigits {inkdigits.__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.set_defaults(run=lambda args: _no_command(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="inkdigits", parser_class=_Parser)

    def command(name: str, usage: str, run: Any, help: str, about: str, examples: str) -> _Parser:
        sub = commands.add_parser(name, usage=usage, help=help, description=about, epilog=examples)
        sub.set_defaults(run=run)
        return sub

    predict = command(
        "predict",
        "[options] IMAGE …",
        _predict,
        "read the digit in each image",
        "Read the digit in each image: PNG, JPEG, GIF, WebP, BMP or TIFF.",
        _PREDICT_EXAMPLES,
    )
    predict.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="an image file, a folder, or - for one image on standard input",
    )
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", dest="form", action="store_const", const="json", help="print a JSON object a line")
    form.add_argument("--csv", dest="form", action="store_const", const="csv", help="print a CSV table")
    predict.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="write to this file, in one piece when all is done; .csv and .json name the form too",
    )
    predict.add_argument(
        "--explain", action="store_true", help="also show how much each part of the ink mattered; not with --csv"
    )
    _add_settings(predict, ("model",))

    serve = command(
        "serve",
        "[options]",
        _serve,
        "serve the page and the HTTP API",
        "Serve the drawing page at / and the HTTP API, which /docs describes.",
        _SERVE_EXAMPLES,
    )
    _add_settings(serve, [f.name for f in fields(Settings) if f.name not in _NOT_OF_SERVER])

    train = command(
        "train",
        "[options] --out MODEL.onnx",
        _train,
        "train a model",
        "Train a model, export it as one ONNX file, measure it and register it.",
        _TRAIN_EXAMPLES,
    )
    train.add_argument("--out", required=True, metavar="MODEL.onnx", help="the file to write")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint beside that file")
    of_mlp = {f.name: f for f in fields(MlpConfig)}
    for f in fields(TrainConfig):
        other = of_mlp.pop(f.name, f)
        note = "" if f.name == "network" or other.default == f.default else f"mlp: {other.default}"
        _add_option(train, f, None, note=note, choices=f.metadata["choices"] or None)
    for f in of_mlp.values():
        _add_option(train, f, None, note="mlp only")

    evaluate = command(
        "evaluate",
        "[options] MODEL",
        _evaluate,
        "measure a model on labelled images",
        "Measure a model on labelled images that it was not trained on.",
        _EVALUATE_EXAMPLES,
    )
    evaluate.add_argument("model", metavar="MODEL", help="name of a shipped model or path of an .onnx file")
    evaluate.add_argument(
        "--data",
        default="mnist",
        metavar="DATA",
        help="mnist, digits or pen; or the path of a table (label, pixel0, …), of IDX files, or of a folder with "
        "folders 0 to 9 (default: mnist)",
    )
    evaluate.add_argument(
        "--report", metavar="FILE.html", help="write a page with everything measured, and FILE.json beside it"
    )
    evaluate.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="print everything measured as JSON, or write it to FILE"
    )
    evaluate.add_argument(
        "--robustness",
        action="store_true",
        help="also read disturbed pictures, and pictures of no digit; takes minutes",
    )
    evaluate.add_argument("--limit", type=int, metavar="N", help="measure on at most N of the images")

    submit = command(
        "submit",
        "[options] TABLE",
        _submit,
        "read a table of digits and write Kaggle's submission",
        "Read the digits of a table, pixel0 to pixel783, a CSV, Parquet or NPZ file, and write ImageId,Label.",
        _SUBMIT_EXAMPLES,
    )
    submit.add_argument(
        "table", metavar="TABLE", help="the table, such as Kaggle's test.csv; labels in it are passed over"
    )
    submit.add_argument("-o", "--output", metavar="OUT", help="write to this file, in one piece when all is done")
    _add_settings(submit, ("model",))

    compare = command(
        "compare",
        "[options] --out FOLDER",
        _compare,
        "train models side by side and write a table and a plot",
        "Train or take several models on the same split with several seeds, and write a table and a plot.",
        _COMPARE_EXAMPLES,
    )
    compare.add_argument("--out", required=True, metavar="FOLDER", help="folder to write to, and to go on from")
    compare.add_argument(
        "--models", metavar="A,B", help="names of the ladder, or paths of .onnx files (default: the ladder)"
    )
    compare.add_argument(
        "--data", default="mnist", metavar="DATA", help="data, as for inkdigits train (default: mnist)"
    )
    compare.add_argument("--seeds", default="0,1,2", metavar="N,N", help="one training for each (default: 0,1,2)")
    compare.add_argument(
        "--epochs", type=int, default=0, metavar="N", help="of each training; 0: each model's own number (default: 0)"
    )
    compare.add_argument(
        "--threads", type=int, default=0, metavar="N", help="of each training; 0: one a core (default: 0)"
    )

    data = command(
        "data",
        "[options]",
        _data,
        "list the data sets, or download one",
        "List the data sets to train and measure on, and where they are on this machine.",
        _DATA_EXAMPLES,
    )
    data.add_argument("--download", metavar="NAME", help="make sure that this data set is here and whole")
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """One look in every version of Python and every terminal, as the help is in the docs too."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{**options, "width": HELP_WIDTH, "max_help_position": 30})

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class _Parser(argparse.ArgumentParser):
    def __init__(self, prog: str, usage: str, description: str, epilog: str, **options: Any) -> None:
        usage = f"{prog} {usage}"
        super().__init__(prog, usage, description, epilog, formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(_fail(f"{message} (see {self.prog} --help)", MISTAKE))


def _no_command(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return MISTAKE


def _add_settings(parser: _Parser, names: Iterable[str]) -> None:
    for f in fields(Settings):
        if f.name in names:
            _add_option(parser, f, None, note=f.metadata["env"])


def _add_option(parser: _Parser, f: Field[Any], default: Any, *, note: str = "", choices: Any = None) -> None:
    kind = type(f.default)
    unit = f" ({f.metadata['unit']})" if f.metadata.get("unit") else ""
    shown = ", ".join(filter(None, [f"default: {f.default}" if f.default != "" else "", note]))
    parser.add_argument(
        f"--{f.name.replace('_', '-')}",
        type=kind,
        default=default,
        choices=choices,
        metavar={int: "N", float: "X", str: "TEXT"}[kind],
        help=f"{f.metadata['help']}{unit} ({shown})".replace("%", "%%"),
    )


def _predict(args: argparse.Namespace) -> int:
    settings = Settings.from_env(model=args.model)
    for path in args.images:
        if path != "-" and not Path(path).exists():
            raise SettingError(f"there is no file or folder {path!r}")
    if args.images.count("-") > 1:
        raise SettingError("standard input (-) is given more than once; it holds one image")
    from inkdigits.bulk import SUFFIXES, find_images, read
    from inkdigits.image import Limits
    from inkdigits.recognizer import Recognizer

    images: list[tuple[str, Any]] = []
    for path in args.images:
        found = [("-", sys.stdin.buffer)] if path == "-" else list(find_images([path]))
        if not found:
            raise SettingError(f"there is no image in folder {path!r}; looked for {' '.join(SUFFIXES)}")
        images += found
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    recognizer = Recognizer(settings.model or None, threads=settings.threads, limits=limits)
    form = args.form or (_FORMATS.get(Path(args.output).suffix.lower()) if args.output else None)
    if args.explain and form == "csv":
        raise SettingError("--explain gives a 28×28 map for each image, which CSV has no place for; use --json")
    width = max((len(name) for name, _ in images if len(name) <= NAME_WIDTH), default=0)
    failed = False
    with _output(args.output) as out:
        write = _writer(form, out, width)
        for row in read(recognizer, images, explain=args.explain):
            write(row)
            if row.error:
                failed = True
                print(f"inkdigits: {row.name}: {row.error}", file=sys.stderr)
    return BAD_IMAGE if failed else FINE


@contextlib.contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears under its name only once it is complete."""
    if path is None:
        yield sys.stdout
        return
    final = Path(path)
    part = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        file = part.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise SettingError(f"cannot write {path}: {error.strerror}") from None
    try:
        with file:
            yield file
        part.replace(final)
    finally:
        part.unlink(missing_ok=True)


def _writer(form: str | None, out: TextIO, width: int) -> Callable[[Row], None]:
    if form == "json":
        return lambda row: print(json.dumps(row.to_dict(), ensure_ascii=False), file=out)
    if form == "csv":
        import csv

        table = csv.writer(out, lineterminator="\n")
        table.writerow(["name", "digit", "confidence", *(f"p{digit}" for digit in range(10)), "error"])
        return lambda row: table.writerow(_cells(row))
    return lambda row: print(_line(row, width), *_map(row), sep="\n", file=out)


def _map(row: Row) -> list[str]:
    """The explanation as lines of characters: # + . for ink that mattered much, some, little, - for ink against it."""
    if row.prediction is None or row.prediction.explanation is None:
        return []
    marks = [(-0.1, "-"), (0.2, "."), (0.6, "+"), (1.1, "#")]
    rows = row.prediction.explanation
    lines = ["".join(" " if v == 0 else next(m for top, m in marks if v < top) for v in line) for line in rows.tolist()]
    return ["    " + line for line in lines if line.strip()]


def _cells(row: Row) -> list[Any]:
    if row.prediction is None:
        return [row.name, *[""] * 12, row.error]
    return [row.name, row.prediction.digit, row.prediction.confidence, *row.prediction.probabilities, ""]


def _line(row: Row, width: int) -> str:
    name = row.name.ljust(width)
    if row.prediction is None:
        return f"{name}  error"
    p = row.prediction
    if p.digit is None:
        return f"{name}  blank"
    second = max((d for d in range(10) if d != p.digit), key=p.probabilities.__getitem__)
    return f"{name}  {p.digit}  {p.confidence:6.1%}   then {second} {p.probabilities[second]:6.1%}"


def _serve(args: argparse.Namespace) -> int:
    options = {f.name: getattr(args, f.name) for f in fields(Settings) if f.name not in _NOT_OF_SERVER}
    settings = Settings.from_env(**options)
    from inkdigits.server import serve

    serve(settings)
    return FINE


def _train(args: argparse.Namespace) -> int:
    from inkdigits.training.config import MlpConfig, TrainConfig, config_of

    names = {f.name for config in (TrainConfig, MlpConfig) for f in fields(config)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    config = config_of(given)
    settings = Settings.from_env()
    if isinstance(config, MlpConfig):
        if args.resume:
            raise SettingError(
                "network mlp leaves no checkpoint to go on from, its training is short; leave out --resume"
            )
        from inkdigits.training.mlp import train as train_mlp

        train_mlp(config, Path(args.out), settings)
        return FINE
    from inkdigits.training.fit import train

    train(config, Path(args.out), settings, resume=args.resume)
    return FINE


def _submit(args: argparse.Namespace) -> int:
    settings = Settings.from_env(model=args.model)
    from inkdigits.recognizer import Recognizer
    from inkdigits.training.submit import submit

    recognizer = Recognizer(settings.model or None, threads=settings.threads)
    with _output(args.output) as out:
        n = submit(recognizer, Path(args.table), out)
    if args.output:
        print(f"wrote {args.output}: {n:,} digits read by {recognizer.model.name}")
    return FINE


def _compare(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    try:
        seeds = tuple(map(int, args.seeds.split(",")))
    except ValueError:
        raise SettingError(f"--seeds must be whole numbers such as 0,1,2, not {args.seeds!r}") from None
    from inkdigits.training.compare import Plan, compare

    named = {"models": tuple(args.models.split(","))} if args.models else {}
    plan = Plan(**named, data=args.data, seeds=seeds, epochs=args.epochs, threads=args.threads)
    compare(plan, Path(args.out), settings)
    return FINE


def _evaluate(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    if args.limit is not None and args.limit < 1:
        raise SettingError(f"--limit must be 1 or more, not {args.limit}")
    from inkdigits.image import Limits
    from inkdigits.recognizer import Recognizer
    from inkdigits.training.evaluate import unseen
    from inkdigits.training.report import check_path, measure

    if args.report:
        check_path(Path(args.report))
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    recognizer = Recognizer(args.model, threads=settings.threads, limits=limits)
    command = f"inkdigits evaluate {args.model} --data {args.data}" + " --robustness" * args.robustness
    command += f" --limit {args.limit}" * bool(args.limit)
    to_file = args.json not in (None, "-")
    with _output(args.json if to_file else None) as out:  # opened now, as measuring may take minutes
        found = measure(
            recognizer,
            unseen(args.data, settings, recognizer),
            disturb=args.robustness,
            limit=args.limit,
            command=f"{command} --report {Path(args.report).name}" if args.report else command,
        )
        if to_file:
            out.write(found.json())
    print(found.json() if args.json == "-" else found.table() + "\n", end="")
    if args.report:
        numbers = found.write(Path(args.report))
        print(f"wrote {args.report} and {numbers}", file=sys.stderr if args.json == "-" else sys.stdout)
    for at, error in found.evaluation.unreadable:
        print(f"inkdigits: {found.dataset.title(at)}: {error}", file=sys.stderr)
    return BAD_IMAGE if found.evaluation.unreadable else FINE


def _data(args: argparse.Namespace) -> int:
    settings = Settings.from_env()
    from inkdigits.training.data import describe, fetch

    if args.download:
        print(f"{args.download} is here and whole: {fetch(args.download, settings)}")
        return FINE
    for source in describe(settings):
        print(f"{source.name:<8} {source.state:<8} {source.about}")
        print(f"{'':17} {source.where}" + (f": {source.hint}" if source.hint else ""))
    return FINE
