"""The perceptron that is written here in NumPy, with its default options: seconds, and accuracy on MNIST's test set.

``recognizer`` reads the raw images through Recognizer, ``recognizer_inverted`` the same with ink and paper swapped; the
preprocessing turns them back. So the network is fed directly as well, past it: ``network`` and ``network_swapped``.
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from inkdigits.data.catalog import load
from inkdigits.preprocess import preprocess
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.config import MlpConfig
from inkdigits.training.train import train

from _common import percent, record

SEEDS = (0, 1, 2)


def main() -> None:
    settings = Settings.from_env()
    test = load("mnist", settings, part="test")
    seen = np.stack([preprocess(image).image for image in test.images])[:, None]
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "mlp.onnx")
            started = time.perf_counter()
            entry = train(MlpConfig(seed=seed), out, settings, console=Console(file=io.StringIO()))
            whole = time.perf_counter() - started
            recognizer = Recognizer(out)

        def accuracy(read, labels=test.labels) -> str:
            return percent(float((np.asarray(read) == labels).mean()))

        record(
            seed=seed,
            n=len(test),
            parameters=entry["parameters"],
            fit_s=entry["training"]["seconds"],
            whole_run_s=round(whole, 1),
            recognizer=accuracy([p.digit for p in recognizer.predict_batch(test.images)]),
            recognizer_inverted=accuracy([p.digit for p in recognizer.predict_batch(255 - i for i in test.images)]),
            network=accuracy(recognizer.logits(seen).argmax(axis=1)),
            network_swapped=accuracy(recognizer.logits(1 - seen).argmax(axis=1)),
            train_command=entry["command"],
        )


if __name__ == "__main__":
    main()
