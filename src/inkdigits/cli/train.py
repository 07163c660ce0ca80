"""``inkdigits train`` and ``quantize``: a model of your own."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import fields
from pathlib import Path

from inkdigits.atomic import Output
from inkdigits.cli.common import FINE, Commands, add_command, add_option, add_settings, refuse_own
from inkdigits.errors import SettingError
from inkdigits.options import flag
from inkdigits.settings import Settings

__all__ = ["add"]

_TRAIN_EXAMPLES = """\
examples:
  inkdigits train --out models/cnn.onnx
  inkdigits train --network lenet --epochs 10 --out models/lenet.onnx
  inkdigits train --network mlp --out models/mlp.onnx       a perceptron, done in half a minute
  inkdigits train --data digits --out models/small.onnx     no download, done in a minute
  inkdigits train --data train.csv --out models/mine.onnx   Kaggle's table: label, pixel0, …
  inkdigits train --init cnn_float --data scans/ --non-digits 0.2 --out models/ours.onnx
  inkdigits train --config best.toml --out models/best.onnx

Of the perceptron's lines, test_accuracy is measured on the images held back for validation: no
training looks at the test part before it is over.

Ctrl-C ends the training early and keeps the best so far. registry.json beside the model gets its
entry, and a folder under runs/ the whole story: tensorboard --logdir runs, or inkdigits runs.
"""
_QUANTIZE_EXAMPLES = """\
examples:
  inkdigits quantize models/mine.onnx --out models/mine8.onnx

The registry beside the model says what data it learnt from: the scales of the integers are found
by its training images, temperature and threshold by its validation images, and its test part is
read once, at the end.
"""


def add(commands: Commands) -> None:
    """Add train and quantize to the command line."""
    from inkdigits.training.config import MlpConfig, TrainConfig

    train = add_command(
        commands,
        "train",
        "[options] --out MODEL.onnx",
        _train,
        "train a model",
        "Train a model, export it as one ONNX file, measure it and register it.",
        _TRAIN_EXAMPLES,
    )
    train.add_argument("--out", required=True, metavar="MODEL.onnx", help="the file to write")
    train.add_argument(
        "--config", metavar="FILE", help="options from a .toml or .json file; those given here come before them"
    )
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint beside that file")
    add_settings(train, ("runs",))
    train.add_argument("--no-record", action="store_true", help="leave no record of the run")
    train.add_argument(
        "--mlflow",
        default="",
        metavar="URI",
        help="also record it in this MLflow store, such as http://localhost:5000 or sqlite:///mlflow.db",
    )
    of_mlp = {f.name: f for f in fields(MlpConfig)}
    for f in fields(TrainConfig):
        other = of_mlp.pop(f.name, f)
        note = "" if f.name == "network" or other.default == f.default else f"mlp: {other.default}"
        add_option(train, f, None, note=note, choices=f.metadata["choices"] or None)
    for f in of_mlp.values():
        add_option(train, f, None, note="mlp only")
    for old, new in TrainConfig.RENAMED.items():
        train.add_argument(flag(old), dest=new, type=float, help=argparse.SUPPRESS)

    quantize = add_command(
        commands,
        "quantize",
        "MODEL --out NEW.onnx",
        _quantize,
        "make a trained model smaller and faster",
        "Turn a model that inkdigits train wrote into one of 8-bit integers, a third of the size and more than twice "
        "as fast; calibrate, measure and register it.",
        _QUANTIZE_EXAMPLES,
        old_name="quantise",
    )
    quantize.add_argument("model", metavar="MODEL", help="name of a shipped model or path of an .onnx file")
    quantize.add_argument("--out", required=True, metavar="NEW.onnx", help="the file to write")


def _quantize(args: argparse.Namespace) -> int:
    from inkdigits.network import find_model
    from inkdigits.training.quantize import quantize
    from inkdigits.training.register import check_out

    _, model, _ = find_model(args.model)
    refuse_own(args.out, [model])
    with Output(check_out(Path(args.out))):
        quantize(args.model, Path(args.out), Settings.from_env())
    return FINE


def _train(args: argparse.Namespace) -> int:
    from inkdigits.training.config import MlpConfig, TrainConfig, config_of, read_options

    names = {f.name for config in (TrainConfig, MlpConfig) for f in fields(config)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    config = config_of({**(read_options(Path(args.config)) if args.config else {}), **given})
    settings = Settings.from_env(runs=args.runs)
    if args.resume and isinstance(config, MlpConfig):
        raise SettingError("network mlp leaves no checkpoint to go on from, its training is short; leave out --resume")
    if args.mlflow and args.no_record:
        raise SettingError("--mlflow is told what the run's folder gets; leave out --no-record")
    learns_from = [config.data, *config.data.split("+"), args.config or ""]
    if isinstance(config, TrainConfig):
        learns_from += [config.init, *config.teacher.split(",")]
    refuse_own(args.out, learns_from)
    from inkdigits.training.callbacks import UNWATCHED
    from inkdigits.training.register import check_out

    out = Path(args.out)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Output(check_out(out)))
        watch = UNWATCHED
        if not args.no_record:
            from inkdigits.training.tracking import Recorder

            runs = Path(settings.runs).expanduser()
            watch = stack.enter_context(Recorder(config, out, runs, resume=args.resume, mlflow=args.mlflow))
        if isinstance(config, MlpConfig):
            from inkdigits.training.mlp import train as train_mlp

            train_mlp(config, out, settings, watch=watch)
        else:
            from inkdigits.training.fit import train

            train(config, out, settings, resume=args.resume, watch=watch)
    return FINE
