"""Recognizer: real handwriting read right, every kind of source, batches, blanks, models and their registry."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_digits

import inkdigits
from inkdigits import ImageError, ModelError, Prediction, Recognizer, UnreadableImage
from inkdigits.network import SHIPPED, find_model, read_registry, shipped_models, shipped_network
from inkdigits.preprocess import Preprocessed
from inkdigits.recognizer import _chosen

from support.drawings import DIGITS, picture
from support.files import encode


@pytest.mark.parametrize("model", sorted(shipped_models()))
@pytest.mark.parametrize("digit", DIGITS)
def test_drawings_on_any_paper(digit, model):
    recognizer = Recognizer(model)
    for image in (picture(digit), 255 - picture(digit), picture(digit, 70, height=200), picture(digit, 500, pen=4)):
        seen = recognizer.predict(image)
        assert seen.digit == digit
        assert seen.confidence > 0.5


def test_real_handwriting_that_it_never_saw(recognizer):
    digits = load_digits()
    # 8×8 scans of 0 to 16; drawn up to pictures of 96×96 with a margin, as a user would send them.
    images = [
        np.pad(
            np.asarray(Image.fromarray((i * (255 / 16)).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)),
            16,
        )
        for i in digits.images
    ]
    answers = recognizer.predict_batch(images)
    accuracy = np.mean([p.digit == t for p, t in zip(answers, digits.target, strict=True)])
    assert accuracy >= 0.96


def test_a_prediction_is_complete_and_consistent(recognizer):
    seen = recognizer.predict(picture(4, 100))
    assert isinstance(seen, Prediction)
    assert len(seen.probabilities) == 10
    assert sum(seen.probabilities) == pytest.approx(1, abs=1e-12)
    assert seen.confidence == max(seen.probabilities) == seen.probabilities[seen.digit]
    assert seen.image.shape == (28, 28)
    assert seen.image.dtype == np.float32
    assert (seen.image.min(), seen.image.max()) == (0, 1)
    assert 0 < seen.box.left < seen.box.right < 100
    assert not seen.is_blank
    as_json = json.loads(json.dumps(seen.to_dict(image=True)))
    assert as_json["digit"] == 4
    assert as_json["box"] == {
        "left": seen.box.left,
        "top": seen.box.top,
        "right": seen.box.right,
        "bottom": seen.box.bottom,
    }
    np.testing.assert_allclose(np.array(as_json["image"]) / 255, seen.image, atol=0.002)
    assert "image" not in seen.to_dict()


def test_every_source_gives_one_answer(recognizer, tmp_path):
    array = picture(2, 90)
    path = tmp_path / "two.png"
    path.write_bytes(encode(array))
    with path.open("rb") as file:
        answers = [
            recognizer.predict(s)
            for s in (
                array,
                array / 255,
                encode(array),
                path,
                str(path),
                file,
                Image.fromarray(array),
                np.dstack([array] * 3),
            )
        ]
    assert all(a == answers[0] for a in answers)
    assert answers[0].digit == 2


def test_a_blank_image_is_an_answer(recognizer):
    seen = recognizer.predict(np.full((50, 50), 255, np.uint8))
    assert seen.is_blank
    assert seen.digit is None
    assert seen.confidence == 0
    assert seen.probabilities == (0.1,) * 10
    assert seen.box is None
    assert seen.to_dict()["blank"] is True


def test_an_explanation_points_at_the_ink_that_decides(recognizer):
    plain = recognizer.predict(picture(7, 100), explain=True)
    assert plain.explanation.shape == (28, 28)
    assert np.abs(plain.explanation).max() == pytest.approx(1)
    assert not plain.explanation[plain.image == 0].any()
    # Wiping out what it points at hurts more than wiping out as much ink elsewhere.
    order = np.argsort(plain.explanation[plain.image > 0])
    inked = np.argwhere(plain.image > 0)

    def without(chosen):
        image = plain.image.copy()
        image[tuple(inked[chosen].T)] = 0
        logits = recognizer.logits(image[None, None].astype(np.float32))[0, :10].astype(float)
        return logits[7] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()

    quarter = len(order) // 4
    assert without(order[-quarter:]) < without(order[:quarter])
    assert recognizer.predict(picture(7, 100)).explanation is None
    assert recognizer.predict(np.zeros((28, 28)), explain=True).explanation is None
    assert len(json.loads(json.dumps(plain.to_dict()))["explanation"]) == 28


def test_batches_are_in_order_and_equal_single_predictions(recognizer):
    blank = np.zeros((28, 28), np.uint8)
    images = [blank if i % 7 == 3 else picture(i % 10, 40 + i % 13) for i in range(150)]
    answers = recognizer.predict_batch(i for i in images)
    assert len(answers) == 150
    for image, answer in zip(images, answers, strict=True):
        alone = recognizer.predict(image)
        assert answer.digit == alone.digit
        np.testing.assert_allclose(answer.probabilities, alone.probabilities, atol=1e-5)
    assert recognizer.predict_batch([]) == []


def test_a_broken_image_in_a_batch(recognizer):
    images = [picture(1), b"no image", picture(3), encode(picture(5))[:60]]
    answers = recognizer.predict_batch(images, errors="return")
    assert [type(a).__name__ for a in answers] == ["Prediction", "NotAnImage", "Prediction", "UnreadableImage"]
    with pytest.raises(ImageError) as caught:
        recognizer.predict_batch(images)
    assert "at index 1 of the batch" in caught.value.__notes__
    with pytest.raises(TypeError, match="use predict"):
        recognizer.predict_batch("seven.png")
    with pytest.raises(ValueError, match="ignore"):
        recognizer.predict_batch(images, errors="ignore")


def test_a_batch_is_consumed_as_it_goes(recognizer):
    taken = []

    def stream():
        for i in range(200):
            taken.append(i)
            yield picture(1, 30) if i < 100 else b"broken"

    with pytest.raises(ImageError):
        recognizer.predict_batch(stream())
    assert len(taken) < 200


def test_threads_and_processes_share_one_recognizer(recognizer):
    from concurrent.futures import ThreadPoolExecutor

    images = [picture(i % 10, 60) for i in range(80)]
    with ThreadPoolExecutor(8) as pool:
        digits = [p.digit for p in pool.map(recognizer.predict, images)]
    assert digits == [i % 10 for i in range(80)]


def test_shipped_models_are_what_the_registry_says():
    registry = read_registry(SHIPPED)
    assert registry["default"] in registry["models"]
    for name, entry in registry["models"].items():
        data = (SHIPPED / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert len(data) == entry["bytes"]
        recognizer = Recognizer(name)
        assert recognizer.model.name == name
        assert recognizer.model.sha256 == entry["sha256"]
        assert 0.9 < recognizer.model.metrics["mnist"]["accuracy"] <= 1
    assert Recognizer().model.name == registry["default"]
    others = []
    for name in ("ink", "line"):
        path, sha256 = shipped_network(name)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        others.append(path.name)
    assert {p.name for p in SHIPPED.glob("*.onnx")} == {*others, *(e["file"] for e in registry["models"].values())}


def test_a_changed_model_is_refused(tmp_path):
    _, path, entry = find_model(None)
    shutil.copy(path, tmp_path)
    (tmp_path / "registry.json").write_text(json.dumps({"models": {"mine": entry}}))
    assert Recognizer(tmp_path / path.name).model.name == "mine"
    model = onnx.load(path)
    model.doc_string = "changed"
    onnx.save(model, tmp_path / path.name)
    with pytest.raises(ModelError, match=f"is not the registered one: its SHA-256 is .*{entry['sha256']}"):
        Recognizer(tmp_path / path.name)


def test_models_that_cannot_be_used(tmp_path):
    with pytest.raises(ModelError, match=r"no model 'nobody': .*shipped: .*" + find_model(None)[0]):
        Recognizer("nobody")
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"junk\.onnx is not a model that ONNX Runtime can load"):
        Recognizer(junk)
    for content, says in (
        (b"[]", r"is not a registry: expected JSON"),
        (b'{"models": {"junk": 5}}', r"is not a registry: the entry of 'junk' is 5, not an object"),
        (b'{"models": {"other": [], "junk": {"file": "junk.onnx"}}}', r"the entry of 'other' is \[\], not an object"),
        (b"[" * 100_000, r"is not a registry"),
        (b'{"models": "\xff"}', r"is not a registry: it is not UTF-8 text"),
    ):
        (tmp_path / "registry.json").write_bytes(content)
        with pytest.raises(ModelError, match=says):
            Recognizer(junk)
    (tmp_path / "registry.json").unlink()
    (tmp_path / "registry.json").mkdir()
    with pytest.raises(ModelError, match=r"cannot read .*registry\.json: Is a directory"):
        Recognizer(junk)


@pytest.mark.parametrize(
    ("shape", "out", "props", "says"),
    [
        (["N", 3, 32, 32], ["N", 10], {}, r"does not take \(N, 1, 28, 28\)"),
        (["N", 1, 28, 28], ["N", 7], {}, r"does not give \(N, 10 or 11\) logits"),
        (["N", 1, 28, 28], ["N", 10], {"inkdigits.normalisation": "0"}, "normalisation 0"),
        (["N", 1, 28, 28], ["N", 10], {"inkdigits.temperature": "-1"}, "temperature '-1'"),
        (["N", 1, 28, 28], ["N", 10], {"inkdigits.temperature": "warm"}, "temperature 'warm'"),
    ],
)
def test_models_of_another_kind(tmp_path, shape, out, props, says):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    size = int(np.prod(shape[1:]))
    weights = onnx.numpy_helper.from_array(np.zeros((size, out[1]), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("logits", kind, out)],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, props)
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=says):
        Recognizer(tmp_path / "other.onnx")


def test_the_temperature_softens_and_keeps_the_digit(tmp_path):
    _, path, _ = find_model(None)
    model = onnx.load(path)
    props = {p.key: p.value for p in model.metadata_props}
    model.ClearField("metadata_props")
    cool = float(props.get("inkdigits.temperature", "1"))
    onnx.helper.set_model_props(model, {**props, "inkdigits.temperature": str(3 * cool)})
    onnx.save(model, tmp_path / "soft.onnx")
    hard, soft = Recognizer(path).predict(picture(8)), Recognizer(tmp_path / "soft.onnx").predict(picture(8))
    assert hard.digit == soft.digit == 8
    expected = np.array(hard.probabilities) ** (1 / 3)
    np.testing.assert_allclose(soft.probabilities, expected / expected.sum(), rtol=1e-4)


def test_errors_are_one_tree_and_the_public_names_are_complete():
    for name in inkdigits.errors.__all__:
        assert issubclass(getattr(inkdigits, name), inkdigits.InkdigitsError)
        assert name in inkdigits.__all__
    assert issubclass(UnreadableImage, ImageError)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory):
    """A model whose eleventh output is the share of ink, so that a threshold on it is a worked example."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.zeros((784, 11), np.float32)
    weights[:, 10] = 1 / 784
    weights[:392, 3] = 1  # ink in the upper half is a 3
    weights[392:, 8] = 1  # in the lower half an 8
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("image", kind, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", kind, ["N", 11])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = tmp_path_factory.mktemp("refusing")

    def with_threshold(threshold):
        helper.set_model_props(model, {"inkdigits.threshold": str(threshold)})
        path = folder / f"t{threshold}.onnx"
        onnx.save(model, path)
        return path

    return with_threshold


def test_what_is_no_digit_is_told_and_still_has_its_probabilities(refusing):
    image = picture(4, 100)
    seen = Recognizer(refusing(0.5)).predict(image)
    assert seen.digit_score == pytest.approx(1 / (1 + np.exp(-seen.image.mean())), abs=1e-6)
    assert seen.is_digit
    strict = Recognizer(refusing(0.9))
    assert strict.model.threshold == 0.9
    refused = strict.predict(image)
    assert not refused.is_digit
    assert (refused.digit, refused.probabilities) == (seen.digit, seen.probabilities)
    assert sum(seen.probabilities) == pytest.approx(1)
    blank = strict.predict(np.zeros((30, 30), np.uint8))
    assert (blank.is_digit, blank.digit_score) == (False, None)
    assert np.abs(strict.predict(image, explain=True).explanation).max() == pytest.approx(1)


@pytest.mark.parametrize("pen", [5, 10, 16])
def test_no_plainly_drawn_digit_is_refused(pen):
    reader = Recognizer()
    for wanted in DIGITS:
        seen = reader.predict(picture(wanted, pen=pen))
        assert (seen.digit, seen.is_digit) == (wanted, True), seen.digit_score


def test_a_model_that_cannot_tell_takes_all_ink_for_digits(tmp_path):
    seen = Recognizer("lenet").predict(picture(4, 100))
    assert Recognizer("lenet").model.threshold is None
    assert (seen.is_digit, seen.digit_score) == (True, None)


def test_a_bad_threshold_is_refused(refusing):
    for bad in ("high", 7):
        with pytest.raises(ModelError, match=f"threshold '{bad}'"):
            Recognizer(refusing(bad))


def beside_each_other(*pictures):
    """One sheet with pictures from left to right."""
    return np.hstack([np.pad(each, ((0, 200 - len(each)), (0, 0)), constant_values=255) for each in pictures])


def scrawl():
    """A closed shape with many corners, which no digit has."""
    image = Image.new("L", (200, 200), 255)
    points = [
        (30, 100),
        (60, 30),
        (75, 90),
        (120, 25),
        (110, 95),
        (170, 100),
        (115, 120),
        (130, 175),
        (80, 125),
        (40, 165),
    ]
    ImageDraw.Draw(image).line([*points, points[0], points[4], points[1], points[6]], fill=0, width=7)
    return np.asarray(image)


def read(digit=None, reason=None):
    return Prediction(digit or 4, 0.9, (0.1,) * 10, np.zeros((28, 28)), None, None, reason is None, 0.5, None, reason)


SEVEN, TWO, OTHER, MANY = read(7), read(2), read(reason="not a digit"), read(reason="several digits")


@pytest.mark.parametrize(
    ("whole", "parts", "otherwise", "expected"),
    [
        (SEVEN, [], [], (7, None)),
        (OTHER, [SEVEN, OTHER], [], (7, None)),
        (SEVEN, [SEVEN, OTHER], [], (7, None)),
        (OTHER, [SEVEN, TWO], [], (4, "several digits")),
        (SEVEN, [SEVEN, TWO], [], (7, "several digits")),
        (OTHER, [SEVEN, MANY], [], (4, "several digits")),
        (MANY, [SEVEN, OTHER], [], (4, "several digits")),
        (OTHER, [OTHER, OTHER], [], (4, "not a digit")),
        (OTHER, [], [SEVEN], (7, None)),
        (MANY, [], [SEVEN], (4, "several digits")),
        (SEVEN, [], [TWO], (7, None)),
        (SEVEN, [], [MANY], (7, None)),
        (SEVEN, [], [MANY, SEVEN, OTHER], (7, None)),
        (SEVEN, [], [MANY, SEVEN, TWO], (4, "several digits")),
        (SEVEN, [], [OTHER], (7, None)),
    ],
)
def test_the_prediction_for_a_picture_follows_from_those_of_its_inks(whole, parts, otherwise, expected):
    ink = Preprocessed(np.zeros((28, 28), np.float32), None, None)
    other = replace(ink, parts=(ink,) * (len(otherwise) - 1)) if otherwise else None
    seen = replace(ink, parts=(ink,) * len(parts), otherwise=other)
    found = _chosen(seen, [whole, *parts, *otherwise])
    assert (found.digit, found.reason) == expected
    assert found.is_digit == (expected[1] is None)


def test_two_parts_that_are_digits_are_several_digits(recognizer):
    for digits in ((2, 3), (7, 0), (1, 1)):
        found = recognizer.predict(beside_each_other(*(picture(digit, 200) for digit in digits)))
        assert (found.is_digit, found.reason) == (False, "several digits")
        assert found.box.right - found.box.left > 200
    explained = recognizer.predict(beside_each_other(picture(2, 200), picture(3, 200)), explain=True)
    assert explained.explanation.shape == (28, 28)


def test_a_model_that_cannot_reject_reads_all_of_the_ink():
    pair = beside_each_other(picture(2, 200), picture(3, 200))
    found = Recognizer("lenet").predict(pair)
    assert found.is_digit
    assert found.box.right - found.box.left > 200


def test_parts_are_read_in_batches_as_alone(recognizer):
    pair = beside_each_other(picture(2, 200), picture(3, 200))
    single = beside_each_other(scrawl(), picture(7, 200))
    images = [pair, picture(5, 200), single, np.full((50, 50), 255, np.uint8), pair]
    for found, image in zip(recognizer.predict_batch(images), images, strict=True):
        alone = recognizer.predict(image)
        assert (found.digit, found.is_digit, found.reason, found.box) == (
            alone.digit,
            alone.is_digit,
            alone.reason,
            alone.box,
        )
