"""The options of a training run: bounds, unknown names, and the command line that repeats it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import FrozenInstanceError, fields
from types import SimpleNamespace

import pytest

from inkdigits import SettingError, TrainingError
from inkdigits.cli import main
from inkdigits.training.checkpoint import read_checkpoint, write_checkpoint
from inkdigits.training.config import MlpConfig, TrainConfig, config_of, read_options, to_toml
from inkdigits.training.runs import Run, compared
from inkdigits.training.search.space import Space

from support.paths import ROOT


def test_every_option_has_help_and_a_default_within_its_bounds():
    config = TrainConfig()
    for f in fields(config):
        assert f.metadata["help"]
        if not isinstance(f.default, str):
            assert f.metadata["low"] <= f.default <= f.metadata["high"]
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_the_documentation_has_every_option_as_it_is():
    text = ROOT.joinpath("docs", "training.md").read_text(encoding="utf-8")
    rows = [f"| `--{f.name.replace('_', '-')}` | {f.default} | {f.metadata['help']} |" for f in fields(TrainConfig)]
    assert re.findall(r"^\| `--.*$", text, re.MULTILINE) == rows


OLD = {"disturbed": 0.4, "negatives": 0.2, "coarse": 0.3, "keep": 0.5, "init": "cnn_float"}
OF_OLD = TrainConfig(corrupted=0.4, non_digits=0.2, low_res=0.3, init_weight=0.5, init="cnn_float")


def test_the_names_that_options_had_before_are_still_read(tmp_path):
    path = tmp_path / "before.toml"
    path.write_text(to_toml(OLD))
    assert TrainConfig.from_dict(OLD) == config_of(OLD) == config_of(read_options(path)) == OF_OLD
    search = {"coarse": {"low": 0.1, "high": 0.3}, "epochs": {"choices": [1, 2]}}
    space = Space.from_dict({"fixed": {"negatives": 0.2}, "search": search})
    assert space.config({"coarse": 0.3, "epochs": 2}) == TrainConfig(non_digits=0.2, low_res=0.3, epochs=2)
    assert space.to_dict()["search"].keys() == search.keys()  # a study on disk has them for its parameters
    with pytest.raises(SettingError, match="option 'low_res' is both fixed and searched"):
        Space.from_dict({"fixed": {"low_res": 0.2}, "search": search})
    with pytest.raises(SettingError, match=r"training option low_res must be from 0 to 1, not 2\.0"):
        TrainConfig.from_dict({"coarse": 2})


def test_a_checkpoint_and_a_record_of_before_are_read(tmp_path):
    state = {"epoch": 3}
    before = {key: value for key, value in OF_OLD.to_dict().items() if key not in TrainConfig.RENAMED.values()} | OLD
    write_checkpoint(tmp_path / "m.ckpt", SimpleNamespace(to_dict=lambda: before), state)
    assert read_checkpoint(tmp_path / "m.ckpt", OF_OLD)["epoch"] == 3
    with pytest.raises(TrainingError, match=r"low_res is 0\.3 there and 0\.1 here"):
        read_checkpoint(tmp_path / "m.ckpt", TrainConfig(**{**OF_OLD.to_dict(), "low_res": 0.1}))
    for name, config in (("old", before), ("new", OF_OLD.to_dict())):
        (tmp_path / name).mkdir()
        record = {"state": "finished", "config": config, "started": "now", "out": "m.onnx"}
        (tmp_path / name / "run.json").write_text(json.dumps(record))
    assert compared([Run.read(tmp_path / name) for name in ("old", "new")]) == "old and new do not differ"


@pytest.mark.slow
def test_commands_of_before_are_read_but_not_shown(tmp_path, capsys):
    words = ["train", "--data", "digits", "--epochs", "1", "--network", "sprint", "--no-record", "--threads", "1"]
    assert main([*words, "--coarse", "0.3", "--negatives", "0.1", "--out", str(tmp_path / "a.onnx")]) == 0
    assert main(["quantise", str(tmp_path / "a.onnx"), "--out", str(tmp_path / "b.onnx")]) == 0
    models = json.loads((tmp_path / "registry.json").read_text())["models"]
    assert (models["a"]["config"]["low_res"], models["b"]["config"]["non_digits"]) == (0.3, 0.1)
    assert models["b"]["command"] == "inkdigits quantize a.onnx --out b.onnx"
    capsys.readouterr()
    for words in (["--help"], ["train", "--help"], ["quantise", "--help"]):
        with pytest.raises(SystemExit):
            main(words)
    shown = capsys.readouterr().out
    assert not re.findall(r"quantise|--coarse|--negatives|--disturbed|--keep ", shown)


def test_options_cannot_be_changed_afterwards():
    with pytest.raises(FrozenInstanceError):
        TrainConfig().epochs = 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "unknown training option 'epoch'; did you mean epochs"),
        ({"zzz": 3}, "unknown training option 'zzz'; the options are: network, data"),
        ({"epochs": 0}, "epochs must be 1 or more, not 0"),
        ({"epochs": 2.0}, "epochs must be an integer, not 2.0"),
        ({"epochs": True}, "epochs must be an integer, not True"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, not 'fast'"),
        ({"learning_rate": float("nan")}, "learning_rate must be 0 or more, not nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be 0 or more, not inf"),
        ({"label_smoothing": 1}, "label_smoothing must be from 0 to 0.9, not 1"),
        ({"precision": "float64"}, "precision must be one of auto, float32, bfloat16, not 'float64'"),
        ({"network": 5}, "network must be text, not 5"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(options, message):
    with pytest.raises(SettingError, match=message):
        TrainConfig.from_dict(options)


def test_a_whole_number_serves_for_a_fraction():
    assert type(TrainConfig(augment=1).augment) is float


def test_the_command_line_repeats_the_run():
    config = TrainConfig(network="lenet", batch_size=64, learning_rate=1e-3, seed=4)
    words = shlex.split(config.command("my.onnx"))
    assert words[:2] == ["inkdigits", "train"]
    given = {name[2:].replace("-", "_"): value for name, value in zip(words[2::2], words[3::2], strict=True)}
    assert given.pop("out") == "my.onnx"
    kinds = {f.name: type(f.default) for f in fields(config)}
    assert TrainConfig(**{name: kinds[name](value) for name, value in given.items()}) == config


def test_the_documentation_has_every_option_of_the_perceptron_as_it_is():
    text = ROOT.joinpath("docs", "models.md").read_text(encoding="utf-8")
    rows = [f"| `--{f.name.replace('_', '-')}` | {f.default} | {f.metadata['help']} |" for f in fields(MlpConfig)]
    assert re.findall(r"^\| `--.*$", text, re.MULTILINE) == rows


def test_the_network_that_is_named_tells_which_options_there_are():
    assert config_of({}) == TrainConfig()
    assert config_of({"network": "lenet", "epochs": 3}) == TrainConfig(network="lenet", epochs=3)
    assert config_of({"network": "mlp", "epochs": 3}) == MlpConfig(epochs=3)
    assert MlpConfig(hidden="30,20,10").widths == (30, 20, 10)
    assert MlpConfig(hidden="").widths == ()
    with pytest.raises(SettingError, match="network mlp has no training option 'ema_decay'; leave it out"):
        config_of({"network": "mlp", "ema_decay": 0.9})
    with pytest.raises(SettingError, match="network cnn has no training option 'l2'"):
        config_of({"l2": 0.1})
    with pytest.raises(SettingError, match="unknown training option 'epoch'; did you mean epochs"):
        config_of({"network": "mlp", "epoch": 3})
    with pytest.raises(SettingError, match="training option network must be one of mlp, not 'lenet'"):
        MlpConfig(network="lenet")


@pytest.mark.parametrize("name", ["options.toml", "options.JSON"])
def test_options_come_from_a_file(tmp_path, name):
    odd = {"network": "mlp", "data": 'a "b"\\c\tä\x7f.csv', "learning_rate": 1e-05, "epochs": 3}
    path = tmp_path / name
    path.write_text(to_toml(odd) if name.endswith("toml") else json.dumps(odd), encoding="utf-8")
    assert read_options(path) == odd
    assert config_of(read_options(path)) == MlpConfig(data=odd["data"], learning_rate=1e-5, epochs=3)


@pytest.mark.parametrize("config", [TrainConfig(seed=7, network="lenet"), MlpConfig(hidden="")])
def test_a_whole_config_goes_through_a_file(tmp_path, config):
    path = tmp_path / "c.toml"
    path.write_text(to_toml(config.to_dict()))
    assert config_of(read_options(path)) == config


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("o.toml", "epoch = 3\nzzz = 1", "o.toml: unknown training option 'epoch', 'zzz'; did you mean epochs?"),
        ("o.toml", "zzz = 1", "unknown training option 'zzz'; the options are: augment, batch_size"),
        ("o.toml", "epochs = ", "o.toml is damaged"),
        ("o.json", "[1, 2]", "o.json must hold names and values, not [1, 2]"),
        ("o.json", "{", "o.json is damaged"),
        ("o.yaml", "epochs: 3", "an options file must end in .toml or .json"),
    ],
)
def test_a_file_of_options_that_cannot_be_used_is_told(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SettingError) as error:
        read_options(path)
    assert words in str(error.value)
