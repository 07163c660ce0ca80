"""Run each command with a new home folder and no network but loopback, for a while: what it tried to reach, and left.

    python benchmarks/privacy.py                  # all of them, with 60 seconds of serving: about ten minutes
    python benchmarks/privacy.py --seconds 10     # what is to take its time takes this
    python benchmarks/privacy.py --only serve,ray

Every process of a command is traced by strace, in a network namespace of its own, as tests/project/test_privacy.py does
for seconds: both are needed, and Linux. The last rows are controls: ONNX Runtime as it comes, which must be seen.
Writes results/privacy.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from _common import ROOT, keep_json, make_parser

sys.path.append(str(ROOT / "tests"))
from support.drawings import picture
from support.outgoing import INKDIGITS, SERVE, Outcome, tracing, watched

MANY = 100_000  # digits that bulk prediction reads
LABELLED = 300  # rows of the table that is trained on and measured
PICTURES = 200
TIMEOUT = 590  # seconds that a command may take
# Imports it and stays, as a notebook does: ONNX Runtime's first try comes about nine seconds after.
LIBRARY = "import sys, time, inkdigits; inkdigits.Recognizer().predict(sys.argv[1]); time.sleep(float(sys.argv[2]))"
CONTROL = "import sys, time, onnxruntime; time.sleep(float(sys.argv[1]))"
SPACE = """
[fixed]
data = "digits"
network = "lenet"
epochs = 1
[search]
learning_rate = { low = 0.001, high = 0.01, log = true }
"""


def inputs(folder: Path) -> None:
    """A picture of a 7, a folder of pictures, a table with labels, many digits, and what to search."""
    Image.fromarray(picture(7)).save(folder / "seven.png")
    (folder / "pictures").mkdir()
    for number in range(PICTURES):
        Image.fromarray(picture(number % 10)).save(folder / "pictures" / f"{number:03}.png")
    digits = load_digits()
    images = np.stack([np.asarray(Image.fromarray(np.uint8(i * 15)).resize((28, 28))) for i in digits.images])
    np.savez(folder / "many.npz", images=np.resize(images, (MANY, 28, 28)))
    np.savez(folder / "table.npz", images=images[:LABELLED], labels=digits.target[:LABELLED])
    (folder / "space.toml").write_text(SPACE)


def commands(folder: Path, seconds: float) -> dict[str, tuple[object, ...]]:
    """Command lines by name; those that name a model of ``train`` come after it."""
    seven, table, pictures = folder / "seven.png", folder / "table.npz", folder / "pictures"
    return {
        "library": (sys.executable, "-c", LIBRARY, seven, seconds),
        "predict": (*INKDIGITS, "predict", seven, "--explain"),
        "bulk": (*INKDIGITS, "predict", folder / "many.npz", pictures, "-o", "out.parquet", "--processes", 2),
        "ray": (*INKDIGITS, "predict", folder / "many.npz", "-o", "ray.csv", "--engine", "ray", "--processes", 2),
        "serve": (sys.executable, "-c", SERVE, seven, seconds),
        "evaluate": (*INKDIGITS, "evaluate", "cnn", "--data", "digits", "--report", "report.html"),
        "submit": (*INKDIGITS, "submit", table, "-o", "submission.csv"),
        "train": (
            *(*INKDIGITS, "train", "--data", table, "--network", "lenet", "--epochs", 2, "--threads", 1),
            *("--mlflow", "sqlite:///runs.db", "--out", folder / "mine.onnx"),
        ),
        "quantize": (*INKDIGITS, "quantize", folder / "mine.onnx", "--out", "mine8.onnx"),
        "compare": (*INKDIGITS, "compare", "--models", "logistic,knn", "--data", "digits", "--out", "comparison"),
        "tune": (*INKDIGITS, "tune", folder / "space.toml", "--trials", 2, "--out", "search"),
        "runs": (*INKDIGITS, "runs"),
        "data": (*INKDIGITS, "data"),
    }


def row(name: str, command: tuple[object, ...], **environ: str) -> dict[str, object]:
    """Run a command and print and return what it did."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        outcome = watched(Path(folder), *command, timeout=TIMEOUT, **environ)
        seconds = round(time.monotonic() - start, 1)
    if outcome.code:
        raise RuntimeError(f"{name} failed: {outcome.printed[-2000:]}")
    found = {
        "command": name,
        "seconds": seconds,
        "connections": len(outcome.reached),
        "addresses": dict(Counter(_public(address) for address in outcome.reached)),
        "files": len(others(outcome)),
        "names": others(outcome),
    }
    print(json.dumps(found), flush=True)
    return found


def _public(address: str) -> str:
    """An address as it is told: which name server a machine asks is its own affair."""
    return "name server" if address.endswith(" port 53") else address


def others(outcome: Outcome) -> list[str]:
    """Files in the home folder that are not inkdigits' own cache, and those left in the one for temporary files."""
    return [name for name in outcome.home if not name.startswith(".cache/inkdigits/")] + outcome.temporary


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of serving, and that the library stays")
    parser.add_argument("--only", help="names of commands, A,B")
    args = parser.parse_args()
    if not tracing():
        sys.exit("privacy: strace and network namespaces are needed: scripts/get-strace.sh, and run it as root")
    with tempfile.TemporaryDirectory() as folder:
        inputs(Path(folder))
        every = commands(Path(folder), args.seconds)
        names = args.only.split(",") if args.only else list(every)
        # Ray puts sockets into the folder for temporary files, whose names may not be long.
        rows = [row(name, every[name], **({"TMPDIR": "/tmp"} if name == "ray" else {})) for name in names]
    control = (sys.executable, "-c", CONTROL, min(args.seconds, 30))
    controls = [
        row("control: onnxruntime as it comes", control),
        row("control: onnxruntime with ORT_DISABLE_TELEMETRY=1", control, ORT_DISABLE_TELEMETRY="1"),
    ]
    connections, files = (sum(int(one[what]) for one in rows) for what in ("connections", "files"))
    keep_json(connections=connections, files=files, rows=rows, controls=controls)
    if connections or files or not controls[0]["files"]:
        sys.exit("privacy: something was sent or left, or the control was not seen")


if __name__ == "__main__":
    main()
