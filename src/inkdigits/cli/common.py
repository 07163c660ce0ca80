"""What the commands share: exit codes, the parser and its options, an output file that appears whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO, TypeAlias

from inkdigits.atomic import Output, check_output, is_stream, open_stream, refuse_input
from inkdigits.errors import SettingError
from inkdigits.options import did_you_mean, flag, reader_of
from inkdigits.settings import Settings
from inkdigits.text import visible

__all__ = [
    "BAD_IMAGE",
    "FAULT",
    "FINE",
    "INTERRUPTED",
    "MISTAKE",
    "NO_READER",
    "Commands",
    "Layouts",
    "Parser",
    "add_command",
    "add_option",
    "add_settings",
    "check_store",
    "fail",
    "is_stdout",
    "naming",
    "open_standard",
    "open_store",
    "output",
    "print_errors",
    "refuse_own",
]

FINE, BAD_IMAGE, MISTAKE, FAULT, INTERRUPTED, NO_READER = 0, 1, 2, 70, 130, 141
HELP_WIDTH = 100  # characters

#: What the commands are added to.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def fail(message: object, code: int) -> int:
    """Print an error in one line on standard error; return the exit code."""
    print(f"inkdigits: error: {visible(' '.join(str(message).split()))}", file=sys.stderr)
    return code


def open_standard() -> None:
    """Give this process the standard streams that it was started without, as after ``>&-``.

    Their numbers would go to the first files that are opened, and what a library prints, into these.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = _Closed("input")
    if sys.stdout is None:
        sys.stdout = _Closed("output")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # nobody wants to be told


class _Closed(io.TextIOBase):
    """Standard input or output that is closed; who needs it hears so."""

    def __init__(self, name: str) -> None:
        self._name = name

    def write(self, text: str) -> int:
        if text:
            raise SettingError(f"standard {self._name} is closed; open it, or name a file")
        return 0

    def __getattr__(self, name: str) -> NoReturn:
        if name == "buffer":
            raise SettingError(f"standard {self._name} is closed; open it, or name a file")
        raise AttributeError(name)


class _Help(argparse.RawDescriptionHelpFormatter):
    """One look in every version of Python and every terminal, as the help is in the docs too."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{**options, "width": HELP_WIDTH, "max_help_position": 30})

    def add_argument(self, action: argparse.Action) -> None:
        """Make room for the names of commands, whose indent argparse leaves out of their length."""
        super().add_argument(action)
        for command in self._iter_indented_subactions(action):
            length = len(self._format_action_invocation(command)) + self._current_indent
            self._action_max_length = max(self._action_max_length, length)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """An argument parser that reports mistakes as all other errors are."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str, **options: Any) -> None:
        usage = f"{prog} {usage}"
        super().__init__(prog, usage, description, epilog, formatter_class=_Help, allow_abbrev=False, **options)

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse; a command reports its unknown arguments itself, where argparse leaves that to the whole program."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            options = [name for name, each in self._option_string_actions.items() if each.help != argparse.SUPPRESS]
            hint = did_you_mean(unknown[0].partition("=")[0], options)
            self.error("; ".join(filter(None, [f"unrecognized arguments: {' '.join(unknown)}", hint])))
        return found, unknown

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the commands for an unknown one, where argparse would list hidden names, too."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            hint = did_you_mean(value, [each.dest for each in action._choices_actions], "commands")
            self.error(f"unknown command {value!r}; {hint}")
        super()._check_value(action, value)

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
    *,
    old_name: str = "",
) -> Parser:
    """Add a command; ``run`` is called with what was parsed and returns the exit code. Help hides its old name."""
    sub = commands.add_parser(name, usage=usage, help=help, description=about, epilog=examples)
    sub.set_defaults(run=run)
    if old_name:
        commands.choices[old_name] = sub  # a dictionary
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
        flag(f.name),
        type=reader_of(f),
        default=default,
        choices=choices,
        metavar={int: "N", float: "X", str: "TEXT"}[kind],
        help=f"{f.metadata['help']}{unit}{shown and f' ({shown})'}".replace("%", "%%"),
    )


class Layouts:
    """The names of the layouts, found once one is given or shown: what reads numbers takes long to import."""

    def __iter__(self) -> Iterator[str]:
        from inkdigits.reading import LAYOUTS

        return iter(LAYOUTS)


def print_errors(errors: Iterable[tuple[str, object]]) -> None:
    """Print what could not be read and why, one line each, to standard error."""
    for name, error in errors:
        print(f"inkdigits: {visible(name)}: {visible(str(error))}", file=sys.stderr)


def is_stdout(path: str | None) -> bool:
    """Return whether an output is standard output: none was named, or ``-``."""
    return path in (None, "-")


@contextlib.contextmanager
def output(path: str | None, *, endings: Iterable[str] = (), inputs: Iterable[str | Path] = ()) -> Iterator[TextIO]:
    """Open standard output, or a file that appears under its name only once it is complete.

    Args:
        path: of the file; None and ``-`` are standard output. A pipe or a device is written directly.
        endings: that its name may have; see :func:`check_output`.
        inputs: files that the output must not be; see :func:`refuse_input`.

    Raises:
        SettingError: it cannot be written, which is found out at once.
    """
    if path is None or is_stdout(path):
        yield sys.stdout
        return
    check_output(path, endings=endings)
    refuse_own(path, inputs)
    with naming(path), open_stream(path) if is_stream(path) else Output(path) as out:
        with _text(out.file if isinstance(out, Output) else out) as file:
            yield file
            file.flush()
        if isinstance(out, Output):
            out.commit()


def refuse_own(path: str, inputs: Iterable[str | Path]) -> None:
    """Raise an error for an output that is one of these inputs, or a picture below them; see :func:`refuse_input`."""
    if given := [each for each in inputs if str(each)]:
        from inkdigits.bulk.inputs import SUFFIXES

        refuse_input(path, given, below=SUFFIXES)


def check_store(settings: Settings) -> None:
    """Raise an error if no database of corrections is named."""
    if not settings.feedback:
        raise SettingError("no database is named; give --feedback FILE or URL, or set INKDIGITS_FEEDBACK")


@contextlib.contextmanager
def open_store(settings: Settings, *unless: str | None) -> Iterator[Any]:
    """Open the database of corrections; None if there is none, or one of ``unless`` is given instead."""
    if not settings.feedback or any(unless):
        yield None
        return
    from inkdigits.feedback.store import Store

    store = Store(settings.feedback)
    try:
        yield store.engine
    finally:
        store.close()


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name the output in errors such as a full disk, which name no file themselves."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.strerror is None or isinstance(error, BrokenPipeError):
            raise
        raise SettingError(f"cannot write {path}: {error.strerror}") from None


@contextlib.contextmanager
def _text(file: BinaryIO) -> Iterator[TextIO]:
    """Text on its way into a file, which stays open."""
    text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="", write_through=True)
    try:
        yield text
    finally:
        if not file.closed:
            text.detach()
