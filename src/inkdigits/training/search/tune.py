"""Hyperparameter search: a study of many short trainings for the options with the best validation accuracy.

Optuna proposes the options and prunes trials. The study is stored in one SQLite file, so that it resumes after it was
stopped or killed. The test set is never read.

T. Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, 2019, https://arxiv.org/abs/1907.10902
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.live import Live
from rich.table import Table

from inkdigits.cores import usable_cores
from inkdigits.errors import SettingError, TrainingError
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.config import PRUNERS
from inkdigits.training.search.results import COUNTED, Summary, accuracy_of, write_results
from inkdigits.training.search.space import Range, Space
from inkdigits.training.search.worker import DONE, EPOCH, PRUNED, Worker

__all__ = ["tune"]

STUDY = "inkdigits"  # its name in the storage
RETRIES = 2  # of a trial whose process was killed; more could bring down the machine
STARTUP_TRIALS = 5  # that are not pruned, as later ones are compared with them
REFRESH_SECONDS = 0.5  # longest time between updates of the table
BEST_SHOWN = 8  # trials in the table


def tune(
    space: Space,
    folder: Path,
    settings: Settings,
    *,
    trials: int,
    workers: int = 1,
    pruner: str = "median",
    seed: int = 0,
    console: Console | None = None,
) -> FrozenTrial | None:
    """Run or resume the study in a folder until it has ``trials`` trials, and write its results.

    A trial that fails is recorded and counts. A trial that was interrupted, because the study or its worker process was
    killed, is recorded as failed, does not count, and is tried again with the same options.

    The folder gets ``study.db``, ``trials.csv``, ``best.toml`` for ``inkdigits train --config``, ``history.svg`` and
    ``importance.svg``.

    Args:
        space: the search space.
        folder: created if missing.
        settings: where data sets are.
        trials: total number, including those of earlier calls.
        workers: processes that train in parallel.
        pruner: one of PRUNERS.
        seed: of the proposals; with several workers they also depend on the order in which trials finish.
        console: where progress is printed; default standard output.

    Returns:
        The best trial; None if none is complete.

    Raises:
        SettingError: the folder holds a study of another space, or an argument is invalid.
        TrainingError: the folder cannot be written, or a study is running in it.
        KeyboardInterrupt: Ctrl-C; the results until then are written.
    """
    for name, value in (("trials", trials), ("workers", workers)):
        if value < 1:
            raise SettingError(f"--{name} must be 1 or more, not {value}")
    if pruner not in PRUNERS:
        raise SettingError(f"--pruner must be one of {', '.join(PRUNERS)}, not {pruner!r}")
    console = console or Console()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make folder {folder}: {error.strerror}; name another --out") from None
    with _alone(folder):
        study = _open(space, folder, pruner, seed)
        bench = _Bench(space, study, trials, console)
        if study.trials:
            bench.say(f"resuming {folder}: {bench.counted()} of {trials} trials are done")
        bench.again_all("the study was killed")
        try:
            with contextlib.ExitStack() as stack:
                bench.run(settings, workers, stack)
        finally:
            best = write_results(study, space, folder, bench.say)
    return best


class _Bench:
    """Gives trials to workers and handles their messages. Only it writes to the study."""

    def __init__(self, space: Space, study: optuna.Study, total: int, console: Console) -> None:
        self._space, self._study, self._total, self._console = space, study, total, console
        self.say = Report(console).say
        self._distributions = {name: _distribution(each) for name, each in space.search.items()}
        self._epochs: dict[int, int] = {}

    def counted(self) -> int:
        """Count the trials that ended and are not tried again."""
        trials = self._study.get_trials(deepcopy=False, states=COUNTED)
        repeated = self._repeated()
        return sum(trial.number not in repeated for trial in trials)

    def _repeated(self) -> set[int | None]:
        return {trial.user_attrs.get("again") for trial in self._study.get_trials(deepcopy=False)}

    def run(self, settings: Settings, workers: int, stack: contextlib.ExitStack) -> None:
        """Run trials until the study has enough."""
        # More threads than cores would spend most of their time waiting for each other.
        threads = max(1, usable_cores() // workers)
        team: list[Worker] = []

        def close() -> None:
            for worker in team:
                worker.close()

        stack.callback(close)
        live = stack.enter_context(Live(console=self._console, auto_refresh=False, transient=True))
        try:
            while (left := self._total - self.counted()) > 0:
                busy = [worker for worker in team if worker.trial]
                idle = [worker for worker in team if not worker.trial]
                for _ in range(min(workers, left) - len(busy)):
                    if not idle:
                        idle.append(Worker(settings, threads))
                        team.append(idle[-1])
                    self._start(idle.pop())
                for connection in wait([worker.connection for worker in team], REFRESH_SECONDS):
                    [worker] = [worker for worker in team if worker.connection is connection]
                    try:
                        self._take(worker)
                    except EOFError:
                        self._lost(worker)
                        team.remove(worker)
                        worker.close()
                if self._console.is_terminal:
                    live.update(self._table(team), refresh=True)
        except KeyboardInterrupt:
            self.again_all("stopped by Ctrl-C")
            raise

    def again_all(self, why: str) -> None:
        """Try all trials again that are recorded as running."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._again(trial, why)

    def _again(self, trial: FrozenTrial, why: str) -> None:
        """Record an interrupted trial as failed, and enqueue its options again."""
        # If this process is killed between the two steps, the trial is recorded as running, but already enqueued.
        if trial.number not in self._repeated():
            self._study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
        self._study.tell(trial.number, state=TrialState.FAIL)
        self.say(f"trial {trial.number}: {why}; trying it again")

    def _start(self, worker: Worker) -> None:
        trial = self._study.ask(self._distributions)
        worker.start(trial, {**self._space.fixed, **trial.params})

    def _take(self, worker: Worker) -> None:
        event, value = worker.receive()
        trial = worker.trial
        if event == EPOCH:
            epoch = int(value["epoch"])
            trial.report(value["validation_accuracy"], epoch)
            self._epochs[trial.number] = epoch
            worker.answer(proceed=not trial.should_prune())
            return
        if event == DONE:
            self._study.tell(trial, value)
            self._report(trial, f"{value:.2%}")
        elif event == PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
            self._report(trial, f"pruned after epoch {self._epochs[trial.number]}")
        else:
            self._fail(trial, value)
        worker.trial = None

    def _fail(self, trial: optuna.Trial, why: str) -> None:
        trial.set_user_attr("error", why)
        self._study.tell(trial, state=TrialState.FAIL)
        self._report(trial, f"failed: {why}")

    def _lost(self, worker: Worker) -> None:
        """Try the trial of a killed worker again, at most RETRIES times; it may have run out of memory."""
        if worker.trial is None:
            return
        trial, why = _frozen(worker.trial), f"its process ended with exit code {worker.exit_code}"
        before, times = trial, 0
        while (number := before.user_attrs.get("again")) is not None:
            before, times = self._study.trials[number], times + 1
        if times < RETRIES:
            self._again(trial, why)
        else:
            self._fail(worker.trial, why)

    def _report(self, trial: optuna.Trial, how: str) -> None:
        self.say(f"trial {trial.number}: {how}  {_shown(trial.params)}")

    def _table(self, team: list[Worker]) -> Table:
        summary = Summary.of(self._study)
        title = f"{self.counted()} of {self._total} trials: {summary}"
        table = Table(
            "trial", "validation %", "epoch", *self._space.search, title=title, title_justify="left", box=None
        )
        rows = [(trial, f"{accuracy_of(trial) * 100:.2f}") for trial in summary.best(BEST_SHOWN)]
        for trial, value in rows + [(worker.trial, "running") for worker in team if worker.trial]:
            epoch = str(self._epochs.get(trial.number, ""))
            table.add_row(str(trial.number), value, epoch, *(_text(trial.params[name]) for name in self._space.search))
        return table


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder for this process. The operating system releases the lock when the process ends."""
    lock = sqlite3.connect(folder / "lock.db", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    except sqlite3.OperationalError as error:
        raise TrainingError(
            f"{folder} is in use by another inkdigits tune ({error}); wait, or name another --out"
        ) from None
    finally:
        lock.close()


def _open(space: Space, folder: Path, pruner: str, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    # A resumed study must not draw the same proposals again.
    before = sum(each.n_trials for each in optuna.get_all_study_summaries(storage))
    study = optuna.create_study(
        study_name=STUDY,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed + before, multivariate=True),
        pruner=_pruner(pruner, space),
        direction="maximize",
        load_if_exists=True,
    )
    wanted = json.loads(json.dumps(space.to_dict()))
    if study.user_attrs.setdefault("space", wanted) != wanted:
        raise SettingError(f"{folder} holds a study of another space; name another --out, or give the original space")
    study.set_user_attr("space", wanted)
    return study


def _pruner(name: str, space: Space) -> optuna.pruners.BasePruner:
    if name == "none":
        return optuna.pruners.NopPruner()
    epochs = (
        max(space.ends("epochs"))
        if "epochs" in space.search
        else space.config({each: space.ends(each)[0] for each in space.search}).epochs
    )
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs)
    return optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 5))


def _distribution(each: Range | tuple[Any, ...]) -> optuna.distributions.BaseDistribution:
    if not isinstance(each, Range):
        return optuna.distributions.CategoricalDistribution(each)
    if isinstance(each.low, int):
        return optuna.distributions.IntDistribution(each.low, int(each.high), each.log, int(each.step or 1))
    return optuna.distributions.FloatDistribution(each.low, each.high, each.log, each.step)


def _frozen(trial: optuna.Trial) -> FrozenTrial:
    return trial.study.trials[trial.number]


def _shown(params: dict[str, Any]) -> str:
    return "  ".join(f"{name} {_text(value)}" for name, value in params.items())


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
