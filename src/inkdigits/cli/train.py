"""``inkdigits train``, ``quantize``, ``tune`` and ``runs``: a model of your own."""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import fields
from pathlib import Path

from inkdigits.atomic import Output, check_output
from inkdigits.cli.common import FINE, Commands, add_command, add_option, add_settings, output, refuse_own
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

The accuracy after each epoch is that on the validation set: no training uses the test set before it
is over.

Ctrl-C ends the training early and keeps the best epoch so far. The model's entry is added to the
registry.json next to it, and a folder below runs/ records the run: tensorboard --logdir runs, or
inkdigits runs.
"""
_QUANTIZE_EXAMPLES = """\
examples:
  inkdigits quantize models/mine.onnx --out models/mine8.onnx

The registry next to the model names the data that it was trained on. The scales of the integers come
from its training set, temperature and threshold from its validation set, and its test set is read
once, at the end.
"""
_TUNE_EXAMPLES = """\
examples:
  inkdigits tune space.toml --out study
  inkdigits tune space.toml --out study --trials 200 --workers 4
  inkdigits train --config study/best.toml --out models/best.onnx

The space is a file such as

  [fixed]
  network = "sprint"
  epochs = 10
  [search]
  learning_rate = { low = 1e-3, high = 1e-1, log = true }
  batch_size = { choices = [32, 64, 128] }

Any option of inkdigits train can be fixed or searched. Trials are compared by validation accuracy;
the test set is not used. The same command resumes after Ctrl-C or a kill, and with more --trials it
continues the search.
"""
_RUNS_EXAMPLES = """\
examples:
  inkdigits runs                                         all, the best first
  inkdigits runs 20250131-101500-lenet                   everything about one
  inkdigits runs 101500 113000 --plot curves.svg         what differs between two, and their curves

A run is named by its folder or by a part of its name that no other has.
"""


def add(commands: Commands) -> None:
    """Add train, quantize, tune and runs to the command line."""
    from inkdigits.training.config import MlpConfig, TrainConfig

    train = add_command(
        commands,
        "train",
        "[options] --out MODEL.onnx",
        _train,
        "train or fine-tune a model",
        "Train a model, export it as one ONNX file, measure it and register it.",
        _TRAIN_EXAMPLES,
    )
    train.add_argument("--out", required=True, metavar="MODEL.onnx", help="the file to write")
    train.add_argument(
        "--config", metavar="FILE", help="options from a .toml or .json file; those of the command line take precedence"
    )
    train.add_argument("--resume", action="store_true", help="resume from the checkpoint next to that file")
    add_settings(train, ("runs",))
    train.add_argument("--no-record", action="store_true", help="do not record the run")
    train.add_argument(
        "--mlflow",
        default="",
        metavar="URI",
        help="also record the run in this MLflow store, such as http://localhost:5000 or sqlite:///mlflow.db",
    )
    of_mlp = {f.name: f for f in fields(MlpConfig)}
    for f in fields(TrainConfig):
        other = of_mlp.pop(f.name, None)
        note = "not mlp" if other is None else "" if other.default in (f.default, "mlp") else f"mlp: {other.default}"
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
        "Quantize a trained model to 8-bit integers, measure it and register it: a third of the size, twice as fast.",
        _QUANTIZE_EXAMPLES,
        old_name="quantise",
    )
    quantize.add_argument("model", metavar="MODEL", help="name of a shipped model or path of an .onnx file")
    quantize.add_argument("--out", required=True, metavar="NEW.onnx", help="the file to write")
    _add_tune(commands)
    _add_runs(commands)


def _add_tune(commands: Commands) -> None:
    from inkdigits.training.config import PRUNERS

    tune = add_command(
        commands,
        "tune",
        "[options] SPACE.toml --out FOLDER",
        _tune,
        "search for the best training options",
        "Train many times and write the options with the best validation accuracy to a file.",
        _TUNE_EXAMPLES,
    )
    tune.add_argument("space", metavar="SPACE.toml", help="what is fixed and what is searched, in .toml or .json")
    tune.add_argument("--out", required=True, metavar="FOLDER", help="folder to write to, and to resume from")
    tune.add_argument("--trials", type=int, default=40, metavar="N", help="total number of trainings (default: 40)")
    tune.add_argument("--workers", type=int, default=1, metavar="N", help="parallel trainings (default: 1)")
    tune.add_argument(
        "--pruner",
        choices=PRUNERS,
        default=PRUNERS[0],
        help="how to choose the trials that end early (default: median)",
    )
    tune.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the proposals (default: 0)")


def _add_runs(commands: Commands) -> None:
    from inkdigits.training.config import SORTS

    runs = add_command(
        commands,
        "runs",
        "[options] [RUN …]",
        _runs,
        "list training runs, or compare some",
        "List the recorded training runs; or show one; or show what differs between several.",
        _RUNS_EXAMPLES,
    )
    runs.add_argument("names", nargs="*", metavar="RUN", help="a run to show or to compare with the others named")
    runs.add_argument("--sort", choices=SORTS, default=SORTS[0], help=f"order of the list (default: {SORTS[0]})")
    runs.add_argument("--json", action="store_true", help="print everything as JSON")
    runs.add_argument("--plot", metavar="FILE.svg", help="draw the learning curves of the runs named")
    add_settings(runs, ("runs",))


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
        raise SettingError("network mlp writes no checkpoint, because its training is short; leave out --resume")
    if args.mlflow and args.no_record:
        raise SettingError("--mlflow gets the record of the run; leave out --no-record")
    learns_from = [config.data, *config.data.split("+"), args.config or ""]
    if isinstance(config, TrainConfig):
        learns_from += [config.init, *config.teacher.split(",")]
    refuse_own(args.out, learns_from)
    from inkdigits.training.register import check_out

    out = Path(args.out)
    with contextlib.ExitStack() as stack:
        stack.enter_context(Output(check_out(out)))
        callback = None
        if not args.no_record:
            from inkdigits.training.tracking import Recorder

            runs = Path(settings.runs).expanduser()
            callback = stack.enter_context(Recorder(config, out, runs, resume=args.resume, mlflow=args.mlflow))
        from inkdigits.training.train import train

        train(config, out, settings, resume=args.resume, callback=callback)
    return FINE


def _tune(args: argparse.Namespace) -> int:
    from inkdigits.training.search.space import Space

    settings = Settings.from_env()
    space = Space.read(Path(args.space))
    from inkdigits.training.search.tune import tune

    tune(
        space,
        Path(args.out),
        settings,
        trials=args.trials,
        workers=args.workers,
        pruner=args.pruner,
        seed=args.seed,
    )
    return FINE


def _runs(args: argparse.Namespace) -> int:
    folder = Path(Settings.from_env(runs=args.runs).runs).expanduser()
    if args.plot and not args.names:
        raise SettingError("--plot needs the names of the runs whose curves it draws; name some")
    if args.plot and args.plot != "-":
        check_output(args.plot, endings=(".svg",))
    from inkdigits.training.runs import compared, curves, find, find_all, listed

    runs = [find(folder, name) for name in args.names] or find_all(folder)
    if args.json:
        print(json.dumps([run.to_dict() for run in runs], indent=2))
    elif args.names:
        print(compared(runs))
    else:
        print(listed(runs, args.sort) if runs else f"no runs in {folder}; inkdigits train records them")
    if args.plot:
        with output(args.plot, endings=(".svg",)) as out:
            out.write(curves(runs))
    return FINE
