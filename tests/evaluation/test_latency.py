"""What an answer costs: figures that fit the file and each other."""

from types import SimpleNamespace

import numpy as np

from inkdigits import Recognizer
from inkdigits.evaluation import latency as module
from inkdigits.evaluation.latency import cost, environment
from inkdigits.training.networks import LeNet

from support.drawings import picture


def test_size_is_that_of_the_file_and_times_are_in_order(recognizer):
    found = cost(recognizer, picture(4))
    assert found.bytes == recognizer.model.path.stat().st_size
    assert found.parameters == recognizer.model.entry["parameters"]
    assert 0 < found.network_us < found.predict_us <= found.predict_p99_us
    assert found.batch_us > 0


def test_parameters_are_counted_where_no_registry_has_them(tmp_path):
    lenet = Recognizer("lenet")
    (tmp_path / "copy.onnx").write_bytes(lenet.model.path.read_bytes())
    found = cost(Recognizer(tmp_path / "copy.onnx"), picture(4))
    assert found.parameters == lenet.model.entry["parameters"] == sum(p.numel() for p in LeNet().parameters())


def test_the_median_call_counts_and_the_first_ones_do_not(monkeypatch):
    clock = iter(np.cumsum([0, 1, *[0, 2] * (module.CALLS + module.WARM)]).tolist())
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    times = module.times_us(lambda: None, 7)
    assert times.tolist() == [2e6] * 7


def test_the_environment_names_no_machine():
    found = environment()
    assert {"processor", "python", "inkdigits", "onnxruntime", "numpy", "pillow"} == set(found)
    assert all(found.values())
