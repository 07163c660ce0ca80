"""Shipped models, all or those named, through Recognizer: MNIST's test set, and two sets that no model ever saw."""

from __future__ import annotations

import sys

from inkdigits.data.catalog import load
from inkdigits.evaluation.evaluate import evaluate
from inkdigits.network import shipped_models
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings

from _common import percent, record


def main() -> None:
    settings = Settings.from_env()
    for name in sys.argv[1:] or shipped_models():
        recognizer = Recognizer(name)
        for data, part in (("mnist", "test"), ("digits", "all"), ("pen", "test")):
            if data == "pen" and settings.data_folder is None:
                continue  # pen strokes are read from INKDIGITS_DATA only
            result = evaluate(recognizer, load(data, settings, part=part))
            low, high = result.interval
            record(
                model=name,
                sha256=result.sha256[:12],
                data=f"{data} {part}",
                n=result.n,
                accuracy=percent(result.accuracy),
                interval95=f"{percent(low)}-{percent(high)}",
                confidence=percent(result.confidence),
                calibration_error=percent(result.calibration_error),
            )


if __name__ == "__main__":
    main()
