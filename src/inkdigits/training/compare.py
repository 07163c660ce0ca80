"""Compare models: trained here or before, on the same split, with several seeds, measured in the same way.

Each model with each seed is a cell: a file of figures that is written when it is done and kept, so that a comparison
that was stopped goes on where it stood, and one with another model or seed added trains only that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from threadpoolctl import threadpool_limits

from inkdigits.atomic import write_atomically
from inkdigits.data.catalog import load, parts
from inkdigits.errors import DataError, SettingError, TrainingError
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.preprocess import SIDE, preprocess
from inkdigits.progress import Report
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.baselines import KNN, LADDER, LOGISTIC, Neighbours, logistic
from inkdigits.training.calibrate import fit_temperature
from inkdigits.training.comparison import Cell, Comparison
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.mlp import to_onnx
from inkdigits.training.prepare import TrainingSet, joined, prepare, split_names
from inkdigits.training.train import train

__all__ = ["Plan", "compare"]

CALLS, WARM = 100, 10  # of a model on one image: timed, and before them
SHA_LETTERS = 12  # of a model's SHA-256 in a file's name
TAKEN = "a model that was trained before"


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        models: names of the ladder's rungs, or paths of ``.onnx`` files, which are taken as they are.
        data: to train, validate and test on, as for ``inkdigits train``.
        seeds: one training for each; a model that has nothing random in it is trained once.
        epochs: of each training; 0: each model's own number.
        threads: of each training; 0: one a core.
    """

    models: tuple[str, ...] = tuple(LADDER)
    data: str = "mnist"
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 0
    threads: int = 0

    def __post_init__(self) -> None:
        for name in self.models:
            if name not in LADDER and not name.endswith(".onnx"):
                raise SettingError(
                    f"unknown model {name!r}; known are: {', '.join(LADDER)}; or the path of an .onnx file"
                )
        for what, values in (("model", self.models), ("seed", self.seeds)):
            if not values:
                raise SettingError(f"there is no {what} to compare; name at least one")
            if twice := [value for value in values if values.count(value) > 1]:
                raise SettingError(f"{what} {twice[0]} is named twice")

    @property
    def cells(self) -> list[tuple[str, int]]:
        """(model, seed) of each training, in order."""
        return [(name, seed) for name in self.models for seed in (self.seeds if self._random(name) else self.seeds[:1])]

    def config(self, name: str, seed: int) -> TrainConfig | MlpConfig | None:
        """How a rung of the ladder is trained here; None where it has no options."""
        config = LADDER[name].config if name in LADDER else None
        if config is None:
            return None
        config = replace(config, data=self.data, seed=seed, epochs=self.epochs or config.epochs)
        return replace(config, threads=self.threads) if isinstance(config, TrainConfig) else config

    @staticmethod
    def _random(name: str) -> bool:
        return name in LADDER and LADDER[name].config is not None


def compare(plan: Plan, folder: Path, settings: Settings, *, console: Console | None = None) -> Comparison:
    """Train what is not there yet, measure it, and write the table and the plot.

    The folder gets ``comparison.md``, ``.csv``, ``.json`` and ``.svg``; ``cells/`` with the figures of each training;
    and ``models/`` with the models and their registry. The test part is read once for each model, when its training is
    over.

    Args:
        plan: what is compared.
        folder: made where it is not there; what is finished in it is kept.
        settings: where data sets are.
        console: where the run tells how it stands; default standard output.

    Raises:
        SettingError: the folder holds figures of other options.
        DataError: the data set cannot be had, or has no test part.
        ModelError: a model to take is none.
        TrainingError: a training fails, or a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call goes on from there.
    """
    say = (report := Report(console)).say
    for name in split_names(plan.data):
        if "test" not in parts(name):
            raise DataError(f"data set {name} has no test part to compare on")
    bench = _Bench(plan, folder, settings, report)
    try:
        for part in ("cells", "models"):
            (folder / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make folder {folder}: {error.strerror}; name another --out") from None
    # All are looked at before the first is trained: a cell of other options must not be found out after hours.
    kept = {at: _read(_path(folder, *at), plan, *at) for at in plan.cells}
    cells = []
    for number, (name, seed) in enumerate(plan.cells, 1):
        cell = kept[name, seed]
        say(f"[{number}/{len(plan.cells)}] {name}, seed {seed}{': kept' if cell else ''}")
        if cell is None:
            cell = bench.cell(name, seed)
            write_atomically(_path(folder, name, seed), (json.dumps(asdict(cell), indent=2) + "\n").encode())
        cells.append(cell)
    about = {name: LADDER[name].about if name in LADDER else TAKEN for name in plan.models}
    comparison = Comparison(plan.data, cells, about)
    comparison.write(folder / "comparison")
    say("")
    say(comparison.text())
    return comparison


class _Bench:
    """Trains and measures one cell at a time."""

    def __init__(self, plan: Plan, folder: Path, settings: Settings, report: Report) -> None:
        self.plan, self.folder, self.settings = plan, folder, settings
        self.console, self.progress = report.console, report.progress

    def cell(self, name: str, seed: int) -> Cell:
        if name in (KNN, LOGISTIC):
            return self._neighbours(seed) if name == KNN else self._logistic(seed)
        return self._trained(name, seed) if name in LADDER else self._taken(name, seed)

    def _trained(self, name: str, seed: int) -> Cell:
        config = self.plan.config(name, seed)
        assert config is not None  # as those of the ladder that have none are trained otherwise
        out = self.folder / "models" / f"{name}-{seed}.onnx"
        resume = out.with_suffix(".ckpt").exists()
        entry = train(config, out, self.settings, resume=resume, console=self.console)
        if entry["training"]["epochs"] < config.epochs:
            raise KeyboardInterrupt  # Ctrl-C gives a model of the epochs so far, but it ends the comparison, too
        return self._of_entry(name, seed, entry, Recognizer(out), config.to_dict())

    def _taken(self, name: str, seed: int) -> Cell:
        recognizer = Recognizer(name)
        entry = dict(recognizer.model.entry)
        metrics = {"validation": entry.get("metrics", {}).get("validation", {})}
        if entry.get("config", {}).get("data") != self.plan.data:
            metrics = {"validation": {}}  # it was chosen by other images
        entry["metrics"] = {**metrics, **self._tests(recognizer)}
        return self._of_entry(
            name, seed, entry, recognizer, {"sha256": recognizer.model.sha256, "data": self.plan.data}
        )

    def _of_entry(
        self, name: str, seed: int, entry: dict[str, Any], recognizer: Recognizer, config: dict[str, Any]
    ) -> Cell:
        metrics = entry["metrics"]
        tests = {data: (figures["n"], figures["accuracy"]) for data, figures in metrics.items() if data != "validation"}
        return Cell(
            model=name,
            seed=seed,
            config=config,
            validation=metrics["validation"].get("accuracy"),
            tests=tests,
            parameters=entry.get("parameters"),
            bytes=recognizer.model.path.stat().st_size,
            seconds=entry.get("training", {}).get("seconds"),
            network_us=_latency(recognizer.logits),
        )

    def _logistic(self, seed: int) -> Cell:
        training, validation = self._images()
        with threadpool_limits(1):
            started = time.perf_counter()
            model = logistic(training)
            seconds = time.perf_counter() - started
        logits = model.logits(validation.images.astype(np.float32) / 255)
        temperature = fit_temperature(torch.from_numpy(logits), torch.from_numpy(validation.labels))
        out = self.folder / "models" / f"{LOGISTIC}-{seed}.onnx"
        write_atomically(out, to_onnx(model, temperature=temperature, name=LOGISTIC))
        recognizer = Recognizer(out)
        metrics = {"validation": {"accuracy": _share(logits, validation.labels)}, **self._tests(recognizer)}
        entry = {"metrics": metrics, "parameters": model.parameters, "training": {"seconds": seconds}}
        return self._of_entry(LOGISTIC, seed, entry, recognizer, {"data": self.plan.data})

    def _tests(self, recognizer: Recognizer) -> dict[str, Any]:
        """Return the figures of the test parts by data set."""
        data = (load(name, self.settings, part="test") for name in split_names(self.plan.data))
        found = [evaluate(recognizer, each, self.progress) for each in data]
        return {each.dataset: each.figures() for each in found}

    def _neighbours(self, seed: int) -> Cell:
        training, validation = self._images()
        with threadpool_limits(1):
            started = time.perf_counter()
            model = Neighbours(training)
            seconds = time.perf_counter() - started
            tests = {}
            for data in split_names(self.plan.data):
                test = load(data, self.settings, part="test")
                images = np.stack([preprocess(image).image for image in test.images])
                tests[test.name] = (len(test), self._accuracy(model.logits, images, test.labels))
            return Cell(
                model=KNN,
                seed=seed,
                config={"data": self.plan.data},
                validation=self._accuracy(model.logits, validation.images.astype(np.float32) / 255, validation.labels),
                tests=tests,
                parameters=model.parameters,
                bytes=training.images.nbytes,
                seconds=seconds,
                network_us=_latency(model.logits),
            )

    def _accuracy(self, logits: Callable[[np.ndarray], np.ndarray], images: np.ndarray, labels: np.ndarray) -> float:
        answers = []
        with self.progress(f"{KNN} reading", len(images), "") as advance:
            for batch in np.array_split(images, max(1, len(images) // 500)):
                answers.append(logits(batch))
                advance(len(batch))
        return _share(np.concatenate(answers), labels)

    def _images(self) -> tuple[TrainingSet, TrainingSet]:
        """Return training and validation images: the same for every model."""
        data = prepare(TrainConfig(data=self.plan.data), self.settings, self.progress)
        return data.training, joined(data.validation.values())


def _share(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def _latency(logits: Callable[[np.ndarray], np.ndarray]) -> float:
    """Median µs of a model alone, without the normalisation, on one image with one thread."""
    image = np.random.default_rng(0).random((1, 1, SIDE, SIDE), np.float32)
    took = []
    with threadpool_limits(1):
        for _ in range(WARM + CALLS):
            started = time.perf_counter()
            logits(image)
            took.append(time.perf_counter() - started)
    return float(np.median(took[WARM:]) * 1e6)


def _path(folder: Path, name: str, seed: int) -> Path:
    """A cell's file. That of a model which is taken as it is has its hash in the name: others may be called so, too."""
    if name.endswith(".onnx"):
        name = f"{Path(name).stem}-{Recognizer(name).model.sha256[:SHA_LETTERS]}"
    return folder / "cells" / f"{name}-{seed}.json"


def _read(path: Path, plan: Plan, name: str, seed: int) -> Cell | None:
    """A finished cell; None where it is yet to be made."""
    try:
        # The same file may be named by another path now.
        cell = replace(Cell(**json.loads(path.read_text(encoding="utf-8"))), model=name)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise TrainingError(f"{path} is damaged; delete it to train again") from None
    config, stored = plan.config(name, seed), cell.config
    if config is not None:
        # What a cell does not name is an option that came later, and was then what is now its default.
        wanted, stored = config.to_dict(), type(config).from_dict(stored).to_dict()
    else:
        wanted = {"data": plan.data}
    for key, value in wanted.items():
        # How many threads share the work changes the time, not the model.
        if key != "threads" and stored.get(key) != value:
            raise SettingError(
                f"{path} is of other options: {key} is {stored.get(key)!r} there and {value!r} here; "
                "name another --out, or delete it to train again"
            )
    return cell
