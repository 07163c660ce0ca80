"""``inkdigits learn``: too little, enough, interrupted, twice at once; and what is kept of it."""

import json
import shutil

import pytest
from filelock import FileLock
from sqlalchemy import select

from inkdigits import Recognizer
from inkdigits.data.catalog import load
from inkdigits.feedback.history import add_promotion
from inkdigits.feedback.queries import every
from inkdigits.feedback.split import to_train_on, trained_rows
from inkdigits.feedback.tables import Certificate, Model
from inkdigits.network import SHIPPED, read_registry
from inkdigits.profile import Profile
from inkdigits.registry import promote, roles
from inkdigits.settings import Settings
from inkdigits.training.checkpoint import write_checkpoint

from support.service import accept_all, clients_of, fill

PICTURES = 300
pytestmark = pytest.mark.slow


@pytest.fixture
def filled(store, models):
    """Corrections of scikit-learn's digits, all accepted."""
    digits = load("digits", Settings.from_env(), part="train").take(range(PICTURES))
    fill(store, Recognizer(models), list(digits.images), digits.labels, clients_of(store, train=20, gate=10))
    accept_all(store)
    return store


def learn(run_command, store, models, *more):
    path = store.engine.url.database
    return run_command("learn", "--feedback", path, "--folder", models, "--data", "digits", *more)


def test_from_corrections_to_a_challenger(filled, models, run_command):
    code, out, err = learn(run_command, filled, models)
    assert code == 0, err
    used = to_train_on(filled.engine)
    assert f"{len(used):,} corrections by {used.users:,} clients to train on" in out
    assert "learned-1 is ready, and the champion stays: the gate needs an audit of 1,000 reviewed pictures by 50" in out
    assert roles(models).champion == "first"
    entry = read_registry(models)["models"]["learned-1"]
    facts = entry["training"]
    assert (facts["corrections"], facts["clients"], facts["sha256"]) == (len(used), used.users, used.sha256)
    assert Recognizer(models / "learned-1.onnx").model.sha256 == entry["sha256"]
    assert trained_rows(filled.engine, entry["sha256"]) == set(used.rows.tolist())
    with filled.engine.connect() as connection:
        [model] = connection.execute(select(Model.sha256, Model.parent, Model.name)).all()
    assert tuple(model) == (entry["sha256"], read_registry(models)["models"]["first"]["sha256"], "learned-1")
    assert not list(models.glob("*.ckpt")) + list(models.glob("*.json.learning"))
    # Nobody corrected anything since, but the champion does not know these yet: another challenger.
    code, out, err = learn(run_command, filled, models, "--least", str(len(used) + 1))
    assert (code, out) == (0, f"nothing was trained: {len(used)} corrections to train on that first does not know; "
                              f"it takes {len(used) + 1}\n")  # fmt: skip
    # Removing a correction reports the models that know it.
    gone = next(each.id for each in every(filled.engine) if each.row == used.rows[0])
    code, out, err = run_command("feedback", "forget", "--feedback", filled.engine.url.database, gone)
    assert (code, entry["sha256"] in out) == (0, True)


def test_a_round_that_broke_off_goes_on_and_a_removed_picture_is_not_learned(filled, models, run_command, monkeypatch):
    command = ["learn", "--feedback", str(filled.engine.url.database), "--folder", str(models), "--data", "digits"]
    state, checkpoint = models / "learned-1.learning.json", models / "learned-1.ckpt"

    def kill():
        """Break off after the first checkpoint, with everything on disk as it is then."""

        def write_and_break(*arguments):
            write_checkpoint(*arguments)
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr("inkdigits.training.fit.write_checkpoint", write_and_break)
            assert run_command(*command)[0] == 70
        assert state.exists()
        assert checkpoint.exists()
        assert not (models / "learned-1.onnx").exists()

    kill()
    rows = json.loads(state.read_text())["rows"]
    code, out, err = run_command(*command)
    assert code == 0, err
    assert f"continuing with learned-1, which {len(rows)} corrections were chosen for" in out
    assert "resuming after epoch 1" in out
    assert not state.exists()
    assert not checkpoint.exists()
    (models / "learned-1.onnx").unlink()
    registry = read_registry(models)
    registry["models"].pop("learned-1")
    (models / "registry.json").write_text(json.dumps(registry))
    kill()
    filled.forget(next(each.id for each in every(filled.engine) if each.row == rows[0]))
    code, out, err = run_command(*command)
    assert code == 0, err
    assert "resuming" not in out
    assert "continuing" not in out
    assert f"{len(rows) - 1} corrections" in out


def test_a_guarantee_from_the_store_ends_with_the_champion(store, run_command, tmp_path):
    """The pictures are of clients that no model is trained on; other corrections count for nothing."""
    models = shutil.copytree(SHIPPED, tmp_path / "shipped")
    path, recognizer = store.engine.url.database, Recognizer(models)
    code, _, err = run_command("guarantee", "--error", "20%", "--model", models, "--feedback", path)
    assert (code, "the database has no reviewed audit of the clients that are kept for guarantees" in err) == (2, True)
    digits = load("digits", Settings.from_env(), part="test")
    read = recognizer.predict_batch(digits.images)
    right = [i for i, each in enumerate(read) if each.is_digit and each.digit == digits.labels[i]][:60]
    users = clients_of(store, guarantee=30, train=30)
    fill(store, recognizer, list(digits.images[right]), digits.labels[right], users)
    accept_all(store)
    profile = tmp_path / "mine.json"
    command = ("guarantee", "--error", "20%", "--model", models, "--feedback", path, "-o", profile)
    code, out, err = run_command(*command)
    assert code == 0, err
    assert "cnn on audit: 30 pictures by 30 writers" in out
    assert Profile.read(profile).writers == 30
    with store.engine.connect() as connection:
        [kept] = connection.execute(select(Certificate)).all()
    assert (kept.model_sha256, kept.users, kept.withdrawn) == (recognizer.model.sha256, 30, None)
    add_promotion(store.engine, promote(models, "lenet", by="test", reason="another"))
    with store.engine.connect() as connection:
        [kept] = connection.execute(select(Certificate)).all()
    assert kept.withdrawn is not None
    assert kept.withdrawn_why == "lenet is the champion"
    code, _, err = run_command("guarantee", "--error", "20%")
    assert (code, "give --data DATA, or --feedback" in err) == (2, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--least", "0"], "--least must be 1 or more, not 0"),
        (["--name", "a/b"], "--name is a name such as learned-1, without a folder, not 'a/b'"),
        (["--name", "second"], "there is a model 'second' in"),
        (["--folder", "nowhere"], "there is no folder 'nowhere' of models; name it with --folder"),
        (["--data", "mnits"], "unknown data set 'mnits'"),
    ],
)
def test_mistakes(filled, models, run_command, change, words):
    before = sorted(path.name for path in models.glob("*.onnx"))
    code, _, err = learn(run_command, filled, models, *change)
    assert (code, words in err) == (2, True), err
    assert sorted(path.name for path in models.glob("*.onnx")) == before


def test_no_database_no_champion_and_two_at_once(filled, models, run_command, monkeypatch):
    monkeypatch.delenv("INKDIGITS_FEEDBACK", raising=False)
    code, _, err = run_command("learn", "--folder", models)
    assert (code, "no database is named" in err) == (2, True)
    with FileLock(models / ".learning.lock"):
        code, _, err = learn(run_command, filled, models)
    assert (code, "another inkdigits learn is at work in" in err) == (2, True)
    code, _, err = learn(run_command, filled, SHIPPED)
    assert (code, "the models that ship stay as they are" in err) == (2, True)
    registry = read_registry(models)
    registry.pop("default")
    (models / "registry.json").write_text(json.dumps(registry))
    code, _, err = learn(run_command, filled, models)
    assert (code, "has no champion to start from" in err) == (2, True)
