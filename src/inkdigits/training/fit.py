"""Networks in PyTorch: the training loop, :func:`fit`, to be read from top to bottom, and its learner.

The loop prints a line per epoch and selects the best epoch on validation images. It does not use the test set.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdigits import _aliases
from inkdigits.errors import TrainingError
from inkdigits.prediction import CLASSES
from inkdigits.progress import Progress, Report
from inkdigits.training.augment import augmented
from inkdigits.training.checkpoint import read_checkpoint, write_checkpoint
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import Teachers, blend, lineage, start_from
from inkdigits.training.export import export
from inkdigits.training.networks import build
from inkdigits.training.prepare import SEVERAL, Prepared, TrainingSet
from inkdigits.training.run import Learner, Trained
from inkdigits.training.validate import tensors_of, validate

__all__ = ["Fitted", "NetworkLearner", "TrainConfig", "fit"]

DIGIT, SEVERAL_DIGITS = CLASSES, CLASSES + 1  # indices of the logits of "this is a digit", "these are several digits"
REJECT_WEIGHT = 0.5  # of the loss of "this is a digit", relative to the loss of the ten digits
SEVERAL_WEIGHT = 0.2  # of the loss of "these are several digits"
START_SAMPLES = 2048  # training images for the statistics of a network that starts from the weights of another

if not TYPE_CHECKING:
    __getattr__ = partial(_aliases.find, __name__)


@dataclass(frozen=True)
class Fitted:
    """The result of the loop: the network with the averaged weights of its best epoch, and its figures."""

    network: nn.Module
    best_epoch: int
    validation_accuracy: float
    validation: dict[str, float]  # accuracy by validation set; of non-digits, the share rejected
    epochs: int
    seconds: float
    interrupted: bool


class NetworkLearner(Learner):
    """Trains a network in PyTorch: from scratch, or fine-tuned and distilled from other models.

    Args:
        config: every option.
        checkpoint: file to save the state of the run to after each epoch; None: do not save it.
        resume: continue from the checkpoint, to the same model as an uninterrupted run.

    Raises:
        SettingError: the network is unknown.
        ModelError: a model to start from does not exist.
    """

    def __init__(self, config: TrainConfig, checkpoint: Path | None = None, *, resume: bool = False) -> None:
        build(config.network)  # fail on an unknown name before loading data
        self._config, self._checkpoint, self._resume = config, checkpoint, resume
        self._lineage = dict(lineage(config.init, config.teacher))
        if config.threads:
            torch.set_num_threads(config.threads)

    def fit(self, data: Prepared, report: Report, record: Callable[[Mapping[str, float]], None]) -> Trained:
        """Run the loop, and average the weights of the best epoch with the initial ones if the config says so."""
        config, checkpoint, resume = self._config, self._checkpoint, self._resume
        report.say(
            f"{config.network} on {config.data}: {len(data.training):,} images to train on, "
            f"{data.held_out:,} to validate on; torch {torch.__version__}, {_precision(config)}, "
            f"{torch.get_num_threads()} threads"
        )
        outputs: dict[str, Any] = {"say": report.say, "progress": report.progress, "record": record}
        fitted = fit(config, data.training, data.validation, checkpoint, resume=resume, **outputs)
        network, accuracy, figures = fitted.network, fitted.validation_accuracy, fitted.validation
        report.say(f"best epoch {fitted.best_epoch}: validation accuracy {accuracy:.2%}")
        if config.init_weight:
            some = np.arange(0, len(data.training), max(1, len(data.training) // START_SAMPLES))
            network = blend(network, config.init, config.init_weight, tensors_of(data.training.take(some))[0])
            _, accuracy, figures = validate(network, data.validation)
            report.say(
                f"averaged with {config.init_weight:.0%} of the initial weights: validation accuracy {accuracy:.2%}"
            )
        return Trained(
            network,
            write=lambda path, calibration: export(
                network,
                path,
                temperature=calibration.temperature,
                metadata={"network": config.network, **calibration.metadata},
            ),
            validation={"accuracy": accuracy, **figures},
            parameters=sum(p.numel() for p in network.parameters()),
            training={
                "best_epoch": fitted.best_epoch,
                "epochs": fitted.epochs,
                "seconds": round(fitted.seconds, 1),
                "threads": torch.get_num_threads(),
                "precision": _precision(config),
            },
            packages=("torch", "onnx", "onnxruntime", "numpy"),
            lineage=self._lineage,
            checkpoint=checkpoint,
            interrupted=fitted.interrupted,
        )


def fit(
    config: TrainConfig,
    training: TrainingSet,
    validation: dict[str, TrainingSet],
    checkpoint: Path | None,
    *,
    resume: bool,
    say: Callable[[str], None],
    progress: Progress,
    record: Callable[[Mapping[str, float]], None] = lambda figures: None,
) -> Fitted:
    """Train a network. Ctrl-C ends the loop with the best epoch so far, or raises before the end of the first epoch.

    Args:
        config: every option.
        training: images to train on.
        validation: images to select the best epoch by, with the accuracy on digits.
        checkpoint: file to save the state of the run to after each epoch; None: do not save it.
        resume: continue from the checkpoint.
        say: called with each line of text.
        progress: shows the steps of an epoch.
        record: called with each epoch's figures by name; an exception in it ends the run.

    Raises:
        TrainingError: the checkpoint is missing or belongs to another run, or the loss is not a number.
    """
    images, labels = torch.from_numpy(training.images)[:, None], torch.from_numpy(training.labels)
    torch.manual_seed(config.seed)  # weights, dropout
    generator = torch.Generator().manual_seed(config.seed)  # order and augmentation of the images
    network = build(config.network, more=_more(config))
    # 1.6 times as fast for LeNet on a CPU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the types of torch
    if config.init and not resume:
        sample = images[torch.randperm(len(images), generator=generator)[:START_SAMPLES]].float() / 255
        start_from(config.init, network, augmented(sample, config, generator))
    teachers = Teachers(config.teacher) if config.teacher else None
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    optimizer = _optimizer(network, config)
    bfloat16 = _precision(config) == "bfloat16"

    batch = min(config.batch_size, len(images))
    steps = len(images) // batch
    state: dict[str, Any] = {"epoch": 0, "seconds": 0.0, "best": None}
    if resume:
        assert checkpoint is not None  # as resuming needs one
        state = read_checkpoint(checkpoint, config)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        generator.set_state(state["generator"])
        say(f"resuming after epoch {state['epoch']} from {checkpoint}")
    epoch, seconds, best = state["epoch"], state["seconds"], state["best"]
    step = epoch * steps
    interrupted = False

    try:
        while epoch < config.epochs and not (config.patience and best and epoch - best["epoch"] >= config.patience):
            started = time.perf_counter()
            network.train()
            loss_sum = hits = digits = 0.0
            order = torch.randperm(len(images), generator=generator)
            with progress(f"epoch {epoch + 1}/{config.epochs}", steps, "") as advance:
                for chosen in order[: steps * batch].split(batch):
                    rate = _learning_rate(step, steps * config.epochs, config)
                    for group in optimizer.param_groups:
                        group["lr"] = rate

                    x, y = augmented(images[chosen].float() / 255, config, generator), labels[chosen]
                    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                        logits = network(x)
                    objective, loss, right = _loss(logits.float(), y, config, teachers(x) if teachers else None)
                    optimizer.zero_grad()
                    objective.backward()
                    optimizer.step()

                    # Forget the early weights, which are far off, quickly.
                    decay = min(config.ema_decay, (step + 1) / (step + 10)) if config.ema_decay else 0.0
                    _average(pairs, decay)
                    loss_sum += loss.item()
                    hits += right
                    digits += (y >= 0).sum().item()
                    step += 1
                    advance(1)
            if not math.isfinite(loss_sum):
                raise TrainingError(
                    f"the loss became {loss_sum} in epoch {epoch + 1}; "
                    f"lower the learning rate, now {config.learning_rate}"
                )

            val_loss, val_accuracy, figures = validate(averaged, validation)
            epoch += 1
            seconds += (took := time.perf_counter() - started)
            better = best is None or (val_accuracy, -val_loss) > (best["accuracy"], -best["loss"])
            if better:
                weights = {key: value.clone() for key, value in averaged.state_dict().items()}
                best = {
                    "epoch": epoch,
                    "accuracy": val_accuracy,
                    "loss": val_loss,
                    "figures": figures,
                    "weights": weights,
                }
            record(
                {
                    "epoch": epoch,
                    "train_loss": loss_sum / steps,
                    "train_accuracy": hits / digits,
                    "validation_loss": val_loss,
                    "validation_accuracy": val_accuracy,
                    **({f"validation_{name}": share for name, share in figures.items()} if len(figures) > 1 else {}),
                    "learning_rate": rate,
                    "seconds": seconds,
                }
            )
            if checkpoint:
                state = {
                    "epoch": epoch,
                    "seconds": seconds,
                    "best": best,
                    "network": network.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "torch_rng": torch.get_rng_state(),
                    "generator": generator.get_state(),
                }
                write_checkpoint(checkpoint, config, state)
            say(
                f"epoch {epoch:3}/{config.epochs}  "
                f"train loss {loss_sum / steps:.4f} acc {hits / digits:7.2%}  "
                f"val loss {val_loss:.4f} acc {val_accuracy:7.2%}  rate {rate:.2e}  {took:.1f} s{'  best' * better}"
            )
            if len(figures) > 1:
                say("    " + "  ".join(f"{name} {share:.2%}" for name, share in figures.items()))
    except KeyboardInterrupt:
        # The first epoch counts only once it is complete and its checkpoint, if any, is written.
        if best is None or (checkpoint and not checkpoint.exists()):
            raise
        interrupted = True
    averaged.load_state_dict(best["weights"])
    return Fitted(averaged, best["epoch"], best["accuracy"], best["figures"], epoch, seconds, interrupted)


def _loss(
    logits: Tensor, labels: Tensor, config: TrainConfig, soft_labels: Tensor | None = None
) -> tuple[Tensor, Tensor, int]:
    """Return the objective to minimize, the plain cross-entropy of the digits, and the number of correct digits.

    Non-digits train only the eleventh output, if the network has one, and the twelfth. ``soft_labels`` are the
    probabilities of the teachers, (N, 10), to distill.
    """
    is_digit, smoothing = labels >= 0, config.label_smoothing
    log_p, y = F.log_softmax(logits[is_digit, :DIGIT], dim=1), labels[is_digit]
    loss = F.nll_loss(log_p, y)
    objective = (1 - smoothing) * loss - smoothing * log_p.mean()
    if soft_labels is not None:
        from_teachers = -(soft_labels[is_digit] * log_p).sum(dim=1).mean()
        objective = (1 - config.distillation) * objective + config.distillation * from_teachers
    if logits.shape[1] > DIGIT:
        objective = objective + REJECT_WEIGHT * F.binary_cross_entropy_with_logits(logits[:, DIGIT], is_digit.float())
    if logits.shape[1] > SEVERAL_DIGITS:
        # Digits too: one that is rejected is not several digits.
        several = (labels == SEVERAL).float()
        wrong = F.binary_cross_entropy_with_logits(logits[:, SEVERAL_DIGITS], several)
        objective = objective + SEVERAL_WEIGHT * wrong
    return objective, loss, int((log_p.argmax(dim=1) == y).sum())


def _more(config: TrainConfig) -> int:
    """Return how many outputs the network has after the ten digits."""
    return 2 if config.several else int(config.non_digits > 0 or config.characters > 0 or config.residue > 0)


def _precision(config: TrainConfig) -> str:
    if config.precision != "auto":
        return config.precision
    features = torch.cpu.get_capabilities()
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]  # biases and batch normalization, which decay only harms
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate: linear warmup, then cosine decay to zero."""
    rise = config.warmup * steps
    if step < rise:
        return config.learning_rate * (step + 1) / (rise + 1)
    return config.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], decay: float) -> None:
    """Update the moving average of all weights and batch statistics; copy counters."""
    for kept, now in pairs:
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)
