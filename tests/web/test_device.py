"""Reading on the device: the same pixels, digits and probabilities as the server, in a real browser."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import inkdigits
from inkdigits.data.catalog import PEN_WRITERS
from inkdigits.data.pen import PenDigit, load_pendigits, pen_picture
from inkdigits.errors import DataError
from inkdigits.preprocess import preprocess
from inkdigits.settings import Settings

from support import browser
from support.browser import draw, settled
from support.drawings import DIGITS, picture
from support.files import encode
from support.own_models import FORMS, write

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

PEN_DRAWINGS = 500  # by people
OWN_DRAWINGS = 50  # of ten digits, with pens, sizes and places of any kind
LEVEL = 1 / 255  # of ink: one grey level of what the network sees
CLOSE = 1e-3  # between the two readers' probabilities
ON_DEVICE = "Ready on this device: the answer follows your pen"
MISSING = "Failed to load resource"  # what the browser itself says of a file that is not there
BATCH = 100  # pictures handed to the browser at a time

ANSWER = """async (pictures) => {
  const { DeviceBackend } = await import('./device-backend.js');
  window.device ??= new DeviceBackend();
  return Promise.all(pictures.map((picture) => {
    const file = new Blob([Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0))]);
    return window.device.predict(file, { image: true });
  }));
}"""
READ = """async (pictures) => {
  const { preprocess } = await import('./preprocess/index.js');
  const { loadNetwork } = await import('./runtime/network.js');
  window.network ??= await loadNetwork(new URL('.', location.href));
  return Promise.all(pictures.map(async (picture) => {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    const { image, box, polarity } = await preprocess(new Blob([bytes]), window.network.inkLogits);
    return [[...image], box, polarity];
  }));
}"""


def pen_drawings(source):
    """Pictures of digits of our own, or of the writers held back for testing, whose data may not be there."""
    digits = [PenDigit(label, 0, tuple(np.array(s, float) for s in strokes)) for label, strokes in DIGITS.items()]
    n = OWN_DRAWINGS
    if source == "test writers":
        try:
            digits = [d for d in load_pendigits(Settings.from_env()) if d.writer in PEN_WRITERS["test"]]
        except DataError as error:
            pytest.skip(f"{PEN_DRAWINGS} drawings of people need the pen strokes: {error}")
        n = PEN_DRAWINGS
    rng = np.random.default_rng(7)
    return [pen_picture(digits[i % len(digits)], rng) for i in rng.permutation(max(n, len(digits)))[:n]]


def encoded(files):
    return [base64.b64encode(data).decode() for data in files]


def read_in_browser(page, files):
    """What the page makes of image files: 28×28 arrays, boxes, polarities."""
    answers = []
    for i in range(0, len(files), BATCH):
        answers += page.evaluate(READ, encoded(files[i : i + BATCH]))
    return [(np.array(image, np.float32).reshape(28, 28), box, polarity) for image, box, polarity in answers]


def odd_pictures():
    """Pictures that take every path through preprocessing, by name."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:280, :280]
    for digit in range(10):
        paper = picture(digit)
        noise = rng.normal(0, 1, paper.shape)
        shadow = np.where(x + y > 300, 0.55, 1.0)
        ruled = paper.copy()
        ruled[[40, 240]], ruled[:, 20] = 60, 60
        rise = 0.03 * (x - 140)
        sheet = np.where(((y + rise) % 46 < 1.6) | (np.abs(x - 30 - 0.01 * y) < 1.5), 190.0, 255.0)
        stain = 255 - 90 * (np.hypot(x - 60, y - 220) < 70)
        turns = {
            "negative": 255 - paper,
            "faint": 200 - (255 - paper) // 12,
            "dim": paper // 3,
            "light from one side": paper * (0.5 + 0.5 * x / 280) + 4 * noise,
            "grainy": paper * 0.6 + 60 + 8 * noise,
            "shadow": paper * shadow + 2 * noise,
            "shadow on dark paper": (255 - paper) * shadow + 2 * noise + 5,
            "ruled": ruled,
            "on a ruled sheet": np.minimum(paper, sheet),
            "on a grainy ruled sheet": np.minimum(paper, sheet) * 0.8 + 20 + 5 * noise,
            "in a table": np.minimum(paper, 255 - 200 * ((np.abs(x - 140) > 130) ^ (np.abs(y - 140) > 128))),
            "beside a stain": np.minimum(paper, stain),
            "on a dark ruled sheet": 255 - np.minimum(paper, sheet) * shadow,
            "speck in a large sheet": picture(digit, 1200, height=900, ink_size=40),
            "large": picture(digit, 1600, height=1200),
            "28 pixels": picture(digit, 28),
            "12 pixels": picture(digit, 12),
            "filling 10 pixels": np.asarray(Image.fromarray(paper[40:240, 40:240]).resize((10, 10))),
            "strip": picture(digit, 640, height=40),
            "sliver": picture(digit, 8192, height=32),
            "grainy sliver": picture(digit, 6000, height=36) * 0.8 + 20 + 12 * rng.normal(0, 1, (36, 6000)),
            "shadow on a sliver": picture(digit, 4000, height=60) * np.where(np.arange(4000) > 2300, 0.55, 1.0),
            "cut close": paper[50:230, 90:190],
            "coloured": np.stack([255 - (255 - paper) * 0.1, 255 - (255 - paper) * 0.7, 120 + paper * 0.16], -1),
            "of one lightness": np.stack([paper, 255 - paper * 0.5, paper * 0 + 128], -1),
        }
        for name, pixels in turns.items():
            yield f"{digit} {name}", np.clip(pixels, 0, 255).astype(np.uint8)
        clear = np.dstack([np.full((280, 280, 3), (20, 30, 90), np.uint8), 255 - paper])
        yield f"{digit} on nothing", clear
    yield "blank", np.full((60, 90), 180, np.uint8)
    for side in (90, 120, 150, 200):
        yield f"noise of {side} pixels", rng.integers(0, 255, (side, side)).astype(np.uint8)


def test_parts_far_apart_are_read_as_in_python(visit, recognizer):
    rng = np.random.default_rng(5)
    scribble = np.full((200, 200), 255, np.uint8)
    for _ in range(12):
        (y0, x0), (y1, x1) = rng.integers(20, 180, (2, 2))
        scribble[min(y0, y1) : max(y0, y1) + 6, x0 : x0 + 6] = scribble[y1 : y1 + 6, min(x0, x1) : max(x0, x1) + 6] = 0
    sheets = [(picture(2, 200), picture(3, 200)), (scribble, picture(7, 200)), (picture(4, 200), scribble)]
    sheets += [(picture(1, 200), picture(1, 200)), (scribble, scribble)]
    files = [encode(np.hstack(sheet)) for sheet in sheets]
    reasons = set()
    for file, found in zip(files, visit().evaluate(ANSWER, encoded(files)), strict=True):
        expected = recognizer.predict(file)
        assert (found["digit"], found["is_digit"], found["reason"]) == (
            expected.digit,
            expected.is_digit,
            expected.reason,
        )
        assert list(found["box"].values()) == pytest.approx(expected.box)
        reasons.add(expected.reason)
    assert "several digits" in reasons


def test_odd_pictures_come_out_as_in_python(visit):
    names, pictures = zip(*odd_pictures(), strict=True)
    files = list(map(encode, pictures))
    far = {}
    for name, data, (image, _, polarity) in zip(names, files, read_in_browser(visit(), files), strict=True):
        expected = preprocess(data)
        assert polarity == expected.polarity, name
        if (difference := np.abs(image - expected.image).max()) > LEVEL:
            far[name] = difference
    assert not far


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "BMP"])
def test_other_formats_come_out_nearly_as_in_python(visit, kind):
    """Decoders of lossy formats may differ by a level a pixel."""
    files = []
    for digit in range(10):
        data = io.BytesIO()
        Image.fromarray(picture(digit)).save(data, kind)
        files.append(data.getvalue())
    for data, (image, *_) in zip(files, read_in_browser(visit(), files), strict=True):
        assert np.abs(image - preprocess(data).image).max() <= 0.03


def test_a_photo_is_turned_upright(visit):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    data = io.BytesIO()
    Image.fromarray(np.rot90(picture(4))).save(data, "JPEG", exif=exif, quality=95)
    [(image, *_)] = read_in_browser(visit(), [data.getvalue()])
    assert np.abs(image - preprocess(data.getvalue()).image).max() <= 0.03


@pytest.mark.parametrize("source", ["our own", "test writers"])
def test_pen_drawings_give_the_same_pixels_and_answers(visit, live_server, source):
    files = [*map(encode, pen_drawings(source)), encode(np.full((40, 40), 255, np.uint8))]
    page = visit()
    found = []
    for i in range(0, len(files), BATCH):
        found += page.evaluate(ANSWER, encoded(files[i : i + BATCH]))
    with httpx.Client(base_url=live_server) as client:
        for data, here in zip(files, found, strict=True):
            there = client.post("/predict?image=true", content=data).json()
            assert here.keys() == there.keys()
            for same in ("digit", "is_digit", "reason", "blank", "polarity", "model"):
                assert here[same] == there[same]
            assert here["box"] == there["box"] or here["box"] == pytest.approx(there["box"], abs=0.01)
            assert here["probabilities"] == pytest.approx(there["probabilities"], abs=CLOSE)
            assert here["confidence"] == pytest.approx(there["confidence"], abs=CLOSE)
            assert np.abs(np.array(here["image"]) - there["image"]).max() <= 1


def test_the_same_explanation_as_the_server(visit, live_server):
    data = encode(picture(4))
    there = httpx.post(f"{live_server}/predict?explain=true", content=data).json()["explanation"]
    here = visit().evaluate(
        """async (picture) => {
          const { DeviceBackend } = await import('./device-backend.js');
          const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
          return (await new DeviceBackend().predict(new Blob([bytes]), { explain: true })).explanation;
        }""",
        base64.b64encode(data).decode(),
    )
    assert np.abs(np.array(here) - there).max() < 0.01


def test_the_switch_asks_the_server_nothing(visit):
    page = visit()
    switch = page.get_by_test_id("on-device")
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    switch.check()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    assert any(url.endswith(".wasm") for url in fetched)
    fetched.clear()
    for digit, strokes in DIGITS.items():
        draw(page, strokes)
        assert settled(page) == str(digit)
        page.get_by_test_id("clear").click()
    page.get_by_test_id("upload").set_input_files(
        [{"name": "8.png", "mimeType": "image/png", "buffer": encode(picture(8))}]
    )
    expect(page.locator("td.digit")).to_have_text("8")
    # The modules and the network that read numbers are fetched when ink may be a number, once.
    late = re.compile(r"/(reading/\w+\.js|preprocess/strokes\.js|line\.onnx)$")
    assert [url for url in fetched if not url.startswith("blob:") and not late.search(url)] == []

    # The choice holds for the next visit.
    page.reload()
    expect(switch).to_be_checked()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    with page.expect_response(re.compile("/ready$")):
        switch.uncheck()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))


def test_nothing_of_it_is_fetched_before_it_is_wanted(visit):
    fetched = []
    page = visit(before=lambda page: page.on("request", lambda request: fetched.append(request.url)))
    draw(page, DIGITS[3])
    assert settled(page) == "3"
    assert not [url for url in fetched if re.search(r"vendor|model\.onnx", url)]


def test_files_that_are_no_pictures_are_refused_with_a_reason(visit):
    page = visit()
    page.get_by_test_id("on-device").check()
    small = {"name": "small.png", "mimeType": "image/png", "buffer": encode(np.full((9, 9), 255, np.uint8))}
    broken = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n and no more"}
    page.get_by_test_id("upload").set_input_files([small, broken])
    reasons = page.locator(".reason")
    expect(reasons.nth(0)).to_have_text("This picture is too small: 9 × 9 pixels. One side needs at least 10.")
    expect(reasons.nth(1)).to_have_text(re.compile("cannot open this file as a picture"))


@pytest.fixture
def bare(tmp_path, start_server):
    """A server whose page has no runtime, as ``make run`` and ``pip install`` leave it, and the folder of its page."""
    package = Path(inkdigits.__file__).parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    return start_server(PYTHONPATH=str(tmp_path)), tmp_path / package.name / "web"


def test_without_the_runtime_there_is_no_switch(visit, bare):
    server, _ = bare
    fetched = []
    page = visit(
        server=server.url,
        allow=f"{MISSING}.*ERR_FAILED",  # of the server that is taken away below, and of nothing else
        before=lambda page: (
            page.add_init_script("localStorage.setItem('inkdigits.on-device', 'true')"),
            page.on("request", lambda request: fetched.append(request.url)),
        ),
    )
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))  # although the device was chosen once
    expect(page.get_by_test_id("on-device")).to_be_hidden()
    expect(page.get_by_test_id("upload")).to_be_attached()
    draw(page, DIGITS[2])
    assert settled(page) == "2"
    # Where the server goes away, nothing is asked for in vain.
    page.route(re.compile("/(predict|ready)"), lambda route: route.abort())
    draw(page, DIGITS[1])
    expect(page.get_by_test_id("status")).to_have_text(re.compile("not responding. Trying again"))
    page.unroute_all()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    assert not [url for url in fetched if re.search(r"device-backend\.js|vendor|model\.onnx", url)]
    assert json.loads(httpx.get(f"{server.url}/files.js").text[len("self.KEPT = ") : -2])["device"]["files"] == []


def test_the_switch_comes_with_the_runtime(visit, bare):
    """``make web-runtime`` beside a server that runs: people who were there before get it by the next visit."""
    server, web = bare
    page = visit(server=server.url, offline=True)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    page.evaluate("() => navigator.serviceWorker.ready.then(() => {})")
    before = httpx.get(server.url)
    shutil.copytree(Path(inkdigits.__file__).with_name("web") / "vendor", web / "vendor")
    after = httpx.get(server.url, headers={"If-None-Match": before.headers["etag"]})
    assert (before.text.replace('device-switch" class="switch" hidden', 'device-switch" class="switch"'), 200) == (
        after.text,
        after.status_code,
    )
    assert httpx.get(server.url, headers={"If-None-Match": after.headers["etag"]}).status_code == 304
    page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).update()")
    with page.expect_navigation():
        page.get_by_test_id("use-update").click()
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    draw(page, DIGITS[7])
    assert settled(page) == "7"


def test_a_runtime_that_cannot_be_fetched(visit):
    gone = re.compile("/vendor/")
    page = visit(allow=MISSING, before=lambda page: page.route(gone, lambda route: route.fulfill(status=404)))
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(
        re.compile(r"Cannot read on this device\. The download of vendor/[\w.-]+ failed\.")
    )
    draw(page, DIGITS[2])
    expect(page.get_by_test_id("runner-up")).to_have_text("Turn off “On this device” to use the server")
    expect(page.get_by_test_id("digit")).to_have_text("–")
    page.get_by_test_id("on-device").uncheck()
    expect(page.get_by_test_id("digit")).to_have_text("2")


def test_a_model_that_came_damaged_is_not_used(visit):
    def damage(route):
        body = bytearray(route.fetch().body())
        body[len(body) // 2] ^= 1
        route.fulfill(body=bytes(body))

    page = visit(before=lambda page: page.route("**/model.onnx", damage))
    page.get_by_test_id("on-device").check()
    reason = "The downloaded model is damaged. Reload the page."
    expect(page.get_by_test_id("status")).to_have_text(f"Cannot read on this device. {reason}")


def test_a_model_of_another_form_is_read_with_by_the_server_alone(visit, start_server, tmp_path):
    server = start_server("--model", str(write(tmp_path / "own.onnx", *FORMS["Keras"])))
    page = visit(server=server.url)
    page.get_by_test_id("on-device").check()
    reason = "Cannot read on this device. This model runs only on the server."
    expect(page.get_by_test_id("status")).to_have_text(reason)
    page.get_by_test_id("on-device").uncheck()
    draw(page, DIGITS[2])
    expect(page.get_by_test_id("digit")).to_have_text("2")


def test_the_device_stands_in_for_a_server_that_is_away(visit):
    page = visit(allow=MISSING)
    draw(page, [DIGITS[4][0]])
    assert settled(page) != "–"
    page.route(re.compile("/(predict|ready)"), lambda route: route.abort())
    draw(page, DIGITS[4][1:])
    expect(page.get_by_test_id("status")).to_have_text("The server is not responding. Reading on this device.")
    expect(page.get_by_test_id("digit")).to_have_text("4")
    page.unroute_all()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    expect(page.get_by_test_id("digit")).to_have_text("4")


def test_the_model_is_served_once(client, recognizer):
    response = client.get("/model.onnx")
    assert response.content == recognizer.model.path.read_bytes()
    assert response.headers["etag"] == f'"{recognizer.model.sha256}"'
    again = client.get("/model.onnx", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/model.json").json() | {"feedback": False} == client.get("/model").json()


def test_the_runtime_is_sent_compressed(client):
    path = "/vendor/ort-wasm-simd-threaded.wasm"
    with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["content-type"] == "application/wasm"
        assert response.headers["content-encoding"] == "gzip"
        packed = b"".join(response.iter_raw())
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(packed) < 0.4 * len(plain.content)


def test_a_model_without_metadata_and_with_an_eleventh_output(visit):
    """The page's own reader of model files, against the format's."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["logits"])],
        "same",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1, 28, 28])],
    )
    model = helper.make_model(graph)
    read = """async (file) => {
      const { metadataOf } = await import('./runtime/network.js');
      return JSON.stringify([...metadataOf(Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0)))]);
    }"""
    page = visit()
    assert json.loads(page.evaluate(read, base64.b64encode(model.SerializeToString()).decode())) == []
    wanted = {"inkdigits.temperature": "0.53", "inkdigits.threshold": "0.4", "größe": "x" * 500}
    helper.set_model_props(model, wanted)
    assert dict(json.loads(page.evaluate(read, base64.b64encode(model.SerializeToString()).decode()))) == wanted
