"""Every state of the page, brought about as people do, for axe-core to examine and screenshots.py to photograph."""

import base64
import io
import re
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from support.browser import draw, place
from support.drawings import number, number_strokes, picture

PREDICT = re.compile(r"/predict(\?|$)")
READ = re.compile(r"/read\?")
SERVER = re.compile(r"/(predict|ready|read\?)")
COMPLAINT = "Failed to load resource"  # what the browser itself says of a request that fails or is refused
STEP = 0.02  # of the pad's side, between a pen's events

# Through these points a hand writes, x to the right and y downwards in a unit box.
FIVE = [
    [(0.62, 0.06), (0.40, 0.075), (0.21, 0.07), (0.17, 0.27), (0.14, 0.46), (0.27, 0.405), (0.44, 0.42), (0.585, 0.53),
     (0.60, 0.72), (0.48, 0.89), (0.28, 0.945), (0.08, 0.88)],
]  # fmt: skip
FOUR = [
    [(0.36, 0.05), (0.28, 0.24), (0.17, 0.44), (0.07, 0.61), (0.24, 0.625), (0.46, 0.61), (0.68, 0.60)],
    [(0.52, 0.36), (0.50, 0.56), (0.47, 0.76), (0.455, 0.97)],
]
BROKEN = {"name": "half-a-download.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n"}
# Numbers in rows and columns: text, width and place on the pad.
TABLE = [
    ("25", 0.2, (0.1, 0.1)),
    ("340", 0.33, (0.52, 0.1)),
    ("7", 0.08, (0.17, 0.42)),
    ("99", 0.2, (0.1, 0.7)),
    ("61", 0.2, (0.64, 0.7)),
]
# What a server tells of a letter that looks somewhat like a 4.
LETTER = {"digit": 4, "confidence": 0.6, "probabilities": [0.0] * 4 + [0.6, 0.4] + [0.0] * 4, "is_digit": False}


def write(page, strokes):
    """Draw with a pen along smooth curves through the points, pressed harder on the way down, as a hand does."""
    pen = page.context.new_cdp_session(page)
    for stroke in strokes:
        [path] = place(page, [smooth(np.array(stroke))], size=0.76, at=(0.2, 0.12))
        moves = [*pairwise(path), (path[-1], path[-1])]
        for i, (before, (x, y)) in enumerate([(path[0], path[0]), *moves]):
            kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(moves) else "mouseMoved"
            way = np.hypot(x - before[0], y - before[1]) or 1
            force = 0.34 + 0.4 * max(0.0, (y - before[1]) / way)
            state = {"button": "left", "buttons": int(i < len(moves)), "clickCount": 1, "force": force}
            pen.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "pen", **state})


def smooth(points):
    """A Catmull-Rom spline through the points, (n, 2) → (m, 2) about STEP apart."""
    padded = np.concatenate([points[:1], points, points[-1:]])
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        t = np.linspace(0, 1, max(2, round(np.hypot(*(c - b)) / STEP)), endpoint=False)[:, None]
        pieces.append(b + 0.5 * t * ((c - a) + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate([*pieces, points[-1:]])


def write_number(page, text, width=0.8, at=(0.1, 0.35)):
    """Draw digits side by side with the mouse, so wide and at this place on the pad."""
    strokes = number_strokes(text)
    scale = max(stroke[:, 0].max() for stroke in strokes)
    draw(page, [stroke / scale for stroke in strokes], size=width, at=at)


def scan(digit, **how):
    """An image file of a digit, as the upload control takes it."""
    data = io.BytesIO()
    Image.fromarray(picture(digit, 320, height=240, **how)).save(data, "PNG")
    return {"name": f"meter-reading-{digit}.png", "mimeType": "image/png", "buffer": data.getvalue()}


def meter(text):
    """An image file of a number."""
    data = io.BytesIO()
    Image.fromarray(number(text)).save(data, "PNG")
    return {"name": f"meter-reading-{text}.png", "mimeType": "image/png", "buffer": data.getvalue()}


def triangle():
    """An image file of what is no digit."""
    image = Image.new("L", (320, 240), 255)
    ImageDraw.Draw(image).polygon([(160, 45), (245, 190), (75, 190)], outline=0, width=11)
    data = io.BytesIO()
    image.save(data, "PNG")
    return {"name": "warning-sign.png", "mimeType": "image/png", "buffer": data.getvalue()}


def hand_over(page, how, *files):
    """Drop files on the page, drag them over it, or paste them, as the browser itself would."""
    parts = [{"name": f["name"], "type": f["mimeType"], "data": base64.b64encode(f["buffer"]).decode()} for f in files]
    page.evaluate(
        """([how, parts]) => {
          const carrier = new DataTransfer();
          for (const { name, type, data } of parts) {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            carrier.items.add(new File([bytes], name, { type }));
          }
          const options = { bubbles: true, cancelable: true };
          if (how === 'paste') {
            document.body.dispatchEvent(new ClipboardEvent('paste', { ...options, clipboardData: carrier }));
          } else {
            document.body.dispatchEvent(new DragEvent(how, { ...options, dataTransfer: carrier }));
          }
        }""",
        [how, parts],
    )


def hold(page):
    """Leave the server's answers out from now on; the list keeps the requests alive."""
    held = []
    page.route(PREDICT, lambda route: held.append(route))


def empty(page):
    """As it opens."""


def hint(page):
    """Predict was pressed before anything was drawn."""
    page.get_by_test_id("predict").click()


def answer(page):
    """A digit drawn and read."""
    write(page, FIVE)
    expect(page.get_by_test_id("digit")).to_have_text("5")


def numbers(page):
    """A number drawn and read."""
    page.get_by_test_id("pen-width").fill("24")
    write_number(page, "2048")
    expect(page.get_by_test_id("numbers")).to_have_text("2048")


def table(page):
    """Numbers in rows and columns."""
    page.get_by_test_id("pen-width").fill("20")
    for text, width, at in TABLE:
        write_number(page, text, width, at)
    expect(page.get_by_test_id("numbers")).to_have_text("25 340 7 99 61")


def unsure(page):
    """A number of which a digit is uncertain."""
    page.route(READ, lambda route: route.fulfill(json=doubted(route.fetch().json())))
    numbers(page)
    expect(page.locator("#numbers .unsure")).to_have_text("4")


def doubted(reading):
    """An answer of the server with doubts about the third digit."""
    for read in reading["numbers"]:
        if len(read["digits"]) > 2:
            read["digits"][2]["confidence"] = 0.71
            others = [read["text"][:2] + char + read["text"][3:] for char in "91"]
            read["alternatives"] = [{"text": others[0], "confidence": 0.24}, {"text": others[1], "confidence": 0.03}]
            read["confidence"] = reading["confidence"] = 0.7
    return reading


def paper(page):
    """On the other paper than the page's own."""
    page.get_by_test_id("paper").click()
    answer(page)


def seen(page):
    """With what the network saw."""
    page.get_by_text("What the network saw").click()
    write(page, FOUR)
    expect(page.get_by_test_id("digit")).to_have_text("4")


def why(page):
    """With the ink that decided, and what is known of the model."""
    page.get_by_text("Why this digit").click()
    page.get_by_text("About").click()
    with page.expect_response(re.compile("explain=true")):
        answer(page)


def card(page):
    """The card of the model that answers."""
    page.get_by_text("About").click()
    page.get_by_role("link", name="Model card").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("^Model card: "))


def none(page):
    """Ink that looks like no digit."""
    page.route(PREDICT, lambda route: route.fulfill(json=LETTER))
    write(page, FOUR)
    expect(page.get_by_test_id("confidence")).to_have_text("This does not look like a digit")


def keys(page):
    """Drawn by keyboard, the pen still down."""
    page.get_by_test_id("pad").focus()
    for key in ("Space", *["ArrowDown"] * 12):
        page.keyboard.press(key)
    expect(page.get_by_test_id("digit")).to_have_text("1")


def eraser(page):
    """With the eraser in hand."""
    page.get_by_test_id("eraser").click()


def refused(page):
    """The server cannot read the drawing."""
    problem = {"type": "/docs#unreadable-image", "status": 400, "detail": "the PNG is truncated; send the whole file"}
    page.route(PREDICT, lambda r: r.fulfill(status=400, json=problem, content_type="application/problem+json"))
    write(page, FOUR)
    expect(page.get_by_test_id("status")).to_have_text("This picture is damaged or incomplete.")


def keypad(page):
    """Asked what it was."""
    answer(page)
    page.get_by_test_id("wrong").click()
    expect(page.get_by_test_id("keypad")).to_be_visible()


def choices(page):
    """Corrected for the first time, where the server keeps corrections."""
    told = {"feedback": True}
    page.route(re.compile("/model$"), lambda route: route.fulfill(json={**route.fetch().json(), **told}))
    keypad(page)
    page.keyboard.press("6")
    expect(page.get_by_test_id("choices")).to_be_visible()


def number_field(page):
    """Asked what a number was."""
    numbers(page)
    page.get_by_test_id("wrong").click()
    expect(page.get_by_test_id("number-field")).to_be_focused()


def corrected(page):
    """Corrected, with what is known of the hand."""
    page.get_by_test_id("on-device").check()
    keypad(page)
    page.keyboard.press("6")
    page.get_by_test_id("choose-hand").check()
    page.get_by_role("button", name="Save").click()
    page.get_by_test_id("hand-panel").locator("summary").click()
    expect(page.get_by_test_id("hand-state")).to_have_text("1 correction; answers follow once they help")
    expect(page.get_by_test_id("correction")).to_have_text("Noted: 6")


def slow(page):
    """The server takes its time, so that what is shown is of an earlier drawing."""
    write(page, FOUR[:1])
    expect(page.get_by_test_id("digit")).not_to_have_text("–")
    hold(page)
    write(page, FOUR[1:])
    expect(page.locator("#answer")).to_have_class(re.compile("stale"))


def away(page):
    """The server went away, and there is nothing here to read with."""
    page.route(re.compile("/(predict|ready|vendor)"), lambda route: route.abort())
    write(page, FOUR)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("not responding. Trying again"))


def stand_in(page):
    """The server went away, and the device stands in."""
    page.route(SERVER, lambda route: route.abort())
    write(page, FOUR)
    expect(page.get_by_test_id("status")).to_have_text("The server is not responding. Reading on this device.")
    expect(page.get_by_test_id("digit")).to_have_text("4")


def device(page):
    """On this device, with what is known of its model."""
    page.get_by_test_id("on-device").check()
    page.get_by_text("About").click()
    answer(page)


def no_device(page):
    """On this device, which lacks what that takes."""
    page.route("**/vendor/*", lambda route: route.fulfill(status=404))
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Cannot read on this device"))


def files(page):
    """Image files read, one of a number, one of them broken, and one of no digit."""
    seen(page)
    several = [scan(3), scan(2, paper=20, ink=235), meter("40719"), BROKEN, triangle(), scan(0)]
    page.get_by_test_id("upload").set_input_files(several)
    expect(page.get_by_test_id("progress")).to_have_text("6 pictures done, 1 is not a digit, 1 could not be read")
    page.get_by_test_id("sort").click()
    page.evaluate("scrollTo(0, 0)")


def reading(page):
    """Image files under way."""
    hold(page)
    page.get_by_test_id("upload").set_input_files([scan(digit) for digit in range(5)])
    expect(page.get_by_text("Reading…")).to_have_count(3)


def dropping(page):
    """Image files held over the page."""
    hand_over(page, "dragover", scan(1))
    expect(page.get_by_text("Drop the pictures to read them")).to_be_visible()


def impossible(page):
    """The server's address is none."""
    page.goto(f"{page.url}?server=ftp://example.org")
    expect(page.get_by_test_id("status")).to_have_text(re.compile("must start with http or https"))


STATES = {
    state.__name__: state
    for state in (
        *(empty, hint, answer, numbers, table, unsure, paper, seen, why, card, none, keys, eraser, refused),
        *(keypad, choices, number_field, corrected, slow),
        *(away, stand_in, device, no_device, files, reading, dropping, impossible),
    )
}
