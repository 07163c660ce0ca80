"""The 28×28 array of any picture, compared with slow and obvious oracles."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from inkdigits.preprocess import SIDE, preprocess
from inkdigits.preprocess.layout import BOX_SIDE, CENTER, resampling
from inkdigits.synthesis.strokes import draw, place

from support.drawings import DIGITS, picture

MOST_MEMORY = 64 << 20  # bytes of NumPy's arrays besides the picture's own


def sheet(digit, **options):
    return picture(digit, 280, **options)


def apart(a, b):
    """Mean absolute difference of two normalized images, relative to their mean ink, at the best shift by a pixel.

    The center of mass is rounded to a pixel, so two pictures of one digit may come out a pixel apart.
    """
    shifted = (np.roll(b, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
    return float(min(np.abs(a - s).mean() for s in shifted) / max(a.mean(), b.mean()))


def reference(ink):
    """MNIST's normalization spelled out on ink alone, (h, w) in [0, 1] without specks, with SciPy and Pillow."""
    rows, columns = np.nonzero(ink.max(axis=1) > 0.2)[0], np.nonzero(ink.max(axis=0) > 0.2)[0]
    crop = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    h, w = crop.shape
    rows, columns = (max(1, int(side * BOX_SIDE / max(h, w) + 0.5)) for side in (h, w))
    # Area average by its definition: every pixel split in as many as the result has, then mean over whole blocks.
    small = np.repeat(np.repeat(crop, rows, axis=0), columns, axis=1).reshape(rows, h, columns, w).mean(axis=(1, 3))
    y, x = ndimage.center_of_mass(small)
    out = np.zeros((SIDE, SIDE), np.float32)
    top = min(max(CENTER - int(y + 0.5), 0), SIDE - small.shape[0])
    left = min(max(CENTER - int(x + 0.5), 0), SIDE - small.shape[1])
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out


@pytest.mark.parametrize("digit", DIGITS)
def test_against_the_reference(digit):
    image = picture(digit, 150, pen=9)
    seen, expected = preprocess(image).image, reference((255 - image) / 255.0)
    # A center of mass that lies between two pixels may be rounded either way.
    assert min(np.abs(seen - np.roll(expected, (y, x), (0, 1))).max() for y in (-1, 0, 1) for x in (-1, 0, 1)) < 0.06


@pytest.mark.parametrize("digit", DIGITS)
def test_an_image_laid_out_like_mnist_is_left_alone(digit):
    mnist_like = np.rint(preprocess(picture(digit, 150, pen=9)).image * 255).astype(np.uint8)
    again = preprocess(mnist_like)
    # Faint pixels off the ink may go, no more; that can tip a center of mass that lies between two pixels.
    assert apart(again.image, mnist_like / 255) < 0.08
    assert again.polarity == "light-on-dark"


@pytest.mark.parametrize("digit", DIGITS)
def test_ink_and_paper_swapped_is_the_same_exactly(digit):
    image = picture(digit, 150, paper=230, ink=40)
    dark, light = preprocess(image), preprocess(255 - image)
    np.testing.assert_array_equal(dark.image, light.image)
    assert (dark.polarity, light.polarity) == ("dark-on-light", "light-on-dark")
    assert dark.box == light.box


@pytest.mark.parametrize("size", [28, 40, 100, 280, 1000, 2500])
@pytest.mark.parametrize("digit", [2, 4, 7])
def test_size_and_place_do_not_matter(digit, size):
    rng = np.random.default_rng(size + digit)
    base = preprocess(picture(digit, 190, pen=0.6 * 190 * 0.09)).image
    for share in (0.25, 0.5, 0.8) if size >= 100 else (0.75,):
        ink = share * size
        at = tuple(rng.uniform(ink * 0.06, size - ink * 1.08, 2))
        seen = preprocess(picture(digit, size, ink_size=ink, at=at, pen=ink * 0.09))
        assert apart(seen.image, base) < (0.4 if ink > 60 else 0.6)
        left, top, right, bottom = seen.box
        slack = max(2, 0.03 * size)
        assert abs(top - (at[1] - ink * 0.045)) < slack
        assert abs(bottom - (at[1] + ink * 1.045)) < slack
        assert 0 <= left < right <= size


@pytest.mark.parametrize("digit", [2, 7])
@pytest.mark.parametrize(("width", "height"), [(8192, 32), (32768, 32), (32, 60_000)])
def test_a_digit_in_a_sliver(digit, width, height):
    strip = picture(digit, width, height=height, ink_size=24)
    assert apart(preprocess(strip).image, preprocess(picture(digit, 40, ink_size=24)).image) < 0.4


@pytest.mark.parametrize(("height", "width"), [(32, 8192), (32, 524_288), (524_288, 32), (160, 4000), (800, 800)])
@pytest.mark.parametrize("kind", ["rows", "dots", "grain", "uneven"])
def test_no_shape_takes_much_memory(height, width, kind):
    """Whatever its shape and content, a picture is looked at with as many pixels as a square one at most."""
    rng = np.random.default_rng(0)
    across = np.arange(width)[None] * np.ones((height, 1), np.uint8)
    pixels = {
        "rows": lambda: 255 * (np.arange(height)[:, None] % 2) + 0 * across,
        "dots": lambda: 255 * rng.integers(0, 2, (height, width)),
        "grain": lambda: rng.normal(200, 20, (height, width)).clip(0, 255),
        "uneven": lambda: 90 + 60 * (across * 9 // width % 2) + 9 * (np.arange(height)[:, None] % 2),
    }[kind]().astype(np.uint8)
    image = Image.fromarray(pixels)
    tracemalloc.start()
    seen = preprocess(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST_MEMORY
    if seen.box:
        assert 0 <= seen.box.left < seen.box.right <= width
        assert 0 <= seen.box.top < seen.box.bottom <= height


def test_a_small_digit_in_sixteen_megapixels():
    image = np.full((4000, 4000), 250, np.uint8)
    image[3100:3160, 700:760] = picture(3, 60, ink_size=44, pen=5, paper=250)
    seen = preprocess(image)
    assert seen.box.top == pytest.approx(3106, abs=4)
    assert seen.box.bottom - seen.box.top == pytest.approx(49, abs=6)
    assert apart(seen.image, preprocess(picture(3, 60, ink_size=44, pen=5, paper=250)).image) < 0.3


@pytest.mark.parametrize(("width", "height"), [(600, 40), (40, 600), (10, 12), (4096, 32)])
def test_any_shape(width, height):
    side = min(width, height)
    image = picture(7, width, height=height, ink_size=0.7 * side)
    assert apart(preprocess(image).image, preprocess(picture(7, side, ink_size=0.7 * side)).image) < 0.5


@pytest.mark.parametrize("digit", DIGITS)
def test_thin_pens_come_out_solid(digit):
    thin = preprocess(picture(digit, 190, ink_size=150, pen=1.2)).image
    assert thin.max() == 1
    # A line of 0.16 of the result's pixels would come out as grey 41 of 255; it keeps a good part of what a pen of
    # twice its width in pixels of the result gives.
    wide = preprocess(picture(digit, 190, ink_size=150, pen=8)).image
    assert thin.sum() > 0.4 * wide.sum()


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ((20, 30, 120), (250, 245, 230)),  # blue ink on cream
        ((200, 0, 0), (0, 140, 60)),  # red on green of nearly one lightness
        ((255, 230, 90), (20, 60, 40)),  # chalk on a blackboard
        ((120, 120, 120), (160, 160, 160)),  # pencil, faint
        ((255, 255, 0), (255, 255, 255)),  # yellow marker on white
    ],
)
def test_colored_ink_and_paper(ink, paper):
    cover = (255 - picture(6, 190))[..., None] / 255
    image = np.rint(np.array(paper) + cover * (np.array(ink) - np.array(paper))).astype(np.uint8)
    seen = preprocess(image)
    assert apart(seen.image, preprocess(picture(6, 190)).image) < 0.1
    darker = sum(ink) < sum(paper)
    assert seen.polarity == ("dark-on-light" if darker else "light-on-dark")


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("side", ["x", "y", "xy", "vignette"])
def test_uneven_light(side, swap):
    image = picture(5, 240).astype(np.float64)
    y, x = np.mgrid[-1:1:240j, -1:1:240j]
    light = {
        "x": 0.7 + 0.3 * x,
        "y": 0.7 + 0.3 * y,
        "xy": 0.7 + 0.15 * (x + y),
        "vignette": 1 - 0.25 * (x * x + y * y),
    }[side]
    lit = np.rint(np.clip((40 + 0.84 * image) * light, 0, 255)).astype(np.uint8)
    seen = preprocess(255 - lit if swap else lit)
    assert apart(seen.image, preprocess(picture(5, 240)).image) < 0.35


def test_grain_and_specks_are_not_ink():
    rng = np.random.default_rng(1)
    image = picture(9, 240, paper=220, ink=40).astype(np.float64) + rng.normal(0, 8, (240, 240))
    for y, x in rng.integers(5, 235, (25, 2)):
        image[y, x] = 0
    seen = preprocess(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    assert apart(seen.image, preprocess(picture(9, 240, paper=220, ink=40)).image) < 0.25


@pytest.mark.parametrize(
    "blank",
    [
        np.full((28, 28), 255, np.uint8),
        np.zeros((280, 280), np.uint8),
        np.full((100, 60), 0.5),
        np.zeros((3000, 2000), bool),
        np.rint(np.linspace(120, 240, 300)[None] * np.ones((300, 1))).astype(np.uint8),  # light from one side
        np.clip(np.random.default_rng(0).normal(200, 6, (200, 200)), 0, 255).astype(np.uint8),  # grain
    ],
)
def test_blank(blank):
    seen = preprocess(blank)
    assert seen.box is None
    assert seen.polarity is None
    assert not seen.image.any()


def test_a_tight_crop_has_the_right_polarity():
    for digit in DIGITS:
        image = picture(digit, 190, pen=12)
        left, top, right, bottom = (int(v) for v in preprocess(image).box)
        crop = image[top:bottom, left:right]
        assert preprocess(crop).polarity == "dark-on-light", digit
        assert apart(preprocess(crop).image, preprocess(image).image) < 0.2, digit


@pytest.mark.parametrize(("size", "to"), [(200, 20), (47, 20), (20, 20), (21, 20), (7, 20), (1, 20), (5, 1), (1, 1)])
def testresampling_against_pillow(size, to):
    line = np.random.default_rng(size).random((1, size), np.float32)
    filter = Image.Resampling.BOX if size >= to else Image.Resampling.BILINEAR
    # Pillow's box takes whole pixels by their centers; the exact area average is its reduction from a finer line.
    if size >= to:
        expected = np.repeat(line, to, axis=1).reshape(to, size).mean(axis=1)
    else:
        expected = np.asarray(Image.fromarray(line).resize((to, 1), filter))[0]
    np.testing.assert_allclose(resampling(size, to) @ line[0], expected, atol=1e-5)


def test_a_single_dot_and_a_full_line():
    dot = draw([np.array([[60.0, 60.0]])], 120, 120, pen=14)
    assert preprocess(dot).image.max() == 1
    line = draw(place([np.array([[0.0, 0.0], [0.0, 1.0]])], 100, (60, 10)), 120, 120, pen=3)
    seen = preprocess(line)
    assert seen.box.right - seen.box.left < 6
    assert (seen.image.max(axis=1) > 0.5).sum() == BOX_SIDE
