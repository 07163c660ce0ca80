"""Which network to ship: accuracy against what an image costs, for networks from 10 to 400 µs.

Every network is trained by the same shortened recipe and judged on validation data only: MNIST's, pen drawings of
writers that are not trained on, and corrupted pictures of both; then it is quantized and measured again. Each seed is a
row of results/networks.csv; what is there already is not trained again.

    python benchmarks/networks.py                     all networks, one seed; an hour on one core
    python benchmarks/networks.py --networks cnn lenet_padded --seeds 3
    python benchmarks/networks.py --costs             the µs of these rows again, side by side on a quiet machine
    python benchmarks/networks.py --plot docs/images/networks.svg   of the rows there are; nothing is trained
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch import nn

from inkdigits import Recognizer
from inkdigits.evaluation.charts import Axis, Plot, sheet
from inkdigits.evaluation.latency import cost
from inkdigits.progress import Progress, bars
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.export import export
from inkdigits.training.fit import fit
from inkdigits.training.networks import NETWORKS, build
from inkdigits.training.prepare import Prepared, prepare
from inkdigits.training.quantize import Exported, samples_of, write_quantized
from inkdigits.training.validate import validate

from _common import keep, kept, make_parser, percent, record

RECIPE = {
    "data": "mnist+pen",
    "corrupted": 0.4,
    "non_digits": 0.2,
    "epochs": 5,
    "label_smoothing": 0.03,
    "threads": 1,
}
JUDGED = ("mnist", "pen", "disturbed")
NEAR = 1.5  # times the cost, within which two labels side by side would touch
LEVEL = 0.001  # accuracy, within which they stand at one height
COMPARED = ("sprint", "lenet_padded", "cnn_small", "cnn_medium", "cnn", "cnn_large", "cnn_huge")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=COMPARED)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--costs", action="store_true")
    options = parser.parse_args()
    if options.costs:
        measure_costs_again()
        return
    if options.plot:
        plot(options.plot)
        return
    settings, progress = Settings.from_env(), bars()
    pools = prepare(TrainConfig(**RECIPE), settings, progress)
    done = {(row["network"], row["seed"]) for row in kept()}
    for name in options.networks:
        for seed in range(options.seeds):
            if (name, str(seed)) not in done:
                measure(TrainConfig(**RECIPE, network=name, seed=seed), pools, progress)


def measure(config: TrainConfig, pools: Prepared, progress: Progress) -> None:
    torch.set_num_threads(config.threads)
    fitted = fit(config, pools.training, pools.validation, None, resume=False, say=print, progress=progress)
    with quantized(fitted.network, samples_of(pools)) as (before, after):
        costs = costs_of(before, after)
        _, _, shares = validate(Exported(after), pools.validation)
    record(
        network=config.network,
        seed=config.seed,
        **costs,
        **{name: percent(fitted.validation[name]) for name in JUDGED},
        mean=percent(mean(fitted.validation[name] for name in JUDGED)),
        int8_mean=percent(mean(shares[name] for name in JUDGED)),
        seconds=round(fitted.seconds),
    )


@contextmanager
def quantized(network: nn.Module, samples: np.ndarray) -> Iterator[tuple[Recognizer, Recognizer]]:
    """A network as exported, and the same quantized."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        export(network, before, temperature=1.0)
        write_quantized(before, after, samples)
        yield Recognizer(before), Recognizer(after)


def costs_of(before: Recognizer, after: Recognizer) -> dict[str, object]:
    """Count parameters; measure µs per image of both, with untrained weights."""
    picture = np.eye(28, dtype=np.uint8) * 255
    was, now = cost(before, picture), cost(after, picture)
    return {
        "parameters": was.parameters,
        "network_us": round(was.network_us, 1),
        "batch_us": round(was.batch_us, 1),
        "int8_us": round(now.network_us, 1),
        "int8_batch_us": round(now.batch_us, 1),
    }


def measure_costs_again() -> None:
    rows = kept()
    found = {}
    for name in dict.fromkeys(row["network"] for row in rows):
        with quantized(build(name, more=1), np.random.default_rng(0).random((200, 1, 28, 28), np.float32)) as both:
            costs = costs_of(*both)
        found[name] = {what: us for what, us in costs.items() if what.endswith("_us")}
        print(name, found[name])
    keep([{**row, **found[row["network"]]} for row in rows])


def plot(path: Path) -> None:
    """Two charts of the rows there are, means over seeds: validation accuracy against µs, as trained and quantized."""
    found = defaultdict(list)
    for row in kept():
        found[row["network"]].append(row)

    def average(name: str, column: str) -> float:
        return mean(float(row[column].rstrip("%")) for row in found[name])

    cost = Axis.logarithmic(10, 500, lambda us: f"{us:.0f}", "µs, one image on one thread")
    right = {name: [average(name, column) / 100 for column in ("mean", "int8_mean")] for name in found}
    low, high = min(map(min, right.values())), max(map(max, right.values()))
    plots = []
    for i, (column, title) in enumerate((("network_us", "In floating point"), ("int8_us", "In 8-bit integers"))):
        points = {name: (average(name, column), right[name][i]) for name in found}
        about = "; ".join(f"{name} {x:.0f} µs {y:.2%}" for name, (x, y) in points.items())
        chart = Plot(
            title,
            about,
            cost,
            Axis.percent(low - 0.001, high + 0.001, f"{title}: mean of MNIST, pens, corrupted"),
            name=column,
        )
        chart.points((x, y, y, y) for x, y in points.values())
        best = 0.0
        ordered = sorted(points.items(), key=lambda item: item[1])
        for (name, (x, y)), (next_x, next_y) in zip(
            ordered, [*(at for _, at in ordered[1:]), (math.inf, 0)], strict=True
        ):
            # Under its point is what something cheaper is better than; to the left what has the next one close by.
            anchor = "end" if next_x < NEAR * x and abs(next_y - y) < LEVEL else "middle"
            chart.note(x, y, name.removeprefix("cnn_"), anchor=anchor, dy=-8 if y > best else 16)
            best = max(best, y)
        plots.append(chart)
    path.write_text(sheet("What accuracy costs: the same shortened training for each", plots), encoding="utf-8")


if __name__ == "__main__":
    main()
