"""The command line of the scripts that train the ink network and the line network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from torch import nn

from inkdigits.errors import InkdigitsError
from inkdigits.options import flag
from inkdigits.progress import Report
from inkdigits.settings import Settings
from inkdigits.training.config import StepsConfig
from inkdigits.training.register import check_out, register_network

Train = Callable[..., tuple[nn.Module, Mapping[str, float]]]


def main(
    script: str,
    about: str,
    kind: type[StepsConfig],
    train: Train,
    export: Callable[[nn.Module, Path], None],
    argv: Sequence[str] | None = None,
) -> int:
    """Train a network; 2 where an option or the data are wrong, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the .onnx file to write")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint beside it")
    for f in fields(kind):
        parser.add_argument(flag(f.name), type=type(f.default), default=f.default, help=f.metadata["help"])
    args = vars(parser.parse_args(argv))
    out, resume = args.pop("out"), args.pop("resume")
    checkpoint = out.with_suffix(".ckpt")
    try:
        config = kind(**args)
        check_out(out)
        network, figures = train(config, checkpoint, Settings.from_env(), Report(), resume=resume)
        export(network, out)
        command = " ".join([f"python scripts/{script}.py", out.name, *config.arguments()])
        parameters = sum(p.numel() for p in network.parameters())
        register_network(out, command, config, parameters, figures)
    except (InkdigitsError, OSError) as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    checkpoint.unlink(missing_ok=True)
    print(f"wrote {out} ({out.stat().st_size:,} bytes), registered in its folder", flush=True)
    return 0
