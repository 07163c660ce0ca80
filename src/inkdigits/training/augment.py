"""Augmentation: random changes to batches of preprocessed 28×28 images, as hands, pens and low resolution cause them.

The images have already been through :func:`inkdigits.preprocess.preprocess`, which removes position, size, polarity and
paper. Augmentation varies what is left: slant, proportions and wobble of the hand, width and fade of the pen, blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inkdigits.training.config import TrainConfig

__all__ = ["Strength", "augment", "augmented"]


@dataclass(frozen=True)
class Strength:
    """How strong each augmentation is; the values are the ends of uniform ranges unless noted otherwise."""

    rotation: float = 9.0  # degrees, either way
    shear: float = 0.15  # horizontal, tangent of the slant, either way
    aspect: float = 0.15  # log of width : height, either way; the longer side is unchanged
    scale: float = 0.08  # log of the size, either way
    shift: float = 1.2  # pixels, either way
    elastic: float = TrainConfig.elastic  # pixels, standard deviation of the displacement of a wide grid
    elastic_grid: int = 6  # knots per side of that grid
    thickness: float = 0.3  # probability that the pen is made wider or thinner
    low_res: float = TrainConfig.low_res  # probability that the picture was only 9 to 18 pixels wide
    fade: float = 0.15  # probability that the ink's strength or contrast changes


def augment(images: Tensor, generator: torch.Generator, strength: Strength = Strength()) -> Tensor:
    """Augment each image of a batch differently.

    Args:
        images: (N, 1, 28, 28) float32 in [0, 1], ink 1 on paper 0.
        generator: source of all randomness.

    Returns:
        A new tensor of the same shape and range.
    """
    images = _warp(images, generator, strength)
    images = _thickness(images, generator, strength.thickness)
    images = _low_res(images, generator, strength.low_res)
    return _fade(images, generator, strength.fade)


def augmented(images: Tensor, config: TrainConfig, generator: torch.Generator) -> Tensor:
    """Augment the configured share of a batch, (N, 1, 28, 28) float32 in [0, 1]; may change it in place."""
    strength = Strength(elastic=config.elastic, low_res=config.low_res)
    if config.augment == 1:
        return augment(images, generator, strength)
    chosen = (torch.rand(len(images), generator=generator) < config.augment).nonzero()[:, 0]
    if len(chosen):
        images[chosen] = augment(images[chosen], generator, strength)
    return images


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(n).uniform_(low, high, generator=generator)


def _warp(images: Tensor, generator: torch.Generator, s: Strength) -> Tensor:
    """Apply affine and elastic deformation in one resampling (Simard et al., 2003, doi:10.1109/ICDAR.2003.1227801)."""
    n, _, h, w = images.shape
    angle = torch.deg2rad(_uniform(n, -s.rotation, s.rotation, generator))
    slant = _uniform(n, -s.shear, s.shear, generator)
    aspect = _uniform(n, -s.aspect, s.aspect, generator)
    size = _uniform(n, -s.scale, s.scale, generator)
    # Output → input: dividing by the factor enlarges.
    x_factor = torch.exp(-size - torch.clamp(aspect, max=0))
    y_factor = torch.exp(-size + torch.clamp(aspect, min=0))
    cos, sin = torch.cos(angle), torch.sin(angle)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = cos * x_factor, (sin + slant) * x_factor
    theta[:, 1, 0], theta[:, 1, 1] = -sin * y_factor, cos * y_factor
    theta[:, 0, 2] = _uniform(n, -s.shift, s.shift, generator) * (2 / w)
    theta[:, 1, 2] = _uniform(n, -s.shift, s.shift, generator) * (2 / h)
    grid = F.affine_grid(theta, [n, 1, h, w], align_corners=False)
    if s.elastic > 0:
        knots = torch.randn(n, 2, s.elastic_grid, s.elastic_grid, generator=generator)
        knots *= _uniform(n, 0, s.elastic * 2 / w * 1.7, generator).view(n, 1, 1, 1)
        grid = grid + F.interpolate(knots, (h, w), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _thickness(images: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    """Dilate or erode gray levels by about a pixel at most, blended by a random share: a wider or a thinner pen."""
    n = len(images)
    amount = _uniform(n, -1, 1, generator) * (torch.rand(n, generator=generator) < probability)
    again = (torch.rand(n, generator=generator) < 0.35) & (amount > 0)
    amount = amount.view(n, 1, 1, 1)
    wide = F.max_pool2d(images, 3, 1, 1)
    # A plus-shaped neighborhood for thinning: a square one eats thin diagonals.
    thin = -torch.maximum(F.max_pool2d(-images, (3, 1), 1, (1, 0)), F.max_pool2d(-images, (1, 3), 1, (0, 1)))
    # Never erase a line by thinning: a pen stroke keeps most of its peak.
    thin = torch.maximum(thin, images * 0.6 * (images >= F.max_pool2d(images, 3, 1, 1) * 0.85))
    out = torch.where(amount > 0, images + amount * (wide - images), images - amount.abs() * (images - thin))
    if again.any():
        out[again] = out[again] + amount[again] * (F.max_pool2d(out[again], 3, 1, 1) - out[again])
    return out


def _low_res(images: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    """Scale down and up again: a digit that was small or out of focus in its picture."""
    n, _, h, w = images.shape
    chosen = (torch.rand(n, generator=generator) < probability).nonzero()[:, 0]
    if len(chosen):
        side = int(torch.randint(9, 19, (1,), generator=generator))
        small = F.interpolate(images[chosen], (side, side), mode="bilinear", align_corners=False, antialias=True)
        images = images.clone()
        images[chosen] = F.interpolate(small, (h, w), mode="bicubic", align_corners=False).clamp(0, 1)
    return images


def _fade(images: Tensor, generator: torch.Generator, probability: float) -> Tensor:
    """Make edges harder or softer (gamma), and the ink lighter on one side, as pen pressure does."""
    n, _, h, w = images.shape
    chosen = (torch.rand(n, generator=generator) < probability).view(n, 1, 1, 1)
    gamma = torch.exp(_uniform(n, -0.7, 0.5, generator)).view(n, 1, 1, 1)
    angle = _uniform(n, 0, 2 * torch.pi, generator).view(n, 1, 1, 1)
    depth = _uniform(n, 0, 0.5, generator).view(n, 1, 1, 1)
    y = torch.linspace(-1, 1, h).view(1, 1, h, 1)
    x = torch.linspace(-1, 1, w).view(1, 1, 1, w)
    ramp = 1 - depth * (0.5 + 0.5 * (x * torch.cos(angle) + y * torch.sin(angle))).clamp(0, 1)
    return torch.where(chosen, images.clamp(min=0).pow(gamma) * ramp, images)
