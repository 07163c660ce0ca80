"""Results of a study: the best options, a table of its trials, and plots of history and option importance."""

from __future__ import annotations

import csv
import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState

from inkdigits.atomic import write_atomically
from inkdigits.evaluation.charts import Axis, Plot, ranked, sheet
from inkdigits.training.config import to_toml
from inkdigits.training.register import near_chance
from inkdigits.training.search.space import Space

__all__ = ["COUNTED", "Summary", "accuracy_of", "write_results"]

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
SMALLEST_ERROR = 1e-4  # in a plot, as a logarithmic scale cannot show 0


@dataclass(frozen=True)
class Summary:
    """The state of a study.

    Attributes:
        trials: all trials, in order.
    """

    trials: Sequence[FrozenTrial]

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """Summarize the current state of a study."""
        return cls(study.get_trials(deepcopy=False))

    def best(self, n: int) -> list[FrozenTrial]:
        """Return the ``n`` best complete trials, of equal ones the earlier first."""
        complete = [trial for trial in self.trials if trial.state == TrialState.COMPLETE]
        return sorted(complete, key=lambda trial: (-accuracy_of(trial), trial.number))[:n]

    def __str__(self) -> str:
        states = Counter(trial.state.name.lower() for trial in self.trials)
        names = {"complete": "complete", "pruned": "pruned", "fail": "failed"}
        return ", ".join(f"{states[state]} {name}" for state, name in names.items() if states[state])


def accuracy_of(trial: FrozenTrial) -> float:
    """Return the accuracy of a complete trial on the validation images."""
    assert trial.value is not None
    return trial.value


def write_results(study: optuna.Study, space: Space, folder: Path, say: Callable[[str], None]) -> FrozenTrial | None:
    """Write ``trials.csv``, ``best.toml``, ``history.svg`` and ``importance.svg``; return the best trial.

    Args:
        study: any.
        space: its search space.
        folder: to write to.
        say: called with each line of text.

    Returns:
        The best trial; None if none is complete, and then only ``trials.csv`` is written.

    Raises:
        TrainingError: a file cannot be written.
    """
    summary = Summary.of(study)
    write_atomically(folder / "trials.csv", _csv(summary, space).encode())
    say(
        f"{len(summary.trials)} {'trial' if len(summary.trials) == 1 else 'trials'} in {folder}: {summary}"
        if summary.trials
        else f"no trials in {folder}"
    )
    if not (best := next(iter(summary.best(1)), None)):
        return None
    options = space.config(best.params).to_dict()
    head = f"# Trial {best.number} of {len(summary.trials)}: {best.value:.2%} of the validation images.\n"
    write_atomically(folder / "best.toml", (head + to_toml(options)).encode())
    write_atomically(folder / "history.svg", _history(summary).encode())
    say(f"the best is trial {best.number}: {best.value:.2%} of the validation images")
    if importance := _importance(study):
        write_atomically(folder / "importance.svg", ranked("What mattered for the accuracy", importance).encode())
        say("what mattered: " + ", ".join(f"{name} {share:.0%}" for name, share in importance.items()))
    else:
        (folder / "importance.svg").unlink(missing_ok=True)
        say("too few or too similar trials to estimate which options mattered")
    if near_chance(accuracy_of(best)):
        say("warning: even the best trial is hardly better than guessing; search lower learning rates or check labels.")
    say(f"train with it: inkdigits train --config {folder / 'best.toml'} --out best.onnx")
    return best


def _csv(summary: Summary, space: Space) -> str:
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["trial", "state", "validation_accuracy", "epochs", "seconds", *space.search, "error"])
    for trial in summary.trials:
        value = trial.value if trial.state == TrialState.COMPLETE else ""
        table.writerow(
            [
                trial.number,
                trial.state.name.lower(),
                value,
                trial.last_step or 0,
                f"{trial.duration.total_seconds():.1f}" if trial.duration else "",
                *(trial.params.get(name, "") for name in space.search),
                trial.user_attrs.get("error", ""),
            ]
        )
    return out.getvalue()


def _history(summary: Summary) -> str:
    """Draw the error of each trial, and of the best so far."""
    complete = [
        (trial.number, 1 - accuracy_of(trial)) for trial in summary.trials if trial.state == TrialState.COMPLETE
    ]
    pruned = [
        (trial.number, 1 - max(trial.intermediate_values.values()))
        for trial in summary.trials
        if trial.state == TrialState.PRUNED and trial.intermediate_values
    ]
    shown = [(x, max(y, SMALLEST_ERROR)) for x, y in complete]
    gone = [(x, max(y, SMALLEST_ERROR)) for x, y in pruned]
    errors = [y for _, y in shown + gone]
    y = Axis.logarithmic(min(errors), max(errors), lambda share: f"{share * 100:g}%", "share of errors, validation")
    last = summary.trials[-1].number
    best = 1 - accuracy_of(summary.best(1)[0])
    about = f"Error by trial; the best so far falls to {best:.2%}."
    plot = Plot("History", about, Axis.count(0, max(last, 1), "trial"), y, name="history")
    plot.points([(x, y, y, y) for x, y in gone], "gone")
    plot.points([(x, y, y, y) for x, y in shown])
    steps: list[tuple[float, float]] = []
    for x, value in shown:
        before = steps[-1][1] if steps else value
        steps += [(x, before), (x, min(before, value))]
    plot.line([*steps, (last, steps[-1][1])], "curve s1")
    title = f"{len(complete)} complete trials" + f" and {len(gone)} pruned (hollow)" * bool(gone)
    return sheet(title, [plot])


def _importance(study: optuna.Study) -> dict[str, float]:
    """Return the importance of each option for good trials as a share, largest first; empty if it cannot be estimated.

    S. Watanabe et al., PED-ANOVA, 2023, https://arxiv.org/abs/2304.10255
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # raised for too few trials, with equal importances
            return dict(optuna.importance.get_param_importances(study))
    except (ValueError, RuntimeError, UserWarning):
        return {}
