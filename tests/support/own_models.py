"""ONNX files as others export them, made of the weights of a shipped model."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from inkdigits import Recognizer

FLOAT, DOUBLE, HALF, BYTE = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.UINT8


def constant(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def node(kind, *inputs, **attributes):
    """A step of a chain: its first input is what comes before."""
    return kind, inputs, attributes


SIZES = constant("sizes", np.array([-1, 1, 28, 28], np.int64))
# How each takes its images and gives its answers: shape, type, steps before the network, steps after it, constants.
FORMS = {
    "fixed at 1": ([1, 1, 28, 28], FLOAT, [], [], []),
    "fixed at 4": ([4, 1, 28, 28], FLOAT, [], [], []),
    "softmax": (["N", 1, 28, 28], FLOAT, [], [node("Softmax")], []),
    "log-softmax": (["N", 1, 28, 28], FLOAT, [], [node("LogSoftmax")], []),
    "channels last": (["N", 28, 28, 1], FLOAT, [node("Transpose", perm=[0, 3, 1, 2])], [], []),
    "no channel": (["N", 28, 28], FLOAT, [node("Reshape", "sizes")], [], [SIZES]),
    "flat": (["N", 784], FLOAT, [node("Reshape", "sizes")], [], [SIZES]),
    "0 to 255": (["N", 1, 28, 28], FLOAT, [node("Mul", "a")], [], [constant("a", np.float32(1 / 255))]),
    "dark ink": (
        ["N", 1, 28, 28],
        FLOAT,
        [node("Neg"), node("Add", "a")],
        [],
        [constant("a", np.float32(1))],
    ),
    "double": (["N", 1, 28, 28], DOUBLE, [node("Cast", to=FLOAT)], [node("Cast", to=DOUBLE)], []),
    "all open": (["N", "C", "H", "W"], FLOAT, [], [], []),
    "a last batch of one": (  # declared for any number, but made for one
        ["N", 1, 28, 28],
        FLOAT,
        [node("Reshape", "one")],
        [],
        [constant("one", np.array([1, 1, 28, 28], np.int64))],
    ),
    "Keras": (  # channels last, one at a time, bytes as numbers, dark ink, softmax
        [1, 28, 28, 1],
        FLOAT,
        [node("Mul", "a"), node("Add", "b"), node("Transpose", perm=[0, 3, 1, 2])],
        [node("Softmax")],
        [constant("a", np.float32(-1 / 255)), constant("b", np.float32(1))],
    ),
}
BYTES = (  # 8-bit pixels, which round what a network that takes shares of ink would get
    ["N", 28, 28],
    BYTE,
    [node("Cast", to=FLOAT), node("Mul", "a"), node("Reshape", "sizes")],
    [],
    [constant("a", np.float32(1 / 255)), SIZES],
)
PLAIN = (["N", 1, 28, 28], FLOAT, [], [], [])


def write(path: Path, shape, kind, before, after, constants, *, base="fast", stored=None) -> Path:
    """A shipped network, without what its file says of itself, with these steps before and after it.

    Args:
        stored: called with the model before it is written.
    """
    model = onnx.load(Recognizer(base).model.path)
    model.ClearField("metadata_props")
    graph = model.graph
    graph.initializer.extend(constants)
    nodes, value = [], "own"
    for i, (op, inputs, attributes) in enumerate(before):
        out = "image" if i == len(before) - 1 else f"before{i}"
        nodes.append(helper.make_node(op, [value, *inputs], [out], **attributes))
        value = out
    graph.input[0].CopyFrom(helper.make_tensor_value_info("own" if before else "image", kind, shape))
    answers = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    if answers == 12:  # the files of others have at most eleven
        graph.initializer.append(constant("eleven", np.arange(11)))
        after, answers = [node("Gather", "eleven", axis=1), *after], 11
    value = "logits"
    last = []
    for i, (op, inputs, attributes) in enumerate(after):
        last.append(helper.make_node(op, [value, *inputs], [f"after{i}"], **attributes))
        value = f"after{i}"
    everything = [*nodes, *graph.node, *last]
    graph.ClearField("node")
    graph.node.extend(everything)
    graph.ClearField("value_info")
    out_kind = DOUBLE if after and after[-1][2].get("to") == DOUBLE else FLOAT
    graph.output[0].CopyFrom(helper.make_tensor_value_info(value, out_kind, [shape[0], answers]))
    if stored:
        stored(model)
    onnx.save(model, path)
    return path


def expected(images, base="fast", levels=0):
    """(N, 10): the probabilities that a shipped model finds at temperature 1, where nothing says another.

    Args:
        levels: that its pixels are rounded to, 0 for not at all.
    """
    recognizer = Recognizer(base)
    seen = np.stack([each.image for each in recognizer.predict_batch(images)])[:, None].astype(np.float32)
    if levels:
        seen = np.rint(seen * levels).astype(np.float32) / np.float32(levels)
    logits = recognizer.logits(seen)[:, :10].astype(float)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def fixed(path: Path, logits, **metadata) -> Path:
    """A model whose logits are the same for every image, with this metadata of inkdigits' own."""
    image = helper.make_tensor_value_info("image", FLOAT, ["N", 1, 28, 28])
    answers = helper.make_tensor_value_info("logits", FLOAT, ["N", len(logits)])
    weights = [constant("none", np.zeros((784, len(logits)), np.float32)), constant("logits0", np.float32(logits))]
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Gemm", ["flat", "none", "logits0"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "fixed", [image], [answers], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {f"inkdigits.{name}": str(value) for name, value in metadata.items()})
    onnx.save(model, path)
    return path
