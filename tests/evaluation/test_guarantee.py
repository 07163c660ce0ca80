"""The guarantee: exact against SciPy and MAPIE, kept over 1,000 draws, and the same by every door."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
from mapie.risk_control import BinaryClassificationController
from PIL import Image
from scipy.stats import binomtest

from inkdigits import Client, DataError, ModelError, Prediction, Recognizer, SettingError
from inkdigits.data.catalog import load
from inkdigits.data.dataset import Dataset
from inkdigits.evaluation.evaluate import BLANK, Answers
from inkdigits.evaluation.guarantee import certify, fewest, guarantee, last_passed, one_per_writer, thresholds
from inkdigits.profile import Profile
from inkdigits.settings import Settings

ERROR, CONFIDENCE = 0.01, 0.95
DRAWS = 1000


def answers_of(confidences, right, accepted=None):
    """Answers to pictures of a 1; a wrong one is a 2."""
    everything = np.ones(len(right), bool)
    return Answers(np.where(right, 1, 2), confidences, everything if accepted is None else accepted)


def population(rng, n=200_000, share=0.02):
    """Confidences and right answers of a reader as they are: mistakes are less sure, but some are very sure."""
    right = rng.random(n) >= share
    sure = 1 - rng.beta(0.25, 12, n)
    return np.where(right, sure, np.where(rng.random(n) < 0.1, sure, rng.uniform(0.3, 0.999, n))), right


def true_error(confidences, right, threshold):
    accepted = confidences >= threshold
    return (~right[accepted]).mean() if accepted.any() else 0.0


@pytest.mark.parametrize("error", [1e-5, 0.001, 0.005, 0.01, 0.05, 0.5])
def test_thresholds_are_fixed_and_fall_from_half_the_error(error):
    grid = thresholds(error)
    assert grid[0] == 1 - error / 2
    assert grid[-1] == pytest.approx(0.1)
    assert (np.diff(grid) < 0).all()
    assert (np.diff(np.log(1 - grid)) < np.log(1.12) + 1e-6).all()


@pytest.mark.parametrize("error", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_a_threshold_passes_where_the_clopper_pearson_bound_is_at_most_the_error(error, confidence):
    for n in (1, 60, 300, 1000, 3000):
        for wrong in range(min(n, 12)):
            exact = binomtest(wrong, n, error, alternative="less")
            bound = exact.proportion_ci(confidence_level=confidence, method="exact").high
            passed = last_passed(np.array([n]), np.array([wrong]), error=error, confidence=confidence) == 0
            assert passed == (exact.pvalue <= 1 - confidence) == (bound <= error), (n, wrong)


def test_the_first_threshold_that_fails_ends_the_test():
    accepted, wrong = np.array([400, 500, 600, 5000]), np.array([0, 0, 9, 0])
    assert last_passed(accepted, wrong, error=ERROR, confidence=CONFIDENCE) == 1
    assert last_passed(np.array([0, 5000]), np.array([0, 0]), error=ERROR, confidence=CONFIDENCE) == -1


@pytest.mark.filterwarnings("ignore")  # MAPIE warns where no threshold holds
def test_mapie_finds_the_same_thresholds_or_stricter_ones():
    """MAPIE rounds the number of mistakes up at some thresholds: its p-values are between those of k and of k + 1."""
    rng = np.random.default_rng(3)
    confidences, right = population(rng)
    same = 0
    for _ in range(40):
        at = rng.choice(len(right), 1500)
        score, is_right = confidences[at], right[at]
        grid = thresholds(0.02)
        controller = BinaryClassificationController(
            lambda x: np.hstack([1 - x, x]),
            "precision",
            target_level=1 - 0.02,
            confidence_level=CONFIDENCE,
            list_predict_params=grid,
            fwer_method="fixed_sequence",
        )
        controller.calibrate(score[:, None], is_right.astype(int))
        valid = np.asarray(controller.valid_predict_params).ravel()
        theirs = float(valid.min()) if len(valid) else None
        ours = certify(answers_of(score, is_right), np.ones(len(at)), error=0.02, confidence=CONFIDENCE).threshold
        n = (score[:, None] >= grid).sum(axis=0)
        wrong = ((score[:, None] >= grid) & ~is_right[:, None]).sum(axis=0)
        exact, rounded = (
            np.array([binomtest(min(k, m), m, 0.02, alternative="less").pvalue for k, m in zip(w, n, strict=True)])
            for w in (wrong, wrong + 1)
        )
        p = np.asarray(controller.p_values).ravel()
        assert (p >= exact * (1 - 1e-9)).all()
        assert (p <= rounded * (1 + 1e-9)).all()
        assert np.isclose(p, exact).mean() > 0.2
        assert theirs is None or (ours is not None and ours <= theirs)
        same += theirs == ours
    assert same >= 20


@pytest.mark.parametrize(("kind", "n"), [("as it is", 1000), ("as it is", 3000), ("always just over", 1000)])
def test_the_promise_is_broken_in_at_most_five_of_a_hundred_draws(kind, n):
    rng = np.random.default_rng(n)
    confidences, right = population(rng)
    if kind == "always just over":  # no threshold has a lower error than what must not be promised
        right = rng.random(len(right)) >= 1.05 * ERROR
    labels = np.ones(n)
    broken = naive = promised = 0
    for _ in range(DRAWS):
        at = rng.integers(0, len(right), n)
        score, is_right = confidences[at], right[at]
        found = certify(answers_of(score, is_right), labels, error=ERROR, confidence=CONFIDENCE).threshold
        if found is not None:
            promised += 1
            broken += true_error(confidences, right, found) > ERROR
        # What must not be done: the lowest threshold with a small enough error on the same pictures.
        order = np.argsort(-score)
        errors = np.cumsum(~is_right[order]) / np.arange(1, n + 1)
        low = np.flatnonzero(errors <= ERROR)
        naive += bool(len(low)) and true_error(confidences, right, score[order][low[-1]]) > ERROR
    assert broken <= 0.05 * DRAWS
    assert naive > 0.3 * DRAWS
    if kind == "as it is" and n == 3000:
        assert promised > 0.9 * DRAWS


def test_rejected_and_blank_pictures_are_never_sure():
    confidences = np.full(1000, 0.99999)
    accepted = np.arange(1000) % 2 == 0
    right = accepted  # every rejected one is wrong
    found = certify(answers_of(confidences, right, accepted), np.ones(1000), error=ERROR, confidence=CONFIDENCE)
    assert (found.n, found.accepted, found.wrong) == (1000, 500, 0)
    blank = Answers(np.full(400, BLANK), np.zeros(400), np.zeros(400, bool))
    assert certify(blank, np.ones(400), error=ERROR, confidence=CONFIDENCE).threshold is None


@pytest.mark.parametrize(("error", "needed"), [(0.05, 59), (0.02, 149), (0.01, 299), (0.005, 598)])
def test_too_few_pictures_are_told_with_the_number_needed(recognizer, error, needed):
    assert fewest(error, CONFIDENCE) == needed
    one = np.zeros((needed - 1, 28, 28), np.uint8)
    dataset = Dataset("mine", "all", one, np.zeros(needed - 1, np.int64), {})
    with pytest.raises(DataError, match=f"{needed - 1:,} pictures are too few: .* needs at least {needed}, all read"):
        guarantee(recognizer, dataset, error=error, confidence=CONFIDENCE)
    enough = certify(
        answers_of(np.ones(needed), np.ones(needed, bool)), np.ones(needed), error=error, confidence=CONFIDENCE
    )
    assert enough.threshold == pytest.approx(0.1)


def test_a_promise_that_fails_says_what_would_help():
    reader = Reader()
    with pytest.raises(DataError, match=r"4 of these are wrong; with such answers it takes about [\d,]+ pictures"):
        guarantee(reader, reader.dataset(600, wrong=4), error=ERROR, confidence=CONFIDENCE)
    with pytest.raises(DataError, match="30 of these are wrong; no number of such pictures is enough"):
        guarantee(reader, reader.dataset(600, wrong=30), error=ERROR, confidence=CONFIDENCE)
    for wrong in ({"error": 0.0}, {"error": 0.6}, {"confidence": 1.0}, {"confidence": 0.2}):
        with pytest.raises(SettingError, match=f"{next(iter(wrong))} must be from"):
            guarantee(reader, reader.dataset(600), **{"error": ERROR, "confidence": CONFIDENCE, **wrong})


class Reader:
    """Stands for a Recognizer: reads the digit in the first pixel, with a confidence of 1."""

    model = Recognizer().model

    def predict_batch(self, images, errors):
        shares = (0.1,) * 10
        return [Prediction(int(i[0, 0]), 1.0, shares, i, None, None, True, 1.0) for i in images]

    @staticmethod
    def dataset(n, wrong=0, writers=None):
        labels = np.arange(n) % 10
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 0, 0] = np.where(np.arange(n) < wrong, (labels + 1) % 10, labels)
        return Dataset("mine", "all", images, labels, {"mine": "00"}, writers=writers)


def test_one_picture_of_each_writer_is_taken_unless_they_are_the_only_ones():
    reader = Reader()
    writers = np.array([f"w{i % 400}" for i in range(1600)])
    dataset = reader.dataset(1600, writers=writers)
    taken = one_per_writer(dataset)
    assert sorted(taken.writers) == sorted(set(writers))
    assert (one_per_writer(dataset).numbers == taken.numbers).all()
    assert 100 < (taken.numbers < 400).sum() + (taken.numbers >= 1200).sum() < 300  # not the first of each
    found = guarantee(reader, dataset, error=ERROR, confidence=CONFIDENCE).profile
    assert (found.n, found.writers) == (400, 400)
    found = guarantee(reader, dataset, error=ERROR, confidence=CONFIDENCE, same_writers=True).profile
    assert (found.n, found.writers) == (1600, 400)
    few = reader.dataset(1600, writers=np.array([f"w{i % 6}" for i in range(1600)]))
    with pytest.raises(DataError, match=r"6 writers are too few: .*take all 1,600 pictures with --same-writers"):
        guarantee(reader, few, error=ERROR, confidence=CONFIDENCE)


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """The profile of the default model on scikit-learn's digits, by the command."""
    path = tmp_path_factory.mktemp("profile") / "cnn.profile.json"
    command = [sys.executable, "-m", "inkdigits", "guarantee", "--data", "digits", "--error", "1%", "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = Profile.read(path)
    assert f"{found.accepted:,} of {found.n:,} pictures have a sure answer" in done.stdout
    assert "must be independent" in done.stdout
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, recognizer):
    """Files of digits, half of them those that the default model is least sure of."""
    folder = tmp_path_factory.mktemp("pictures")
    images = load("digits", Settings(), part="test").images
    least = np.argsort([p.confidence for p in recognizer.predict_batch(images)])[:15]
    for at in [*least, *range(15)]:
        Image.fromarray(images[at]).save(folder / f"{at:04}.png")
    return sorted(folder.iterdir())


def test_a_profile_says_of_each_prediction_whether_it_is_sure(profile, pictures, recognizer):
    found = Profile.read(profile)
    assert (found.sha256, found.error, found.confidence) == (recognizer.model.sha256, ERROR, CONFIDENCE)
    assert found.wrong / found.accepted < ERROR
    promised = Recognizer(profile=profile).predict_batch(pictures)
    plain = recognizer.predict_batch(pictures)
    sure = [p.is_digit and p.confidence >= found.threshold for p in plain]
    assert [p.is_sure for p in promised] == sure
    assert 5 < sum(sure) < len(sure) - 5
    assert {p.is_sure for p in plain} == {None}
    assert all("is_sure" not in p.to_dict() for p in plain)
    assert [p.to_dict()["is_sure"] for p in promised] == sure
    assert Recognizer(profile=found).predict(np.full((50, 50), 255, np.uint8)).is_sure is False


def test_the_command_line_accepts_what_is_sure(profile, pictures, tmp_path, run_command, recognizer):
    sure = [p.is_sure for p in Recognizer(profile=profile).predict_batch(pictures)]
    _, out, _ = run_command("predict", "--profile", profile, "--sure", "--csv", *pictures)
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["is_sure"] == "true" for row in rows] == [row["accepted"] == "true" for row in rows] == sure
    table = tmp_path / "out.parquet"
    assert run_command("predict", "--profile", profile, *pictures, "-o", table)[0] == 0
    found = pyarrow.parquet.read_table(table)
    assert found["is_sure"].to_pylist() == sure
    assert sum(found["accepted"].to_pylist()) > sum(sure)
    lines = run_command("predict", "--profile", profile, "--sure", *pictures)[1].splitlines()
    assert [" unsure (nearest" not in line for line in lines] == [
        s or not p.is_digit for s, p in zip(sure, recognizer.predict_batch(pictures), strict=True)
    ]
    assert "is_sure" not in run_command("predict", "--csv", *pictures)[1]


def test_the_service_says_what_is_sure_only_with_a_profile(profile, pictures, start_server, client):
    server = start_server("--profile", str(profile))
    sure = [p.is_sure for p in Recognizer(profile=profile).predict_batch(pictures)]
    with Client(server.url) as served:
        assert [p.is_sure for p in served.predict_many(pictures)] == sure
        assert served.predict(pictures[0]).is_sure == sure[0]
        promise = served.model()["guarantee"]
    found = Profile.read(profile)
    assert promise["threshold"] == found.threshold
    assert "data" not in promise
    answer = client.post("/predict", content=pictures[0].read_bytes()).json()
    assert "is_sure" not in answer
    assert "guarantee" not in client.get("/model").json()


def test_a_profile_of_another_model_is_rejected(profile, tmp_path, start_server, run_command):
    with pytest.raises(ModelError, match="is of another model"):
        Recognizer("lenet", profile=profile)
    document = json.loads(profile.read_text())
    for name, what in (("ink_sha256", "ink network"), ("normalization", "preprocessing")):
        other = tmp_path / f"{name}.json"
        other.write_text(json.dumps({**document, name: "0" * 64}))
        with pytest.raises(ModelError, match=f"is of another {what}"):
            Recognizer(profile=other)
    code, out, err = run_command("predict", "--profile", profile, "--model", "lenet", profile)
    assert (code, out) == (2, "")
    assert "run inkdigits guarantee again" in err
    with pytest.raises(RuntimeError, match="is of another model"):
        start_server("--profile", str(profile), "--model", "lenet")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": 1.5}, "threshold is 1.5, not a number from 0 to 1"),
        ({"threshold": "0.9"}, "threshold is '0.9'"),
        ({"error": float("nan")}, "error is nan"),
        ({"n": -1}, "n is -1, not a count"),
        ({"writers": 1.5}, "writers is 1.5"),
        ({"sha256": 7}, "sha256 is 7"),
        ({"profile": 2}, "its format is 2, not 1"),
        ({"threshold": None}, "threshold is None"),
    ],
)
def test_a_damaged_profile_is_told(profile, tmp_path, change, told):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**json.loads(profile.read_text()), **change}))
    with pytest.raises(SettingError, match=f"is not a profile of inkdigits guarantee: {told}"):
        Recognizer(profile=path)
    path.write_text("[]")
    with pytest.raises(SettingError, match="not a JSON object"):
        Recognizer(profile=path)
    path.write_text('{"profile": 1}')
    with pytest.raises(SettingError, match="it has no 'model'"):
        Recognizer(profile=path)
    with pytest.raises(SettingError, match="cannot read the profile"):
        Recognizer(profile=tmp_path / "none.json")


def test_mistakes_in_the_command_are_told(run_command, tmp_path, profile):
    for argv, told in (
        (["--data", "digits", "--error", "5"], "--error must be a share such as 0.5% or 0.005, not '5'"),
        (["--data", "digits", "--error", "1%%"], "--error must be a share"),
        (["--data", "digits", "--error", "1%", "--confidence", "high"], "--confidence must be a share"),
        (["--data", "digits", "--error", "0.1%"], "1,797 pictures are too few"),
        (["--data", "digits", "--error", "1%", "-o", tmp_path / "x.txt"], "its extension must be one of .json"),
    ):
        code, out, err = run_command("guarantee", *argv)
        assert (code, out) == (2, "")
        assert told in err
    assert run_command("predict", "--sure", profile)[2].endswith("which inkdigits guarantee writes\n")
    assert not list(tmp_path.iterdir())
