"""What the tests of bulk share."""

import numpy as np
import pytest

from inkdigits.cli import main

from support.bulk import N


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's first digits at three times their size: (N, 28, 28) uint8."""
    from sklearn.datasets import load_digits

    small = np.minimum(load_digits().images[:N] * 16, 255).astype(np.uint8)
    return np.pad(small.repeat(3, axis=1).repeat(3, axis=2), [(0, 0), (2, 2), (2, 2)])


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs predict in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv):
        capsys.readouterr()
        code = main(["predict", *map(str, argv)])
        return code, *capsys.readouterr()

    return run
