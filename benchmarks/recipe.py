"""What each part of the training recipe is worth: the recipe, and the same with one thing changed.

    python benchmarks/recipe.py                       every change, once; three quarters of an hour on one thread
    python benchmarks/recipe.py --seeds 0,1,2         the table in docs/models.md
    python benchmarks/recipe.py --only "elastic 1 px" --seeds 3

A shortened schedule on MNIST's training images alone: 12,000 of them judge, the others are trained on, and no test
image is read. That is more than twice as many as a run chooses its epoch by, for here a few digits decide. What
results/recipe.csv holds already is not trained again, so that a run that was stopped goes on.
"""

from __future__ import annotations

from typing import Any

import torch

from inkdigits.progress import bars
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.fit import fit
from inkdigits.training.prepare import prepare

from _common import kept, make_parser, percent, record

RECIPE = TrainConfig(data="mnist", validation=12_000, epochs=8, threads=1)
CHANGES: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "no augmentation": {"augment": 0.0},
    "elastic 0 px": {"elastic": 0.0},
    "elastic 1 px": {"elastic": 1.0},
    "no averaged weights": {"ema_decay": 0.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "batches of 64": {"batch_size": 64},
    "twice the schedule": {"epochs": 16},
    "half the width": {"network": "cnn_small"},
    "twice the width": {"network": "cnn_huge"},
}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--only", choices=tuple(CHANGES))
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    torch.set_num_threads(RECIPE.threads)
    done = {(row["change"], row["seed"]) for row in kept()}
    for change in [options.only] if options.only else CHANGES:
        for seed in options.seeds.split(","):
            if (change, seed) not in done:
                measure(change, int(seed))


def measure(change: str, seed: int) -> None:
    config = TrainConfig(**{**RECIPE.to_dict(), **CHANGES[change], "seed": seed})
    pools = prepare(config, Settings.from_env(), bars())
    fitted = fit(config, pools.training, pools.validation, None, resume=False, say=print, progress=bars())
    held = len(pools.validation["mnist"])
    record(
        change=change,
        seed=seed,
        epochs=config.epochs,
        validation=percent(fitted.validation_accuracy),
        wrong=round((1 - fitted.validation_accuracy) * held),
        of=held,
        train_s=round(fitted.seconds),
    )


if __name__ == "__main__":
    main()
