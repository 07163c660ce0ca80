"""The ladder of models, and its two rungs of scikit-learn, against scikit-learn itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from inkdigits import Recognizer
from inkdigits.progress import silent
from inkdigits.settings import Settings
from inkdigits.training import baselines
from inkdigits.training.baselines import LADDER, Neighbors, logistic
from inkdigits.training.config import TrainConfig
from inkdigits.training.mlp import to_onnx
from inkdigits.training.networks import NETWORKS
from inkdigits.training.prepare import TrainingSet, prepare


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    """Scikit-learn's digits to learn from and to validate on."""
    settings = Settings(cache=str(tmp_path_factory.mktemp("cache")))
    made = prepare(TrainConfig(data="digits"), settings, silent)
    return made.training, made.validation["digits"]


def pixels(pool: TrainingSet) -> np.ndarray:
    return pool.images.astype(np.float32)[:, None] / 255


def test_the_ladder_goes_from_the_floor_to_the_default():
    assert list(LADDER)[:3] == ["logistic", "knn", "mlp"]
    assert list(LADDER)[-1] == TrainConfig().network
    assert LADDER[TrainConfig().network].config == TrainConfig()
    trained = [rung.config for rung in LADDER.values() if isinstance(rung.config, TrainConfig)]
    assert {config.network for config in trained} <= set(NETWORKS)
    # Each of these steps changes one thing.
    lenet, plain, augmented, deep = (
        LADDER[name].config.to_dict() for name in ("lenet", "baseline", "baseline_augmented", "baseline_deep")
    )
    assert {key for key in lenet if lenet[key] != plain[key]} == {"network"}
    assert {key for key in plain if plain[key] != augmented[key]} == {"augment"}
    assert {key for key in plain if augmented[key] != deep[key]} == {"network"}


def test_logistic_regression_is_scikit_learns_and_becomes_a_model(pools, tmp_path, monkeypatch):
    training, held = pools
    fitted = {}
    original = baselines.LogisticRegression.fit

    def fit(self, images, labels):
        fitted["model"] = original(self, images, labels)
        return fitted["model"]

    monkeypatch.setattr(baselines.LogisticRegression, "fit", fit)
    model = logistic(training)
    images = pixels(held)
    expected = fitted["model"].decision_function(images.reshape(len(held), -1) - 0.5)
    np.testing.assert_allclose(model.logits(images), expected, atol=1e-4)
    assert (model.logits(images).argmax(axis=1) == held.labels).mean() > 0.9
    (tmp_path / "m.onnx").write_bytes(to_onnx(model, temperature=1, name="logistic"))
    np.testing.assert_allclose(Recognizer(tmp_path / "m.onnx").logits(images), expected, atol=1e-4)
    assert model.parameters == 7850


def test_nearest_neighbors_are_scikit_learns(pools):
    training, held = pools
    model = Neighbors(training)
    logits = model.logits(pixels(held))
    assert logits.shape == (len(held), 10)
    oracle = KNeighborsClassifier(3, weights="distance").fit(
        training.images.reshape(len(training), -1).astype(float), training.labels
    )
    expected = oracle.predict(held.images.reshape(len(held), -1).astype(float))
    assert (logits.argmax(axis=1) == expected).mean() > 0.99
    assert (expected == held.labels).mean() > 0.95
    assert model.parameters == training.images.size


def test_an_image_that_is_remembered_is_known_for_sure(pools):
    training, _ = pools
    logits = Neighbors(training).logits(pixels(training)[:20])
    assert (logits.argmax(axis=1) == training.labels[:20]).all()
    assert np.isfinite(logits).all()
    assert np.exp(logits).max(axis=1) == pytest.approx(1)
