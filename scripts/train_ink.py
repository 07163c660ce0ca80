"""Train the network that finds ink, write it as an ONNX file, and register it in the file's folder.

    python scripts/train_ink.py models/ink.onnx --steps 12000 --precision bfloat16

Ctrl-C keeps the checkpoint beside the file; the same command with --resume continues from it.
"""

from __future__ import annotations

import sys

from _network import main
from inkdigits.training.config import InkConfig
from inkdigits.training.ink import export_ink, train_ink

if __name__ == "__main__":
    sys.exit(main("train_ink", __doc__, InkConfig, train_ink, export_ink))
