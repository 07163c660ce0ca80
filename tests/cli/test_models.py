"""Promotions: by a person or by a decision that passed, kept for ever, taken back; and served without a restart."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from inkdigits import ModelError, Recognizer, SettingError
from inkdigits.network import SHIPPED, read_registry
from inkdigits.registry import add_try, earlier_tries, promote, roles, rollback

from support.drawings import picture
from support.servers import DEADLINE, POLL_SECONDS
from support.shipped import folder_of

NAMES = ("lenet", "fast", "cnn")
HASHES = {name: read_registry(SHIPPED)["models"][name]["sha256"] for name in NAMES}


@pytest.fixture
def folder(tmp_path):
    """Three models, of which lenet answers."""
    return folder_of(tmp_path / "models", *NAMES, ink={"kept": True})


def decision(path, champion, challenger, passed=True):
    """A record as the gate writes it, as far as a promotion reads it."""
    content = {
        "passed": passed,
        "champion": {"name": champion, "sha256": HASHES[champion]},
        "challenger": {"name": challenger, "sha256": HASHES[challenger]},
        "audit": {"name": "audit"},
        "data": {"audit": "ab" * 32},
        "level": 0.03,
        "earlier": 0,
        "created": "2026-11-29T12:00:00+00:00",
    }
    path.write_text(json.dumps(content))
    return content


def told(run_command, *argv):
    code, out, err = run_command("models", *argv)
    return code, out + err


def test_a_decision_that_passed_promotes_and_a_rollback_is_an_entry(folder, tmp_path, run_command):
    record = tmp_path / "decision.json"
    decision(record, "lenet", "fast")
    assert told(run_command, "list", "--folder", folder)[1].splitlines()[0].split()[:2] == ["lenet", "champion"]
    code, text = told(run_command, "promote", "fast", "--decision", record, "--folder", folder, "--auto")
    assert (code, text) == (0, "fast is the champion, instead of lenet; a running server takes it with SIGHUP\n")
    assert Recognizer(folder).model.name == "fast"
    assert Recognizer(folder).predict(picture(7)).digit == 7
    assert (roles(folder).champion, roles(folder).previous) == ("fast", ("lenet",))
    code, text = told(run_command, "rollback", "--folder", folder, "--reason", "more rejections", "--by", "Ada")
    assert (code, text.split(",")[0]) == (0, "lenet is the champion")
    registry = read_registry(folder)
    assert [entry["kind"] for entry in registry["promotions"]] == ["promotion", "rollback"]
    first, second = registry["promotions"]
    assert (first["from"]["sha256"], first["to"]["sha256"], first["by"]) == (HASHES["lenet"], HASHES["fast"], "auto")
    assert first["decision"] == {
        "created": first["decision"]["created"],
        "data": {"audit": "ab" * 32},
        "level": 0.03,
        "earlier": 0,
    }
    assert (second["by"], second["reason"], second["decision"]) == ("Ada", "more rejections", None)
    assert (registry["ink"], set(registry["models"])) == ({"kept": True}, set(NAMES))
    lines = told(run_command, "list", "--folder", folder)[1].splitlines()
    assert lines[-1].endswith("rollback   fast → lenet  by Ada: more rejections")
    found = json.loads(told(run_command, "list", "--folder", folder, "--json")[1])
    assert [model["role"] for model in found["models"]] == ["champion", "", ""]
    assert told(run_command, "rollback", "--folder", folder)[1].endswith("has no promotion that could be taken back\n")


def test_rollbacks_go_back_one_by_one(folder):
    for name in ("fast", "cnn", "lenet"):
        promote(folder, name, by="Ada")
    assert roles(folder).previous == ("cnn", "fast", "lenet")
    for name in ("cnn", "fast"):
        assert rollback(folder, by="Ada")["to"]["name"] == name
    promote(folder, "cnn", by="Ada")
    assert rollback(folder, by="Ada")["to"]["name"] == "fast"
    assert rollback(folder, by="Ada")["to"]["name"] == "lenet"
    with pytest.raises(SettingError, match="no promotion"):
        rollback(folder, by="Ada")
    assert len(read_registry(folder)["promotions"]) == 8


@pytest.mark.parametrize(
    ("champion", "challenger", "passed", "fault"),
    [
        ("cnn", "fast", True, "the decision is of another champion"),
        ("lenet", "cnn", True, "the decision is of another challenger"),
        ("lenet", "fast", False, "fast did not pass the gate"),
    ],
)
def test_a_decision_of_others_or_one_that_failed_promotes_nothing(
    folder, tmp_path, run_command, champion, challenger, passed, fault
):
    before = (folder / "registry.json").read_bytes()
    record = tmp_path / "decision.json"
    decision(record, champion, challenger, passed)
    code, text = told(run_command, "promote", "fast", "--decision", record, "--folder", folder, "--auto")
    assert code == 2
    assert fault in text
    assert (folder / "registry.json").read_bytes() == before


def test_what_cannot_be_done_is_told(folder, tmp_path, run_command):
    record = tmp_path / "decision.json"
    decision(record, "lenet", "fast")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text("{}")
    at = ("--folder", folder)
    for argv, fault in (
        (("promote", "fast", *at), "give --decision FILE.json, or --reason instead"),
        (("promote", "fast", "--auto", "--reason", "x", *at), "--auto needs --decision FILE.json"),
        (("promote", "fast", "--decision", record, *at), "needs a person at a terminal, or --auto"),
        (("promote", "fast", "--reason", "I know", *at), "needs a person at a terminal"),
        (("promote", "fast", "--auto", "--decision", tmp_path / "none.json", *at), "cannot read the decision"),
        (("promote", "fast", "--auto", "--decision", tmp_path / "list.json", *at), "is not a record of"),
        (("promote", "fast", "--auto", "--decision", tmp_path / "other.json", *at), "is not a record of"),
        (("promote", "lenet", "--auto", "--decision", record, *at), "lenet is the champion already"),
        (("promote", "best", "--auto", "--decision", record, *at), "no model 'best'"),
        (("promote", "fast", "--auto", "--decision", record), "the models that ship stay as they are"),
        (("list", "--folder", tmp_path / "none"), "there is no folder"),
        (("list", "--folder", tmp_path), "there is no registry.json in folder"),
        (("gate", "best", "--audit", "digits", *at), "there is no model 'best'"),
        (("gate", "lenet", "--audit", "digits", *at), "lenet is the champion"),
        ((), "name what to do: list, gate, promote, rollback or reinstate"),
    ):
        code, text = told(run_command, *argv)
        assert code == 2, argv
        assert fault in text, argv
    assert "promotions" not in read_registry(folder)


def test_a_person_is_asked_at_a_terminal(folder):
    for answer, code in (("no", 2), ("yes", 0)):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "inkdigits", "models", "promote", "fast", "--reason", "it is faster"]
        asked = subprocess.Popen([*command, "--folder", str(folder)], stdin=theirs, stdout=subprocess.PIPE, text=True)
        os.write(ours, f"{answer}\n".encode())
        out, _ = asked.communicate(timeout=DEADLINE * 3)
        os.close(ours)
        os.close(theirs)
        assert asked.returncode == code
        assert f"To make fast the champion of {folder}, instead of lenet, type yes: " in out
    [entry] = read_registry(folder)["promotions"]
    assert (entry["to"]["name"], entry["reason"], entry["decision"]) == ("fast", "it is faster", None)


def test_a_file_that_changed_is_not_promoted_and_not_gone_back_to(folder):
    promote(folder, "fast", by="Ada")
    registry = read_registry(folder)
    shutil.copy(folder / "cnn.onnx", folder / "lenet.onnx")
    with pytest.raises(ModelError, match="lenet is not the registered file"):
        rollback(folder, by="Ada")
    registry["models"]["lenet"]["sha256"] = HASHES["cnn"]
    (folder / "registry.json").write_text(json.dumps(registry))
    with pytest.raises(SettingError, match="lenet is another file than the champion of that name"):
        rollback(folder, by="Ada")
    (folder / "fast.onnx").write_bytes(b"")
    promote(folder, "cnn", by="Ada")  # whatever became of the champion
    with pytest.raises(ModelError, match="fast is not the registered file"):
        promote(folder, "fast", by="Ada")
    for damaged in ({"promotions": 3}, {"promotions": [{}]}, {"tries": ["x"]}):
        (folder / "registry.json").write_text(json.dumps({**registry, **damaged}))
        with pytest.raises(ModelError, match="is not a list of entries"):
            roles(folder)


def test_tries_against_a_champion_or_on_an_audit_count(folder, tmp_path):
    content = decision(tmp_path / "d.json", "lenet", "fast", passed=False)
    add_try(folder, "fast", content)
    add_try(folder, "cnn", {**content, "data": {"audit": "cd" * 32}})
    assert roles(folder).challenger == "cnn"
    assert roles(folder).of("cnn") == "challenger"
    assert earlier_tries(folder, HASHES["lenet"], "00") == 2
    assert earlier_tries(folder, "00", "cd" * 32) == 1
    assert earlier_tries(folder, "00", "00") == 0
    promote(folder, "cnn", by="Ada")
    assert roles(folder).challenger == ""


def test_a_folder_without_a_champion_cannot_answer_until_one_is_promoted(folder):
    registry = read_registry(folder)
    del registry["default"]
    (folder / "registry.json").write_text(json.dumps(registry))
    with pytest.raises(ModelError, match="has no default; run inkdigits models promote"):
        Recognizer(folder)
    assert promote(folder, "cnn", by="Ada")["from"] is None
    assert Recognizer(str(folder)).model.name == "cnn"
    with pytest.raises(SettingError, match="no promotion"):
        rollback(folder, by="Ada")


def test_a_running_server_takes_the_champion(folder, start_server):
    server = start_server("--model", str(folder))
    answer = httpx.get(f"{server.url}/model").json()
    assert (answer["name"], answer["sha256"]) == ("lenet", HASHES["lenet"])

    def swapped(name):
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + DEADLINE * 3
        while time.monotonic() < deadline:
            if httpx.get(f"{server.url}/model").json()["name"] == name:
                return True
            time.sleep(POLL_SECONDS)
        return False

    promote(folder, "fast", by="Ada")
    assert swapped("fast")
    rollback(folder, by="Ada")
    assert swapped("lenet")


@pytest.mark.slow
def test_the_gate_reads_both_models_and_keeps_the_record(folder, tmp_path, run_command):
    """Digits that are turned: the small network reads them worse than the default model."""
    from scipy.ndimage import rotate

    from inkdigits.data.catalog import load
    from inkdigits.settings import Settings

    rng = np.random.default_rng(0)
    digits = load("digits", Settings(), part="all")
    at = rng.integers(0, len(digits), 4000)
    small = [rotate(digits.images[i][::2, ::2], rng.uniform(-40, 40), reshape=False, order=1) for i in at]
    images = np.stack([np.pad(each, 4)[:28, :28] for each in small])
    np.savez(tmp_path / "audit.npz", images=images[:1200], labels=digits.labels[at[:1200]], writers=at[:1200] % 80)
    np.savez(tmp_path / "fixed.npz", images=images[1200:], labels=digits.labels[at[1200:]])
    record = tmp_path / "decision.html"
    code, text = told(
        run_command, "gate", "cnn", "--folder", folder, "--audit", tmp_path / "audit.npz", "--validation",
        tmp_path / "fixed.npz", "--report", record,
    )  # fmt: skip
    found = json.loads(record.with_suffix(".json").read_text())
    assert code == (0 if found["passed"] else 1)
    assert text.startswith(f"cnn {'passes' if found['passed'] else 'does not pass'}: {found['audit']['fixed']} fixed")
    assert (found["champion"]["sha256"], found["challenger"]["sha256"]) == (HASHES["lenet"], HASHES["cnn"])
    assert found["audit"]["champion"] < found["audit"]["challenger"]
    assert {each["name"] for each in found["validation"]} == {"digits", "non-digits"}
    assert (found["users"], found["earlier"]) == (80, 0)
    assert roles(folder).challenger == "cnn"
    assert earlier_tries(folder, HASHES["lenet"], "") == 1
