"""Make examples/row_data.json, one digit as a row of Kaggle's table; ``make test_client`` sends it to a server.

python scripts/row_data.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from inkdigits.server.known import known_digit

ROW = Path(__file__).parents[1] / "examples" / "row_data.json"


def row() -> dict[str, int]:
    """The digit that a server reads when it starts, ink 255 on paper 0 as in MNIST: ``pixel0`` to ``pixel783``."""
    ink = 255 - np.asarray(known_digit())
    return {f"pixel{i}": value for i, value in enumerate(ink.ravel().tolist())}


if __name__ == "__main__":
    ROW.parent.mkdir(exist_ok=True)
    ROW.write_text(json.dumps(row()) + "\n", encoding="ascii")
