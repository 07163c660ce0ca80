"""Recognizer: images in, calibrated predictions out.

Server, CLI, notebooks and evaluation all use this class. A picture goes through :mod:`inkdigits.preprocess` and the
:class:`inkdigits.network.Network`, whose ten logits, divided by a temperature, become probabilities. A model that
detects non-digits has an eleventh, the logit of "this is a digit", and perhaps a twelfth, that of "these are several
digits".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from inkdigits import _aliases
from inkdigits.errors import ImageError, ModelError, SettingError
from inkdigits.network import Network, shipped_network, sigmoid, softmax
from inkdigits.prediction import CLASSES, SIDE, ModelInfo, Prediction, Reading, Reason
from inkdigits.preprocess import (
    NORMALIZATION_VERSION,
    ImageSource,
    Limits,
    Preprocessed,
    preprocess,
    preprocess_batch,
    preprocess_picture,
)
from inkdigits.preprocess.decode import decode
from inkdigits.preprocess.strokes import Drawing, Strokes, check_strokes, draw_strokes
from inkdigits.profile import Profile

__all__ = ["Recognizer"]

BATCH_SIZE = 64  # images per network run; larger batches do not fit the cache and are no faster
SEVERAL = CLASSES + 1  # index of the logit of "these are several digits"
OCCLUSION, OCCLUSION_STEP = 5, 2  # pixels: side of the window that an explanation erases, and its stride
_UNIFORM = (0.1,) * CLASSES

if TYPE_CHECKING:
    from PIL import Image

    from inkdigits.adaptation import Adaptation, Hand
    from inkdigits.reading import Layout, Options
else:
    __getattr__ = partial(_aliases.find, __name__)


class Recognizer:
    """Reads digits with one model.

    Args:
        model: name of a shipped model, path of an ``.onnx`` file, or of a folder, whose registry's default reads; None
            is the shipped default.
        threads: threads per network run. One is fastest for single images and leaves cores to other processes.
        limits: largest and smallest image to accept.
        profile: from ``inkdigits guarantee``, or the path of its file; with one, predictions have ``is_sure``.
        hand: whose digits the answers adapt to; it may change at any time.

    Attributes:
        model: name, path, hash and calibration of the model.
        profile: None without one.
        form: the format of its inputs and outputs.
        has_features: whether the model can adapt to a hand; see :meth:`features`.

    Raises:
        ModelError: there is no such model, its hash differs from the registry's, it is not a digit recognizer, the
            profile is of another model, or the model cannot adapt to a hand.
        SettingError: the profile cannot be read, or a hand is given, too: what a profile promises holds only for
            answers that do not adapt.

    Example:
        >>> import numpy as np
        >>> from inkdigits import Recognizer
        >>> one = np.full((100, 100), 255, np.uint8)
        >>> one[20:80, 48:52] = 0
        >>> Recognizer().predict(one).digit
        1
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        threads: int = 1,
        limits: Limits | None = None,
        profile: Profile | str | Path | None = None,
        hand: Hand | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._network = network = Network(model, threads=threads, probes=_probes)
        self.form, self.has_features = network.form, network.has_features
        temperature, self._threshold, self._unclear = _calibration(network.metadata, network.path)
        self._scale = np.float32(1 / temperature)
        self._scores = self.form.values > CLASSES
        threshold = self._threshold if self._scores else None
        entry = MappingProxyType(network.entry)
        self.model = ModelInfo(network.name, network.path, network.sha256, temperature, threshold, entry)
        if profile and hand is not None:
            raise SettingError("what a profile promises holds only for answers that do not adapt; leave out hand")
        self.profile = Profile.read(profile) if isinstance(profile, str | Path) else profile
        if self.profile:
            self.profile.check(network.sha256, shipped_network("ink")[1], NORMALIZATION_VERSION)
        self._hand = hand
        self._fitted: tuple[int, Adaptation | None] = (-1, None)  # version of the hand, and what it gave
        if hand is not None:
            self.features(np.zeros((1, 1, SIDE, SIDE), np.float32))  # raises if the model cannot adapt

    def __repr__(self) -> str:
        return f"Recognizer({self.model.name!r}, sha256={self.model.sha256[:12]!r})"

    def predict(self, image: ImageSource, *, explain: bool = False) -> Prediction:
        """Read the digit in one image.

        Args:
            image: a path, the bytes of an image file, a binary file object, a Pillow image, or a NumPy array of shape
                (H, W), (H, W, 3) or (H, W, 4), bool, uint8, uint16 or float in [0, 1].
            explain: also compute how much each part of the ink mattered; costs one batch of about a hundred images.

        Raises:
            ImageError: the image cannot be read; the subclass says why.
            ModelError: the model cannot be run, or outputs NaN.
        """
        return self.predict_preprocessed([preprocess(image, self._limits)], explain=explain)[0]

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
        """Read the digit in each image, in batches.

        Args:
            images: any iterable of images as for :meth:`predict`; a generator is consumed one batch at a time.
            errors: "raise" stops at the first image that cannot be read; "return" returns its ImageError in its place.
            explain: as for :meth:`predict`; costs one batch per image.

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
            seen = preprocess_batch(batch, self._limits)
            if errors == "raise":
                for i, error in enumerate(seen, len(results)):
                    if isinstance(error, ImageError):
                        error.add_note(f"at index {i} of the batch")
                        raise error
            answers = iter(self.predict_preprocessed([s for s in seen if isinstance(s, Preprocessed)], explain=explain))
            results.extend(s if isinstance(s, ImageError) else next(answers) for s in seen)
        return results

    def read(
        self,
        image: ImageSource | Strokes,
        *,
        layout: Layout = "auto",
        length: int | None = None,
        pattern: str | None = None,
        decimal: Literal[".", ","] | None = None,
        alternatives: int = 0,
    ) -> Reading:
        """Read the numbers in one image: one or many, apart or touching, in lines or in a table.

        An image of one digit reads the same as with :meth:`predict`.

        Args:
            image: as for :meth:`predict`, or a drawing as pen strokes: a list or tuple of strokes, each a list of
                points (x, y) or an array of shape (n, 2), x to the right and y down, in any unit. The boxes of the
                reading are in that unit then.
            layout: "auto", or "line" for one number, whatever the gaps between its digits, or "lines" for numbers in
                lines, even where the image looks like one digit; "boxes" for printed boxes with one digit each, whose
                rows are numbers; "grid" for a printed table or sudoku, with a number in each cell. "auto" finds boxes
                and grids that are clearly there. Without rules, "boxes" is read as "line", and "grid" as "lines".
            length: number of digits of each number, such as 8 for a code; None: any.
            pattern: of each number, "d" for a digit, and ".", "," and "-" for themselves, such as "dd.dd.dddd".
            decimal: the decimal sign, "." or ",", where "1.420" would be ambiguous.
            alternatives: how many other texts to return for each number.

        Raises:
            ImageError: the image cannot be read; the subclass says why, InvalidStrokes for a drawing.
            ModelError: the model cannot be run, or outputs NaN.
            ValueError: an argument has no such value.
        """
        from inkdigits.reading import Options  # images of digits do not need it

        options = Options(layout, length, pattern, decimal, alternatives)
        if isinstance(image, (list, tuple)):
            return self.read_drawing(draw_strokes(check_strokes(image)), options)
        return self.read_decoded(decode(image, self._limits), options)

    def read_drawing(self, drawing: Drawing, options: Options) -> Reading:
        """Read the numbers in a drawing: the second half of :meth:`read` for strokes.

        Args:
            drawing: from :func:`inkdigits.preprocess.strokes.draw_strokes`.
            options: the arguments of :meth:`read`.
        """
        return drawing.in_units(self.read_decoded(drawing.picture, options, drawing.strokes))

    def read_decoded(self, picture: Image.Image, options: Options, strokes: Sequence[np.ndarray] = ()) -> Reading:
        """Read the numbers in a decoded picture: the second half of :meth:`read`.

        Args:
            picture: from :func:`inkdigits.preprocess.decode.decode`, or of a drawing.
            options: the arguments of :meth:`read`.
            strokes: of a drawing, in pixels of its picture.
        """
        from inkdigits.reading import read_picture

        [single] = self.predict_preprocessed([preprocess_picture(picture)])
        return read_picture(picture, single, self, options, strokes)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Run the network alone: (N, 1, 28, 28) float32 preprocessed images to (N, 10 to 12) float32 logits.

        Raises:
            ModelError: ONNX Runtime cannot run it on them.
        """
        return self._network.logits(batch)

    def features(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run the network alone, as :meth:`logits`: the logits, and (N, K) float32 features; see
        :mod:`inkdigits.adaptation`.

        Raises:
            ModelError: the model has no features, or ONNX Runtime cannot run it on them.
        """
        return self._network.features(batch)

    @property
    def adaptation(self) -> Adaptation | None:
        """What the model makes of the hand; None without one."""
        if self._hand is None:
            return None
        version, adaptation = self._fitted
        if version != self._hand.version or adaptation is None:
            from inkdigits.adaptation import fit  # most recognizers need none

            adaptation = fit(self._hand, self._run_for_hand)
            self._fitted = self._hand.version, adaptation
        return adaptation

    def _run_for_hand(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits, features = self.features(batch)
        return logits * self._scale, features

    def _scaled(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits, and those of the ten digits by the temperature, adapted to the hand."""
        adaptation = self.adaptation
        if adaptation is None or not adaptation.is_on:
            logits = self.logits(batch)
            return logits, logits[:, :CLASSES] * self._scale
        logits, features = self.features(batch)
        return logits, logits[:, :CLASSES] * self._scale + adaptation.boosts(features)

    def _explain(self, image: np.ndarray, digit: int) -> np.ndarray:
        """Measure how far the digit's log-probability falls when a window of ink is occluded, in one batch.

        M. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, 2014, https://arxiv.org/abs/1311.2901
        """
        reach = OCCLUSION // 2
        windows = []
        for y in range(0, SIDE, OCCLUSION_STEP):
            for x in range(0, SIDE, OCCLUSION_STEP):
                window = slice(max(y - reach, 0), y + reach + 1), slice(max(x - reach, 0), x + reach + 1)
                if image[window].any():  # erasing paper changes nothing
                    windows.append(window)
        batch = np.repeat(image[None, None], len(windows) + 1, axis=0)
        for erased, window in zip(batch[1:], windows, strict=True):
            erased[0][window] = 0
        certainty = np.log(np.maximum(softmax(self.logits(batch)[:, :CLASSES] * self._scale)[:, digit], 1e-9))
        total, times = np.zeros((2, SIDE, SIDE), np.float32)
        for window, drop in zip(windows, certainty[0] - certainty[1:], strict=True):
            total[window] += drop
            times[window] += 1
        importance = total / np.maximum(times, 1) * (image > 0)
        return importance / max(float(np.abs(importance).max()), 1e-9)

    def predict_preprocessed(self, seen: Sequence[Preprocessed], *, explain: bool = False) -> list[Prediction]:
        """Read preprocessed pictures in one network run: the second half of :meth:`predict`.

        Ink that consists of parts far apart is read as a whole, and each part by itself. If two parts are digits, the
        picture shows several digits; if one is, and the whole is neither a digit nor several, that part is the digit.
        What the ink network took for rules or a frame is read as ink, too: if that makes a digit where there was none,
        or several of which two are digits by themselves, it was ink.

        Args:
            seen: results of :func:`inkdigits.preprocess.preprocess`.
            explain: as for :meth:`predict`; costs one batch per image.
        """
        if self._scores and any(s.parts or s.otherwise for s in seen):
            read = iter(self._read([each for s in seen for each in _inks(s)]))
            found = [_chosen(s, [next(read) for _ in _inks(s)]) for s in seen]
        else:
            found = self._read(seen)
        if self.profile:
            least = self.profile.threshold
            found = [replace(p, is_sure=p.is_digit and p.confidence >= least) for p in found]
        if explain:
            found = [p if p.digit is None else replace(p, explanation=self._explain(p.image, p.digit)) for p in found]
        return found

    def _read(self, seen: Sequence[Preprocessed]) -> list[Prediction]:
        inked = [s.image for s in seen if s.box is not None]
        rows: Iterator[tuple[list[float], int, float | None]] = iter(())
        several: Iterator[bool] = repeat(False)
        if inked:
            logits, scaled = self._scaled(np.concatenate(inked).reshape(-1, 1, SIDE, SIDE))
            probabilities = softmax(scaled)
            scores = sigmoid(logits[:, CLASSES]) if self._scores else repeat(None)
            if logits.shape[1] > SEVERAL:
                several = iter((logits[:, SEVERAL] > 0).tolist())
            rows = zip(probabilities.tolist(), probabilities.argmax(axis=1).tolist(), scores, strict=False)
        found = []
        for s in seen:
            if s.box is None:
                found.append(Prediction(None, 0.0, _UNIFORM, s.image, None, None, False, None))
                continue
            row, digit, score = next(rows)
            is_number = next(several)
            confidence = row[digit]
            if confidence != confidence or score != score:  # not a number
                raise ModelError(
                    f"the model {self.model.name} ({self.model.path}) outputs NaN; its weights are damaged: "
                    "reinstall inkdigits, or train the model again"
                )
            is_digit = score is None or score >= self._threshold
            reason = None if is_digit else self._reason(score, is_number)
            found.append(
                Prediction(digit, confidence, tuple(row), s.image, s.box, s.polarity, is_digit, score, None, reason)
            )
        return found

    def _reason(self, score: float | None, is_number: bool) -> Reason:
        """Return why ink is rejected."""
        if is_number:
            return "several digits"
        return "unclear" if score is not None and score >= self._unclear else "not a digit"

    def answer(self, seen: Sequence[Preprocessed], *, explain: bool = False) -> list[Prediction]:
        """Call :meth:`predict_preprocessed`: the old name, kept for one release."""
        _aliases.renamed("Recognizer.answer", "Recognizer.predict_preprocessed")
        return self.predict_preprocessed(seen, explain=explain)


def _inks(seen: Preprocessed) -> list[Preprocessed]:
    """Return all that may be the digit of a picture, in the order in which :func:`_chosen` takes their predictions."""
    return [seen, *seen.parts, *(_inks(seen.otherwise) if seen.otherwise else [])]


def _chosen(seen: Preprocessed, read: Sequence[Prediction]) -> Prediction:
    """Return the prediction for a picture from those of its inks."""
    n = 1 + len(seen.parts)
    whole, parts, others = read[0], read[1:n], read[n:]
    digits = [part for part in parts if part.is_digit]
    if len(digits) > 1 or (not whole.is_digit and any(part.reason == "several digits" for part in parts)):
        return replace(whole, is_digit=False, reason="several digits")
    found = digits[0] if digits and not whole.is_digit and whole.reason != "several digits" else whole
    if others:
        otherwise, *pieces = others
        is_another = otherwise.is_digit and not found.is_digit and found.reason != "several digits"
        # A thing at the border may make several digits of one, but does not look like one.
        are_digits = sum(piece.is_digit for piece in pieces) > 1
        if is_another or (found.is_digit and otherwise.reason == "several digits" and are_digits):
            return otherwise
    return found


def _probes() -> np.ndarray:
    from inkdigits.self_test import probes  # the models that ship need no probes

    return probes()


def _calibration(metadata: Mapping[str, str], path: Path) -> tuple[float, float, float]:
    """Return the temperature, the threshold and the score of unclear ink from a file's metadata."""
    version = metadata.get("normalisation", NORMALIZATION_VERSION)
    if version != NORMALIZATION_VERSION:
        raise ModelError(
            f"{path} was trained for normalisation {version}, this inkdigits has {NORMALIZATION_VERSION}; "
            "train it again"
        )
    temperature = _number(metadata, "temperature", "1")
    if not 0 < temperature < float("inf"):
        seen = metadata["temperature"]
        raise ModelError(f"{path} has temperature {seen!r} in its metadata; expected a positive number")
    threshold, unclear = (
        _number(metadata, name, default) for name, default in (("threshold", "0.5"), ("unclear", "1"))
    )
    for name, bound in (("threshold", threshold), ("unclear", unclear)):
        if not 0 <= bound <= 1:
            raise ModelError(f"{path} has {name} {metadata[name]!r} in its metadata; expected a number from 0 to 1")
    return temperature, threshold, unclear


def _number(metadata: Mapping[str, str], name: str, default: str) -> float:
    try:
        return float(metadata.get(name, default))
    except ValueError:
        return -1.0
