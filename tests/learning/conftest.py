"""Models that learn, small enough to be trained in a test."""

import shutil

import pytest

from inkdigits.cli import main
from inkdigits.feedback.store import Store
from inkdigits.registry import promote


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with two small networks that were trained for a moment on scikit-learn's digits; "first" answers."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, more in (("first", []), ("second", ["--non-digits", "0.1"])):
            options = [
                "--network",
                "lenet",
                "--data",
                "digits",
                "--epochs",
                "2",
                "--threads",
                "1",
                "--no-record",
                *more,
            ]
            assert main(["train", *options, "--out", str(folder / f"{name}.onnx")]) == 0
    promote(folder, "first", by="test", reason="the first one")
    return folder


@pytest.fixture
def models(trained, tmp_path):
    """A copy of it, to be changed."""
    return shutil.copytree(trained, tmp_path / "models")


@pytest.fixture
def store(tmp_path):
    opened = Store(str(tmp_path / "feedback.db"))
    yield opened
    opened.close()
