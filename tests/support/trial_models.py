"""Models that read known digits right, and are worse where a server's pictures have much ink; and folders of them."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from inkdigits.network import SHIPPED, file_sha256, read_registry

from support.drawings import picture
from support.files import encode

MUCH = 120.0  # pixels of ink: more than any known digit has
HEAVY = [encode(picture(digit, pen=36)) for digit in (0, 2, 3, 4, 5, 6, 8, 9)]  # each has more
LIGHT = [encode(picture(digit)) for digit in range(10)]


def changed(path: Path, kind: str) -> Path:
    """Write the shipped cnn, changed: "same", "picky" (rejects everything), "confused" or "failing" (on much ink)."""
    model = onnx.load(SHIPPED / "cnn.onnx")
    if kind == "picky":
        [threshold] = [each for each in model.metadata_props if each.key == "inkdigits.threshold"]
        threshold.value = "1"
    elif kind != "same":
        for node in model.graph.node:
            node.output[:] = ["raw" if name == "logits" else name for name in node.output]
            node.input[:] = ["raw" if name == "logits" else name for name in node.input]
        size = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
        order = [*range(1, 10), 0, *range(10, size)]  # each digit is read as another one
        wrong = np.eye(size, dtype=np.float32)[order]
        constants = {"much": np.float32(MUCH), "wrong": wrong, "nan": np.float32("nan"), "axes": np.array([1, 2, 3])}
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
        model.graph.node.extend(
            [
                helper.make_node("ReduceSum", ["image", "axes"], ["ink"], keepdims=0),
                helper.make_node("Greater", ["ink", "much"], ["is_much"]),
                helper.make_node("Unsqueeze", ["is_much", "one"], ["which"]),
                helper.make_node("MatMul", ["raw", "wrong"], ["other"]),
                helper.make_node("Where", ["which", "other" if kind == "confused" else "nan", "raw"], ["logits"]),
            ]
        )
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
    model.doc_string = path.stem  # so that each file has a hash of its own
    onnx.save(model, path)
    return path


def models(folder: Path, champion: str = "champion", **kinds: str) -> Path:
    """A folder with a registry: a champion that is the shipped cnn, and models of these kinds by name."""
    folder.mkdir(exist_ok=True)
    entry = read_registry(SHIPPED)["models"]["cnn"]
    entries = {}
    for name, kind in {champion: "same", **kinds}.items():
        path = changed(folder / f"{name}.onnx", kind)
        entries[name] = {**entry, "file": path.name, "sha256": file_sha256(path)}
    (folder / "registry.json").write_text(json.dumps({"default": champion, "models": entries}))
    return folder
