"""The targets that chain commands: from data to a served model, with the packages that training needs and no others."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib

import httpx
import pytest

from support.paths import ROOT
from support.programs import recipe
from support.requests import THREE

pytestmark = pytest.mark.slow

MADE = ("models", "runs", "build")
STOP_SECONDS = 30


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout whose .venv runs this Python, and which make finds installed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    copy = tmp_path / "checkout"
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists() and not (ROOT / name).is_dir():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    before = files(copy)
    programs = {"python": "", "inkdigits": " -m inkdigits"}
    (copy / ".venv" / "bin").mkdir(parents=True)
    for name, options in programs.items():
        program = copy / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}"{options} "$@"\n')
        program.chmod(0o755)
    for stamp in (".core", ".train"):
        (copy / ".venv" / stamp).touch()
    return copy, before


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}


def test_make_all_trains_and_serves_and_make_clean_undoes_it(checkout, tmp_path):
    copy, before = checkout
    home = tmp_path / "home"
    home.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("INKDIGITS_", "XDG_", "MAKE"))}
    environ |= {"HOME": str(home), "INKDIGITS_WORKERS": "1"}
    process = subprocess.Popen(
        ["make", "all", "DATA=digits", "EPOCHS=30", "PORT=0"],
        cwd=copy,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if address := re.search(r"serves on (http://\S+)", line):
                break
        else:
            raise AssertionError(printed)
        epochs = re.findall(r"epoch +(\d+)/30 .* train_accuracy ([\d.]+) +validation_accuracy ([\d.]+)", printed)
        assert [int(epoch) for epoch, _, _ in epochs] == [*range(1, 31)]
        assert min(map(float, epochs[-1][1:])) > 0.7
        answer = httpx.post(f"{address[1]}/predict", content=THREE).json()
        assert answer["model"] == "mlp"
        assert httpx.get(f"{address[1]}/model").json()["network"] == "mlp"
        os.killpg(process.pid, signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=STOP_SECONDS)[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    made = files(copy) - before
    assert {name.split("/")[0] for name in made} >= {"models", "runs"}
    assert files(home) == set()  # what is downloaded and made lies in the checkout
    subprocess.run(["make", "clean"], cwd=copy, env=environ, check=True, capture_output=True)
    assert files(copy) == before


def test_make_all_downloads_what_it_trains_on_into_the_checkout():
    environ = {name: value for name, value in os.environ.items() if name != "INKDIGITS_CACHE"}
    printed = recipe("all")
    assert printed.index("data --download mnist") < printed.index("train --data mnist") < printed.index("serve --model")
    # A folder or table of one's own is there already.
    assert "--download" not in recipe("all", "DATA=examples")
    probe = "\ninclude Makefile\nall: ; @echo $$INKDIGITS_CACHE\n"
    command = ["make", "--silent", "--file=-", "all", "TRAIN="]
    done = subprocess.run(command, input=probe, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.stdout.strip() == "build/data", done.stderr


@pytest.mark.parametrize("target", ["run_train", "train", "all"])
def test_training_installs_what_training_needs_and_no_more(target):
    printed = recipe(target)
    assert "--editable '.[train]' --constraint deploy/train-constraints.txt" in printed
    assert ".[dev]" not in printed
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not any(re.match("ray|mlflow|playwright|optuna", name) for name in extras["train"])


def test_the_image_is_for_a_server_unless_another_platform_is_named():
    assert "docker build --platform linux/amd64 --file deploy/Dockerfile --tag inkdigits:local ." in recipe(
        "docker_build"
    )
    for target in ("docker_build", "docker_run"):
        assert "--platform linux/arm64" in recipe(target, "PLATFORM=linux/arm64")


def test_docker_build_in_the_root_finds_its_dockerfile():
    assert (ROOT / "Dockerfile").read_bytes() == (ROOT / "deploy" / "Dockerfile").read_bytes()


def test_the_files_that_name_a_python_name_one():
    version = (ROOT / ".python-version").read_text().strip()
    assert (ROOT / "runtime.txt").read_text().strip() == f"python-{version}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={version}"
    images = re.findall(r"^FROM python:([\d.]+)-", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert set(images) == {version}
