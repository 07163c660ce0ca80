"""The command line: parse, call, print, exit code. A module for each group of commands.

What a command needs is imported inside it: ``inkdigits --help`` answers at once, and only ``train`` needs torch.

Exit codes: 0 fine; 1 an image could not be read, the others were; 2 a mistake in the command line, a setting, a model
or the data; 70 a bug in inkdigits; 130 stopped by Ctrl-C; 141 the reader of the output has exited.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import inkdigits
from inkdigits.cli import feedback, guarantee, learn, measure, models, predict, read, serve, train
from inkdigits.cli.common import FAULT, INTERRUPTED, MISTAKE, NO_READER, Parser, fail, open_standard
from inkdigits.errors import InkdigitsError

__all__ = ["build_parser", "main"]

_EXAMPLES = """\
examples:
  inkdigits predict seven.png                    read one image
  inkdigits read cheque.png                      read the numbers in an image
  inkdigits serve                                draw and upload at http://127.0.0.1:9696
  inkdigits train --network lenet --out my.onnx  train your own model
  inkdigits evaluate my.onnx                     measure it
"""
# Packages that come with an extra only, by the extra.
_EXTRA_OF = {
    **dict.fromkeys(("torch", "onnxscript", "threadpoolctl", "tensorboard"), "train"),
    **dict.fromkeys(("filelock", "jinja2", "onnx", "rapidfuzz", "scipy", "sklearn"), "eval"),
    **dict.fromkeys(("pyarrow", "rich"), "bulk"),
    **dict.fromkeys(("sqlalchemy", "alembic", "psycopg"), "feedback"),
    "ray": "ray",
    "optuna": "tune",
    "mlflow": "mlflow",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, ``sys.argv`` when None, and return its exit code.

    Raises:
        SystemExit: after ``--help``, ``--version`` or a command line that does not parse.
    """
    open_standard()
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
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return NO_READER
    except InkdigitsError as error:
        return fail(error, MISTAKE)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRA_OF.get(package)
        if extra is None:
            return _fault(error)
        return fail(f"this needs {package}, which is not installed: pip install 'inkdigits[{extra}]'", MISTAKE)
    except OSError as error:
        return fail(f"{error.filename or 'standard output'}: {error.strerror}" if error.strerror else error, MISTAKE)
    except Exception as error:
        return _fault(error)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; its help texts are in ``docs/cli.md``."""
    parser = Parser("inkdigits", "COMMAND …", "Read handwritten digits and report how sure the model is.", _EXAMPLES)
    version = f"inkdigits {inkdigits.__version__}"
    parser.add_argument("--version", action="version", version=version, help="print the version")
    parser.set_defaults(run=lambda args: _no_command(parser))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="inkdigits", parser_class=Parser)
    for group in (predict, read, serve, feedback, learn, train, measure, guarantee, models):
        group.add(commands)
    return parser


def _fault(error: Exception) -> int:
    if os.environ.get("INKDIGITS_LOG_LEVEL") == "debug":
        traceback.print_exception(error)
    hint = "INKDIGITS_LOG_LEVEL=debug shows where"
    return fail(f"this is a bug in inkdigits: {type(error).__name__}: {error}; {hint}", FAULT)


def _no_command(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return MISTAKE
