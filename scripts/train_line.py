"""Train the network that reads lines of digits, write it as an ONNX file, and register it in the file's folder.

    python scripts/train_line.py models/line.onnx --steps 18000 --precision bfloat16

Ctrl-C keeps the checkpoint beside the file; the same command with --resume continues from it.
"""

from __future__ import annotations

import sys

from _network import main
from inkdigits.training.config import LineConfig
from inkdigits.training.line import export_line, train_line

if __name__ == "__main__":
    sys.exit(main("train_line", __doc__, LineConfig, train_line, export_line))
