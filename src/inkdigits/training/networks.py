"""The networks, by name. Each takes (N, 1, 28, 28) float32, ink 1 on paper 0, and returns logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdigits.errors import SettingError
from inkdigits.preprocess import SIDE

__all__ = ["NETWORKS", "Cnn", "LeNet", "build"]


class LeNet(nn.Module):
    """LeNet for 28×28 images: 6 and 16 convolutions of 5×5, each max-pooled by 2 before ReLU, then 120-84-10.

    44,426 parameters; 61,706 with padding 2, which gives the 32×32 input of the paper.
    Y. LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998,
    http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf

    Args:
        padding: pixels of paper around the image.
    """

    def __init__(self, padding: int = 0) -> None:
        super().__init__()
        side = ((SIDE + 2 * padding - 4) // 2 - 4) // 2  # of a feature map, after two convolutions and two poolings
        self.conv1 = nn.Conv2d(1, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.full1 = nn.Linear(16 * side * side, 120)
        self.full2 = nn.Linear(120, 84)
        self.full3 = nn.Linear(84, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 10) logits of (N, 1, 28, 28) images."""
        # ReLU is monotonic, so pooling first gives the same result with a quarter of the ReLUs.
        x = F.relu(F.max_pool2d(self.conv1(image), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.full1(torch.flatten(x, 1)))
        x = F.relu(self.full2(x))
        return self.full3(x)


def _block(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """Build a 3×3 convolution with batch normalization and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class Cnn(nn.Module):
    """Seven 3×3 convolutions with batch normalization at 28×28, 14×14 and 7×7 pixels, then a weighted average per map.

    Strided convolutions replace pooling, which would compute values only to discard them. The average at the end is a
    depthwise 7×7 convolution: it costs almost nothing, and unlike a plain mean it depends on the position of strokes
    (J. Chen et al., MobileFaceNets, 2018, https://arxiv.org/abs/1804.07573). With 16, 32 and 80 channels: 166,938
    parameters and 11 million multiplications per image.

    Args:
        widths: channels at 28×28, 14×14 and 7×7 pixels.
    """

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 80)) -> None:
        super().__init__()
        first, second, third = widths
        self.features = nn.Sequential(
            _block(1, first),
            _block(first, second, stride=2),
            _block(second, second),
            _block(second, second),
            _block(second, third, stride=2),
            _block(third, third),
            _block(third, third),
        )
        self.pool = nn.Conv2d(third, third, 7, groups=third)
        self.full = nn.Linear(third, 10)

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 10) logits of (N, 1, 28, 28) images."""
        return self.full(self.pool(self.features(image)).flatten(1))


class _Stack(nn.Module):
    """Convolutions, optional dense layers, and a linear layer."""

    def __init__(self, features: nn.Sequential, dense: nn.Sequential, full: nn.Linear) -> None:
        super().__init__()
        self.features, self.dense, self.full = features, dense, full

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, 10) logits of (N, 1, 28, 28) images."""
        return self.full(self.dense(self.features(image).flatten(1)))


def _baseline() -> nn.Module:
    """Build the network of many tutorials: two 3×3 convolutions of 16 and 32, pooling, dropout, dense 128-10.

    206,922 parameters and 1.2 million multiplications per image.
    """
    return _Stack(
        nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
        ),
        nn.Sequential(nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


def _baseline_deep() -> nn.Module:
    """Build the baseline with each convolution doubled, batch normalization after each, dropout after each pooling.

    218,714 parameters and 4.8 million multiplications per image.
    """
    return _Stack(
        nn.Sequential(
            *(_block(1, 16), _block(16, 16), nn.MaxPool2d(2), nn.Dropout(0.1)),
            *(_block(16, 32), _block(32, 32), nn.MaxPool2d(2), nn.Dropout(0.25)),
        ),
        nn.Sequential(nn.Linear(32 * 7 * 7, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )


def _sprint() -> nn.Module:
    """Build three small convolutions, each pooled at once: the network that trains fastest.

    24,466 parameters and 0.8 million multiplications per image.
    """
    return _Stack(
        nn.Sequential(
            *(nn.Conv2d(1, 8, 5, padding=2, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 24, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(24), nn.ReLU()),
            *(nn.Conv2d(24, 48, 3, bias=False), nn.BatchNorm2d(48), nn.ReLU()),
        ),
        nn.Sequential(),
        nn.Linear(48 * 5 * 5, 10),
    )


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": LeNet,
    "lenet_padded": partial(LeNet, padding=2),
    "cnn": Cnn,
    "cnn_small": partial(Cnn, (8, 16, 32)),
    "cnn_medium": partial(Cnn, (16, 32, 64)),
    "cnn_large": partial(Cnn, (24, 48, 96)),
    "cnn_huge": partial(Cnn, (32, 64, 128)),
    "baseline": _baseline,
    "baseline_deep": _baseline_deep,
    "sprint": _sprint,
}


def build(name: str, *, more: int = 0) -> nn.Module:
    """Build a network with random weights from torch's global generator.

    Args:
        name: one of :data:`NETWORKS`.
        more: outputs of the last layer after the ten digits: 1 for the logit of "this is a digit", 2 for that of
            "these are several digits", too.

    Raises:
        SettingError: the network is unknown.
    """
    if name not in NETWORKS:
        raise SettingError(f"unknown network {name!r}; known are: {', '.join(NETWORKS)}, mlp")
    network = NETWORKS[name]()
    if more:
        last, old = [(key, each) for key, each in network.named_modules() if isinstance(each, nn.Linear)][-1]
        owner, _, attribute = last.rpartition(".")
        setattr(network.get_submodule(owner), attribute, nn.Linear(old.in_features, old.out_features + more))
    return network
