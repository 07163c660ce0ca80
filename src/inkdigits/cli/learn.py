"""``inkdigits learn``: a better model from reviewed corrections, if the gate agrees."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from inkdigits.cli.common import FINE, Commands, add_command, add_settings, check_store, open_store
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

__all__ = ["add"]

_EXAMPLES = """\
examples:
  inkdigits learn --feedback feedback.db --folder models/
  inkdigits learn --feedback feedback.db --folder models/ --auto    promote what passes, as in a nightly job
  inkdigits models promote learned-1 --decision models/learned-1.decision.json --folder models/

The champion of the folder is fine-tuned on the corrections of half of the clients, together with some
of the data that it was trained on. Clients of the other half are never trained on: the reviewed audit
sample of theirs is what the gate compares both models on. Started again after an interruption, it
resumes.

exit code: 0 done, also if there are too few corrections, or the gate says no
"""


def add(commands: Commands) -> None:
    """Add learn to the command line."""
    learn = add_command(
        commands,
        "learn",
        "[options]",
        _learn,
        "train a better model on corrections",
        "Train a challenger on the corrections of a database, and compare it with the champion.",
        _EXAMPLES,
    )
    learn.add_argument("--folder", metavar="FOLDER", help="of the models (default: INKDIGITS_MODEL)")
    learn.add_argument(
        "--data",
        default="",
        metavar="DATA",
        help="what is replayed, as for inkdigits train (default: what the champion was trained on)",
    )
    learn.add_argument(
        "--validation",
        default="mnist+pen",
        metavar="DATA",
        help="fixed sets of the gate, joined by + (default: mnist+pen, the parts that trainings hold out)",
    )
    learn.add_argument(
        "--least", type=int, default=100, metavar="N", help="new corrections that a training needs (default: 100)"
    )
    learn.add_argument("--name", default="", metavar="NAME", help="of the challenger (default: learned-1, learned-2 …)")
    learn.add_argument("--auto", action="store_true", help="promote a challenger that passes the gate")
    learn.add_argument(
        "--pictures", action="store_true", help="show pictures in the record; they outlast their removal from the store"
    )
    add_settings(learn, ["feedback"])


def _learn(args: argparse.Namespace) -> int:
    settings = Settings.from_env(feedback=args.feedback)
    check_store(settings)
    folder = Path(args.folder or settings.model or "-")
    if not folder.is_dir():
        raise SettingError(f"there is no folder {str(folder)!r} of models; name it with --folder")
    if args.name and Path(args.name).name != args.name:
        raise SettingError(f"--name is a name such as learned-1, without a folder, not {args.name!r}")
    if args.least < 1:
        raise SettingError(f"--least must be 1 or more, not {args.least}")
    from inkdigits.learning.cycle import learn
    from inkdigits.progress import Report

    given = ["--validation", args.validation, *(["--data", args.data] if args.data else [])]
    report = Report()
    with open_store(settings) as engine:
        done = learn(
            engine,
            folder,
            settings,
            report,
            data=args.data,
            validation=args.validation,
            least=args.least,
            name=args.name,
            auto=args.auto,
            with_pictures=args.pictures,
            command=f"inkdigits learn {shlex.join(given)}",
        )
    if not done.challenger:
        report.say(f"nothing was trained: {done.reason}")
        return FINE
    if done.decision is None:
        report.say(f"{done.challenger} is ready, and the champion stays: {done.reason}")
        report.say(f"then: inkdigits models gate {done.challenger} --folder {folder}")
        return FINE
    report.say(done.decision.table())
    report.say(f"wrote {' and '.join(map(str, done.record))}")
    if done.promotion:
        report.say(f"{done.challenger} is the champion; a running server takes it with SIGHUP")
    elif done.decision.verdict.passed:
        report.say(
            f"to promote it: inkdigits models promote {done.challenger} --decision {done.record[1]} --folder {folder}"
        )
    return FINE
