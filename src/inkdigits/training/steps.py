"""Train a network on batches that are composed as it goes: the loop of the ink network and of the line network.

Every batch depends on the seed and its number alone, so that a resumed run gives the same network as an uninterrupted
one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from inkdigits.errors import TrainingError
from inkdigits.progress import Report
from inkdigits.training.checkpoint import read_checkpoint, write_checkpoint
from inkdigits.training.config import StepsConfig

__all__ = ["Task", "train_steps"]

GRADIENT = 1.0  # largest norm
REPORT_EVERY = 500  # steps


class Task(NamedTuple):
    """What is trained.

    Attributes:
        network: makes the network, which takes the first tensor of a batch.
        batches: maps the numbers of the steps that are left to batches: tuples of tensors.
        loss: from the network's output, in float32, and the batch.
        validate: measures a network: its figures by name.
        name: of the network.
    """

    network: Callable[[], nn.Module]
    batches: Callable[[range], Dataset[tuple[Tensor, ...]]]
    loss: Callable[[Tensor, tuple[Tensor, ...]], Tensor]
    validate: Callable[[nn.Module], Mapping[str, float]]
    name: str


def train_steps(
    config: StepsConfig, task: Task, checkpoint: Path | None, report: Report, *, resume: bool = False
) -> tuple[nn.Module, Mapping[str, float]]:
    """Train a network; return it with averaged weights, and its figures on validation data.

    Args:
        config: every option.
        task: the network, its batches and its loss.
        checkpoint: file to save the state of the run to; None: do not save it.
        report: gets lines of text.
        resume: continue from the checkpoint.

    Raises:
        TrainingError: the checkpoint is missing or belongs to another run, or the loss is not a number.
    """
    torch.set_num_threads(config.threads or torch.get_num_threads())
    torch.manual_seed(config.seed)
    network = task.network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    step, seconds = 0, 0.0
    if resume:
        assert checkpoint is not None  # as resuming needs one
        state = read_checkpoint(checkpoint, config)
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds = state["step"], state["seconds"]
        report.say(f"resuming after step {step} from {checkpoint}")
    # Spawn, not fork: a fork of a process with PyTorch's threads may hang.
    loader: Any = DataLoader(
        task.batches(range(step, config.steps)),
        batch_size=None,
        num_workers=config.workers,
        multiprocessing_context="spawn" if config.workers else None,
        worker_init_fn=_one_thread if config.workers else None,
    )
    parameters = sum(p.numel() for p in network.parameters())
    report.say(f"{task.name}, {parameters:,} parameters; {config.steps:,} batches")
    started, losses = time.perf_counter() - seconds, []
    figures: Mapping[str, float] = {}
    for batch in loader:
        rate = config.learning_rate * min(1, (step + 1) / max(1, config.warmup * config.steps))
        rate *= 0.5 + 0.5 * math.cos(math.pi * step / config.steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16"):
            output = network(batch[0].contiguous(memory_format=torch.channels_last))
        loss = task.loss(output.float(), batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), GRADIENT)
        optimizer.step()
        step += 1
        _average(averaged, network, min(config.ema_decay, (step + 1) / (step + 10)))
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"the loss became {losses[-1]} in step {step}; lower the learning rate, now {rate:.2g}")
        if step % REPORT_EVERY == 0 or step == config.steps:
            figures, seconds = task.validate(averaged), time.perf_counter() - started
            told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            report.say(
                f"step {step:6,}/{config.steps:,}  train loss {np.mean(losses):.4f}  {told}  rate {rate:.1e}  "
                f"{seconds:.0f} s"
            )
            losses = []
            if checkpoint:
                state = {"step": step, "seconds": seconds, "optimizer": optimizer.state_dict()}
                state |= {"network": network.state_dict(), "averaged": averaged.state_dict()}
                write_checkpoint(checkpoint, config, state)
    return averaged, figures


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for kept, now in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)
