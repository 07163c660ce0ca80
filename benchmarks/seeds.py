"""How much of a figure is luck: the shipped recipe with a shortened schedule, from several seeds.

The options are those that the registry holds for the model, but for the number of epochs. A row of results/seeds.csv
for each seed, and one with mean and standard deviation.

    python benchmarks/seeds.py                     the default model's recipe, 4 epochs, seeds 1 to 3; half an hour
    python benchmarks/seeds.py --model lenet --epochs 10 --seeds 5
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev

from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.fit import train

from _common import percent, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    shipped = TrainConfig.from_dict(Recognizer(options.model).model.entry["config"]).to_dict()
    runs = []
    for seed in range(1, options.seeds + 1):  # the shipped model's own is 0
        config = TrainConfig(**{**shipped, "epochs": options.epochs, "seed": seed})
        with tempfile.TemporaryDirectory() as folder:
            metrics = train(config, Path(folder) / "model.onnx", Settings.from_env())["metrics"]
        runs.append({name: figures["accuracy"] for name, figures in metrics.items()})
        row = {name: percent(share) for name, share in runs[-1].items()}
        record(model=options.model, epochs=options.epochs, seed=seed, **row)
    spread = {name: f"{percent(mean(r[name] for r in runs))} ± {percent(stdev(r[name] for r in runs))}" for name in row}
    record(model=options.model, epochs=options.epochs, seed=f"1-{options.seeds}", **spread)


if __name__ == "__main__":
    main()
