"""``inkdigits feedback``: import, export, list, forget, purge and migrate corrections."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from inkdigits.atomic import Output, check_output
from inkdigits.cli.common import (
    BAD_IMAGE,
    FINE,
    Commands,
    Parser,
    add_command,
    add_settings,
    check_store,
    is_stdout,
    naming,
    output,
    print_errors,
)
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.feedback.store import Store

__all__ = ["add"]

_ENDINGS = {".csv": "csv", ".parquet": "parquet", ".zip": "coco", ".json": "label-studio"}  # of an export, by its name

_EXAMPLES = """\
examples:
  inkdigits feedback list --order least-sure
  inkdigits feedback import labeled/
  inkdigits feedback export -o corrections.jsonl
  inkdigits feedback forget 5Y0cXyFZbEoq2mN1RkQd7A

The database is that of --feedback or INKDIGITS_FEEDBACK, which `inkdigits serve` writes to. Each of
these commands has its own --help.
"""
_IMPORT = """\
examples:
  inkdigits feedback import labeled/              folders 7, 2024 …: their names are labels
  inkdigits feedback import labels.csv            columns label and image, or label and pixel0 …
  inkdigits feedback import project.json --pictures uploads/   an export of Label Studio

The model reads each picture, so that the database has what was answered, too. The same picture with
the same label is added once. You say with this command that the pictures may be kept.

exit code: 0 all are kept; 1 some picture could not be read, the others are kept
"""
_EXPORT = """\
examples:
  inkdigits feedback export -o corrections.csv      without pictures
  inkdigits feedback export -o corrections.jsonl    with pictures and what was answered
  inkdigits feedback export --status accepted
  inkdigits feedback export -o corrections.parquet
  inkdigits feedback export --format coco -o corrections.zip
  inkdigits feedback export --format label-studio -o tasks.json

csv and jsonl have all labels; parquet also has a column truth, which is the label that reviewers
settled on, else the one that was sent. coco, a zip with the pictures, and label-studio have the
truth alone, and leave out what was rejected. parquet needs inkdigits[bulk].
"""
_LIST = """\
orders:
  newest       the last ones first
  least-sure   those whose answer was the least probable
  suspected    labels that the model found most improbable
  disputed     pictures that look the same with different labels
  duplicates   pictures that look the same, together
  audit        the random sample of answers
"""
_FORGET = """\
examples:
  inkdigits feedback forget 5Y0cXyFZbEoq2mN1RkQd7A
  inkdigits feedback forget --client 0b9a6f4e-7c1a

Pictures, what was read in them and all their corrections are removed, and the database is rewritten
without their traces. Backups of the database are yours to clean. Models that were trained on
them are named: train them again without.
"""
_PURGE = """\
examples:
  inkdigits feedback purge
  inkdigits feedback purge --days 30
"""
_MIGRATE = """\
examples:
  inkdigits feedback migrate            create the tables, or bring them up to date
  inkdigits feedback migrate --to base --yes   remove all tables and what they hold

`inkdigits serve` brings them up to date when it starts.
"""


def add(commands: Commands) -> None:
    """Add feedback to the command line."""
    group = add_command(
        commands,
        "feedback",
        "COMMAND …",
        lambda args: _no_command(group),
        "keep, list, export and remove corrections",
        "Keep, list, export and remove corrections of what was read.",
        _EXAMPLES,
    )
    actions = group.add_subparsers(
        title="commands", metavar="COMMAND", prog="inkdigits feedback", parser_class=type(group)
    )

    def action(name: str, usage: str, run: Callable[[argparse.Namespace], int], about: str, examples: str) -> Parser:
        parser = add_command(actions, name, usage, run, about, f"{about[0].upper()}{about[1:]}.", examples)
        add_settings(parser, ["feedback"])
        return parser

    load = action("import", "[options] PATH", _import, "add labeled pictures from files", _IMPORT)
    load.add_argument("path", metavar="PATH", help="folder, .csv or .json")
    load.add_argument("--pictures", metavar="FOLDER", help="where the pictures of a table or an export are")
    load.add_argument(
        "--reading",
        choices=("digit", "number"),
        metavar="NAME",
        help="digit or number (default: by the label)",
    )
    load.add_argument("--model", metavar="MODEL", help="name of a shipped model or path of an .onnx file")
    export = action("export", "[options]", _export, "write corrections to a file", _EXPORT)
    export.add_argument("-o", "--out", metavar="FILE", help="output file (default: standard output, if it is text)")
    export.add_argument(
        "--format",
        choices=("csv", "jsonl", "parquet", "coco", "label-studio"),
        metavar="NAME",
        help="csv, jsonl, parquet, coco or label-studio (default: by the name)",
    )
    export.add_argument("--status", metavar="NAME", help="only pending, held, accepted, relabeled or rejected ones")
    show = action("list", "[options]", _list, "list corrections", _LIST)
    show.add_argument("--order", default="newest", metavar="NAME", help="see below (default: newest)")
    show.add_argument("--status", default="pending", metavar="NAME", help="of those listed (default: pending)")
    show.add_argument("--limit", type=int, default=20, metavar="N", help="maximum number (default: 20)")
    show.add_argument("--json", action="store_true", help="one JSON object per line")
    forget = action("forget", "[options] ID …", _forget, "remove corrections for good", _FORGET)
    forget.add_argument("ids", nargs="*", metavar="ID", help="from the answer of POST /feedback, or from list")
    forget.add_argument("--client", metavar="ID", help="all corrections of this client")
    purge = action("purge", "[options]", _purge, "remove what is older than the settings allow", _PURGE)
    purge.add_argument("--days", type=int, metavar="N", help="days (default: INKDIGITS_FEEDBACK_DAYS, or 365)")
    migrate = action("migrate", "[options]", _migrate, "bring the database up to date", _MIGRATE)
    migrate.add_argument("--to", default="head", metavar="REVISION", help="revision, head or base (default: head)")
    migrate.add_argument("--yes", action="store_true", help="agree to lose what newer tables hold")


def _no_command(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return 2


@contextlib.contextmanager
def _opened(args: argparse.Namespace, *, upgrade: bool = True) -> Iterator[Store]:
    settings = Settings.from_env(feedback=args.feedback)
    check_store(settings)
    from inkdigits.feedback.store import Store

    store = Store(settings.feedback, upgrade=upgrade)
    try:
        yield store
    finally:
        store.close()


def _import(args: argparse.Namespace) -> int:
    with _opened(args) as store:
        from inkdigits.feedback.imports import import_all, read_labeled
        from inkdigits.recognizer import Recognizer

        pictures = Path(args.pictures) if args.pictures else None
        items = read_labeled(Path(args.path), pictures)
        recognizer = Recognizer(Settings.from_env(model=args.model).model or None)
        done = import_all(store, recognizer, items, task=args.reading)
    print_errors(done.errors)
    left_out = f", {len(done.errors):,} left out" if done.errors else ""
    print(f"{done.added:,} added, {done.known:,} there already{left_out}")
    return BAD_IMAGE if done.errors else FINE


def _export(args: argparse.Namespace) -> int:
    format = args.format or _ENDINGS.get(Path(args.out or "").suffix, "jsonl")
    with _opened(args) as store:
        from inkdigits.feedback.datasets import DATASETS
        from inkdigits.feedback.export import write
        from inkdigits.feedback.queries import STATUSES, every
        from inkdigits.options import did_you_mean

        if args.status not in (None, *STATUSES):
            raise SettingError(f"--status is {args.status!r}; {did_you_mean(args.status, STATUSES, 'statuses')}")
        rows = every(store.engine, status=args.status)
        if format in DATASETS:
            ending, save = DATASETS[format]
            if args.out is None or is_stdout(args.out):
                raise SettingError(f"{format} is written to a file; give -o FILE{ending}")
            check_output(args.out, endings=(ending,))
            with naming(args.out), Output(args.out) as file:
                count = save(file.file, rows)
                file.commit()
        else:
            with output(args.out, endings=(".csv", ".jsonl")) as out:
                count = write(out, rows, format)
    print(f"{count:,} corrections", file=sys.stderr)
    return FINE


def _list(args: argparse.Namespace) -> int:
    if args.limit < 1:
        raise SettingError(f"--limit must be 1 or more, not {args.limit}")
    with _opened(args) as store:
        from inkdigits.feedback.export import row_of
        from inkdigits.feedback.queries import listed

        found = listed(store.engine, args.order, status=args.status, limit=args.limit)
    for each in found:
        if args.json:
            print(json.dumps(row_of(each), ensure_ascii=False))
            continue
        was, now = (text.replace("\n", " / ") or "nothing" for text in (each.text, each.label))
        at = each.created.isoformat(" ", "minutes")[:16]
        notes = [f"{each.confidence:.1%}", each.status, each.kind, *(["audit"] if each.is_audit else [])]
        print(f"{each.id}  {at}  {was} → {now}  ({', '.join(notes)})")
    return FINE


def _forget(args: argparse.Namespace) -> int:
    if bool(args.ids) == bool(args.client):
        raise SettingError("give the ids of corrections, or --client ID for all of a client")
    with _opened(args) as store:
        found = [store.forget(id) for id in args.ids] if args.ids else [store.forget_client(args.client)]
        if any(each.pictures for each in found):
            store.compact()
    missing = [id for id, each in zip(args.ids, found, strict=False) if not each.corrections]
    if missing:
        print_errors((id, "there is no correction with this id") for id in missing)
    corrections, pictures = sum(each.corrections for each in found), sum(each.pictures for each in found)
    print(f"removed {corrections:,} corrections and {pictures:,} pictures")
    if models := sorted({model for each in found for model in each.models}):
        print(f"models that were trained on them, to be trained again: {', '.join(models)}")
    return BAD_IMAGE if missing else FINE


def _purge(args: argparse.Namespace) -> int:
    days = Settings.from_env(feedback_days=args.days).feedback_days
    if days == 0:
        raise SettingError("pictures are kept for ever: feedback_days (INKDIGITS_FEEDBACK_DAYS) is 0; give --days N")
    with _opened(args) as store:
        count = store.purge(days)
        if count:
            store.compact()
    print(f"removed {count:,} pictures older than {days:,} days")
    return FINE


def _migrate(args: argparse.Namespace) -> int:
    with _opened(args, upgrade=False) as store:
        from inkdigits.feedback import migrate

        before = migrate.revision(store.engine)
        if args.to == migrate.BASE or (before is not None and args.to != migrate.HEAD and args.to < before):
            if not args.yes:
                raise SettingError(f"going back from {before} to {args.to} loses what newer tables hold; add --yes")
            migrate.downgrade(store.engine, args.to)
        else:
            migrate.upgrade(store.engine, args.to)
        print(f"revision {before or 'none'} → {migrate.revision(store.engine) or 'none'}")
    return FINE
