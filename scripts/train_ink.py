"""Train the network that finds ink, write it as an ONNX file, and register it in the file's folder.

    python scripts/train_ink.py models/ink.onnx --steps 12000 --precision bfloat16

Ctrl-C keeps the checkpoint beside the file; the same command with --resume continues from it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from inkdigits.errors import InkdigitsError
from inkdigits.options import flag
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.config import InkConfig
from inkdigits.training.ink import export_ink, train_ink
from inkdigits.training.register import check_out, register_ink


def main(argv: Sequence[str] | None = None) -> int:
    """Train; 2 where an option or the data are wrong, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint beside it")
    for f in fields(InkConfig):
        parser.add_argument(flag(f.name), type=type(f.default), default=f.default, help=f.metadata["help"])
    args = vars(parser.parse_args(argv))
    out, resume = args.pop("out"), args.pop("resume")
    checkpoint = out.with_suffix(".ckpt")
    try:
        config = InkConfig(**args)
        check_out(out)
        network, figures = train_ink(config, checkpoint, Settings.from_env(), Report(), resume=resume)
        export_ink(network, out)
        command = " ".join(["python scripts/train_ink.py", out.name, *config.arguments()])
        register_ink(out, command, config, sum(p.numel() for p in network.parameters()), asdict(figures))
    except (InkdigitsError, OSError) as error:
        print(f"train_ink: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {out} ({out.stat().st_size:,} bytes), registered in its folder", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
