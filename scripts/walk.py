"""Count how often a training run comes back to a module that it has left.

    python scripts/walk.py --network lenet

It trains for two epochs on the digits of scikit-learn, as ``inkdigits train`` does from the options on, and notes each
function of ``inkdigits.training`` when it is called for the first time, with nested functions and methods. Calls in one
module that follow each other are one stay. A stay in a module that had one before is a return. So the loop over batches
counts once, coming back to a caller does not count, and a call through a base class or a variable does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from inkdigits.settings import Settings
from inkdigits.training.config import config_of
from inkdigits.training.tracking import Recorder
from inkdigits.training.train import train

PACKAGE = "inkdigits.training"


def stays(options: dict[str, Any], package: str) -> list[tuple[str, list[str]]]:
    """Train, and return the modules entered, in order, each with the functions called there for the first time."""
    found: list[tuple[str, list[str]]] = []
    seen: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        module = frame.f_globals.get("__name__", "")
        if event != "call" or not f"{module}.".startswith(f"{package}.") or frame.f_code in seen:
            return
        seen.add(frame.f_code)
        if frame.f_code.co_name.startswith("<") or frame.f_code.co_filename.startswith("<"):
            return  # comprehensions and lambdas belong to their function; a dataclass's __init__ is not written there
        if not found or found[-1][0] != module:
            found.append((module, []))
        found[-1][1].append(frame.f_code.co_qualname)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        sys.setprofile(note)
        try:
            config = config_of({"data": "digits", "epochs": 2, **options})
            with Recorder(config, out, Path(folder) / "runs") as recorder:
                train(config, out, Settings.from_env(), callback=recorder)
        finally:
            sys.setprofile(None)
    return found


def main() -> None:
    """Print the walk and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="lenet", help="network to train (default: lenet)")
    parser.add_argument("--fine-tune", metavar="MODEL", help="start from this model of that network, and distill it")
    parser.add_argument("--package", default=PACKAGE, help=f"whose modules count (default: {PACKAGE})")
    args = parser.parse_args()
    options: dict[str, Any] = {"network": args.network}
    if args.fine_tune:
        options |= {"init": args.fine_tune, "init_weight": 0.5, "teacher": args.fine_tune}
    walk = stays(options, args.package)
    entered: set[str] = set()
    for module, functions in walk:
        print(f"{'return' if module in entered else '      '}  {module}: {', '.join(functions)}")
        entered.add(module)
    print(f"{len(walk)} stays, {len(entered)} modules, {len(walk) - len(entered)} returns")


if __name__ == "__main__":
    main()
