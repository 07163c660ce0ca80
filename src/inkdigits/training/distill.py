"""Fine-tuning and distillation: start from the weights of an exported model, or train on its probabilities.

In an exported file batch normalization is folded into the convolutions. :func:`start_from` unfolds it again, so that
the network gives the same logits as the file and trains like a fresh one. :class:`Teachers` returns the probabilities
of models of any network, as targets in addition to the labels.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from inkdigits.errors import TrainingError
from inkdigits.network import find_model
from inkdigits.prediction import CLASSES
from inkdigits.recognizer import Recognizer
from inkdigits.training.export import MAX_DIFFERENCE, export, is_quantized

__all__ = ["Teachers", "blend", "lineage", "start_from"]

_FOLDED = "_bias"  # suffix that the exporter appends to a weight's name for the bias of its folded batch normalization


def start_from(model: str, network: nn.Module, images: Tensor) -> None:
    """Load the weights of an exported model into a network.

    Folded batch normalization becomes an identity for the mean and variance of these images, so that the network gives
    the same logits as the file in evaluation mode and normalizes as usual in training. Outputs that the file does not
    have, such as "these are several digits", keep their weights.

    Args:
        model: name of a shipped model, or path of an ``.onnx`` file that ``inkdigits train`` wrote.
        network: of the same architecture, on the CPU; its weights are replaced.
        images: (N, 1, 28, 28) float32, as in training.

    Raises:
        ModelError: the model does not exist.
        TrainingError: the model has another architecture or is quantized.
    """
    _, path, entry = find_model(model)
    if is_quantized(path):
        origin = next(reversed(entry.get("lineage", {})), "the model that it was made from")
        raise TrainingError(f"{path} is quantized to 8-bit integers and cannot be fine-tuned; give {origin}")
    stored = _weights(path)
    last = [name for name, each in network.named_modules() if isinstance(each, nn.Linear)][-1]
    folded: list[_BatchNorm] = []

    def give(parameter: Tensor, name: str) -> None:
        if name.startswith(f"{last}.") and name in stored and 0 < len(stored[name]) < len(parameter):
            parameter = parameter[: len(stored[name])]
        if name not in stored or stored[name].shape != tuple(parameter.shape):
            found = stored[name].shape if name in stored else "missing"
            raise TrainingError(
                f"{path} does not hold the weights of this network: {name} is {found}, "
                f"not {tuple(parameter.shape)}; start from a model of the same network, and give the same --non-digits"
            )
        parameter.copy_(torch.from_numpy(stored[name].copy()))

    with torch.no_grad():
        before = ""  # the weight that batch normalization without a stored weight was folded into
        for name, module in network.named_modules():
            if isinstance(module, _BatchNorm) and f"{name}.weight" not in stored:
                module.reset_parameters()
                give(module.bias, before + _FOLDED)
                folded.append(module)
            elif isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
                before = f"{name}.weight"
                state = module.state_dict(keep_vars=True)
                for key, value in state.items():
                    if value.is_floating_point():
                        give(value, f"{name}.{key}")
        _unfold(network, folded, images)
        network.eval()
        expected = Recognizer(path).logits(images.numpy())
        difference = float(np.abs(network(images).numpy()[:, : expected.shape[1]] - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise TrainingError(
            f"with the weights of {path} the logits of this network differ by {difference:.2g}; "
            "start from a model of the same network"
        )


def _weights(path: Path) -> dict[str, np.ndarray]:
    """Return the stored arrays of an exported file by name."""
    return {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


def _unfold(network: nn.Module, folded: list[_BatchNorm], images: Tensor) -> None:
    """Set mean, variance, weight and bias so that the logits stay the same until further training."""

    def identity(module: _BatchNorm, inputs: tuple[Tensor, ...]) -> None:
        variance, mean = torch.var_mean(inputs[0], dim=[0, *range(2, inputs[0].ndim)], correction=0)
        assert module.running_mean is not None and module.running_var is not None  # as all networks here track them
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)
        module.weight.copy_(torch.sqrt(variance + module.eps))
        module.bias.add_(mean)

    hooks = [module.register_forward_pre_hook(identity) for module in folded]
    network.eval()(images)
    for hook in hooks:
        hook.remove()


def blend(network: nn.Module, model: str, share: float, images: Tensor) -> nn.Module:
    """Average the weights of an exported model and of the network that was fine-tuned from it.

    Fine-tuning forgets some of the original task; the average keeps most of both. The averaged weights are those of
    the exported files, with batch normalization folded in.

    M. Wortsman et al., Robust Fine-Tuning of Zero-Shot Models, 2021, https://arxiv.org/abs/2109.01903

    Args:
        network: fine-tuned from the model; unchanged.
        model: name or path of that model.
        share: weight of the model in the average, 0 to 1.
        images: as for :func:`start_from`.

    Raises:
        ModelError: the model does not exist.
        TrainingError: the model has another architecture.
    """
    _, path, _ = find_model(model)
    before = _weights(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "blended.onnx"
        export(network, file, temperature=1.0)
        blended = onnx.load(file)
        for each in blended.graph.initializer:
            tuned = onnx.numpy_helper.to_array(each)
            if tuned.dtype == np.float32:
                mixed = tuned.copy()
                same = before.get(each.name, tuned)
                mixed[: len(same)] = share * same + (1 - share) * tuned[: len(same)]  # outputs may be new
                each.CopyFrom(onnx.numpy_helper.from_array(mixed, each.name))
        file.write_bytes(blended.SerializeToString())
        between = copy.deepcopy(network)
        start_from(str(file), between, images)
    return between


class Teachers:
    """Models to distill: their probabilities are targets in addition to the labels.

    G. Hinton, O. Vinyals and J. Dean, Distilling the Knowledge in a Neural Network, 2015,
    https://arxiv.org/abs/1503.02531

    Args:
        models: names or paths, comma-separated.
        threads: for each model.

    Raises:
        ModelError: a model does not exist.
    """

    def __init__(self, models: str, threads: int = 1) -> None:
        self._models = [Recognizer(name.strip(), threads=threads) for name in models.split(",")]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the mean of their probabilities, (N, 10), for (N, 1, 28, 28) float32 images.

        The temperature is not applied: nearly certain probabilities would add nothing to the label.
        """
        batch = images.contiguous().numpy()
        answers = [torch.from_numpy(model.logits(batch)[:, :CLASSES]).softmax(dim=1) for model in self._models]
        return torch.stack(answers).mean(dim=0)


def lineage(*models: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the file name and provenance of each of these models, comma-separated, and of their ancestors.

    Yields:
        Name of the file; its SHA-256, and its command, options and training if a registry has them.
    """
    for name in dict.fromkeys(each.strip() for text in models for each in text.split(",") if each.strip()):
        info = Recognizer(name).model
        yield from info.entry.get("lineage", {}).items()
        known = {key: info.entry[key] for key in ("command", "config", "training", "versions") if key in info.entry}
        yield info.path.name, {"sha256": info.sha256, **known}
