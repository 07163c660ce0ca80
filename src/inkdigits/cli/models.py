"""``inkdigits models``: which model of a folder answers, and how another one takes its place."""

from __future__ import annotations

import argparse
import getpass
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inkdigits.atomic import check_output
from inkdigits.cli.common import FINE, Commands, Parser, add_command, add_settings, open_store, refuse_own
from inkdigits.errors import SettingError
from inkdigits.settings import Settings

__all__ = ["add"]

NOT_PASSED = 1
AUTO = "auto"
SHOWN = 12  # letters of a hash
_EXAMPLES = """\
examples:
  inkdigits models list --folder models/
  inkdigits models gate new --audit audit.parquet --folder models/ --report decision.html
  inkdigits models promote new --decision decision.json --folder models/
  inkdigits models rollback --folder models/ --reason "more rejections since Monday"
  inkdigits serve --model models/        serves the champion; SIGHUP takes the new one

exit code: 0 done; 1 the challenger did not pass the gate; 2 nothing was done
"""


def add(commands: Commands) -> None:
    """Add models to the command line."""
    models = add_command(
        commands,
        "models",
        "list|gate|promote|rollback|reinstate [options]",
        lambda args: models.error("name what to do: list, gate, promote, rollback or reinstate"),
        "list the models of a folder, promote one, or take that back",
        "List the models of a folder and their roles; test a challenger; promote it, or take that back.",
        _EXAMPLES,
    )
    actions = models.add_subparsers(metavar="ACTION", title="actions", parser_class=Parser)

    def action(name: str, usage: str, run: Callable[[argparse.Namespace], int], help: str, about: str) -> Parser:
        sub = actions.add_parser(name, usage=usage, help=help, description=about, epilog="")
        sub.set_defaults(run=run)
        sub.add_argument(
            "--folder", metavar="FOLDER", help="of the models and their registry.json (default: INKDIGITS_MODEL)"
        )
        return sub

    shown = action(
        "list", "[options]", _list, "list models, roles and promotions", "List models, roles and promotions."
    )
    shown.add_argument("--json", action="store_true", help="print JSON")
    gate = action(
        "gate",
        "[options] MODEL --audit DATA",
        _gate,
        "test whether a model may replace the champion",
        "Test whether a model may replace the champion: better on the audit, and not worse on fixed sets.",
    )
    gate.add_argument("model", metavar="MODEL", help="name of the challenger in the folder")
    gate.add_argument(
        "--audit",
        metavar="DATA",
        help="a random sample of pictures that were answered, labeled whether right or wrong, with their users in "
        "the column writer; as for inkdigits guarantee (default: the reviewed audit of --feedback)",
    )
    gate.add_argument(
        "--validation",
        default="mnist+pen",
        metavar="DATA",
        help="fixed sets of digits, joined by + (default: mnist+pen, the parts that trainings hold out)",
    )
    gate.add_argument("--report", metavar="FILE.html", help="write the record, and FILE.json next to it")
    promote = action(
        "promote",
        "[options] MODEL",
        _promote,
        "make a model the champion",
        "Make a model the champion of its folder. A running server takes it with SIGHUP.",
    )
    promote.add_argument("model", metavar="MODEL", help="name of the model in the folder")
    promote.add_argument("--decision", metavar="FILE.json", help="the record of the gate, which the model passed")
    back = action("rollback", "[options]", _rollback, "take the last promotion back", "Take the last promotion back.")
    lifted = action(
        "reinstate",
        "[options] MODEL",
        _reinstate,
        "let a model answer again that a server withdrew",
        "Let a model answer again that a server withdrew, as it was worse on live traffic.",
    )
    lifted.add_argument("model", metavar="MODEL", help="name of the model in the folder")
    for each in (promote, back):
        each.add_argument("--reason", default="", metavar="TEXT", help="why; kept in the registry")
        each.add_argument("--by", default="", metavar="NAME", help="who decides (default: the user's name)")
    for each in (gate, promote, back):
        add_settings(each, ["feedback"])
    promote.add_argument("--auto", action="store_true", help="do not ask a person; needs --decision")


def _list(args: argparse.Namespace) -> int:
    folder = _folder(args)
    from inkdigits.network import read_registry
    from inkdigits.registry import roles

    found, registry = roles(folder), read_registry(folder)
    promotions, withdrawn = registry.get("promotions", []), registry.get("withdrawn", [])
    models = [
        {
            "name": name,
            "role": found.of(name),
            "sha256": str(entry.get("sha256", "")),
            "created": str(entry.get("created", "")),
            "accuracy": {data: each.get("accuracy") for data, each in entry.get("metrics", {}).items()},
        }
        for name, entry in registry["models"].items()
    ]
    if args.json:
        found_all = {"models": models, "promotions": promotions, "withdrawn": withdrawn}
        print(json.dumps(found_all, indent=2, ensure_ascii=False))
        return FINE
    width = max((len(model["name"]) for model in models), default=0)
    for model in models:
        name, role = f"{model['name']:<{width}}", f"{model['role']:<10}"
        print(f"{name}  {role}  {model['sha256'][:SHOWN]}  {model['created'][:10]}".rstrip())
    for entry in promotions:
        before = entry["from"]["name"] if entry["from"] else "none"
        reason = f": {entry['reason']}" if entry.get("reason") else ""
        print(f"{entry['at']}  {entry['kind']:<9}  {before} → {entry['to']['name']}  by {entry['by']}{reason}")
    for entry in withdrawn:
        print(f"{entry['at']}  withdrawn  {entry['name']}  by {entry['by']}: {entry['reason']}")
    return FINE


def _reinstate(args: argparse.Namespace) -> int:
    from inkdigits.registry import reinstate

    reinstate(_folder(args), args.model)
    print(f"{args.model} may answer again; a running server takes it with SIGHUP")
    return FINE


def _gate(args: argparse.Namespace) -> int:
    folder, settings = _folder(args), Settings.from_env(feedback=args.feedback)
    if not args.audit and not settings.feedback:
        raise SettingError("give --audit DATA, or --feedback for the reviewed audit of a database of corrections")
    from inkdigits.evaluation.report import check_path
    from inkdigits.network import read_registry

    given = ["--audit", args.audit] if args.audit else []
    command = f"inkdigits models gate {shlex.join([args.model, *given, '--validation', args.validation])}"
    if args.report:
        check_path(Path(args.report))
        files = [folder / str(entry.get("file", "")) for entry in read_registry(folder)["models"].values()]
        for path in (args.report, str(Path(args.report).with_suffix(".json"))):
            check_output(path)
            refuse_own(path, [*given[1:], *files])
    with open_store(settings, args.audit) as engine:
        from inkdigits.data.catalog import load
        from inkdigits.data.catalog import parts as parts_of
        from inkdigits.feedback.split import assign, audit
        from inkdigits.learning.gate import try_challenger

        found: Any
        if engine is None:
            found = load(args.audit, settings, part="all" if "all" in parts_of(args.audit) else "test")
        else:
            assign(engine)
            found = audit(engine)
        asked = {"validation": args.validation, "command": command, "engine": engine}
        decision = try_challenger(folder, args.model, found, settings, **asked)
    print(decision.table())
    if args.report:
        numbers = decision.write(Path(args.report))
        print(f"wrote {args.report} and {numbers}")
    return FINE if decision.verdict.passed else NOT_PASSED


def _promote(args: argparse.Namespace) -> int:
    folder = _folder(args)
    from inkdigits.registry import promote, roles

    if not args.decision and (args.auto or (not args.reason and roles(folder).champion)):
        need = "--auto needs --decision FILE.json" if args.auto else "give --decision FILE.json, or --reason instead"
        raise SettingError(f"{need}; inkdigits models gate writes the record")
    decision = _read_decision(args.decision) if args.decision else None
    if not args.auto:
        _ask(f"make {args.model} the champion of {folder}", roles(folder).champion)
    entry = promote(folder, args.model, by=args.by or _user(auto=args.auto), reason=args.reason, decision=decision)
    return _told(entry, args)


def _rollback(args: argparse.Namespace) -> int:
    from inkdigits.registry import rollback

    return _told(rollback(_folder(args), by=args.by or _user(), reason=args.reason), args)


def _told(entry: dict[str, Any], args: argparse.Namespace) -> int:
    with open_store(Settings.from_env(feedback=args.feedback)) as engine:
        if engine is not None:
            from inkdigits.feedback.history import add_promotion

            add_promotion(engine, entry)
    before = f", instead of {entry['from']['name']}" if entry["from"] else ""
    print(f"{entry['to']['name']} is the champion{before}; a running server takes it with SIGHUP")
    return FINE


def _ask(what: str, champion: str) -> None:
    """Ask a person.

    Raises:
        SettingError: there is none, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise SettingError(f"to {what} needs a person at a terminal, or --auto with a decision that passed")
    answer = input(f"To {what}{f', instead of {champion}' if champion else ''}, type yes: ")
    if answer.strip().lower() != "yes":
        raise SettingError("nothing was changed, as the answer was not yes")


def _read_decision(path: str) -> dict[str, Any]:
    try:
        decision = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read the decision {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not a record of inkdigits models gate: {error}") from None
    if not isinstance(decision, dict):
        raise SettingError(f"{path} is not a record of inkdigits models gate")
    return decision


def _user(*, auto: bool = False) -> str:
    try:
        return AUTO if auto else getpass.getuser()
    except (KeyError, OSError):  # no entry in passwd, as in a container
        return "unknown"


def _folder(args: argparse.Namespace) -> Path:
    """Return the folder of the models: the option, the setting where it is a folder, or what ships.

    Raises:
        SettingError: it is not a folder.
    """
    model = Settings.from_env().model
    if args.folder is None and not Path(model or "-").is_dir():
        from inkdigits.network import SHIPPED

        return SHIPPED
    folder = Path(args.folder or model)
    if not folder.is_dir():
        raise SettingError(f"there is no folder {str(folder)!r}")
    return folder
