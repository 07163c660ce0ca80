"""What the commands share: exit codes, the parser and its options, an output file that appears whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NoReturn, TextIO

from inkdigits.errors import SettingError
from inkdigits.settings import Settings

__all__ = [
    "BAD_IMAGE",
    "FAULT",
    "FINE",
    "INTERRUPTED",
    "MISTAKE",
    "NO_READER",
    "Commands",
    "Parser",
    "add_command",
    "add_option",
    "add_settings",
    "fail",
    "output",
]

FINE, BAD_IMAGE, MISTAKE, FAULT, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141
HELP_WIDTH = 100  # characters

#: What the commands are added to.
Commands = argparse._SubParsersAction


def fail(message: object, code: int) -> int:
    """Tell an error in one line on standard error; the exit code, as it came."""
    print(f"inkdigits: error: {' '.join(str(message).split())}", file=sys.stderr)
    return code


class _Help(argparse.RawDescriptionHelpFormatter):
    """One look in every version of Python and every terminal, as the help is in the docs too."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{**options, "width": HELP_WIDTH, "max_help_position": 30})

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """An argument parser whose mistakes are told as all others are."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str, **options: Any) -> None:
        usage = f"{prog} {usage}"
        super().__init__(prog, usage, description, epilog, formatter_class=_Help, allow_abbrev=False, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        """Parse; a command tells what it does not know itself, where argparse would have the whole program do it."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            close = difflib.get_close_matches(unknown[0].partition("=")[0], self._option_string_actions, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(fail(f"{message} (see {self.prog} --help)", MISTAKE))


def add_command(
    commands: Commands,
    name: str,
    usage: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    about: str,
    examples: str,
) -> Parser:
    """Add a command; ``run`` is called with what was parsed and gives the exit code."""
    sub: Parser = commands.add_parser(name, usage=usage, help=help, description=about, epilog=examples)
    sub.set_defaults(run=run)
    return sub


def add_settings(parser: Parser, names: Iterable[str]) -> None:
    """Add an option for each of these settings."""
    for f in fields(Settings):
        if f.name in names:
            choices = " or ".join(f.metadata["choices"])
            add_option(parser, f, None, note=", ".join(filter(None, [choices, f.metadata["env"]])))


def add_option(parser: Parser, f: Field[Any], default: Any, *, note: str = "", choices: Any = None) -> None:
    """Add an option for a field of a table of options: its type, default and help."""
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


@contextlib.contextmanager
def output(path: str | None) -> Iterator[TextIO]:
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
