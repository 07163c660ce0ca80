"""Real handwriting: scikit-learn's digits, which are always there, and MNIST and pen strokes, where they are."""

import os

import pytest

needs_data = pytest.mark.skipif(
    not os.environ.get("INKDIGITS_DATA"), reason="INKDIGITS_DATA names no folder with MNIST and pen strokes"
)
# Names of data sets; a run without the second one says so.
HANDWRITING = ["digits", pytest.param("mnist", marks=needs_data)]
