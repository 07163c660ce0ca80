"""What every peer shares: the model's file, and how an image becomes the network's input and its output an answer."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name


def decode(file: bytes) -> np.ndarray:
    """A 28×28 PNG, light on dark, as (1, 28, 28) float32: the least that a peer can do."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("L"), np.float32)[None] / 255


def answers(images: np.ndarray) -> list[dict]:
    """(N, 1, 28, 28) float32 to N answers."""
    logits = session.run(None, {name: images})[0][:, :10]
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    return [{"digit": int(p.argmax()), "probabilities": p.tolist()} for p in probabilities]
