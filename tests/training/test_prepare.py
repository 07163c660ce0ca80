"""What a run learns from: mixed as asked, the same every time, kept, and never what it is chosen or measured by."""

import numpy as np
import pytest

from inkdigits.data.catalog import PEN_WRITERS, load
from inkdigits.data.dataset import stratified
from inkdigits.data.pen import PenDigit
from inkdigits.preprocess import preprocess
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training import prepare as pools
from inkdigits.training.config import TrainConfig
from inkdigits.training.prepare import NO_DIGIT, prepare, split_names

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


# Mean grey level, and the same weighted by place, of the pools of recipe 1; other processors round a little otherwise.
RECIPE = {
    "training": (35.718, 18.490),
    "digits": (36.422, 18.865),
    "disturbed": (36.573, 18.883),
    "no digit": (25.433, 13.243),
}


def test_other_pictures_are_another_recipe(mixed):
    ramp = np.arange(28 * 28).reshape(28, 28) / (28 * 28)
    assert pools.RECIPE_VERSION == "1"
    for name, pool in {"training": mixed.training, **mixed.validation}.items():
        found = pool.images.mean(), (pool.images * ramp).mean()
        assert found == pytest.approx(RECIPE[name], abs=0.02), f"{name} holds other pictures: raise RECIPE_VERSION"


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
