"""Find an ONNX model file by name or path, verify its hash, and run it. The only importer of ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from inkdigits.errors import ModelError
from inkdigits.onnx_form import ends, find_form

__all__ = [
    "FEATURES",
    "METADATA_PREFIX",
    "REGISTRY_NAME",
    "SHIPPED",
    "Network",
    "ShippedNetwork",
    "file_sha256",
    "find_model",
    "read_registry",
    "shipped_entry",
    "shipped_models",
    "shipped_network",
    "sigmoid",
    "softmax",
]

REGISTRY_NAME = "registry.json"
REGISTERED = {"file": str, "sha256": str, "metrics": dict, "config": dict, "training": dict, "lineage": dict}
WEIGHTS_SUFFIX = ".data"  # after the name of a model file whose weights are in a second file, as PyTorch writes
FEATURES = "features"  # name of the output with the input of the last layer; see :mod:`inkdigits.adaptation`
METADATA_PREFIX = "inkdigits."  # of the keys in the ONNX file's metadata
SHIPPED = Path(__file__).with_name("models")


class Network:
    """A model in memory.

    Args:
        model: as for :func:`find_model`.
        threads: threads of one run.
        probes: returns the images that detect the form of an unknown file: see :mod:`inkdigits.onnx_form`.

    Attributes:
        name, path, entry: see :func:`find_model`.
        sha256: of the file and, if its weights are in a second file, of both.
        metadata: what training stored in the file, by key, without :data:`METADATA_PREFIX`.
        form: the format of the inputs and outputs.
        has_features: whether it has the output that :meth:`features` returns.

    Raises:
        ModelError: there is no such model, its hash differs from the registry's, or it is not a digit recognizer.
    """

    def __init__(self, model: str | Path | None, *, threads: int, probes: Callable[[], np.ndarray]) -> None:
        self.name, self.path, self.entry = find_model(model)
        data, self.sha256 = _read_verified(self.path, self.entry.get("sha256"))
        self._session = _session(self.path, data, threads)
        stored: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.metadata = {k.removeprefix(METADATA_PREFIX): v for k, v in stored.items() if k.startswith(METADATA_PREFIX)}
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        try:
            taken, given = ends(inputs, outputs)
            self._input, self._outputs = taken.name, [given.name]
            form = find_form(taken, given, self._run, probes, trusted=bool(self.metadata))
        except ModelError as error:
            raise ModelError(f"{self.path} {error}") from None
        self.form = replace(form, is_first=given.name == outputs[0].name)
        self._converts = not self.form.is_plain
        self.has_features = not self._converts and any(each.name == FEATURES for each in outputs)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Run on (N, 1, 28, 28) float32 images, ink 1 on paper 0: (N, 10 to 12) float32 logits.

        Raises:
            ModelError: ONNX Runtime cannot run it on them.
        """
        try:
            return self.form.logits(self._run, batch) if self._converts else self._run(batch)
        except Exception as error:  # ONNX Runtime's exception types are not exported
            raise self._cannot_run(error) from error

    def features(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run as :meth:`logits`, and also return the centered input of the last layer, (N, K) float32.

        Raises:
            ModelError: the model has no such output, or ONNX Runtime cannot run it on them.
        """
        if not self.has_features:
            raise ModelError(
                f"the model {self.name} ({self.path}) cannot adapt to a hand: it has no output {FEATURES!r}; "
                "take cnn, or train a cnn network"
            )
        try:
            logits, features = self._session.run([*self._outputs, FEATURES], {self._input: batch})
        except Exception as error:  # ONNX Runtime's exception types are not exported
            raise self._cannot_run(error) from error
        return logits, features

    def _run(self, batch: np.ndarray) -> np.ndarray:
        answers: np.ndarray = self._session.run(self._outputs, {self._input: batch})[0]
        return answers

    def _cannot_run(self, error: Exception) -> ModelError:
        return ModelError(f"the model {self.name} ({self.path}) cannot be run: {_first_line(error)}")


class ShippedNetwork:
    """A network that ships in addition to the models, in memory: it finds ink, or reads lines. It runs on one thread.

    Args:
        name: "ink" or "line", as in the shipped registry.

    Attributes:
        sha256: of its file.

    Raises:
        ModelError: its file is missing, damaged, or not the registered one.
    """

    def __init__(self, name: str) -> None:
        path, sha256 = shipped_network(name)
        data, self.sha256 = _read_verified(path, sha256)
        self._session = _session(path, data, 1)
        self._input = self._session.get_inputs()[0].name

    def run(self, batch: np.ndarray) -> np.ndarray:
        """Run on a float32 batch of its input: its output, float32."""
        output: np.ndarray = self._session.run(None, {self._input: batch})[0]
        return output


def _session(path: Path, data: bytes, threads: int) -> Any:
    """Load a model file with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # failures are raised; a log line would report them twice
    # A spinning thread would take the core from the server's event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if path.with_name(path.name + WEIGHTS_SUFFIX).is_file():
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exception types are not exported
        raise ModelError(f"{path} is not a model that ONNX Runtime can load: {_first_line(error)}") from None


def sigmoid(logits: np.ndarray) -> list[float]:
    """Turn (N,) logits into probabilities."""
    scores: list[float] = (0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float64))).tolist()
    return scores


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn (N, K) logits into (N, K) float64 probabilities."""
    # In float64, so that the ten add up to 1 to the last digit shown. Plain ufuncs: for a single image, calls take most
    # of the time.
    exponent: np.ndarray = np.subtract(logits, np.maximum.reduce(logits, axis=1, keepdims=True), dtype=np.float64)
    np.exp(exponent, out=exponent)
    exponent /= np.add.reduce(exponent, axis=1, keepdims=True)
    return exponent


def read_registry(folder: Path) -> dict[str, Any]:
    """Read a folder's registry: ``{"default": name, "models": {name: entry}}``; without models if there is none.

    Raises:
        ModelError: the registry is not valid JSON of that form.
    """
    path = folder / REGISTRY_NAME
    try:
        registry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(registry["models"], dict):
            raise TypeError
    except FileNotFoundError:
        return {"models": {}}
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ModelError(f"{path} is not a registry: it is not UTF-8 text") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(f'{path} is not a registry: expected JSON {{"models": {{name: entry}}}}') from None
    for name, entry in registry["models"].items():
        if not isinstance(entry, dict):
            raise ModelError(
                f"{path} is not a registry: the entry of {name!r} is {entry!r:.60}, not an object; correct or remove it"
            )
        for key, kind in REGISTERED.items():
            if not isinstance(entry.get(key, kind()), kind):
                what = "text" if kind is str else "an object"
                raise ModelError(f"{path}: {key} in the entry of {name!r} is {entry[key]!r:.60}, not {what}")
    return registry


def shipped_models() -> dict[str, Any]:
    """Return the shipped registry's entries by name."""
    models: dict[str, Any] = read_registry(SHIPPED)["models"]
    return models


@cache
def shipped_network(name: str) -> tuple[Path, str]:
    """Return path and SHA-256 of a network that ships in addition to the models, "ink" or "line".

    Raises:
        ModelError: the shipped registry does not list it.
    """
    entry = shipped_entry(name)
    return SHIPPED / entry["file"], entry["sha256"]


@cache
def shipped_entry(name: str) -> dict[str, Any]:
    """Return the shipped registry's entry of the network "ink" or "line".

    Raises:
        ModelError: the shipped registry does not list it.
    """
    entry: Any = read_registry(SHIPPED).get(name)
    if not isinstance(entry, dict) or not {"file", "sha256"} <= entry.keys():
        raise ModelError(f"{SHIPPED / REGISTRY_NAME} lists no {name} network; reinstall inkdigits")
    return entry


def find_model(model: str | Path | None) -> tuple[str, Path, dict[str, Any]]:
    """Return name, path and registry entry of a model.

    Args:
        model: a shipped model's name; the path of a file; the path of a folder, which stands for the default of its
            registry; or None, the shipped default.

    Raises:
        ModelError: there is no such model.
    """
    shipped = read_registry(SHIPPED)
    if not model:
        model = shipped.get("default", "")
    if isinstance(model, str) and model in shipped["models"]:
        entry = shipped["models"][model]
        return model, SHIPPED / entry["file"], entry
    path = Path(model)
    if path.is_dir():
        registry = read_registry(path)
        name = str(registry.get("default"))
        if name not in registry["models"]:
            raise ModelError(f"{path / REGISTRY_NAME} has no default; run inkdigits models promote, or name a file")
        entry = registry["models"][name]
        return name, path / entry["file"], entry
    if not path.is_file():
        names = ", ".join(shipped["models"]) or "none"
        raise ModelError(f"no model {str(model)!r}: it is neither a file nor a shipped model (shipped: {names})")
    for name, entry in read_registry(path.parent)["models"].items():
        if entry.get("file") == path.name:
            return name, path, entry
    return path.stem, path, {}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a model's file and, if its weights are in a second file, of both.

    Raises:
        ModelError: it cannot be read.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[bytes, str]:
    weights = path.with_name(path.name + WEIGHTS_SUFFIX)
    try:
        data = path.read_bytes()
        second = weights.read_bytes() if weights.is_file() else b""
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from None
    return data, hashlib.sha256(data + second).hexdigest()


def _read_verified(path: Path, sha256: str | None) -> tuple[bytes, str]:
    data, found = _read(path)
    if sha256 and found != sha256:
        raise ModelError(
            f"model {path} is not the registered one: its SHA-256 is {found}, the registry says {sha256}; "
            "reinstall inkdigits, or train and register the model again"
        )
    return data, found


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
