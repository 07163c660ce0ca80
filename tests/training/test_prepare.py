"""What a run learns from: mixed as asked, the same every time, kept, and never what it is chosen or measured by."""

import numpy as np
import pytest

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.dataset import Dataset, stratified
from inkdigits.data.omniglot import HELD_BACK, LOOKALIKES, load_omniglot
from inkdigits.data.pen import PenDigit
from inkdigits.data.qmnist import load_writers
from inkdigits.preprocess import preprocess
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training import prepare as pools
from inkdigits.training.config import TrainConfig
from inkdigits.training.hands import hands_of
from inkdigits.training.prepare import NO_DIGIT, SEVERAL, prepare, split_names

from support.handwriting import needs_data

MIXED = TrainConfig(data="digits", corrupted=0.1, non_digits=0.2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(cache=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def mixed(settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "CORRUPTED_VALIDATION", 60)
        patch.setattr(pools, "NON_DIGIT_VALIDATION", 60)
        yield prepare(MIXED, settings, silent)


def test_names_are_joined_by_plus_and_paths_are_left_alone():
    assert split_names("mnist+pen") == ["mnist", "pen"]
    assert split_names("mnist") == ["mnist"]
    assert split_names("a+b.csv") == ["a+b.csv"]
    assert split_names("folder/a+b") == ["folder/a+b"]


def test_the_mix_is_what_was_asked_for(mixed):
    labels = mixed.training.labels
    digits = labels[labels != NO_DIGIT]
    plain = len(load("digits", Settings(), part="train")) - len(mixed.validation["digits"])
    assert plain < len(digits) <= plain + int(0.1 * plain)
    assert len(labels) - len(digits) <= int(0.2 * len(digits))
    assert (labels == NO_DIGIT).mean() > 0.1
    assert set(mixed.validation) == {"digits", "disturbed", "no digit"}
    assert (mixed.validation["no digit"].labels == NO_DIGIT).all()
    assert (mixed.validation["disturbed"].labels != NO_DIGIT).all()
    assert mixed.training.images.shape == (len(labels), 28, 28)
    assert mixed.training.images.dtype == np.uint8
    assert mixed.training.images.max(axis=(1, 2)).min() > 0  # nothing blank


def test_images_are_what_the_recogniser_would_see_and_validation_is_kept_apart(mixed):
    dataset = load("digits", Settings(), part="train")
    fitting, held = stratified(dataset.labels, len(mixed.validation["digits"]), 0)
    assert not set(fitting) & set(held)
    expected = [np.rint(preprocess(dataset.images[i]).image * 255) for i in held]
    np.testing.assert_array_equal(mixed.validation["digits"].images, expected)
    seen = {image.tobytes() for image in mixed.training.images}
    assert not any(image.tobytes() in seen for image in mixed.validation["no digit"].images)


@pytest.mark.slow
def test_the_same_again_from_processes_and_from_the_cache(mixed, settings, monkeypatch):
    monkeypatch.setattr(pools, "CORRUPTED_VALIDATION", 60)
    monkeypatch.setattr(pools, "NON_DIGIT_VALIDATION", 60)
    monkeypatch.setattr(pools, "WORTHWHILE", 1000)  # the plain images; starting processes takes seconds
    again = prepare(MIXED, settings, silent)
    np.testing.assert_array_equal(again.training.images, mixed.training.images)
    np.testing.assert_array_equal(again.training.labels, mixed.training.labels)
    monkeypatch.setattr(pools, "_in_parallel", lambda *args: pytest.fail("the cache was not used"))
    cached = prepare(MIXED, settings, silent)
    np.testing.assert_array_equal(cached.training.images, mixed.training.images)


# Mean grey level, and the same weighted by place, of the pools of recipe 3 and the shipped ink network; other
# processors round a little otherwise.
RECIPE = {
    "training": (36.120, 18.708),
    "digits": (36.422, 18.865),
    "disturbed": (38.033, 19.653),
    "no digit": (30.417, 15.881),
}


def test_other_pictures_are_another_recipe(mixed):
    ramp = np.arange(28 * 28).reshape(28, 28) / (28 * 28)
    assert pools.RECIPE_VERSION == "3"
    for name, pool in {"training": mixed.training, **mixed.validation}.items():
        found = pool.images.mean(), (pool.images * ramp).mean()
        assert found == pytest.approx(RECIPE[name], abs=0.02), f"{name} holds other pictures: raise RECIPE_VERSION"


def test_pages_are_mixed_in_as_asked_for(settings, monkeypatch):
    monkeypatch.setattr(pools, "PAGE_VALIDATION", 60)
    plain = prepare(TrainConfig(data="digits"), settings, silent)
    made = prepare(TrainConfig(data="digits", pages=0.1), settings, silent)
    n = len(made.training) - len(plain.training)
    assert 0.6 < n / (0.1 * len(plain.training)) <= 1  # pages without their ink are left out
    numbers = (made.training.labels == SEVERAL).sum()
    assert numbers == pytest.approx(pools.PAGE_NUMBERS * (1 - pools.PAGE_EMPTY) * n, rel=0.5)
    assert (made.training.labels == NO_DIGIT).sum() > 0
    assert len(made.validation["pages"]) > 30
    assert (made.validation["pages"].labels >= 0).all()
    assert {SEVERAL, NO_DIGIT} == set(made.validation["rejected on pages"].labels)
    assert len(made.clean) == len(plain.clean)


def test_only_pages_whose_ink_is_found_are_trained_on():
    one = np.zeros((28, 28), np.float32)
    one[4:24, 12:16] = 1
    broken, line = one.copy(), one.copy()
    broken[8:20] = 0
    line[20:22] = 1
    assert pools._is_found(one, one)
    assert not pools._is_found(broken, one)
    assert pools._is_found(np.roll(one, 1, axis=1), one)
    line[:, :2] = line[:, 26:] = 1
    assert not pools._is_found(line, one)


def test_numbers_and_residue_are_mixed_in_as_asked_for(settings, monkeypatch):
    for name in ("CORRUPTED_VALIDATION", "NON_DIGIT_VALIDATION", "RESIDUE_VALIDATION"):
        monkeypatch.setattr(pools, name, 40)
    plain = prepare(TrainConfig(data="digits"), settings, silent)
    made = prepare(TrainConfig(data="digits", several=0.1, residue=0.2), settings, silent)
    n, labels = len(plain.training), made.training.labels
    assert (labels == SEVERAL).sum() == int(0.1 * n)
    assert (labels >= 0).sum() == n + int(0.2 * n)
    assert (labels == NO_DIGIT).sum() == int(pools.EMPTY_SHARE * int(0.2 * n))
    assert set(made.validation) == {"digits", "several", "residue", "residue alone"}
    assert (made.validation["several"].labels == SEVERAL).all()
    assert (made.validation["residue"].labels >= 0).all()
    assert len(made.clean) == 1
    assert [len(each) for each in made.non_digits] == [40, 40]
    seen = {image.tobytes() for image in made.training.images}
    for name in ("several", "residue", "residue alone"):
        assert not any(image.tobytes() in seen for image in made.validation[name].images), name
    again = prepare(TrainConfig(data="digits", several=0.1, residue=0.2), settings, silent)
    np.testing.assert_array_equal(again.training.images, made.training.images)


@needs_data
def test_hands_to_validate_numbers_on_are_never_trained_on():
    settings = Settings.from_env()
    dataset = load("mnist", settings, part="train")
    fitting, held = stratified(dataset.labels, 5000, 0)
    # Each image is its number, so that it shows which are drawn.
    numbered = Dataset("mnist", "train", np.arange(60000), dataset.labels, {})
    sha256 = {}
    hands = hands_of({"mnist": (numbered, fitting, held)}, {}, settings, sha256)
    assert list(sha256) == ["qmnist-train-labels-idx2-int"]
    writers = load_writers(settings)
    drawn = {part: np.array(each.draw([3] * 3000, 1)[0]) for part, each in hands.items()}
    for part, numbers in drawn.items():
        of = writers[numbers]
        assert (of == of[:, :1]).all()  # one hand in each number
        assert np.isin(numbers, fitting if part == "train" else held).all()
    assert not set(writers[drawn["train"]].ravel()) & set(writers[drawn["validation"]].ravel())


@needs_data
def test_neither_look_alikes_nor_the_held_back_alphabet_are_drawn(monkeypatch):
    characters = load_omniglot(Settings.from_env())
    monkeypatch.setattr(pools, "load_omniglot", lambda settings: characters)
    by_strokes = {id(c.strokes): c for c in characters}
    drawn = {}
    config = TrainConfig(data="digits", characters=1.0)
    for name, part, _, _, (drawings, _) in pools._hard_sets(config, {}, {}, 4000, Settings.from_env(), {}):
        assert name == "characters"
        drawn[part] = [by_strokes[id(drawing)] for drawing in drawings]
    assert len(drawn["train"]) == 4000
    assert not {c.drawer for c in drawn["train"]} & {c.drawer for c in drawn["validation"]}
    keys = {(c.alphabet, c.name) for part in drawn.values() for c in part}
    assert not keys & LOOKALIKES
    assert HELD_BACK not in {alphabet for alphabet, _ in keys}
    rest = {(c.alphabet, c.name) for c in characters if c.alphabet != HELD_BACK}
    assert keys == rest - LOOKALIKES


def test_another_option_is_another_place_in_the_cache():
    keys = {
        pools._key(config, hashes, what)
        for config in (MIXED, TrainConfig(data="digits", corrupted=0.2, non_digits=0.2))
        for hashes in ({"a": "1"}, {"a": "2"})
        for what in ("x", "y")
    }
    assert len(keys) == 8
    assert pools._key(MIXED, {}, "x") == pools._key(
        TrainConfig(data="digits", corrupted=0.1, non_digits=0.2, seed=7), {}, "x"
    )


def test_pen_strokes_of_held_back_writers_are_not_learnt_from(settings, monkeypatch):
    stroke = np.array([[0.0, 0.0], [1.0, 40.0], [4.0, 80.0]])
    writers = [w for part in PEN_WRITERS.values() for w in part]
    digits = [PenDigit(w % 10, w, (stroke * [w, 1],)) for w in writers]
    monkeypatch.setattr(pools, "load_pendigits", lambda settings: digits)
    drawn = []
    real = pools.pen_picture
    monkeypatch.setattr(pools, "pen_picture", lambda digit, rng: drawn.append(digit.writer) or real(digit, rng))
    original = pools.load

    def without_file(name, settings, *, part, progress=None):
        return original("digits" if name == "pen" else name, settings, part=part, progress=progress)

    monkeypatch.setattr(pools, "load", without_file)
    made = prepare(TrainConfig(data="digits+pen", pen_variants=3), settings, silent)
    validation = len(PEN_WRITERS["validation"])
    assert sorted(drawn[:validation]) == sorted(PEN_WRITERS["validation"])
    assert sorted(set(drawn[validation:])) == sorted(PEN_WRITERS["train"])
    assert len(drawn) == validation + 3 * len(PEN_WRITERS["train"])
    assert len(made.validation["pen"]) == validation
    assert not set(PEN_WRITERS["test"]) & set(drawn)
