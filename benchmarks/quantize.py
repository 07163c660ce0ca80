"""What a model loses and gains by quantization, in several ways, on validation images alone.

    python benchmarks/quantize.py                     the shipped default in floating point, cnn_float

For each way: mistakes by kind of image, mean negative log-likelihood, how far the probabilities lie from those of the
model as it was (mean L1 distance), µs an image, size, and, where qemu-user is
installed (on Debian: apt-get install qemu-user), how many of 600 digits are read otherwise by a processor that has AVX2
and no VNNI (qemu-x86_64 -cpu Haswell), and how far logits lie apart.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from inkdigits.evaluation.latency import cost
from inkdigits.network import find_model
from inkdigits.prediction import CLASSES
from inkdigits.progress import bars
from inkdigits.recognizer import Recognizer
from inkdigits.settings import Settings
from inkdigits.training.calibrate import calibrate
from inkdigits.training.config import TrainConfig
from inkdigits.training.prepare import NO_DIGIT, prepare, split_names
from inkdigits.training.quantize import Exported, samples_of, write_quantized
from inkdigits.training.validate import logits_of, tensors_of

from _common import make_parser, record

WAYS: dict[str, dict[str, Any] | None] = {
    "float32": None,
    "8 bits": {"reduce_range": False, "nodes_to_exclude": []},
    "8 bits, weights of 7": {"nodes_to_exclude": []},
    "8 bits, but for some layers": {"reduce_range": False},
    "as shipped: weights of 7, but for some layers": {},
}
OTHER = ("qemu-x86_64", "-cpu", "Haswell")
COMPARED = 600  # digits, on another processor
# Logits of a model for the images of a file, to a file.
LOGITS = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: images})[0])
"""


def elsewhere(path: Path, images: np.ndarray) -> np.ndarray | None:
    """The logits that a processor without VNNI finds; None where there is none to be had."""
    if not shutil.which(OTHER[0]):
        return None
    given, got = path.with_name("images.npy"), path.with_name("logits.npy")
    np.save(given, images)
    subprocess.run([*OTHER, sys.executable, "-c", LOGITS, path, given, got], check=True, stderr=subprocess.DEVNULL)
    return np.load(got)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="cnn_float", help="one that inkdigits train wrote (default: %(default)s)")
    options = parser.parse_args()
    _, source, entry = find_model(options.model)
    config = TrainConfig.from_dict(entry["config"])
    pools = prepare(config, Settings.from_env(), bars())
    samples = samples_of(pools)
    digits = {name: pool for name, pool in pools.validation.items() if not (pool.labels == NO_DIGIT).all()}
    some = np.concatenate([tensors_of(pool)[0].numpy()[: COMPARED // len(digits)] for pool in digits.values()])
    shares: dict[tuple[str, str], torch.Tensor] = {}
    for way, changes in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            if changes is None:
                path.write_bytes(source.read_bytes())
            else:
                write_quantized(source, path, samples, **changes)
            model = Recognizer(path)
            network = Exported(model)
            temperature = calibrate(network, [digits[name] for name in split_names(config.data)]).temperature
            wrong, losses, moved = {}, [], []
            for name, pool in digits.items():
                images, labels = tensors_of(pool)
                logits = logits_of(network, images)[:, :CLASSES]
                wrong[name] = int((logits.argmax(dim=1) != labels).sum())
                losses.append(F.cross_entropy(logits / temperature, labels).item())
                shares[way, name] = (logits / temperature).softmax(dim=1)
                moved.append((shares[way, name] - shares[next(iter(WAYS)), name]).abs().sum(dim=1).mean().item())
            costs = cost(model, np.asarray(samples[0, 0]))
            here, other = model.logits(some), elsewhere(path, some)
            apart = (
                {}
                if other is None
                else {
                    "differs_elsewhere": int((here[:, :CLASSES].argmax(1) != other[:, :CLASSES].argmax(1)).sum()),
                    "logits_apart": f"{np.abs(here - other).max():.2g}",
                }
            )
            record(
                model=entry["file"],
                way=way,
                **{f"{name}_wrong": n for name, n in wrong.items()},
                nll=f"{mean(losses):.5f}",
                moved=f"{mean(moved):.5f}",
                us_single=round(costs.network_us),
                us_of_64=round(costs.batch_us),
                bytes=path.stat().st_size,
                **apart,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
