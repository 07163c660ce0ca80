"""A multilayer perceptron in NumPy: forward and backward pass, gradient descent, and its ONNX graph written by hand.

Layers of tanh, then a softmax; cross-entropy with an L2 penalty; plain mini-batch gradient descent. It shows all parts
of neural network training in a few lines, and the result is served like any other model.

The inputs are pixel values minus 1/2, so swapping ink and paper only flips their signs. Half of the training images are
swapped, so the network reads both without normalization of the polarity.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from inkdigits import _aliases
from inkdigits.atomic import write_atomically
from inkdigits.errors import TrainingError
from inkdigits.network import METADATA_PREFIX
from inkdigits.preprocess import NORMALIZATION_VERSION, SIDE
from inkdigits.progress import Progress, Report
from inkdigits.training.config import MlpConfig
from inkdigits.training.prepare import Prepared, TrainingSet, joined
from inkdigits.training.run import Learner, Trained

__all__ = ["Fitted", "Mlp", "MlpLearner", "fit", "initial", "to_onnx"]

CLASSES = 10
MIDDLE = np.float32(0.5)  # value of a pixel halfway between ink and paper
PIXEL_RMS = 0.46  # of pixel values - 1/2, over MNIST
OPSET, IR_VERSION = 17, 8  # of ONNX; old versions, which every runtime supports

if not TYPE_CHECKING:
    __getattr__ = partial(_aliases.find, __name__)


@dataclass(frozen=True, eq=False)
class Mlp:
    """The weights of a perceptron: layers of ``tanh(x @ weights + biases)``; the last, without tanh, gives logits.

    Attributes:
        weights: for each layer (inputs, outputs) float32; the first has 784 inputs, the last 10 outputs.
        biases: for each layer (outputs,) float32.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(array.size for array in (*self.weights, *self.biases))

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Return (N, 10) float32 logits of (N, …) float32 images in [0, 1] with 784 pixels each."""
        return self._activations(images)[-1]

    def loss_and_gradients(
        self, images: np.ndarray, labels: np.ndarray, l2: float
    ) -> tuple[float, np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Compute mean cross-entropy and gradients (D. Rumelhart, G. Hinton, R. Williams, 1986, doi:10.1038/323533a0).

        Args:
            images: (N, …) float32 in [0, 1] with 784 pixels each.
            labels: (N,) int.
            l2: strength of the penalty: l2 / 2 times the sum of the squared weights.

        Returns:
            The cross-entropy without the penalty, the logits, and the gradients of the weights and of the biases.
        """
        activations = self._activations(images)
        logits = activations[-1]
        shifted = logits - logits.max(axis=1, keepdims=True)
        exponent = np.exp(shifted)
        total = exponent.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        loss = float((np.log(total[:, 0]) - shifted[rows, labels]).mean())

        # The gradient at the logits: softmax minus one-hot labels, divided by N for the mean.
        slope = exponent / total
        slope[rows, labels] -= 1
        slope /= np.float32(len(labels))
        of_weights: list[np.ndarray] = []
        of_biases: list[np.ndarray] = []
        for layer in reversed(range(len(self.weights))):
            weights, inputs = self.weights[layer], activations[layer]
            of_weights.insert(0, inputs.T @ slope + np.float32(l2) * weights)
            of_biases.insert(0, slope.sum(axis=0))
            if layer:
                slope = (slope @ weights.T) * (1 - inputs * inputs)  # tanh' = 1 - tanh²
        return loss, logits, of_weights, of_biases

    def _activations(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the inputs of each layer, and the logits last."""
        activations = [images.reshape(len(images), -1) - MIDDLE]
        for layer, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True), 1):
            sums = activations[-1] @ weights + biases
            activations.append(sums if layer == len(self.weights) else np.tanh(sums))
        return activations


@dataclass(frozen=True, eq=False)
class Fitted:
    """The result of :func:`fit`: the network of its best epoch, and its figures."""

    network: Mlp
    best_epoch: int
    accuracy: float  # on the validation images
    swapped_accuracy: float  # on the same images with ink and paper swapped
    epochs: int
    seconds: float


def initial(widths: tuple[int, ...], rng: np.random.Generator) -> Mlp:
    """Draw the weights of a network with hidden layers of these widths, so that the sums in each have variance 1."""
    sizes = (SIDE * SIDE, *widths, CLASSES)
    rms = (PIXEL_RMS, *[1.0] * len(widths))
    weights = [
        (rng.standard_normal((n, m)) / (math.sqrt(n) * r)).astype(np.float32)
        for n, m, r in zip(sizes[:-1], sizes[1:], rms, strict=True)
    ]
    return Mlp(tuple(weights), tuple(np.zeros(m, np.float32) for m in sizes[1:]))


def fit(
    config: MlpConfig,
    training: TrainingSet,
    validation: TrainingSet,
    *,
    say: Callable[[str], None],
    progress: Progress,
    record: Callable[[Mapping[str, float]], None] = lambda figures: None,
) -> Fitted:
    """Run mini-batch gradient descent. Ctrl-C ends it with the best epoch so far, or raises before the first has ended.

    It prints a line per epoch: ``train_accuracy`` is on the augmented training images, ``validation_accuracy`` on
    the validation images, ``swapped`` on these with ink and paper swapped. The mean of the last two selects the best
    epoch.

    Args:
        config: every option.
        training: images to train on.
        validation: images to select the best epoch by.
        say: called with each line of text.
        progress: shows the steps of an epoch.
        record: called with each epoch's figures by name; an exception in it ends the run.

    Raises:
        TrainingError: the loss is not a number.
    """
    rng = np.random.default_rng(config.seed)
    network = initial(config.widths, rng)
    held = validation.images.astype(np.float32) / 255
    batch = min(config.batch_size, len(training))
    steps = len(training) // batch
    best: Fitted | None = None
    started = time.perf_counter()
    try:
        for epoch in range(1, config.epochs + 1):
            loss_sum, hits = 0.0, 0
            order = rng.permutation(len(training))
            bar = progress(f"epoch {epoch}/{config.epochs}", steps, "")
            with bar as advance, np.errstate(over="ignore", invalid="ignore"):  # reported below as an error
                for step in range(steps):
                    chosen = order[step * batch : (step + 1) * batch]
                    images, labels = _shown(training.images[chosen], config, rng), training.labels[chosen]
                    loss, logits, of_weights, of_biases = network.loss_and_gradients(images, labels, config.l2)
                    done = ((epoch - 1) * steps + step) / (config.epochs * steps)
                    rate = np.float32(config.learning_rate * (1 + math.cos(math.pi * done)) / 2)
                    for array, gradient in zip(network.weights, of_weights, strict=True):
                        array -= rate * gradient
                    for array, gradient in zip(network.biases, of_biases, strict=True):
                        array -= rate * gradient
                    loss_sum += loss
                    hits += int((logits.argmax(axis=1) == labels).sum())
                    advance(1)
            if not math.isfinite(loss_sum):
                raise TrainingError(
                    f"the loss became {loss_sum} in epoch {epoch}; lower the learning rate, now {config.learning_rate}"
                )
            accuracy, swapped = (_accuracy(network, images, validation.labels) for images in (held, 1 - held))
            seconds = time.perf_counter() - started
            better = False
            if best is None or accuracy + swapped > best.accuracy + best.swapped_accuracy:
                better = True
                best = Fitted(copy.deepcopy(network), epoch, accuracy, swapped, epoch, seconds)
            else:
                best = replace(best, epochs=epoch, seconds=seconds)
            say(
                f"epoch {epoch:3}/{config.epochs}  loss {loss_sum / steps:.4f}  "
                f"train_accuracy {hits / (steps * batch):.4f}  validation_accuracy {accuracy:.4f}  "
                f"swapped {swapped:.4f}  {seconds:5.1f} s{'  best' * better}"
            )
            record(
                {
                    "epoch": epoch,
                    "train_loss": loss_sum / steps,
                    "train_accuracy": hits / (steps * batch),
                    "validation_accuracy": accuracy,
                    "validation_swapped": swapped,
                    "learning_rate": float(rate),
                    "seconds": seconds,
                }
            )
    except KeyboardInterrupt:
        if best is None:
            raise
    assert best is not None  # as there is at least one epoch
    return best


def to_onnx(network: Mlp, *, temperature: float, name: str = "mlp") -> bytes:
    """Convert the network to an ONNX file: ``image`` (N, 1, 28, 28) float32 to ``logits`` (N, 10) float32.

    The same weights give the same bytes.

    Args:
        network: trained weights.
        temperature: divisor of the logits before the softmax.
        name: of the network, for the metadata.
    """
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    # (x - 1/2) W + b is x W + (b - the column sums of W / 2), which saves a step at inference.
    biases = [network.biases[0] - MIDDLE * network.weights[0].sum(axis=0), *network.biases[1:]]
    nodes, weights, value = [helper.make_node("Flatten", ["image"], ["x0"], axis=1)], [], "x0"
    last = len(network.weights)
    for layer, arrays in enumerate(zip(network.weights, biases, strict=True), 1):
        names = [f"weights{layer}", f"biases{layer}"]
        weights += [onnx.numpy_helper.from_array(a.astype(np.float32), n) for a, n in zip(arrays, names, strict=True)]
        sums = "logits" if layer == last else f"sums{layer}"
        nodes.append(helper.make_node("Gemm", [value, *names], [sums]))
        if layer < last:
            value = f"x{layer}"
            nodes.append(helper.make_node("Tanh", [sums], [value]))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("image", tensor, ["N", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", tensor, ["N", CLASSES])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="inkdigits", opset_imports=opsets, ir_version=IR_VERSION)
    stored = {"normalisation": NORMALIZATION_VERSION, "temperature": repr(float(temperature)), "network": name}
    helper.set_model_props(model, {METADATA_PREFIX + key: value for key, value in stored.items()})
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


class _Network(nn.Module):
    """The perceptron as a PyTorch module, for calibration and parity checks."""

    def __init__(self, mlp: Mlp) -> None:
        super().__init__()
        self._mlp = mlp

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._mlp.logits(images.numpy()))


class MlpLearner(Learner):
    """Trains a perceptron in NumPy."""

    def __init__(self, config: MlpConfig) -> None:
        self._config = config

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Run gradient descent."""
        sizes = "-".join(map(str, (SIDE * SIDE, *self._config.widths, CLASSES)))
        counts = f"{len(data.training):,} images to train on, {data.held_out:,} to validate on"
        report.say(f"mlp {sizes} on {self._config.data}: {counts}")
        validation = joined(data.validation.values())
        # Steps are too small for several threads, and one thread sums in a fixed order: the same file every time.
        with threadpool_limits(1):
            fitted = fit(
                self._config, data.training, validation, say=report.say, progress=report.progress, record=record
            )
        report.say(
            f"best epoch {fitted.best_epoch}: validation accuracy {fitted.accuracy:.2%}, "
            f"ink and paper swapped {fitted.swapped_accuracy:.2%}"
        )
        return Trained(
            _Network(fitted.network),
            write=lambda path, calibration: write_atomically(
                path, to_onnx(fitted.network, temperature=calibration.temperature)
            ),
            validation={"accuracy": fitted.accuracy, "swapped": fitted.swapped_accuracy},
            parameters=fitted.network.parameters,
            training={
                "best_epoch": fitted.best_epoch,
                "epochs": fitted.epochs,
                "seconds": round(fitted.seconds, 1),
                "threads": 1,
                "precision": "float32",
            },
            packages=("onnx", "onnxruntime", "numpy"),
        )


def _shown(images: np.ndarray, config: MlpConfig, rng: np.random.Generator) -> np.ndarray:
    """Augment a batch, (N, 28, 28) uint8, to (N, 28, 28) float32: shift it, and swap ink and paper of some images."""
    n, reach = len(images), config.shift
    if reach:
        around = np.zeros((n, SIDE + 2 * reach, SIDE + 2 * reach), np.uint8)
        around[:, reach:-reach, reach:-reach] = images
        y, x = rng.integers(0, 2 * reach + 1, 2)
        images = around[:, y : y + SIDE, x : x + SIDE]
    shown = images.astype(np.float32) / 255
    swapped = rng.random(n) < config.swap
    shown[swapped] = 1 - shown[swapped]
    return shown


def _accuracy(network: Mlp, images: np.ndarray, labels: np.ndarray) -> float:
    return float((network.logits(images).argmax(axis=1) == labels).mean())
