"""Compare models: trained here or existing ones, on the same split, with several seeds, measured in the same way.

Each model with each seed is a cell: a file of figures, written when its training is done. A comparison that was stopped
resumes from these files, and adding a model or a seed trains only that one.
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
from inkdigits.training.baselines import KNN, LADDER, LOGISTIC, Neighbors, logistic
from inkdigits.training.calibrate import fit_temperature
from inkdigits.training.comparison import Cell, Comparison
from inkdigits.training.config import MlpConfig, TrainConfig
from inkdigits.training.mlp import to_onnx
from inkdigits.training.prepare import TrainingSet, joined, prepare, split_names
from inkdigits.training.train import train

__all__ = ["Plan", "compare"]

CALLS, WARM = 100, 10  # of a model on one image: timed, and untimed before them
SHA_LETTERS = 12  # of a model's SHA-256 in a file's name
EXISTING = "an existing model"


@dataclass(frozen=True)
class Plan:
    """What to compare.

    Attributes:
        models: names of the ladder's rungs, or paths of existing ``.onnx`` files.
        data: to train, validate and test on, as for ``inkdigits train``.
        seeds: one training for each; a deterministic model is trained once.
        epochs: of each training; 0: the default of each model.
        threads: of each training; 0: one per core.
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
                raise SettingError(f"{what} {twice[0]} is given twice; give it once")

    @property
    def cells(self) -> list[tuple[str, int]]:
        """(model, seed) of each training, in order."""
        return [(name, seed) for name in self.models for seed in (self.seeds if self._random(name) else self.seeds[:1])]

    def config(self, name: str, seed: int) -> TrainConfig | MlpConfig | None:
        """Return the training options of a rung of the ladder; None if it has none."""
        config = LADDER[name].config if name in LADDER else None
        if config is None:
            return None
        config = replace(config, data=self.data, seed=seed, epochs=self.epochs or config.epochs)
        return replace(config, threads=self.threads) if isinstance(config, TrainConfig) else config

    @staticmethod
    def _random(name: str) -> bool:
        return name in LADDER and LADDER[name].config is not None


def compare(plan: Plan, folder: Path, settings: Settings, *, console: Console | None = None) -> Comparison:
    """Train the missing models, measure them, and write the table and the plot.

    The folder gets ``comparison.md``, ``.csv``, ``.json`` and ``.svg``; ``cells/`` with the figures of each training;
    and ``models/`` with the models and their registry. The test set is read once for each model, after its training.

    Args:
        plan: what to compare.
        folder: created if missing; finished cells in it are kept.
        settings: where data sets are.
        console: where progress is printed; default standard output.

    Raises:
        SettingError: the folder holds figures of other options.
        DataError: the data set cannot be loaded, or has no test part.
        ModelError: an existing model is invalid.
        TrainingError: a training fails, or a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the same call resumes.
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
    # Read all cells before the first training: one of other options must not be found only after hours.
    kept = {at: _read(_path(folder, *at), plan, *at) for at in plan.cells}
    cells = []
    for number, (name, seed) in enumerate(plan.cells, 1):
        cell = kept[name, seed]
        say(f"[{number}/{len(plan.cells)}] {name}, seed {seed}{': kept' if cell else ''}")
        if cell is None:
            cell = bench.cell(name, seed)
            write_atomically(_path(folder, name, seed), (json.dumps(asdict(cell), indent=2) + "\n").encode())
        cells.append(cell)
    about = {name: LADDER[name].about if name in LADDER else EXISTING for name in plan.models}
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
            return self._neighbors(seed) if name == KNN else self._logistic(seed)
        return self._trained(name, seed) if name in LADDER else self._existing(name, seed)

    def _trained(self, name: str, seed: int) -> Cell:
        config = self.plan.config(name, seed)
        assert config is not None  # as cell() handles the rungs without one
        out = self.folder / "models" / f"{name}-{seed}.onnx"
        resume = out.with_suffix(".ckpt").exists()
        entry = train(config, out, self.settings, resume=resume, console=self.console)
        if entry["training"]["epochs"] < config.epochs:
            raise KeyboardInterrupt  # Ctrl-C exports a model of the epochs so far, but must also end the comparison
        return self._of_entry(name, seed, entry, Recognizer(out), config.to_dict())

    def _existing(self, name: str, seed: int) -> Cell:
        recognizer = Recognizer(name)
        entry = dict(recognizer.model.entry)
        metrics = {"validation": entry.get("metrics", {}).get("validation", {})}
        if entry.get("config", {}).get("data") != self.plan.data:
            metrics = {"validation": {}}  # it was selected by other images
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
        """Return the figures on each test set, by data set."""
        data = (load(name, self.settings, part="test") for name in split_names(self.plan.data))
        found = [evaluate(recognizer, each, self.progress) for each in data]
        return {each.dataset: each.figures() for each in found}

    def _neighbors(self, seed: int) -> Cell:
        training, validation = self._images()
        with threadpool_limits(1):
            started = time.perf_counter()
            model = Neighbors(training)
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
    """Return the median µs of a model alone, without preprocessing, on one image with one thread."""
    image = np.random.default_rng(0).random((1, 1, SIDE, SIDE), np.float32)
    took = []
    with threadpool_limits(1):
        for _ in range(WARM + CALLS):
            started = time.perf_counter()
            logits(image)
            took.append(time.perf_counter() - started)
    return float(np.median(took[WARM:]) * 1e6)


def _path(folder: Path, name: str, seed: int) -> Path:
    """Return the file of a cell. For an existing model the name has its hash, as several may have the same name."""
    if name.endswith(".onnx"):
        name = f"{Path(name).stem}-{Recognizer(name).model.sha256[:SHA_LETTERS]}"
    return folder / "cells" / f"{name}-{seed}.json"


def _read(path: Path, plan: Plan, name: str, seed: int) -> Cell | None:
    """Read a finished cell; return None if it does not exist yet."""
    try:
        # The same model may be given by another path now.
        cell = replace(Cell(**json.loads(path.read_text(encoding="utf-8"))), model=name)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise TrainingError(f"{path} is damaged; delete it to train again") from None
    config, stored = plan.config(name, seed), cell.config
    if config is not None:
        # Options that a cell lacks were added later; it was made with what are their defaults now.
        wanted, stored = config.to_dict(), type(config).from_dict(stored).to_dict()
    else:
        wanted = {"data": plan.data}
    for key, value in wanted.items():
        # The number of threads changes the time, not the model.
        if key != "threads" and stored.get(key) != value:
            raise SettingError(
                f"{path} was made with other options: {key} is {stored.get(key)!r} there and {value!r} here; "
                "name another --out, or delete it to train again"
            )
    return cell
