"""Corruptions of pictures: what every kind guarantees, and each kind against an oracle."""

import numpy as np
import pytest
from scipy import ndimage

from inkdigits import InvalidPixels, SettingError
from inkdigits.data.catalog import load
from inkdigits.preprocess import preprocess
from inkdigits.settings import Settings
from inkdigits.synthesis.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    camera,
    corrupt,
    hand,
    paper,
    picture_of,
    scanner,
    sheet,
)
from inkdigits.synthesis.corruptions.pen import _dilated

from support.drawings import DIGITS, picture
from support.paths import ROOT

DOCS = ROOT / "docs"
GROUPS = ["hand", "pen", "paper", "camera", "scanner"]
# Of kinds that only take away light, and of kinds that only take away ink.
DARKER = ["bleed", "dust", "graph", "light", "ruled", "shadow", "spatter", "stains", "table", "vignette"]
LIGHTER = ["broken", "faint", "scratches", "texture"]
MIDDLE_GREY = np.full((200, 200), 128, np.uint8)


def drawn(seed, **options):
    return picture(seed % 10, 140, **{"paper": 240, "ink": 20, **options})


def apart(a, b):
    return float(np.abs(sheet.colored(a).astype(float) - sheet.colored(b).astype(float)).mean())


def test_the_table_is_whole():
    for name, kind in CORRUPTIONS.items():
        assert kind.name == name
        assert kind.help
    # In the order in which things happen.
    order = [GROUPS.index(kind.group) for kind in CORRUPTIONS.values()]
    assert order == sorted(order)
    assert sum(not kind.trained for kind in CORRUPTIONS.values()) >= len(CORRUPTIONS) / 3
    for group in GROUPS:
        assert {kind.trained for kind in CORRUPTIONS.values() if kind.group == group} == {True, False}
    assert 0 < SEVERITIES["mild"] < SEVERITIES["medium"] < SEVERITIES["strong"] == 1


def test_the_documentation_shows_every_kind():
    text = (DOCS / "augmentation.md").read_text(encoding="utf-8")
    for name, kind in CORRUPTIONS.items():
        use = "training" if kind.trained else "held out"
        image = f"images/augmentation-{name}.png"
        assert f"| `{name}` | {use} | ![{name}]({image}) | {kind.help} |" in text
        assert (DOCS / image).stat().st_size < 100_000
    assert f"{len(CORRUPTIONS)} kinds; {sum(not kind.trained for kind in CORRUPTIONS.values())} of them" in text


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_kind_keeps_its_promises(name):
    for seed, (height, width, channels) in enumerate([(140, 140, 0), (60, 150, 3), (200, 90, 0), (28, 28, 3)]):
        grey = picture(seed + 2, width, height=height, paper=240, ink=20)
        before = sheet.colored(grey).copy() if channels else grey
        kept = before.copy()
        for severity in SEVERITIES.values():
            after = corrupt(before, name, severity, np.random.default_rng(seed))
            again = corrupt(before, name, severity, np.random.default_rng(seed))
            np.testing.assert_array_equal(after, again)
            assert after.dtype == np.uint8
            assert after.ndim == 2 or after.shape[2] == 3
            assert after.shape[:2] == before.shape[:2] or name == "cropped"
            np.testing.assert_array_equal(before, kept, "the picture itself was changed")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_another_generator_gives_another_picture(name):
    assert len({corrupt(drawn(2), name, 1, np.random.default_rng(seed)).tobytes() for seed in range(8)}) >= 3


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_nothing_changes_at_severity_0_and_more_at_more(name):
    none = corrupt(drawn(3), name, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(none, drawn(3))
    changes = []
    for severity in SEVERITIES.values():
        pairs = [(drawn(seed), corrupt(drawn(seed), name, severity, np.random.default_rng(seed))) for seed in range(12)]
        if name == "cropped":
            changes.append(-sum(after.size for _, after in pairs))
        else:
            # Inverted pictures are compared with the exact inverse.
            changes.append(sum(apart(255 - before if name == "inverted" else before, after) for before, after in pairs))
    assert changes == sorted(changes)
    assert changes[0] < changes[2]


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("level", [0, 130, 255])
def test_pictures_without_ink_go_through(name, level):
    blank = np.full((40, 50), level, np.uint8)
    for seed in range(3):
        assert min(corrupt(blank, name, 1, np.random.default_rng(seed)).shape[:2]) >= 10


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"kind": "shadows"}, SettingError, "unknown kind of corruption 'shadows'; did you mean shadow?"),
        ({"kind": "?"}, SettingError, "unknown kind .* the kinds are: affine, elastic"),
        ({"severity": 1.01}, SettingError, "from 0 to 1, not 1.01"),
        ({"severity": -0.1}, SettingError, "from 0 to 1, not -0.1"),
        ({"severity": float("nan")}, SettingError, "from 0 to 1, not nan"),
        ({"picture": np.zeros((28, 28))}, InvalidPixels, r"array of float64 and shape \(28, 28\)"),
        ({"picture": np.zeros((28, 28, 4), np.uint8)}, InvalidPixels, r"shape \(28, 28, 4\)"),
        ({"picture": np.zeros(784, np.uint8)}, InvalidPixels, r"shape \(784,\)"),
        ({"picture": np.zeros((9, 28), np.uint8)}, InvalidPixels, "10 pixels a side or more"),
    ],
)
def test_what_cannot_be_corrupted_is_an_error(given, error, message):
    options = {"picture": drawn(1), "kind": "blur", "severity": 0.5, **given}
    with pytest.raises(error, match=message):
        corrupt(**options, rng=np.random.default_rng(0))


# --- one by one ------------------------------------------------------------------------------------------------------


def test_ink_is_measured_as_it_was_drawn():
    for pen in (4, 9, 15):
        found = sheet.look(picture(0, 200, pen=pen, ink_size=120, paper=231, ink=17))
        assert found.pen == pytest.approx(pen, rel=0.12)
        assert found.size == pytest.approx(120 + pen, abs=2)
        assert float(found.paper) == 231
        assert float(found.ink) == pytest.approx(17, abs=12)
    red_on_blue = np.zeros((60, 60, 3), np.uint8) + np.array([150, 200, 250], np.uint8)
    red_on_blue[20:40, 25:30] = [180, 20, 20]
    found = sheet.look(red_on_blue)
    np.testing.assert_allclose(found.paper, [150, 200, 250])
    np.testing.assert_allclose(found.ink, [180, 20, 20])
    assert found.box == (25, 20, 30, 40)


def test_blur_is_gaussian():
    found, oracle = sheet.blur(drawn(4), 4.0).astype(float), ndimage.gaussian_filter(drawn(4).astype(float), 4.0)
    # Pillow's is three box blurs, close to it.
    assert np.abs(found - oracle).max() < 8
    assert np.abs(found - oracle).mean() < 0.6


def test_warp_samples_between_pixels():
    rng = np.random.default_rng(0)
    before = sheet.blur(drawn(5), 1.0)
    dx, dy = 3 * sheet.field(before, 20, rng), 3 * sheet.field(before, 20, rng)
    y, x = np.indices(before.shape)
    oracle = ndimage.map_coordinates(before.astype(float), [y + dy, x + dx], order=1, mode="nearest")
    np.testing.assert_allclose(sheet.warp(before, dx, dy), oracle, atol=0.51)


def test_a_quarter_turn_is_exact():
    centered = drawn(2)
    before = sheet.look(centered)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    turned = sheet.transformed(centered, before, turn, np.random.default_rng(0))
    left, top, _, bottom = sheet.look(turned).box
    oracle = np.rot90(centered[before.box[1] : before.box[3], before.box[0] : before.box[2]], -1)
    assert abs((bottom - top) - oracle.shape[0]) <= 1
    assert apart(turned[top : top + oracle.shape[0], left : left + oracle.shape[1]], oracle) < 12


def test_a_field_is_smooth_noise_of_its_scale():
    wide = np.zeros((400, 400), np.uint8)
    field = sheet.field(wide, 20, np.random.default_rng(0))
    assert field.mean() == pytest.approx(0, abs=0.15)
    assert field.std() == pytest.approx(0.85, abs=0.15)
    assert np.abs(np.diff(field, axis=0)).max() < 0.5
    # Knots far apart have nothing to do with each other.
    assert abs(np.corrcoef(field[:, :-60].ravel(), field[:, 60:].ravel())[0, 1]) < 0.15


@pytest.mark.parametrize("name", ["affine", "slant", "perspective"])
def test_moved_ink_stays_in_the_picture(name):
    for seed in range(30):
        large = picture(seed % 10, 120, ink_size=110, at=(4, 5), pen=6)
        after = corrupt(large, name, 1, np.random.default_rng(seed))
        border = np.concatenate([after[0], after[-1], after[:, 0], after[:, -1]])
        assert border.min() > 150
        assert after.min() < 40


def test_slant_leans_the_line():
    upright = np.full((120, 120), 255, np.uint8)
    upright[20:100, 58:62] = 0
    for seed in range(10):
        after = hand.slant(upright, 1, np.random.default_rng(seed))
        y, x = np.nonzero(after < 128)
        tangent = -np.polyfit(y, x, 1)[0]
        assert 0.7 * 0.6 * hand.SLANT - 0.03 <= abs(tangent) <= hand.SLANT + 0.03


@pytest.mark.parametrize("name", DARKER)
def test_some_kinds_never_lighten(name):
    for seed in range(6):
        before = drawn(seed)
        after = sheet.colored(corrupt(before, name, 1, np.random.default_rng(seed)))
        # Printed over in uint8 steps, so within a grey level.
        assert (after <= sheet.colored(before).astype(int) + 1).all()


@pytest.mark.parametrize("name", LIGHTER)
def test_some_kinds_never_add_ink(name):
    for seed in range(6):
        before = drawn(seed)
        after = corrupt(before, name, 1, np.random.default_rng(seed))
        assert (after >= before.astype(int) - 1).all()
        assert (after > before).any()


def test_a_pen_is_thicker_or_thinner_throughout():
    widths = []
    for seed in range(20):
        before = drawn(seed)
        after = corrupt(before, "thickness", 1, np.random.default_rng(seed)).astype(int)
        assert (after <= before + 1).all() or (after >= before - 1).all()
        widths.append(sheet.look(after.astype(np.uint8)).pen / sheet.look(before).pen)
    assert min(widths) < 0.75
    assert max(widths) > 1.5
    assert all(abs(np.log(width)) > 0.2 for width in widths)


def test_thicker_is_grey_dilation():
    before = sheet.look(drawn(6)).cover
    cross, square = ndimage.generate_binary_structure(2, 1), np.ones((3, 3))
    oracle = ndimage.grey_dilation(before, footprint=cross)
    oracle = ndimage.grey_dilation(oracle, footprint=square)
    np.testing.assert_allclose(_dilated(before, 2.0), oracle, atol=0.003)


def test_gaps_cut_the_line_across():
    line = np.full((140, 140), 255, np.uint8)
    line[60:72, 10:130] = 0
    for seed in range(10):
        after = corrupt(line, "broken", 1, np.random.default_rng(seed))
        components, n = ndimage.label(after < 128)
        sizes = ndimage.sum_labels(np.ones_like(after), components, range(1, n + 1))
        assert n >= 2, "no gap goes through"
        assert sizes.sum() > 0.6 * (line < 128).sum(), "more is gone than gaps"


def test_noise_has_the_deviation_of_its_severity():
    for severity in SEVERITIES.values():
        spread = [corrupt(MIDDLE_GREY, "noise", severity, np.random.default_rng(s)).std() for s in range(10)]
        on_grey = camera.NOISE * severity * np.sqrt(0.5 + 0.5 * 128 / 255)
        assert 0.68 * on_grey < min(spread) <= max(spread) < 1.02 * on_grey


def test_salt_hits_its_share():
    after = corrupt(MIDDLE_GREY, "salt", 1, np.random.default_rng(0))
    assert set(np.unique(after)) == {0, 128, 255}
    black, white = (after == 0).mean(), (after == 255).mean()
    assert 0.7 * scanner.SALT / 2 < black < scanner.SALT / 2 * 1.1
    assert black == pytest.approx(white, rel=0.15)


def test_inverted_is_light_on_dark():
    for seed in range(10):
        before = drawn(seed)
        after = corrupt(before, "inverted", 1, np.random.default_rng(seed))
        assert np.median(after) <= paper.BOARD + 20
        assert after.max() >= np.median(after) + 60
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] < -0.999


def test_contrast_and_fog_leave_less_between_black_and_white():
    for seed in range(10):
        before = drawn(seed)
        for name, left in (("contrast", (0.12, 0.45)), ("fog", (0.1, 0.7))):
            after = corrupt(before, name, 1, np.random.default_rng(seed))
            assert left[0] < np.ptp(after) / np.ptp(before) < left[1]


def test_few_tones_are_few_and_square_pixels_are_square():
    for seed in range(5):
        before = drawn(seed)
        assert len(np.unique(corrupt(before, "posterised", 1, np.random.default_rng(seed)))) == 2
        blocks = corrupt(before, "pixelated", 1, np.random.default_rng(seed))
        assert len(np.unique(blocks, axis=0)) <= 140 / sheet.look(before).size * scanner.PIXELS[0] + 1
        dots = corrupt(np.full((140, 140), 128, np.uint8), "halftone", 1, np.random.default_rng(seed))
        assert ((dots < 60) | (dots > 195)).mean() > 0.6
        assert 60 < dots.mean() < 160


def test_cropped_is_a_part_of_the_picture():
    for seed in range(20):
        before = drawn(seed)
        after = corrupt(before, "cropped", 1, np.random.default_rng(seed))
        views = np.lib.stride_tricks.sliding_window_view(before, after.shape)
        assert (views == after).all(axis=(2, 3)).any()
        # No more is cut off than promised.
        assert (after < 130).sum() > 0.6 * (before < 130).sum()


def test_moved_light_is_kept():
    for name in ("motion", "blur", "ghost", "rolling"):
        for seed in range(5):
            after = corrupt(drawn(seed, ink_size=60), name, 1, np.random.default_rng(seed))
            assert after.mean() == pytest.approx(drawn(seed, ink_size=60).mean(), abs=1.0)


def test_ruled_lines_are_parallel_and_level():
    blank = drawn(1, ink_size=40, at=(5, 5))
    after = corrupt(blank, "ruled", 1, np.random.default_rng(1)).min(axis=2).astype(int)
    columns = [np.diff((after[:, x] < 235).astype(int)) for x in (70, 100, 130)]
    starts = [np.nonzero(column == 1)[0] for column in columns]
    assert len(starts[0]) >= 2
    gaps = [np.diff(start) for start in starts]
    assert all(np.ptp(gap) <= 1 for gap in gaps)
    assert abs(starts[0][0] - starts[2][0]) <= 60 * np.tan(np.deg2rad(2)) + 1


# --- digits stay digits ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """A few of scikit-learn's digits as pictures, with their labels."""
    data = load("digits", Settings(), part="all")
    chosen = range(0, 1797, 45)
    return [picture_of(data.images[i], np.random.default_rng(i)) for i in chosen], data.labels[list(chosen)]


def test_a_picture_of_an_image_shows_that_image():
    data = load("digits", Settings(), part="all")
    for i in range(0, 200, 10):
        original = data.images[i]
        shown = picture_of(original, np.random.default_rng(i))
        assert shown.shape == (140, 140)
        assert shown.dtype == np.uint8
        assert np.median(shown) > 200
        a, b = preprocess(original).image, preprocess(shown).image
        shifted = (np.roll(b, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))
        assert min(np.abs(a - s).sum() for s in shifted) < 0.45 * a.sum()


def test_a_picture_of_nothing_is_blank_paper():
    assert np.ptp(picture_of(np.zeros((28, 28), np.uint8), np.random.default_rng(0))) == 0


def test_sizes_places_and_tones_of_pictures_vary():
    one = np.zeros((28, 28), np.uint8)
    one[4:24, 10:18] = 255
    found = [sheet.look(picture_of(one, np.random.default_rng(seed))) for seed in range(40)]
    assert np.ptp([f.size for f in found]) > 35
    assert np.ptp([f.center[0] for f in found]) > 60
    assert np.ptp([float(f.paper) for f in found]) > 25
    assert np.ptp([float(f.ink) for f in found]) > 40


@pytest.mark.parametrize(
    "name",
    ["affine", "contrast", "elastic", "faint", "fog", "inverted", "jpeg", "light", "perspective", "slant", "tremor"],
)
def test_a_corrupted_digit_is_still_that_digit(recognizer, digits, name):
    pictures, labels = digits
    rng = np.random.default_rng(1)
    plain = np.mean([p.digit == label for p, label in zip(recognizer.predict_batch(pictures), labels, strict=True)])
    corrupted = [corrupt(shown, name, SEVERITIES["medium"], rng) for shown in pictures]
    right = np.mean([p.digit == label for p, label in zip(recognizer.predict_batch(corrupted), labels, strict=True)])
    assert right >= plain - 0.15


def test_own_drawings_survive_a_chain_in_the_order_of_the_table(recognizer):
    chain = [name for name in CORRUPTIONS if name in ("slant", "texture", "inverted", "light", "noise", "jpeg")]
    for label in DIGITS:
        shown = picture(label, 200, ink_size=120, pen=12)
        for name in chain:
            shown = corrupt(shown, name, SEVERITIES["mild"], np.random.default_rng(label))
        assert recognizer.predict(shown).digit == label
