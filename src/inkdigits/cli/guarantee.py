"""``inkdigits guarantee``: the confidence from which answers may be relied on."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from inkdigits.cli.common import BAD_IMAGE, FINE, Commands, add_command, add_settings, open_store, output, print_errors
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

if TYPE_CHECKING:
    from inkdigits.data.dataset import Dataset
    from inkdigits.recognizer import Recognizer

__all__ = ["add"]

_EXAMPLES = """\
examples:
  inkdigits guarantee --data mine/ --error 0.5% --confidence 95% -o mine.profile.json
  inkdigits predict --profile mine.profile.json --sure scans/
  inkdigits serve --profile mine.profile.json

The pictures must be drawn at random from those that the model will read, labeled by a person
whether the model reads them right or not, and new to it. Choose error and confidence before you
look at the result, and run it once: drawing until a threshold is found breaks the promise.

exit code: 0 the promise holds; 1 it holds, but some image could not be read; 2 it does not
"""


def add(commands: Commands) -> None:
    """Add guarantee to the command line."""
    guarantee = add_command(
        commands,
        "guarantee",
        "[options] --data DATA --error SHARE",
        _guarantee,
        "find the confidence from which at most a given share of answers is wrong",
        "Find the confidence from which, on pictures like yours, few enough answers are wrong.",
        _EXAMPLES,
    )
    guarantee.add_argument(
        "--data",
        metavar="DATA",
        help="labeled pictures, as for inkdigits evaluate; who wrote them is the column writer of a table, or the "
        "folder below 0 to 9, as in 7/anna/3.png (default: the reviewed audit of --feedback)",
    )
    guarantee.add_argument(
        "--error", required=True, metavar="SHARE", help="largest share of wrong answers to allow, such as 0.5%%"
    )
    guarantee.add_argument(
        "--confidence", default="95%", metavar="SHARE", help="probability that this holds (default: 95%%)"
    )
    guarantee.add_argument(
        "--same-writers",
        action="store_true",
        help="the model will read these writers and no others: take all their pictures, not one of each",
    )
    guarantee.add_argument("-o", "--output", metavar="PROFILE", help="write the profile to this .json file")
    guarantee.add_argument("--json", action="store_true", help="print the result as JSON")
    add_settings(guarantee, ("model", "feedback"))


def _guarantee(args: argparse.Namespace) -> int:
    settings = Settings.from_env(model=args.model, feedback=args.feedback)
    if not args.data and not settings.feedback:
        raise SettingError("give --data DATA, or --feedback for the reviewed audit of a database of corrections")
    error, confidence = _share("--error", args.error), _share("--confidence", args.confidence)
    from inkdigits.evaluation.guarantee import guarantee
    from inkdigits.network import find_model
    from inkdigits.preprocess import Limits
    from inkdigits.recognizer import Recognizer

    _, path, _ = find_model(settings.model or None)
    limits = Limits(max_pixels=settings.max_pixels, max_bytes=settings.max_bytes)
    # Opened first, as reading takes time; standard output is for the result.
    given = args.data.split(",") if args.data else []
    with (
        output(args.output, endings=(".json",), inputs=[path, *given]) as out,
        open_store(settings, args.data) as engine,
    ):
        recognizer = Recognizer(settings.model or None, threads=settings.threads, limits=limits)
        dataset = _labeled(engine, args.data, settings, recognizer)
        found = guarantee(recognizer, dataset, error=error, confidence=confidence, same_writers=args.same_writers)
        if args.output:
            out.write(found.profile.json())
        if engine is not None:
            from inkdigits.feedback.history import add_certificate

            add_certificate(engine, found.profile)
    print(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if args.json else found.table())
    if not args.json:
        if found.profile.writers is None:
            print("The data do not say who wrote them: the pictures must be independent of each other.")
        told = f"inkdigits predict --profile {args.output} --sure" if args.output else "-o PROFILE.json keeps it"
        print(f"{'It is used by: ' if args.output else 'The profile is not kept: '}{told}")
    print_errors(found.unreadable)
    return BAD_IMAGE if found.unreadable else FINE


def _labeled(engine: Any, data: str | None, settings: Settings, recognizer: Recognizer) -> Dataset:
    """Return the pictures of a guarantee: those that are named, or the audit of the clients that are kept for it."""
    if data:
        from inkdigits.evaluation.evaluate import unseen

        return unseen(data, settings, recognizer)
    from inkdigits.feedback.split import GUARANTEE, assign, audit

    assign(engine)
    found = audit(engine, GUARANTEE)
    if not len(found):
        raise SettingError(
            "the database has no reviewed audit of the clients that are kept for guarantees; set feedback_audit "
            "(INKDIGITS_FEEDBACK_AUDIT), and review the audit at /review"
        )
    return found.dataset("audit")


def _share(name: str, text: str) -> float:
    """Return a share that is given as 0.5% or 0.005.

    Raises:
        SettingError: it is neither, or not between 0 and 1.
    """
    number, percent, rest = text.partition("%")
    try:
        share = float(number) / (100 if percent else 1)
    except ValueError:
        share = -1.0
    if rest or not 0 < share < 1:
        raise SettingError(f"{name} must be a share such as 0.5% or 0.005, not {text!r}")
    return share
