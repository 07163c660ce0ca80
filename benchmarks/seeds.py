"""How much of a figure is luck: the shipped recipe with shortened schedules, from several seeds.

The options are those that the registry holds for the model and for those that it came from, but for the number of
epochs and the seed; a stage starts from the one before, and is taught by it. Stages are run as far as epochs are given,
and the last is quantized if the model is. A row of results/seeds.csv for each seed, and one with mean and standard
deviation of a sample. A run that was stopped goes on with the seeds that are missing.

    python benchmarks/seeds.py                     the default model's first two stages, 4 and 2 epochs, seeds 1 to 3;
                                                   half an hour
    python benchmarks/seeds.py --model lenet --epochs 10 --seeds 5
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from inkdigits.network import find_model
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.quantize import quantize
from inkdigits.training.train import train

from _common import kept, make_parser, percent, record


def stages(model: str) -> list[dict[str, Any]]:
    """What the registry knows of each stage of a model's training, the first one first, the model itself last."""
    last = find_model(model)[2]
    found = [last]
    while init := found[0]["config"].get("init"):
        found.insert(0, last["lineage"][init])
    return found


def measured(model: str, epochs: list[int], seed: int) -> dict[str, float]:
    """Accuracy by name of data, of the recipe with these epochs a stage."""
    settings = Settings.from_env()
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, str] = {}  # file by the name that the recipe gives it
        for stage, most in zip(stages(model), epochs, strict=False):
            config = stage["config"]
            init, teachers = config.get("init", ""), config.get("teacher", "").split(",")
            out = Path(folder) / f"{len(made)}.onnx"
            options = {
                **config,
                "epochs": most,
                "seed": seed,
                "init": made.get(init, init),
                "teacher": ",".join(made.get(each, each) for each in teachers),
            }
            metrics = train(TrainConfig.from_dict(options), out, settings)["metrics"]
            made[stage.get("file", stage["command"].split()[-1])] = str(out)
        if "quantised" in stages(model)[-1]["training"]:
            metrics = quantize(str(out), out.with_name("quantized.onnx"), settings)["metrics"]
    return {name: figures["accuracy"] for name, figures in metrics.items()}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--epochs", default="4,2", help="of each stage of training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    epochs = [int(each) for each in options.epochs.split(",")]
    if len(epochs) > (there := len(stages(options.model))):
        parser.error(f"{options.model} was trained in {there} stages; --epochs is {options.epochs}")
    of_run = {"model": options.model, "epochs": options.epochs.replace(",", "+")}
    done = {r["seed"]: r for r in kept() if {name: r[name] for name in of_run} == of_run}
    seeds = [str(seed) for seed in range(1, options.seeds + 1)]  # the shipped model's own is 0
    for seed in seeds:
        if seed not in done:
            runs = {name: percent(share) for name, share in measured(options.model, epochs, int(seed)).items()}
            record(**of_run, seed=seed, **runs)
    rows = [r for r in kept() if r["seed"] in seeds and {name: r[name] for name in of_run} == of_run]
    shares = {
        name: [float(r[name].rstrip("%")) for r in rows] for name in ("validation", "mnist", "pen") if rows[0].get(name)
    }
    spread = {name: f"{mean(each):.2f}% ± {stdev(each):.2f}" for name, each in shares.items()}
    record(**of_run, seed=f"1-{options.seeds}", **spread)


if __name__ == "__main__":
    main()
