"""Seconds of training to 99.0% on MNIST's test set: PyTorch's own MNIST example against the network ``sprint``.

    python benchmarks/fast_training.py [--threads 1] [--seeds 0,1,2]

The example is https://github.com/pytorch/examples/blob/main/mnist/main.py, written again from its published settings:
convolutions of 32 and 64, 3×3, dropout 0.25 and 0.5, dense 128, Adadelta with learning rate 1.0 that falls to 0.7 of
it each epoch, batches of 64, images normalized by mean 0.1307 and deviation 0.3081. Its images are tensors
here, which spares it the decoding that it does itself. It is looked at after each epoch, with the test images, and
stopped as soon as it is there; that looking is not counted.

Ours is the loop of ``inkdigits train`` with the options below, on 55,000 of the 60,000 images. They were chosen on the
other 5,000, with which the loop validates, and that is counted. The test images are looked at once, at its end. Both
run one after the other in the same process with the same threads; both are in the same row. Beside the seconds by the
clock stand those that the processor spent, which other work on the machine does not lengthen.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from inkdigits.data.catalog import load
from inkdigits.data.dataset import Dataset, stratified
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training.config import TrainConfig
from inkdigits.training.fit import fit
from inkdigits.training.prepare import VALIDATION_SEED, TrainingSet

from _common import percent, record

GOAL = 0.99
OURS = TrainConfig(
    network="sprint",
    epochs=2,
    batch_size=128,
    learning_rate=0.02,
    warmup=0.3,
    augment=0,
    label_smoothing=0,
    ema_decay=0.98,
)
EXAMPLE_EPOCHS = 14
EXAMPLE_BATCH = 64
MEAN, DEVIATION = 0.1307, 0.3081


@dataclass
class Spent:
    """Seconds by the clock and of the processor, over all that ran inside ``with``."""

    clock: float = 0.0
    processor: float = 0.0

    def __enter__(self) -> Spent:
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.clock += time.perf_counter() - self._began[0]
        self.processor += time.process_time() - self._began[1]


class Example(nn.Module):
    """The network of PyTorch's example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


@torch.inference_mode()
def accuracy(network: nn.Module, images: torch.Tensor, labels: np.ndarray) -> float:
    network.eval()
    read = torch.cat([network(batch).argmax(dim=1) for batch in images.split(500)])
    return float((read.numpy() == labels).mean())


def ours(training: Dataset, test: Dataset, config: TrainConfig) -> tuple[Spent, float]:
    """What it took, and accuracy on the test images."""
    with Spent() as spent, tempfile.TemporaryDirectory() as folder:
        fitting, held = stratified(training.labels, config.validation, VALIDATION_SEED)
        pools = [TrainingSet(training.images[at], training.labels[at]) for at in (fitting, held)]
        checkpoint = Path(folder, "sprint.ckpt")
        fitted = fit(
            config, pools[0], {"mnist": pools[1]}, checkpoint, resume=False, say=lambda line: None, progress=silent
        )
    return spent, accuracy(fitted.network, torch.from_numpy(test.images)[:, None].float() / 255, test.labels)


def example(training: Dataset, test: Dataset, seed: int) -> tuple[Spent, float, int]:
    """What it took until the goal, accuracy on the test images, and epochs."""
    with Spent() as spent:
        torch.manual_seed(seed)
        images = (torch.from_numpy(training.images)[:, None].float() / 255 - MEAN) / DEVIATION
        loader = DataLoader(TensorDataset(images, torch.from_numpy(training.labels)), EXAMPLE_BATCH)
        network = Example()
        optimizer = torch.optim.Adadelta(network.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    unseen = (torch.from_numpy(test.images)[:, None].float() / 255 - MEAN) / DEVIATION
    for epoch in range(1, EXAMPLE_EPOCHS + 1):
        with spent:
            network.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.nll_loss(network(x), y).backward()
                optimizer.step()
            scheduler.step()
        found = accuracy(network, unseen, test.labels)
        print(f"example, epoch {epoch}: {percent(found)} after {spent.clock:.1f} s", flush=True)
        if found >= GOAL:
            break
    return spent, found, epoch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", default="0,1,2")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = Settings.from_env()
    training, test = (load("mnist", settings, part=part) for part in ("train", "test"))
    for seed in map(int, args.seeds.split(",")):
        config = TrainConfig.from_dict({**OURS.to_dict(), "seed": seed, "threads": args.threads})
        our_own, our_accuracy = ours(training, test, config)
        print(f"ours: {percent(our_accuracy)} after {our_own.clock:.1f} s", flush=True)
        its_own, its_accuracy, its_epochs = example(training, test, seed)
        record(
            goal=percent(GOAL),
            threads=args.threads,
            seed=seed,
            ours_s=round(our_own.clock, 1),
            ours_cpu_s=round(our_own.processor, 1),
            ours_accuracy=percent(our_accuracy),
            ours_reached=our_accuracy >= GOAL,
            example_s=round(its_own.clock, 1),
            example_cpu_s=round(its_own.processor, 1),
            example_accuracy=percent(its_accuracy),
            example_epochs=its_epochs,
            example_reached=its_accuracy >= GOAL,
            times_sooner=round(its_own.clock / our_own.clock, 1),
            times_less_cpu=round(its_own.processor / our_own.processor, 1),
            options=config.command("sprint.onnx"),
            torch=torch.__version__,
        )


if __name__ == "__main__":
    main()
