"""Augmentation: the range stays, the generator decides, and each strength does its own part and nothing else."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from inkdigits.training.augment import Strength, augment

NONE = Strength(**{f.name: 0 for f in fields(Strength) if f.name != "elastic_grid"})


def only(**strengths: float) -> Strength:
    return Strength(**{f.name: strengths.get(f.name, getattr(NONE, f.name)) for f in fields(Strength)})


def disturbed(images: torch.Tensor, strength: Strength, seed: int = 0) -> torch.Tensor:
    return augment(images.clone(), torch.Generator().manual_seed(seed), strength)


@pytest.fixture(scope="module")
def bars() -> torch.Tensor:
    """64 images, each of one upright bar of ink."""
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 4:24, 13:15] = 1
    return images


def test_without_strength_nothing_changes(bars: torch.Tensor) -> None:
    torch.testing.assert_close(disturbed(bars, NONE), bars, atol=1e-5, rtol=0)


def test_shape_range_and_source_of_chance(bars: torch.Tensor) -> None:
    once, again, other = disturbed(bars, Strength()), disturbed(bars, Strength()), disturbed(bars, Strength(), seed=1)
    assert once.shape == bars.shape and once.dtype == torch.float32
    assert once.min() >= 0 and once.max() <= 1 + 1e-6
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert not torch.equal(once[0], once[1])


def test_rotation_turns_by_no_more_than_asked_for(bars: torch.Tensor) -> None:
    # The bar's principal axis, from the second moments of its ink, tells how far it was turned.
    turned = disturbed(bars, only(rotation=30.0))[:, 0]
    place = torch.arange(28.0) - 13.5
    ink = turned.sum((1, 2))
    xx = (turned * place[None, None, :] ** 2).sum((1, 2)) / ink
    yy = (turned * place[None, :, None] ** 2).sum((1, 2)) / ink
    xy = (turned * place[None, None, :] * place[None, :, None]).sum((1, 2)) / ink
    degrees = torch.rad2deg(torch.atan2(2 * xy, yy - xx) / 2).abs()
    assert degrees.max() <= 31 and degrees.max() > 20 and degrees.min() < 5


def test_shift_moves_the_ink_and_keeps_its_amount(bars: torch.Tensor) -> None:
    moved = disturbed(bars, only(shift=2.0))
    torch.testing.assert_close(moved.sum((1, 2, 3)), bars.sum((1, 2, 3)), rtol=1e-3, atol=0)
    middle = (moved * torch.arange(28.0)).sum((1, 2, 3)) / moved.sum((1, 2, 3)) - 13.5
    assert 1 < middle.abs().max() <= 2.01


def test_elastic_bends_more_the_more_pixels(bars: torch.Tensor) -> None:
    far = [(disturbed(bars, only(elastic=pixels)) - bars).abs().mean().item() for pixels in (0.0, 0.25, 1.0)]
    assert far[0] < 1e-6 < far[1] < far[2] / 2


def test_thickness_makes_wider_and_thinner_and_loses_no_line(bars: torch.Tensor) -> None:
    ink = disturbed(bars, only(thickness=1.0))
    amounts = ink.sum((1, 2, 3)) / bars.sum((1, 2, 3))
    assert amounts.min() < 0.9 and amounts.max() > 1.5
    assert ink.amax((1, 2, 3)).min() > 0.55


def test_low_res_and_fade_touch_the_share_asked_for(bars: torch.Tensor) -> None:
    for name in ("low_res", "fade"):
        images = bars * 0.8  # a gamma leaves full ink as it is
        changed = (disturbed(images, only(**{name: 0.5})) - images).abs().amax((1, 2, 3)) > 1e-4
        assert 0.25 < changed.float().mean() < 0.75, name
