"""The page reads numbers: drawn and in pictures, by the server and on the device, in a real browser."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from support import browser
from support.browser import SHIFTS, axe, draw, settled
from support.drawings import DIGITS, number_strokes
from support.states import READ, TABLE, doubted, meter, scan, write_number

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

SURE = re.compile(r"^[A-Z][a-z ]+ >?\d+(\.\d)?%$")
PEN = 22  # pad units
MISSING = "Failed to load resource"  # what the browser itself says of a request that is refused
MARKS = """() => {
  const pad = document.getElementById('pad');
  const copy = new OffscreenCanvas(pad.width, pad.height).getContext('2d');
  copy.drawImage(pad, 0, 0);
  const { data } = copy.getImageData(0, 0, pad.width, pad.height);
  const [red, green, blue] = getComputedStyle(pad).color.match(/\\d+/g).map(Number);
  let marked = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b, alpha] = data.subarray(i, i + 4);
    marked += alpha > 200 && Math.abs(r - red) + Math.abs(g - green) + Math.abs(b - blue) > 90;
  }
  return marked;
}"""


def numbers(page):
    return page.get_by_test_id("numbers")


def kept(*placed, gap=0.35):
    """A drawing as the tab keeps it, of numbers: (text, width, place on the pad), with gaps in heights."""
    strokes = []
    for text, width, at in placed:
        of_text = number_strokes(text, gap=gap)
        scale = width / max(stroke[:, 0].max() for stroke in of_text)
        strokes += [1000 * (stroke * scale + at) for stroke in of_text]
    points = [[[*map(float, point), 16 * i, None] for i, point in enumerate(stroke)] for stroke in strokes]
    drawing = {"strokes": [{"width": PEN, "erases": False, "points": each} for each in points]}
    saved = {**drawing, "states": [[], [*range(len(strokes))]], "at": 1}
    return f"sessionStorage.setItem('inkdigits.drawing', {json.dumps(json.dumps(saved))})"


def visit_with(visit, *placed, gap=0.35, before=lambda page: None, **options):
    """The page with a drawing of numbers."""

    def prepare(page):
        page.add_init_script(kept(*placed, gap=gap))
        before(page)

    return visit(before=prepare, **options)


NUMBER = ("2048", 0.8, (0.1, 0.35))


def test_a_digit_becomes_a_number_as_one_writes(visit):
    page = visit(before=lambda page: page.add_init_script(f"({SHIFTS})()"))
    page.get_by_test_id("pen-width").fill("30")
    draw(page, DIGITS[2], size=0.3, at=(0.15, 0.3))
    expect(page.get_by_test_id("digit")).to_have_text("2")
    expect(numbers(page)).to_be_hidden()
    draw(page, DIGITS[5], size=0.3, at=(0.5, 0.3))
    expect(numbers(page)).to_have_text("25")
    expect(page.get_by_test_id("numbers-confidence")).to_have_text(SURE)
    for of_a_digit in ("digit", "bars", "confidence"):
        expect(page.get_by_test_id(of_a_digit)).to_be_hidden()
    expect(page.locator("#speech")).to_have_text(re.compile(r"^25\. [A-Z][a-z ]+, >?[\d.]+%\.$"))
    settled(page)
    assert page.evaluate(MARKS) > 20
    for _ in DIGITS[5]:
        page.get_by_test_id("undo").click()
    expect(page.get_by_test_id("digit")).to_be_visible()
    expect(page.get_by_test_id("digit")).to_have_text("2")
    expect(numbers(page)).to_be_hidden()
    settled(page)
    assert page.evaluate(MARKS) == 0
    assert page.evaluate("window.shifts") == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_a_table_has_room_and_can_be_copied(visit, width, scheme):
    page = visit_with(
        visit,
        *TABLE,
        width=width,
        color_scheme=scheme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    expect(numbers(page)).to_have_text("25 340 7 99 61")
    cells = numbers(page).locator(".cell")
    assert cells.all_text_contents() == ["25", "340", "7", "", "99", "61"]
    boxes = [cells.nth(i).bounding_box() for i in (0, 1, 4, 5)]
    assert boxes[0]["x"] + boxes[0]["width"] < boxes[1]["x"]
    assert boxes[0]["x"] + boxes[0]["width"] == pytest.approx(boxes[2]["x"] + boxes[2]["width"], abs=1)
    frame, below = page.locator("#numbers-frame").bounding_box(), page.locator("#alternatives").bounding_box()
    assert frame["y"] + frame["height"] <= below["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    copy = page.get_by_role("button", name="Copy table")
    copy.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("copy-numbers")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "25\t340\n7\t\n99\t61"
    assert axe(page) == []


OVERLAPPING = "235", 0.5, (0.2, 0.3)  # whose ink alone reads as "25"


@pytest.mark.parametrize("on_device", [False, True])
def test_overlapping_digits_are_read_by_their_strokes(visit, on_device):
    asked = []

    def watch(page):
        page.on("request", lambda request: asked.append(request))

    page = visit_with(visit, OVERLAPPING, gap=-0.3, before=watch)
    page.get_by_test_id("on-device").set_checked(on_device)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device" if on_device else "^Ready: "))
    page.get_by_test_id("predict").click()
    expect(numbers(page)).to_have_text("235")
    settled(page)
    if not on_device:
        [last] = [request for request in asked if READ.search(request.url)][-1:]
        strokes = last.post_data_json["strokes"]
        assert len(strokes) == len(number_strokes("235"))
        assert all(0 <= value <= 1000 for stroke in strokes for point in stroke for value in point)


@pytest.mark.parametrize("on_device", [False, True])
def test_digits_whose_ink_looks_like_one_digit_are_read_by_their_strokes(visit, on_device):
    """And one digit with as many strokes stays one, with all that is said of a digit."""
    page = visit()
    page.get_by_test_id("on-device").set_checked(on_device)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device" if on_device else "^Ready: "))
    strokes = number_strokes("15", 1.0, -0.3)
    draw(page, strokes[:1], size=0.5, at=(0.3, 0.25))
    expect(page.get_by_test_id("digit")).to_have_text("1")
    draw(page, strokes[1:], size=0.5, at=(0.3, 0.25))
    expect(numbers(page)).to_have_text("15")
    expect(page.get_by_test_id("numbers-confidence")).to_have_text(SURE)
    expect(page.get_by_test_id("digit")).to_be_hidden()
    page.keyboard.press("Delete")
    draw(page, DIGITS[4], size=0.5, at=(0.3, 0.25))
    expect(page.get_by_test_id("digit")).to_have_text("4")
    settled(page)
    expect(numbers(page)).to_be_hidden()
    expect(page.get_by_test_id("bars")).to_be_visible()


def test_erased_ink_and_ink_off_the_pad_are_no_strokes(visit):
    lines = visit().evaluate("""async () => {
      const { penLines } = await import('./strokes.js');
      const stroke = (points, erases = false) => ({
        width: 40,
        erases,
        points: points.map(([x, y], i) => ({ x, y, time: 16 * i, pressure: null })),
      });
      const bar = stroke([[100, 500], [900, 500]]);
      const rubber = stroke([[500, 300], [500, 700]], true);
      return {
        cut: penLines([bar, rubber]),
        before: penLines([rubber, bar]),
        off: penLines([stroke([[-50, 200], [300, 200], [300, 1100], [600, 1100], [600, 800]])]),
        none: penLines([bar, stroke([[0, 500], [1000, 500]], true)]),
        many: penLines(Array.from({ length: 300 }, () => bar)),
      };
    }""")
    left, right = lines["cut"]
    assert left[0] == [100, 500] and right[-1] == [900, 500]
    assert 470 < left[-1][0] < 490 and 510 < right[0][0] < 530
    assert len(lines["before"]) == 1
    assert len(lines["off"]) == 2
    assert all(0 <= value <= 1000 for line in lines["off"] for point in line for value in point)
    assert lines["none"] is lines["many"] is None


def test_a_doubtful_digit_is_marked_and_other_numbers_are_named(visit):
    def doubt(page):
        page.route(READ, lambda route: route.fulfill(json=doubted(route.fetch().json())))

    page = visit_with(visit, NUMBER, before=doubt, reduced_motion="reduce")
    expect(numbers(page)).to_have_text("2048")
    expect(numbers(page).locator(".unsure")).to_have_text("4")
    items = page.get_by_test_id("alternatives").get_by_role("listitem")
    expect(items).to_have_text(["2098 24%", "2018 3%"])
    expect(page.get_by_test_id("numbers-confidence")).to_have_text("Likely 70%")
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    assert axe(page) == []


def test_numbers_that_are_not_accepted_have_no_percentage(visit):
    def refuse(route):
        route.fulfill(json={**route.fetch().json(), "is_number": False, "confidence": 0.3})

    page = visit_with(visit, NUMBER, before=lambda page: page.route(READ, refuse))
    expect(numbers(page)).to_have_text("2048")
    expect(page.get_by_test_id("numbers-confidence")).to_have_text("This is hard to read")
    expect(page.locator("#speech")).to_have_text("2048. This is hard to read.")


def test_a_server_without_numbers_says_that_there_are_several_digits(visit):
    def older(page):
        page.route(READ, lambda route: route.fulfill(status=404, body="{}"))

    page = visit_with(visit, ("23", 0.6, (0.2, 0.3)), before=older, allow="status of 404")
    expect(page.get_by_test_id("confidence")).to_have_text("That looks like more than one digit")
    expect(numbers(page)).to_be_hidden()


def test_several_digits_that_are_no_number_are_said_to_be_several(visit):
    nothing = {"text": "", "confidence": 0.0, "is_number": False, "numbers": [], "lines": [], "table": None}
    page = visit_with(
        visit,
        ("23", 0.6, (0.2, 0.3)),
        before=lambda page: page.route(READ, lambda route: route.fulfill(json=nothing)),
    )
    expect(page.get_by_test_id("confidence")).to_have_text("That looks like more than one digit")
    settled(page)
    expect(page.get_by_test_id("confidence")).to_have_text("That looks like more than one digit")
    expect(numbers(page)).to_be_hidden()


def test_the_device_reads_numbers_and_fetches_the_network_only_then(visit):
    fetched = []
    page = visit(before=lambda page: page.on("request", lambda request: fetched.append(request.url)))
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
    draw(page, DIGITS[7])
    expect(page.get_by_test_id("digit")).to_have_text("7")
    assert not [url for url in fetched if re.search(r"line\.onnx|/reading/", url)]
    page.get_by_test_id("clear").click()
    fetched.clear()
    write_number(page, "2048")
    expect(numbers(page)).to_have_text("2048")
    names = {url.rpartition("/")[2] for url in fetched if not url.startswith("blob:")}
    assert "line.onnx" in names
    assert not [name for name in names if not name.endswith((".js", ".onnx"))]


def test_a_line_network_that_cannot_be_fetched(visit):
    page = visit(
        allow=MISSING,
        before=lambda page: page.route("**/line.onnx", lambda route: route.fulfill(status=404)),
    )
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
    write_number(page, "2048")
    expect(page.get_by_test_id("status")).to_have_text("The download of line.onnx failed.")


@pytest.mark.parametrize("missing", ["**/reading/index.js", "**/line.onnx"])
def test_a_digit_stands_on_a_device_that_cannot_read_numbers(visit, missing):
    page = visit(allow=MISSING, before=lambda page: page.route(missing, lambda route: route.fulfill(status=404)))
    page.get_by_test_id("on-device").check()
    ready = re.compile("^Ready on this device")
    expect(page.get_by_test_id("status")).to_have_text(ready)
    draw(page, DIGITS[4])
    expect(page.get_by_test_id("digit")).to_have_text("4")
    settled(page)
    expect(page.get_by_test_id("digit")).to_have_text("4")
    expect(page.get_by_test_id("status")).to_have_text(ready)


@pytest.mark.parametrize("on_device", [False, True])
def test_pictures_of_numbers_are_in_the_table_and_in_its_file(visit, on_device):
    page = visit()
    page.get_by_test_id("on-device").set_checked(on_device)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device" if on_device else "^Ready: "))
    page.get_by_test_id("upload").set_input_files([scan(3), meter("40719")])
    expect(page.get_by_test_id("progress")).to_have_text("2 pictures done")
    expect(page.locator("td.digit")).to_have_text(["3", "40719"])
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    saved = Path(download.value.path()).read_bytes().decode()
    digit, number = csv.DictReader(io.StringIO(saved, newline=""))
    assert (digit["digit"], digit["text"]) == ("3", "")
    assert number["text"] == "40719"
    assert number["is_digit"] == "false"
    assert 0.5 < float(number["text_confidence"]) <= 1
    assert np.isclose(sum(float(number[f"p{each}"]) for each in range(10)), 1, atol=1e-5)


def test_the_network_for_lines_is_served(client):
    told = client.get("/model").json()
    response = client.get("/line.onnx")
    assert response.headers["etag"] == f'"{told["line_sha256"]}"'
    assert "line.onnx" in client.get("/files.js").text
