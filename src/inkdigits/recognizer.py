"""Recognizer: images in, calibrated predictions out, by ONNX Runtime. The one way a digit is read.

Server, CLI, notebooks and evaluation all enter here. A model is one ONNX file with input ``image`` float32
(N, 1, 28, 28), as :func:`inkdigits.image.normalise` gives it, and output ``logits`` float32 (N, 10). A model that tells
digits from what is none has an eleventh: the logit of "this is a digit". Files of other forms are read, too:
:mod:`inkdigits.onnx_form`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, overload

import numpy as np
import onnxruntime

from inkdigits.errors import ImageError, ModelError
from inkdigits.image import NORMALISATION_VERSION, SIDE, ImageSource, Limits, Normalised
from inkdigits.onnx_form import CLASSES, ends, find_form
from inkdigits.prediction import ModelInfo, Prediction
from inkdigits.ready import normalise_each

__all__ = ["CLASSES", "Recognizer", "find_model", "read_registry", "shipped_models"]

BATCH_SIZE = 64  # images a network run; larger batches leave the cache and gain nothing
OCCLUSION, OCCLUSION_STEP = 5, 2  # pixels: side of the window that an explanation wipes out, and its stride
REGISTRY_NAME = "registry.json"
REGISTERED = {"file": str, "sha256": str, "metrics": dict, "config": dict, "training": dict, "lineage": dict}
WEIGHTS_SUFFIX = ".data"  # after the name of a file that keeps its weights in one of their own, as PyTorch writes
METADATA_PREFIX = "inkdigits."  # of the keys in the ONNX file's own metadata
SHIPPED = Path(__file__).with_name("models")
_UNIFORM = (0.1,) * 10


class Recognizer:
    """Reads digits with one model.

    Args:
        model: name of a shipped model, or path of an ``.onnx`` file; None is the shipped default.
        threads: threads of one network run. One is fastest for single images and leaves cores to other processes.
        limits: largest and smallest image that is read.

    Attributes:
        model: which model it is.
        form: how its file wants images and gives answers.

    Raises:
        ModelError: no such model, its hash differs from the registry's, or it is not a digit recogniser.

    Example:
        >>> import numpy as np
        >>> from inkdigits import Recognizer
        >>> one = np.full((100, 100), 255, np.uint8)
        >>> one[20:80, 48:52] = 0
        >>> Recognizer().predict(one).digit
        1
    """

    def __init__(self, model: str | Path | None = None, *, threads: int = 1, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        name, path, entry = find_model(model)
        data, sha256 = _read_verified(path, entry.get("sha256"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what fails is raised; a line of its own would say it twice
        # A thread that spins for work would take the core from the server's event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if path.with_name(path.name + WEIGHTS_SUFFIX).is_file():
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own unexported kinds
            raise ModelError(f"{path} is not a model that ONNX Runtime can load: {_first_line(error)}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        threshold: float | None
        temperature, threshold = _calibration(metadata, path)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        try:
            taken, given = ends(inputs, outputs)
            self._input, self._outputs = taken.name, [given.name]
            trusted = any(key.startswith(METADATA_PREFIX) for key in metadata)
            form = find_form(taken, given, self._run, trusted=trusted)
        except ModelError as error:
            raise ModelError(f"{path} {error}") from None
        self.form = replace(form, is_first=given.name == outputs[0].name)
        self._adapts = not self.form.is_plain
        if self.form.values == CLASSES:
            threshold = None
        self._scale = np.float32(1 / temperature)
        self._threshold = threshold or 0.0  # asked only where there is a score
        self.model = ModelInfo(name, path, sha256, temperature, threshold, MappingProxyType(entry))

    def __repr__(self) -> str:
        return f"Recognizer({self.model.name!r}, sha256={self.model.sha256[:12]!r})"

    def predict(self, image: ImageSource, *, explain: bool = False) -> Prediction:
        """Read the digit in one image.

        Args:
            image: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
                (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
            explain: also say how much each part of the ink mattered; costs one batch of about a hundred images.

        Raises:
            ImageError: it cannot be read as an image; the class says which way.
            ModelError: the model cannot be run, or gives values that are no numbers.
        """
        [seen] = normalise_each([image], self._limits)
        if isinstance(seen, ImageError):
            raise seen
        return self.answer([seen], explain=explain)[0]

    @overload
    def predict_batch(
        self, images: Iterable[ImageSource], *, errors: Literal["raise"] = ..., explain: bool = ...
    ) -> list[Prediction]: ...

    @overload
    def predict_batch(
        self, images: Iterable[ImageSource], *, errors: Literal["return"], explain: bool = ...
    ) -> list[Prediction | ImageError]: ...

    def predict_batch(
        self, images: Iterable[ImageSource], *, errors: Literal["raise", "return"] = "raise", explain: bool = False
    ) -> list[Any]:
        """Read the digit in each image; the network runs on batches.

        Args:
            images: any iterable of what :meth:`predict` takes; a generator is consumed a batch at a time.
            errors: "raise" stops at the first image that cannot be read; "return" puts its ImageError in its place.
            explain: as for :meth:`predict`, a batch for each image.

        Returns:
            One Prediction (or, with ``errors="return"``, ImageError) for each image, in order.
        """
        if errors not in ("raise", "return"):
            raise ValueError(f'errors must be "raise" or "return", not {errors!r}')
        if isinstance(images, (str, bytes, Path)):
            raise TypeError(f"predict_batch takes an iterable of images, not one {type(images).__name__}; use predict")
        results: list[Any] = []
        iterator = iter(images)
        while batch := list(islice(iterator, BATCH_SIZE)):
            seen = normalise_each(batch, self._limits)
            if errors == "raise":
                for i, error in enumerate(seen, len(results)):
                    if isinstance(error, ImageError):
                        error.add_note(f"at index {i} of the batch")
                        raise error
            answers = iter(self.answer([s for s in seen if isinstance(s, Normalised)], explain=explain))
            results.extend(s if isinstance(s, ImageError) else next(answers) for s in seen)
        return results

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """The network alone: (N, 1, 28, 28) float32 normalised images to (N, 10 or 11) float32 logits.

        Raises:
            ModelError: ONNX Runtime cannot run it on them.
        """
        try:
            return self.form.logits(self._run, batch) if self._adapts else self._run(batch)
        except Exception as error:  # onnxruntime raises its own unexported kinds
            raise ModelError(
                f"the model {self.model.name} ({self.model.path}) cannot be run: {_first_line(error)}"
            ) from error

    def _run(self, batch: np.ndarray) -> np.ndarray:
        answers: np.ndarray = self._session.run(self._outputs, {self._input: batch})[0]
        return answers

    def _explain(self, image: np.ndarray, digit: int) -> np.ndarray:
        """Occlusion: how far the digit's log-probability falls when a window of ink is wiped out, in one batch.

        M. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, 2014, https://arxiv.org/abs/1311.2901
        """
        reach = OCCLUSION // 2
        windows = []
        for y in range(0, SIDE, OCCLUSION_STEP):
            for x in range(0, SIDE, OCCLUSION_STEP):
                window = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
                if image[window].any():  # wiping paper changes nothing
                    windows.append(window)
        batch = np.repeat(image[None, None], len(windows) + 1, axis=0)
        for wiped, window in zip(batch[1:], windows, strict=True):
            wiped[0][window] = 0
        certainty = np.log(np.maximum(_softmax(self.logits(batch)[:, :CLASSES] * self._scale)[:, digit], 1e-9))
        total, times = np.zeros((2, SIDE, SIDE), np.float32)
        for window, drop in zip(windows, certainty[0] - certainty[1:], strict=True):
            total[window] += drop
            times[window] += 1
        importance = total / np.maximum(times, 1) * (image > 0)
        return importance / max(float(np.abs(importance).max()), 1e-9)

    def answer(self, seen: Sequence[Normalised], *, explain: bool = False) -> list[Prediction]:
        """Read pictures that are normalised already, in one network run: the half of :meth:`predict` after the image.

        Args:
            seen: what :func:`inkdigits.image.normalise` gave.
            explain: as for :meth:`predict`, a batch for each image.
        """
        inked = [s for s in seen if s.box is not None]
        rows: Iterable[tuple[list[float], int, float | None]] = ()
        if inked:
            logits = self.logits(np.concatenate([s.image for s in inked]).reshape(-1, 1, SIDE, SIDE))
            scores = _sigmoid(logits[:, CLASSES]) if self.model.threshold is not None else repeat(None)
            probabilities = _softmax(logits[:, :CLASSES] * self._scale)
            rows = zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), scores, strict=False)
        row = iter(rows)
        answers = [self._prediction(s, *next(row)) if s.box is not None else _blank(s) for s in seen]
        if explain:
            answers = [
                replace(a, explanation=self._explain(a.image, a.digit)) if a.digit is not None else a for a in answers
            ]
        return answers

    def _prediction(self, seen: Normalised, row: list[float], digit: int, score: float | None) -> Prediction:
        probabilities = tuple(row)
        confidence = probabilities[digit]
        if confidence != confidence or score != score:  # not a number
            raise ModelError(
                f"the model {self.model.name} ({self.model.path}) gives values that are no numbers; its weights are "
                "damaged: install inkdigits again, or train the model anew"
            )
        is_digit = score is None or score >= self._threshold
        return Prediction(digit, confidence, probabilities, seen.image, seen.box, seen.polarity, is_digit, score)


def _blank(seen: Normalised) -> Prediction:
    return Prediction(None, 0.0, _UNIFORM, seen.image, None, None, False, None)


def _sigmoid(logits: np.ndarray) -> list[float]:
    scores: list[float] = (0.5 + 0.5 * np.tanh(0.5 * logits.astype(np.float64))).tolist()
    return scores


def _softmax(logits: np.ndarray) -> np.ndarray:
    # In float64, so that the ten add up to 1 to the last digit shown. Ufuncs by themselves: of a single image, the
    # calls are what takes the time.
    exponent: np.ndarray = np.subtract(logits, np.maximum.reduce(logits, axis=1, keepdims=True), dtype=np.float64)
    np.exp(exponent, out=exponent)
    exponent /= np.add.reduce(exponent, axis=1, keepdims=True)
    return exponent


def read_registry(folder: Path) -> dict[str, Any]:
    """The registry of a folder of models: ``{"default": name, "models": {name: entry}}``; empty where there is none.

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
    """The shipped registry's entries by name."""
    models: dict[str, Any] = read_registry(SHIPPED)["models"]
    return models


def find_model(model: str | Path | None) -> tuple[str, Path, dict[str, Any]]:
    """Name, path and registry entry of a shipped model's name, of a path, or of None, the shipped default.

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
    if not path.is_file():
        names = ", ".join(shipped["models"]) or "none"
        raise ModelError(f"no model {str(model)!r}: it is neither a file nor a shipped model (shipped: {names})")
    for name, entry in read_registry(path.parent)["models"].items():
        if entry.get("file") == path.name:
            return name, path, entry
    return path.stem, path, {}


def _read_verified(path: Path, sha256: str | None) -> tuple[bytes, str]:
    weights = path.with_name(path.name + WEIGHTS_SUFFIX)
    try:
        data = path.read_bytes()
        beside = weights.read_bytes() if weights.is_file() else b""
    except OSError as error:
        raise ModelError(f"cannot read model {path}: {error.strerror}") from None
    found = hashlib.sha256(data + beside).hexdigest()
    if sha256 and found != sha256:
        raise ModelError(
            f"model {path} is not the registered one: its SHA-256 is {found}, the registry says {sha256}; "
            "install inkdigits again, or train and register the model anew"
        )
    return data, found


def _calibration(metadata: Mapping[str, str], path: Path) -> tuple[float, float]:
    """Temperature and threshold that a file's metadata hold."""
    version = metadata.get(METADATA_PREFIX + "normalisation", NORMALISATION_VERSION)
    if version != NORMALISATION_VERSION:
        raise ModelError(
            f"{path} was trained for normalisation {version}, this inkdigits has {NORMALISATION_VERSION}; "
            "train it again"
        )
    temperature = _number(metadata, "temperature", "1")
    if not 0 < temperature < float("inf"):
        text = metadata[METADATA_PREFIX + "temperature"]
        raise ModelError(f"{path} has temperature {text!r} in its metadata; expected a positive number")
    threshold = _number(metadata, "threshold", "0.5")
    if not 0 <= threshold <= 1:
        text = metadata[METADATA_PREFIX + "threshold"]
        raise ModelError(f"{path} has threshold {text!r} in its metadata; expected a number from 0 to 1")
    return temperature, threshold


def _number(metadata: Mapping[str, str], name: str, default: str) -> float:
    try:
        return float(metadata.get(METADATA_PREFIX + name, default))
    except ValueError:
        return -1.0


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
