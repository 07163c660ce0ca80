"""Train a shipped model anew, from nothing, by the commands that the registry holds for it and for what it came from.

    python scripts/train_shipped.py cnn --folder models/cnn

A step starts as soon as the models are there that it starts from or learns from, and as many run side by side as there
are processors; each line says whose it is. What is in the folder already is kept, and a step that was stopped goes on
from its checkpoint.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdigits.errors import InkdigitsError, ModelError, TrainingError
from inkdigits.network import shipped_models
from inkdigits.settings import Settings

SUFFIX = ".onnx"
BEFORE_MODELS = (
    "--init",
    "--teacher",
    "--out",
    "quantize",
    "quantise",
)  # words of a command that names of models follow


@dataclass(frozen=True)
class Step:
    """One command of the recipe.

    Attributes:
        name: of the file that it writes.
        words: its command line, without the program's name.
        needs: names of the files that other steps write and that it reads.
    """

    name: str
    words: tuple[str, ...]
    needs: frozenset[str]

    def command(self, folder: Path) -> list[str]:
        """Its arguments, to be run in the folder, with ``--resume`` where there is a checkpoint to go on from."""
        words = list(self.words)
        for i, models in _models(self.words):
            # The one that is made there, where a command calls a shipped model by its name.
            words[i] = ",".join(_file(each) if _file(each) in self.needs else each for each in models)
        return [*words, "--resume"] if self._checkpoint(folder).exists() else words

    def done(self, folder: Path) -> bool:
        return (folder / self.name).exists() and not self._checkpoint(folder).exists()

    def _checkpoint(self, folder: Path) -> Path:
        return (folder / self.name).with_suffix(".ckpt")


def find(model: str) -> dict[str, Any]:
    """The registry's entry of a shipped model.

    Raises:
        ModelError: no such model ships.
    """
    entry = shipped_models().get(model)
    if entry is None:
        raise ModelError(f"no shipped model {model!r}; shipped are: {', '.join(shipped_models())}")
    return entry


def recipe(entry: dict[str, Any]) -> list[Step]:
    """The steps that made a model, in an order in which they can be run.

    Raises:
        ModelError: its entry does not tell by which commands it was made.
    """
    made = {**entry.get("lineage", {}), entry["file"]: entry}
    if missing := [name for name, each in made.items() if "command" not in each]:
        model = Path(entry["file"]).stem
        raise ModelError(f"the registry does not hold the command that made {', '.join(missing)}, of which {model} is")
    steps = []
    for name, each in made.items():
        words = tuple(shlex.split(each["command"])[1:])
        read = {_file(each) for _, models in _models(words) for each in models} - {name}
        steps.append(Step(name, words, frozenset(read & made.keys())))
    return steps


def _models(words: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Which words of a command name models, and the models."""
    for i, word in enumerate(words[1:], 1):
        if words[i - 1] in BEFORE_MODELS:
            yield i, word.split(",")


def _file(word: str) -> str:
    """A model's file, where it is called by name or by file."""
    return word if word.endswith(SUFFIX) else word + SUFFIX


def run(steps: Sequence[Step], folder: Path, at_once: int) -> None:
    """Run what is not done yet, no step before those that it needs.

    Raises:
        TrainingError: a step ended with an error, or was stopped; what runs beside it is awaited.
    """
    done = {step.name for step in steps if step.done(folder)}
    for name in sorted(done):
        print(f"{name}: is there", flush=True)
    waiting = [step for step in steps if step.name not in done]
    running: dict[Future[int], Step] = {}
    failed: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        while running or (waiting and not failed):
            ready = [step for step in waiting if step.needs <= done and not failed]
            running |= {pool.submit(_follow, step, folder): step for step in ready}
            waiting = [step for step in waiting if step not in ready]
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if future.result() == 0 and step.done(folder):
                    done.add(step.name)
                else:
                    failed.append(step.name)
    if failed:
        raise TrainingError(f"{', '.join(failed)} did not come to its end; the same command goes on from here")


def _follow(step: Step, folder: Path) -> int:
    """Run a step in the folder, its lines with its name before them; its exit status."""
    words = step.command(folder)
    print(f"{step.name}: inkdigits {shlex.join(words)}", flush=True)
    settings = Settings.from_env()
    folders = {"DATA": settings.data, "CACHE": settings.cache, "RUNS": settings.runs}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "inkdigits", *words],
        cwd=folder,
        env={
            **os.environ,
            **{f"INKDIGITS_{name}": str(Path(path).resolve()) for name, path in folders.items() if path},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            print(f"{step.name}: {line}", end="", flush=True)
    return process.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Train; 2 where something is wrong with what was given, 1 where a step failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a shipped model")
    parser.add_argument("--folder", type=Path, default=Path("models"), help="where the files go (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="steps side by side (%(default)s)")
    args = parser.parse_args(argv)
    started = time.monotonic()
    try:
        steps = recipe(find(args.model))
        args.folder.mkdir(parents=True, exist_ok=True)
        run(steps, args.folder, max(1, args.at_once))
    except TrainingError as error:
        print(f"train_shipped: {error}", file=sys.stderr)
        return 1
    except (InkdigitsError, OSError) as error:
        print(f"train_shipped: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"{args.folder / steps[-1].name} is there, after {(time.monotonic() - started) / 60:.0f} minutes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
