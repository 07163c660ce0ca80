"""Training: from a config and a data set to an exported, measured and registered model.

:func:`fit` is the loop, to be read from top to bottom; :func:`train` is the whole run around it. One epoch a line, the
best epoch chosen on validation images, and the test part looked at once, at the very end, through the exported file.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor, nn

from inkdigits.data.catalog import fetch
from inkdigits.errors import TrainingError
from inkdigits.prediction import CLASSES
from inkdigits.progress import Progress, bars
from inkdigits.settings import Settings
from inkdigits.training.augment import Strength, augment
from inkdigits.training.calibrate import calibrate
from inkdigits.training.callbacks import UNWATCHED, Watch
from inkdigits.training.checkpoint import read_checkpoint, write_checkpoint
from inkdigits.training.config import TrainConfig
from inkdigits.training.distill import Teachers, blend, lineage, start_from
from inkdigits.training.export import check_parity, export
from inkdigits.training.networks import build
from inkdigits.training.prepare import NO_DIGIT, Pool, Pools, make_pools, split_names
from inkdigits.training.register import check_out, finish
from inkdigits.training.validate import tensors_of, validate

__all__ = ["Fitted", "TrainConfig", "fit", "train"]

DIGIT = CLASSES  # which output of a network that refuses is the logit of "this is a digit"
REFUSAL_WEIGHT = 0.5  # of the loss of that output, beside the loss of the ten digits
START_SAMPLES = 2048  # training images by which a network is set that starts from another's weights
PARITY_SAMPLES = 512  # validation images that the exported file is compared on


@dataclass(frozen=True)
class Fitted:
    """What the loop gives: the network with the averaged weights of its best epoch, and how it came about."""

    network: nn.Module
    best_epoch: int
    validation_accuracy: float
    validation: dict[str, float]  # accuracy by name of what it was chosen by; of what is no digit, the share refused
    epochs: int
    seconds: float
    interrupted: bool


def train(
    config: TrainConfig,
    out: Path,
    settings: Settings,
    *,
    resume: bool = False,
    console: Console | None = None,
    watch: Watch = UNWATCHED,
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
        watch: told how the run goes, such as ``tracking.Recorder``; default nobody.

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

    out = check_out(Path(out))
    checkpoint = out.with_suffix(".ckpt")
    build(config.network)  # an unknown name should not wait for the data
    origin = dict(lineage(config.init, config.teacher))
    if config.threads:
        torch.set_num_threads(config.threads)
    # The test part, too: a long run must not fail at its last step for want of it.
    names = split_names(config.data)
    for name in names:
        fetch(name, settings, progress=progress)

    pools = make_pools(config, settings, progress)
    held = sum(map(len, pools.validation.values()))
    say(
        f"{config.network} on {config.data}: {len(pools.training):,} images to train on, {held:,} to validate on; "
        f"torch {torch.__version__}, {_precision(config)}, {torch.get_num_threads()} threads"
    )
    watch.begin(pools.sha256)
    fitted = fit(
        config,
        pools.training,
        pools.validation,
        checkpoint,
        resume=resume,
        say=say,
        progress=progress,
        record=watch.epoch,
    )
    say(f"best epoch {fitted.best_epoch}: validation accuracy {fitted.validation_accuracy:.2%}")

    entry = _conclude(config, fitted, pools, out, settings, origin, say=say, progress=progress)
    watch.end(entry)
    if fitted.interrupted:
        say(f"stopped early; {checkpoint} stays, --resume goes on from it")
    else:
        checkpoint.unlink(missing_ok=True)
    return entry


def _conclude(
    config: TrainConfig,
    fitted: Fitted,
    pools: Pools,
    out: Path,
    settings: Settings,
    origin: dict[str, Any],
    *,
    say: Callable[[str], None],
    progress: Progress,
) -> dict[str, Any]:
    """From the best epoch to the registry's entry: blend, calibrate, export, check, measure, register."""
    network, accuracy, figures = fitted.network, fitted.validation_accuracy, fitted.validation
    if config.init_weight:
        some = slice(None, None, max(1, len(pools.training) // START_SAMPLES))
        images, _ = tensors_of(Pool(pools.training.images[some], pools.training.labels[some]))
        network = blend(network, config.init, config.init_weight, images)
        _, accuracy, figures = validate(network, pools.validation)
        say(f"with {config.init_weight:.0%} of the weights it started from: validation accuracy {accuracy:.2%}")
    calm = [pools.validation[name] for name in split_names(config.data)]
    found = calibrate(network, calm)
    metadata = {"network": config.network, **found.metadata}

    def write(path: Path) -> None:
        export(network, path, temperature=found.temperature, metadata=metadata)
        difference = check_parity(network, path, tensors_of(calm[0])[0][:PARITY_SAMPLES])
        say(f"exported with temperature {found.temperature:.3f}; differs from the network by at most {difference:.1g}")

    return finish(
        config,
        out,
        settings,
        write=write,
        sha256=pools.sha256,
        validation={"accuracy": accuracy, **figures, **found.figures},
        parameters=sum(p.numel() for p in network.parameters()),
        training={
            "best_epoch": fitted.best_epoch,
            "epochs": fitted.epochs,
            "seconds": round(fitted.seconds, 1),
            "threads": torch.get_num_threads(),
            "precision": _precision(config),
        },
        packages=("torch", "onnx", "onnxruntime", "numpy"),
        lineage=origin,
        say=say,
        progress=progress,
    )


def fit(
    config: TrainConfig,
    training: Pool,
    validation: dict[str, Pool],
    checkpoint: Path | None,
    *,
    resume: bool,
    say: Any,
    progress: Progress,
    record: Callable[[dict[str, float]], None] = UNWATCHED.epoch,
) -> Fitted:
    """The loop. Ctrl-C ends it with the best epoch so far; before the first epoch's end it goes through to the caller.

    Args:
        config: every option.
        training: what to learn from.
        validation: what to choose the epoch by, never learnt from: the accuracy on all that hold digits.
        checkpoint: file that everything needed to go on is written to after each epoch; None: none.
        resume: go on from it.
        say: called with each line of text.
        progress: shows the steps of an epoch.
        record: called with each epoch's figures by name; what it raises ends the run.

    Raises:
        TrainingError: there is no checkpoint, or not of this run; or the loss is not a number.
    """
    images, labels = torch.from_numpy(training.images)[:, None], torch.from_numpy(training.labels)
    torch.manual_seed(config.seed)  # weights, dropout
    generator = torch.Generator().manual_seed(config.seed)  # order and disturbances of the images
    network = build(config.network, refuses=config.non_digits > 0)
    # 1.6 times as fast for LeNet on a CPU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch leaves it out of its types
    if config.init and not resume:
        sample = images[torch.randperm(len(images), generator=generator)[:START_SAMPLES]].float() / 255
        start_from(config.init, network, _disturbed(sample, config, generator))
    teachers = Teachers(config.teacher) if config.teacher else None
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    pairs = list(zip(averaged.state_dict().values(), network.state_dict().values(), strict=True))
    optimizer = _optimizer(network, config)
    bfloat16 = _precision(config) == "bfloat16"

    batch = min(config.batch_size, len(images))
    steps = len(images) // batch
    state: dict[str, Any] = {"epoch": 0, "seconds": 0.0, "best": None}
    if resume:
        assert checkpoint is not None  # as a run without one cannot go on
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
            loss_sum = hits = digits = 0.0
            order = torch.randperm(len(images), generator=generator)
            with progress(f"epoch {epoch + 1}/{config.epochs}", steps, "") as advance:
                for chosen in order[: steps * batch].split(batch):
                    x, y = _disturbed(images[chosen].float() / 255, config, generator), labels[chosen]
                    rate = _learning_rate(step, steps * config.epochs, config)
                    for group in optimizer.param_groups:
                        group["lr"] = rate

                    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                        logits = network(x)
                    objective, loss, right = _loss(logits.float(), y, config, teachers(x) if teachers else None)
                    optimizer.zero_grad()
                    objective.backward()
                    optimizer.step()

                    # Early weights are far off and should be forgotten soon.
                    decay = min(config.ema_decay, (step + 1) / (step + 10)) if config.ema_decay else 0.0
                    _average(pairs, decay)
                    loss_sum += loss.item()
                    hits += right
                    digits += (y != NO_DIGIT).sum().item()
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
        # An epoch of which nothing was kept or told is one that was not done.
        if best is None or (checkpoint and not checkpoint.exists()):
            raise
        interrupted = True
    averaged.load_state_dict(best["weights"])
    return Fitted(averaged, best["epoch"], best["accuracy"], best["figures"], epoch, seconds, interrupted)


def _loss(
    logits: Tensor, labels: Tensor, config: TrainConfig, taught: Tensor | None = None
) -> tuple[Tensor, Tensor, int]:
    """What to descend on, the plain cross-entropy of the digits, and how many of them are right.

    Where the network has an eleventh output, what is no digit teaches that output only. ``taught`` are the teachers'
    probabilities, (N, 10).
    """
    is_digit, smoothing = labels != NO_DIGIT, config.label_smoothing
    log_p, y = F.log_softmax(logits[is_digit, :DIGIT], dim=1), labels[is_digit]
    loss = F.nll_loss(log_p, y)
    objective = (1 - smoothing) * loss - smoothing * log_p.mean()
    if taught is not None:
        from_teachers = -(taught[is_digit] * log_p).sum(dim=1).mean()
        objective = (1 - config.distillation) * objective + config.distillation * from_teachers
    if logits.shape[1] > DIGIT:
        objective = objective + REFUSAL_WEIGHT * F.binary_cross_entropy_with_logits(logits[:, DIGIT], is_digit.float())
    return objective, loss, int((log_p.argmax(dim=1) == y).sum())


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


def _disturbed(images: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    strength = Strength(elastic=config.elastic, low_res=config.low_res)
    if config.augment == 1:
        return augment(images, generator, strength)
    chosen = (torch.rand(len(images), generator=generator) < config.augment).nonzero()[:, 0]
    if len(chosen):
        images[chosen] = augment(images[chosen], generator, strength)
    return images


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], decay: float) -> None:
    """Move each averaged value 1 - decay of the way to its present one; batch statistics, too; counters are copied."""
    for kept, now in pairs:
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)
