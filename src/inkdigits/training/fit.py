"""Training: from a config and a data set to an exported, measured and registered model.

:func:`fit` is the loop, to be read from top to bottom; :func:`train` is the whole run around it. One epoch a line, the
best epoch chosen on validation images, and the test part looked at once, at the very end, through the exported file.
"""

from __future__ import annotations

import copy
import importlib.metadata
import math
import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from inkdigits import __version__
from inkdigits.errors import SettingError, TrainingError
from inkdigits.image import SIDE, normalise
from inkdigits.recognizer import Recognizer, read_registry
from inkdigits.settings import Settings
from inkdigits.training.augment import augment
from inkdigits.training.checkpoint import read_checkpoint, write_checkpoint
from inkdigits.training.config import TrainConfig
from inkdigits.training.data import fetch, load, stratified
from inkdigits.training.evaluate import Evaluation, evaluate
from inkdigits.training.export import check_parity, export, register
from inkdigits.training.networks import build
from inkdigits.training.progress import Progress, bars

__all__ = ["Fitted", "TrainConfig", "fit", "fit_temperature", "normalised", "train"]

VALIDATION_SEED = 0  # of the images held back: the same in every run, so that runs can be compared
VALIDATION_SHARE = 0.2  # of the training images, at most, for small data sets
VALIDATION_BATCH = 500  # images
PARITY_SAMPLES = 512  # validation images that the exported file is compared on
TEMPERATURES = (0.2, 5.0)  # a validation part without a mistake would ask for endless certainty


@dataclass(frozen=True)
class Fitted:
    """What the loop gives: the network with the averaged weights of its best epoch, and how it came about."""

    network: nn.Module
    best_epoch: int
    validation_accuracy: float
    epochs: int
    seconds: float
    interrupted: bool


def train(
    config: TrainConfig, out: Path, settings: Settings, *, resume: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Train, calibrate, export, check, measure and register one model.

    Ctrl-C ends the training early: the best epoch so far is exported all the same.

    Args:
        config: every option.
        out: the ``.onnx`` file to write. Its folder's ``registry.json`` gets the entry; while it trains, a checkpoint
            lies beside it under the suffix ``.ckpt``.
        settings: where data sets are.
        resume: go on from that checkpoint, to the same model as an undisturbed run.
        console: where the run tells how it stands; default standard output.

    Returns:
        The registry's entry.

    Raises:
        SettingError: an option cannot be used.
        DataError: the data set cannot be had.
        TrainingError: nothing to resume from, the loss is no number, or the model cannot be exported or written.
        ModelError: the registry beside ``out`` is damaged.
    """
    console = console or Console()
    progress = bars(console)

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    out = _check_out(Path(out))
    checkpoint = out.with_suffix(".ckpt")
    build(config.network)  # an unknown name should not wait for the data
    if config.threads:
        torch.set_num_threads(config.threads)
    # The test part, too: a long run must not fail at its last step for want of it.
    fetch(config.data, settings, progress=progress)

    dataset = load(config.data, settings, part="train", progress=progress)
    images = normalised(dataset.images, progress)
    labels = torch.from_numpy(dataset.labels)
    size = min(config.validation, int(VALIDATION_SHARE * len(dataset)))
    fitting, held = map(torch.from_numpy, stratified(dataset.labels, size, VALIDATION_SEED))
    validation = images[held], labels[held]
    say(
        f"{config.network} on {dataset.name}: {len(fitting):,} images to train on, {len(held):,} to validate on; "
        f"torch {torch.__version__}, {_precision(config)}, {torch.get_num_threads()} threads"
    )
    fitted = fit(
        config, (images[fitting], labels[fitting]), validation, checkpoint, resume=resume, say=say, progress=progress
    )
    say(f"best epoch {fitted.best_epoch}: validation accuracy {fitted.validation_accuracy:.2%}")

    network = fitted.network
    temperature = fit_temperature(_logits(network, validation[0]), validation[1])
    staged = out.with_name(f".{out.stem}.new.onnx")
    try:
        export(network, staged, temperature=temperature, metadata={"network": config.network})
        difference = check_parity(network, staged, validation[0][:PARITY_SAMPLES])
        say(f"exported with temperature {temperature:.3f}; differs from the network by at most {difference:.1g}")
        recognizer = Recognizer(staged)
        measured = evaluate(recognizer, test := load(config.data, settings, part="test"), progress)
        entry = _entry(config, out, fitted, recognizer, measured, {**dataset.sha256, **test.sha256})
        staged.replace(out)
    finally:
        staged.unlink(missing_ok=True)
    register(out, entry)
    low, high = measured.interval
    say(f"{measured.dataset} test: {measured.accuracy:.2%} of {measured.n:,} right (95%: {low:.2%} to {high:.2%})")
    say(f"wrote {out} ({entry['bytes']:,} bytes), registered as {out.stem}")
    if fitted.interrupted:
        say(f"stopped early; {checkpoint} stays, --resume goes on from it")
    else:
        checkpoint.unlink(missing_ok=True)
    return entry


def fit(
    config: TrainConfig,
    training: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    checkpoint: Path,
    *,
    resume: bool,
    say: Any,
    progress: Progress,
) -> Fitted:
    """The loop. Ctrl-C ends it with the best epoch so far; before the first epoch's end it goes through to the caller.

    Args:
        config: every option.
        training: images (N, 1, 28, 28) float32 and labels (N,) int64.
        validation: likewise, never trained on.
        checkpoint: file that everything needed to go on is written to after each epoch.
        resume: go on from it.
        say: called with each line of text.
        progress: shows the steps of an epoch.

    Raises:
        TrainingError: there is no checkpoint, or not of this run; or the loss is not a number.
    """
    images, labels = training
    torch.manual_seed(config.seed)  # weights, dropout
    generator = torch.Generator().manual_seed(config.seed)  # order and disturbances of the images
    network = build(config.network).to(memory_format=torch.channels_last)  # 1.6 times as fast for LeNet on a CPU
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    optimizer = _optimizer(network, config)
    bfloat16 = _precision(config) == "bfloat16"

    batch = min(config.batch_size, len(images))
    steps = len(images) // batch
    state: dict[str, Any] = {"epoch": 0, "seconds": 0.0, "best": None}
    if resume:
        state = read_checkpoint(checkpoint, config)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["torch_rng"])
        generator.set_state(state["generator"])
        say(f"going on after epoch {state['epoch']} from {checkpoint}")
    epoch, seconds, best = state["epoch"], state["seconds"], state["best"]
    step = epoch * steps
    interrupted = False

    try:
        while epoch < config.epochs and not (config.patience and best and epoch - best["epoch"] >= config.patience):
            started = time.perf_counter()
            network.train()
            loss_sum = hits = 0.0
            order = torch.randperm(len(images), generator=generator)
            with progress(f"epoch {epoch + 1}/{config.epochs}", steps, "") as advance:
                for chosen in order[: steps * batch].split(batch):
                    x, y = _disturbed(images[chosen], config.augment, generator), labels[chosen]
                    rate = _learning_rate(step, steps * config.epochs, config)
                    for group in optimizer.param_groups:
                        group["lr"] = rate

                    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                        logits = network(x)
                    log_p = F.log_softmax(logits.float(), dim=1)
                    loss = F.nll_loss(log_p, y)  # what is reported, comparable with validation
                    smoothed = (1 - config.label_smoothing) * loss - config.label_smoothing * log_p.mean()
                    optimizer.zero_grad()
                    smoothed.backward()
                    optimizer.step()

                    # Early weights are far off and should be forgotten soon.
                    decay = min(config.ema_decay, (step + 1) / (step + 10)) if config.ema_decay else 0.0
                    _average(pairs, decay)
                    loss_sum += loss.item()
                    hits += (log_p.argmax(dim=1) == y).sum().item()
                    step += 1
                    advance(1)
            if not math.isfinite(loss_sum):
                raise TrainingError(
                    f"the loss became {loss_sum} in epoch {epoch + 1}; "
                    f"lower the learning rate, now {config.learning_rate}"
                )

            logits = _logits(averaged, validation[0])
            val_loss = F.cross_entropy(logits, validation[1]).item()
            val_accuracy = (logits.argmax(dim=1) == validation[1]).sum().item() / len(logits)
            epoch += 1
            seconds += (took := time.perf_counter() - started)
            better = best is None or (val_accuracy, -val_loss) > (best["accuracy"], -best["loss"])
            if better:
                weights = {key: value.clone() for key, value in averaged.state_dict().items()}
                best = {"epoch": epoch, "accuracy": val_accuracy, "loss": val_loss, "weights": weights}
            say(
                f"epoch {epoch:3}/{config.epochs}  "
                f"train loss {loss_sum / steps:.4f} acc {hits / (steps * batch):7.2%}  "
                f"val loss {val_loss:.4f} acc {val_accuracy:7.2%}  rate {rate:.2e}  {took:.1f} s{'  best' * better}"
            )
            write_checkpoint(
                checkpoint,
                config,
                {
                    "epoch": epoch,
                    "seconds": seconds,
                    "best": best,
                    "network": network.state_dict(),
                    "averaged": averaged.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "torch_rng": torch.get_rng_state(),
                    "generator": generator.get_state(),
                },
            )
    except KeyboardInterrupt:
        if best is None:
            raise
        interrupted = True
    averaged.load_state_dict(best["weights"])
    return Fitted(averaged, best["epoch"], best["accuracy"], epoch, seconds, interrupted)


def normalised(images: np.ndarray, progress: Progress) -> Tensor:
    """Raw images through the normalisation that they get at run time: (N, H, W) uint8 to (N, 1, 28, 28) float32."""
    out = np.empty((len(images), 1, SIDE, SIDE), np.float32)
    with progress("normalising", len(images), "") as advance:
        for i, image in enumerate(images):
            out[i, 0] = normalise(image).image
            advance(1)
    return torch.from_numpy(out)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes the likelihood of the labels largest, within 0.2 to 5.

    Args:
        logits: (N, 10).
        labels: (N,) int64.

    C. Guo et al., On Calibration of Modern Neural Networks, 2017, https://arxiv.org/abs/1706.04599
    """
    z = logits.double()
    of_label = z.gather(1, labels[:, None])[:, 0]
    # In the inverse temperature the loss is convex, so its slope changes sign once: halve the interval around that.
    low, high = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    for _ in range(50):
        middle = (low + high) / 2
        slope = ((z * middle).softmax(dim=1) * z).sum(dim=1) - of_label
        low, high = (low, middle) if slope.mean() > 0 else (middle, high)
    return 2 / (low + high)


def _check_out(out: Path) -> Path:
    if out.suffix != ".onnx" or out.is_dir():
        raise SettingError(f"the model to write must be a file with suffix .onnx, not {str(out)!r}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make folder {out.parent}: {error.strerror}; name another --out") from None
    if not os.access(out.parent, os.W_OK):
        raise TrainingError(f"cannot write in folder {out.parent}; name another --out")
    read_registry(out.parent)  # a damaged one should not be found out after hours
    return out


def _precision(config: TrainConfig) -> str:
    if config.precision != "auto":
        return config.precision
    features = torch.cpu.get_capabilities()
    return "bfloat16" if features.get("avx512_bf16") or features.get("amx_bf16") else "float32"


def _optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim <= 1]  # biases and batch normalisation: decay only harms them
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Up in a line, then down to zero in half a cosine."""
    rise = config.warmup * steps
    if step < rise:
        return config.learning_rate * (step + 1) / (rise + 1)
    return config.learning_rate * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


def _disturbed(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    if share == 1:
        return augment(images, generator)
    chosen = (torch.rand(len(images), generator=generator) < share).nonzero()[:, 0]
    if len(chosen):
        images[chosen] = augment(images[chosen], generator)
    return images


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], decay: float) -> None:
    """Move each averaged value 1 - decay of the way to its present one; batch statistics, too; counters are copied."""
    for kept, now in pairs:
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


@torch.inference_mode()
def _logits(network: nn.Module, images: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(batch) for batch in images.split(VALIDATION_BATCH)])


def _entry(
    config: TrainConfig,
    out: Path,
    fitted: Fitted,
    recognizer: Recognizer,
    measured: Evaluation,
    hashes: dict[str, str],
) -> dict[str, Any]:
    packages = ("torch", "onnx", "onnxruntime", "numpy")
    return {
        "file": out.name,
        "sha256": recognizer.model.sha256,
        "network": config.network,
        "parameters": sum(p.numel() for p in fitted.network.parameters()),
        "bytes": recognizer.model.path.stat().st_size,
        "temperature": recognizer.model.temperature,
        "metrics": {
            "validation": {"accuracy": fitted.validation_accuracy},
            measured.dataset: measured.figures(),
        },
        "training": {
            "best_epoch": fitted.best_epoch,
            "epochs": fitted.epochs,
            "seconds": round(fitted.seconds, 1),
            "threads": torch.get_num_threads(),
            "precision": _precision(config),
        },
        "command": config.command(out.name),
        "config": config.to_dict(),
        "data": hashes,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            "inkdigits": __version__,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
