"""The form of a model file: the format of its inputs and outputs.

The networks trained here take (N, 1, 28, 28) float32 images, ink 1 on paper 0, and return logits. Third-party models
differ: the batch is fixed at 1, channels come last, pixels go from 0 to 255, the last layer is a softmax. Shapes and
types are as declared. The rest is detected by running the model on ten known digits; see :func:`find_form`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any

import numpy as np

from inkdigits.errors import ModelError
from inkdigits.prediction import CLASSES, SIDE

__all__ = ["Answer", "Form", "ends", "find_form"]

WIDTHS = (CLASSES, CLASSES + 1, CLASSES + 2)  # values per image; twelve only from models that are trained here
SHAPES = ((1, SIDE, SIDE), (SIDE, SIDE, 1), (SIDE, SIDE), (SIDE * SIDE,))  # of one image
TYPES: dict[str, np.dtype] = {
    "tensor(float)": np.dtype("f4"),
    "tensor(double)": np.dtype("f8"),
    "tensor(float16)": np.dtype("f2"),
    "tensor(uint8)": np.dtype("u1"),
    "tensor(int32)": np.dtype("i4"),
    "tensor(int64)": np.dtype("i8"),
}
# Values of paper and ink, tried in order: as here, dark ink on light paper, and both as bytes. Bytes come last, as
# larger values make any network more confident.
LEVELS = ((0.0, 1.0), (1.0, 0.0), (0.0, 255.0), (255.0, 0.0))
SUM_TOLERANCE = 0.02  # of the sum of ten probabilities; 8-bit models round each to 1/256
MOST_RIGHT = 9  # of the ten known digits that a form must read right
NOT_EVEN = 0.25  # mean probability of the right digit that is better than chance
LEAST, NEAR_ONE = 1e-37, 1 - 1e-7  # bounds of a probability before its logarithm
ACCEPTED = (
    f"accepted are (N, 1, {SIDE}, {SIDE}), (N, {SIDE}, {SIDE}, 1), (N, {SIDE}, {SIDE}) and (N, {SIDE * SIDE}), N open "
    f"or fixed, as {', '.join(str(kind) for kind in TYPES.values())}"
)

_WHOLE = np.dtype("i4")
Run = Callable[[np.ndarray], np.ndarray]


class Answer(Enum):
    """What a model returns. An eleventh output says whether the ink is a digit."""

    LOGITS = "logits"  # includes a log-softmax of ten, whose softmax is the original one
    INDEPENDENT = "a probability for each digit by itself"  # sigmoids
    PROBABILITIES = "probabilities"  # a softmax; an eleventh is the probability of a digit
    NON_DIGIT = "probabilities, the eleventh of a non-digit"
    LOG_PROBABILITIES = "logarithms of probabilities"  # of eleven
    LOG_NON_DIGIT = "logarithms of probabilities, the eleventh of a non-digit"


@dataclass(frozen=True, slots=True)
class Form:
    """How a model file differs from those that are trained here.

    Attributes:
        shape: of one image.
        dtype: of the images.
        paper, ink: values of blank paper and of full ink.
        batch: images per run, if the file fixes it; None: any number.
        answer: what the outputs are.
        values: outputs per image, 10 to 12: ten digits, "this is a digit", "these are several digits".
        is_first: whether the answers are the first output.
    """

    shape: tuple[int, ...] = SHAPES[0]
    dtype: np.dtype = TYPES["tensor(float)"]
    paper: float = 0.0
    ink: float = 1.0
    batch: int | None = None
    answer: Answer = Answer.LOGITS
    values: int = CLASSES
    is_first: bool = True

    @property
    def is_plain(self) -> bool:
        """Return whether it is the form of the models that are trained here."""
        return replace(self, values=CLASSES) == Form()

    def __str__(self) -> str:
        shape = ", ".join(str(side) for side in (self.batch or "N", *self.shape))
        return f"({shape}) {self.dtype} images, paper {self.paper:.3g} and ink {self.ink:.3g}, to {self.answer.value}"

    def logits(self, run: Run, images: np.ndarray) -> np.ndarray:
        """Run the model on (N, 1, 28, 28) float32 images, ink 1 on paper 0: (N, 10 to 12) float32 logits."""
        return self._as_logits(self.run(run, images))

    def run(self, run: Run, images: np.ndarray) -> np.ndarray:
        """Return the model's raw outputs for such images, (N, …)."""
        size = self.batch or len(images)
        found = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            missing = np.zeros((size - len(part), *images.shape[1:]), images.dtype)
            answers = run(self._feed(np.concatenate([part, missing])))
            if size != 1 and len(answers) != size:
                raise ValueError(f"{size} images gave {len(answers)} answers")
            found.append(np.asarray(answers, np.float32).reshape(size, -1))
        return np.concatenate(found)[: len(images)]

    def _feed(self, images: np.ndarray) -> np.ndarray:
        images = images.reshape(-1, *self.shape)  # one channel may be first, last or left out: the bytes are the same
        if (self.paper, self.ink) != (0.0, 1.0):
            images = self.paper + (self.ink - self.paper) * images
        return np.ascontiguousarray(images if self.dtype.kind == "f" else np.rint(images), self.dtype)

    def _as_logits(self, answers: np.ndarray) -> np.ndarray:
        if self.answer is Answer.LOGITS:
            return answers
        share = answers.astype(np.float64)
        if self.answer in (Answer.LOG_PROBABILITIES, Answer.LOG_NON_DIGIT):
            share = np.exp(share)
        share = share.clip(LEAST, NEAR_ONE)
        odds = np.log(share) - np.log1p(-share)
        # Softmax of the log-odds of independent probabilities is the distribution given that exactly one digit is true.
        digits = odds if self.answer is Answer.INDEPENDENT else np.log(share)
        is_digit = -odds if self.answer in (Answer.NON_DIGIT, Answer.LOG_NON_DIGIT) else odds
        return np.hstack([digits[:, :CLASSES], is_digit[:, CLASSES:]]).astype(np.float32)


def ends(inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[Any, Any]:
    """Return the input and the first output that can be answers, from ONNX Runtime's descriptions.

    Raises:
        ModelError: there is no or more than one input, or no such output.
    """
    if len(inputs) != 1 or inputs[0].type not in TYPES or not _shapes(inputs[0]):
        seen = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise ModelError(f"does not take (N, 1, {SIDE}, {SIDE}) float32 images but {seen}; {ACCEPTED}")
    for each in outputs:
        if TYPES.get(each.type, _WHOLE).kind == "f" and _width(each) in (0, *WIDTHS):
            return inputs[0], each
    seen = ", ".join(f"{each.name} {each.type} {each.shape}" for each in outputs)
    raise ModelError(f"does not give (N, 10 or 11) logits but {seen}")


def find_form(taken: Any, given: Any, run: Run, probes: Callable[[], np.ndarray], *, trusted: bool) -> Form:
    """Detect the form of a model file.

    Shape, type and a fixed batch are as declared. If a dimension is open, use the first shape that runs, with a batch
    of one if no larger one does. Then run the model on ten known digits, blank paper and noise:

    - Outputs that are all from 0 to 1 and add up to 1 are probabilities. Outputs from below 0.1 to above 0.9 that do
      not add up are independent probabilities. Logits do neither for all of these inputs. If eleven add up, the
      eleventh is the probability of a digit if it is large for the known digits, else that of a non-digit.
    - The values of paper and ink are the first of :data:`LEVELS` that read at least 9 of the 10 right, with a mean
      probability of the right digit of at least 0.25: values from 0 to 1 in a model for bytes leave all ten about
      equal. If none do, the values are as here, and the model is a bad one.

    Args:
        taken, given: ONNX Runtime's descriptions of the model's :func:`ends`.
        run: returns the model's outputs for a batch in its form.
        probes: returns (N, 1, 28, 28) images to run it on, the ten known digits first.
        trusted: whether the model is known to take the values, and to return the logits, of the models trained here.

    Raises:
        ModelError: it cannot be run on images of 28×28 gray pixels, or outputs NaN or infinity.
    """
    kind, dims, shapes = TYPES[taken.type], list(taken.shape), _shapes(taken)
    fixed = dims[0] if dims and isinstance(dims[0], int) else None
    levels = LEVELS if kind.kind == "f" else LEVELS[2:]
    plain = Form(shapes[0], kind, *levels[0], fixed)
    if trusted and _width(given):
        return replace(plain, values=_width(given))
    images = probes()
    form, answers = _first_that_runs([replace(plain, shape=shape) for shape in shapes], run, images)
    if not np.isfinite(answers[:CLASSES]).all():
        raise ModelError("outputs NaN or infinity for known digits; its weights are damaged")
    found = []
    for paper, ink in levels:
        form = replace(form, paper=paper, ink=ink)
        answers = form.run(run, images)
        found.append(replace(form, answer=_answer_of(answers), values=answers.shape[1]))
        right, sure = _read(found[-1], answers)
        if right >= MOST_RIGHT and sure >= NOT_EVEN:
            return found[-1]
    return found[0]


def _shapes(taken: Any) -> list[tuple[int, ...]]:
    """Return the image shapes that fit an input's declared shape: all of them if its rank is open."""

    def fits(shape: tuple[int, ...]) -> bool:
        sides = taken.shape[1:]
        same = [not isinstance(side, int) or side == wanted for side, wanted in zip(sides, shape, strict=False)]
        return not taken.shape or (len(sides) == len(shape) and all(same))

    return [shape for shape in SHAPES if fits(shape)]


def _width(given: Any) -> int:
    """Count the values per image that an output declares; return 0 if a dimension is open."""
    sides = list(given.shape)[1:]
    return prod(sides) if sides and all(isinstance(side, int) for side in sides) else 0


def _first_that_runs(forms: Sequence[Form], run: Run, images: np.ndarray) -> tuple[Form, np.ndarray]:
    """Return the first form that the model can run with, a batch of one last, and its outputs."""
    failure: Exception | None = None
    for form in (*forms, *(replace(form, batch=1) for form in forms if form.batch is None)):
        try:
            answers = form.run(run, images)
        except Exception as error:  # ONNX Runtime's exception types are not exported
            failure = failure or error
            continue
        if answers.shape[1] not in WIDTHS[:2]:
            raise ModelError(f"does not give (N, 10 or 11) logits but {answers.shape[1]} values an image")
        return form, answers
    raise ModelError(f"cannot be run on ({forms[0]}): {str(failure).strip().splitlines()[0]}")


def _answer_of(answers: np.ndarray) -> Answer:
    """Classify outputs, (N, 10 or 11), the known digits' first: logits unless all of them say otherwise."""
    answers = answers.astype(np.float64)
    digits, eleventh = answers[:, :CLASSES], answers[:CLASSES, CLASSES:]

    def is_one(shares: np.ndarray) -> bool:
        return bool((np.abs(shares.sum(axis=1) - 1) <= SUM_TOLERANCE).all())

    if np.ptp(answers, axis=0).max() < LEAST:  # a constant output proves nothing
        return Answer.LOGITS
    if eleventh.size and answers.max() <= 0 and is_one(np.exp(answers)):
        return Answer.LOG_PROBABILITIES if np.exp(eleventh).mean() > 0.5 else Answer.LOG_NON_DIGIT
    if answers.min() < 0 or answers.max() > 1 + SUM_TOLERANCE:
        return Answer.LOGITS
    if eleventh.size and is_one(answers):
        return Answer.PROBABILITIES if eleventh.mean() > 0.5 else Answer.NON_DIGIT
    if is_one(digits):
        return Answer.PROBABILITIES
    return Answer.INDEPENDENT if digits.min() < 0.1 and digits.max() > 0.9 else Answer.LOGITS


def _read(form: Form, answers: np.ndarray) -> tuple[int, float]:
    """Count the known digits that are read right; also return the mean probability of the right digit."""
    with np.errstate(all="ignore"):  # wrong values of paper and ink may give anything
        logits = form._as_logits(answers[:CLASSES])[:, :CLASSES].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
    digits = np.arange(CLASSES)
    return int((shares.argmax(axis=1) == digits).sum()), float(np.nan_to_num(shares[digits, digits]).mean())
