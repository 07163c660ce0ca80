"""The page's drawing tools and what it tells: eraser, palm, keyboard, reload, why, about, axe; and people's digits."""

import base64
import json
import re

import numpy as np
import pytest
from playwright.sync_api import expect

from inkdigits.data.catalog import PEN_WRITERS
from inkdigits.data.pen import load_pendigits
from inkdigits.settings import Settings

from support import browser
from support.browser import axe, draw, place, settled, until
from support.drawings import DIGITS
from support.handwriting import needs_data
from support.states import COMPLAINT, LETTER, PREDICT, STATES

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

WRITTEN = 100  # digits that are drawn as their writers wrote them
WRITTEN_RIGHT = 0.98

INK = """() => {
  const pad = document.getElementById('pad');
  const copy = new OffscreenCanvas(pad.width, pad.height).getContext('2d', { willReadFrequently: true });
  copy.drawImage(pad, 0, 0);
  const { data } = copy.getImageData(0, 0, pad.width, pad.height);
  let [ink, red, blue] = [0, 0, 0];
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] < 128) continue;
    ink += 1;
    if (data[i] > data[i + 2] + 60) red += 1;
    if (data[i + 2] > data[i] + 60) blue += 1;
  }
  return { ink, red, blue };
}"""


def written_digits():
    """Digits by the writers held back for testing, as (label, strokes in a unit box)."""
    digits = [d for d in load_pendigits(Settings.from_env()) if d.writer in PEN_WRITERS["test"]]
    chosen = []
    for i in np.random.default_rng(11).choice(len(digits), WRITTEN, replace=False):
        points = np.concatenate(digits[i].strokes)
        low, span = points.min(axis=0), np.ptp(points, axis=0).max()
        chosen.append((digits[i].label, [((stroke - low) / span).tolist() for stroke in digits[i].strokes]))
    return chosen


def write(page, stroke):
    """Every point is a pointer event of the pad's: the hand of other tests waits for frames and is too slow."""
    page.evaluate(
        """(stroke) => {
          const pad = document.getElementById('pad');
          const mouse = { pointerId: 1, pointerType: 'mouse', button: 0, bubbles: true };
          const tell = (type, [clientX, clientY]) =>
            pad.dispatchEvent(new PointerEvent(type, { ...mouse, clientX, clientY }));
          tell('pointerdown', stroke[0]);
          for (const point of stroke) tell('pointermove', point);
          tell('pointerup', stroke.at(-1));
        }""",
        stroke,
    )


@needs_data
@pytest.mark.parametrize("where", ["server", "device"])
def test_digits_as_their_writers_wrote_them(visit, where):
    page = visit(width=500, height=900)  # the default model learnt from pens, though not from these writers'
    if where == "device":
        page.get_by_test_id("on-device").check()
        expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
    right = 0
    for label, strokes in written_digits():
        for stroke in place(page, strokes, size=0.6, at=(0.2, 0.2)):
            write(page, stroke)
        right += settled(page) == str(label)
        page.keyboard.press("Delete")
    print(f"{right} of {WRITTEN} read right on the {where}")
    assert right >= WRITTEN_RIGHT * WRITTEN


def test_the_eraser_takes_ink_away(visit):
    page = visit()
    draw(page, DIGITS[1])
    assert settled(page) == "1"
    before = page.evaluate(INK)["ink"]
    eraser = page.get_by_test_id("eraser")
    eraser.click()
    expect(eraser).to_have_attribute("aria-pressed", "true")
    draw(page, [[(-0.1, 0.5), (1.0, 0.5)]])
    until(page, lambda: 0 < page.evaluate(INK)["ink"] < before)
    settled(page)
    draw(page, [[(x, -0.1), (x, 1.1)] for x in np.linspace(0, 0.5, 8)])
    until(page, lambda: page.evaluate(INK)["ink"] == 0)
    expect(page.get_by_test_id("runner-up")).to_have_text("Nothing to read yet")
    for _ in range(9):
        page.get_by_test_id("undo").click()
    expect(page.get_by_test_id("digit")).to_have_text("1")
    page.get_by_test_id("pad").focus()
    page.keyboard.press("e")
    expect(eraser).to_have_attribute("aria-pressed", "false")


def pen(session, kind, point, **state):
    x, y = point
    held = {"button": "left", "buttons": int(kind != "mouseReleased"), "clickCount": 1, "force": 0.5, **state}
    session.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "pen", **held})


def test_once_a_pen_is_seen_the_hand_draws_nothing(visit):
    page = visit(has_touch=True)
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        where = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    [palm] = place(page, [[(0.8, 0.9), (0.9, 0.95)]])
    [stroke] = place(page, DIGITS[3])
    touch("touchStart", palm[0])
    touch("touchMove", palm[1])
    until(page, lambda: page.evaluate(INK)["ink"] > 0)
    pen(session, "mousePressed", stroke[0])  # what the palm began is taken back
    for point in stroke[1:]:
        pen(session, "mouseMoved", point)
    pen(session, "mouseReleased", stroke[-1])
    touch("touchEnd")
    assert settled(page) == "3"
    ink = page.evaluate(INK)["ink"]
    touch("touchStart", palm[0])
    touch("touchMove", palm[1])
    touch("touchEnd")
    assert page.evaluate(INK)["ink"] == ink
    page.get_by_test_id("undo").click()
    until(page, lambda: page.evaluate(INK)["ink"] == 0)
    expect(page.get_by_test_id("undo")).to_be_disabled()


def test_a_finger_after_a_pen_is_told_to_wait_and_then_draws(visit):
    page = visit(has_touch=True, before=lambda page: page.clock.install())
    session = page.context.new_cdp_session(page)

    def stroke_of_a_finger():
        [stroke] = place(page, [[(0.5, 0.1), (0.5, 0.5), (0.5, 0.9)]])
        for i, (x, y) in enumerate(stroke):
            session.send(
                "Input.dispatchTouchEvent",
                {"type": "touchMove" if i else "touchStart", "touchPoints": [{"x": x, "y": y, "id": 0}]},
            )
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    [dot] = place(page, [[(0.1, 0.1)]])
    pen(session, "mousePressed", dot[0])
    pen(session, "mouseReleased", dot[0])
    page.get_by_test_id("clear").click()
    page.clock.fast_forward(2_000)
    stroke_of_a_finger()
    expect(page.get_by_test_id("status")).to_have_text("Use the pen, or wait 10 seconds to draw with a finger")
    assert page.evaluate(INK)["ink"] == 0
    page.clock.fast_forward(10_000)
    stroke_of_a_finger()
    expect(page.get_by_test_id("digit")).to_have_text("1")
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))


def test_the_keyboard_draws(visit):
    page = visit()
    page.get_by_test_id("pad").focus()
    for key, times in [("Space", 1), ("ArrowDown", 12), ("Space", 1)]:
        for _ in range(times):
            page.keyboard.press(key)
    assert settled(page) == "1"
    heard = page.locator("#hand")
    expect(heard).to_have_text("Pen up")
    page.keyboard.press("Delete")
    expect(page.get_by_test_id("digit")).to_have_text("–")
    for key, times in [("ArrowUp", 12), ("ArrowLeft", 5), ("Space", 1), ("ArrowRight", 9)]:
        for _ in range(times):
            page.keyboard.press(key)
    expect(heard).to_have_text("Pen down")
    page.keyboard.down("ArrowLeft")  # two keys held together go across
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    page.keyboard.up("ArrowLeft")
    for _ in range(8):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert settled(page) == "7"


def test_nothing_is_lost_on_reload(visit):
    page = visit()
    draw(page, DIGITS[4])
    draw(page, [[(0.9, 0.9), (0.95, 0.95)]])
    page.get_by_test_id("undo").click()
    assert settled(page) == "4"
    page.get_by_label("Pen width").press("End")
    page.get_by_test_id("paper").click()
    ink = page.evaluate(INK)["ink"]
    page.reload()
    expect(page.get_by_test_id("digit")).to_have_text("4")
    assert page.evaluate(INK)["ink"] == pytest.approx(ink, rel=0.01)
    expect(page.get_by_test_id("redo")).to_be_enabled()
    expect(page.get_by_label("Pen width")).to_have_value("90")
    expect(page.get_by_test_id("paper")).to_have_attribute("aria-pressed", "true")
    page.get_by_test_id("undo").click()
    page.get_by_test_id("undo").click()
    expect(page.get_by_test_id("digit")).to_have_text("–")


def test_what_was_kept_wrongly_does_no_harm(visit):
    for kept in (
        "{",
        "{}",
        '{"strokes":[{"width":1,"points":[]}],"states":[[0]],"at":0}',
        '{"strokes":[],"states":[],"at":0}',
    ):
        # A page that is left saves its drawing last, so it is kept wrongly as the next one opens.
        keep = f"sessionStorage.setItem('inkdigits.drawing', {json.dumps(kept)})"
        page = visit(before=lambda page, keep=keep: page.add_init_script(keep))
        draw(page, DIGITS[0])
        assert settled(page) == "0"


def test_what_looks_like_no_digit_is_said_to_be_none(visit):
    page = visit()
    page.route(PREDICT, lambda route: route.fulfill(json=LETTER))
    draw(page, [[(0.5, 0.1), (0.5, 0.5)]])
    expect(page.get_by_test_id("confidence")).to_have_text("This does not look like a digit")
    expect(page.get_by_test_id("runner-up")).to_have_text("The closest digit is 4")


def test_why_colours_the_ink_that_decided(visit):
    page = visit(color_scheme="light")
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    assert page.evaluate(INK)["red"] == 0
    with page.expect_response(re.compile(r"/predict\?image=true&explain=true")):
        page.get_by_text("Why this digit").click()
    until(page, lambda: page.evaluate(INK)["red"] > 100)
    page.get_by_test_id("undo").click()
    until(page, lambda: page.evaluate(INK)["red"] > 0 or page.get_by_test_id("digit").inner_text() != "5")
    page.get_by_text("Why this digit").click()
    until(page, lambda: page.evaluate(INK)["red"] == 0)


def test_about_tells_the_model_and_a_curl_line_that_works(visit, client):
    page = visit()
    draw(page, DIGITS[2])
    assert settled(page) == "2"
    page.get_by_text("About").click()
    model = client.get("/model").json()
    expect(page.get_by_test_id("about")).to_contain_text(model["name"])
    expect(page.get_by_test_id("about")).to_contain_text(f"{model['inkdigits']}, {model['sha256'][:12]}")
    for each in (each for each in model["metrics"].values() if "n" in each):
        expect(page.get_by_test_id("about")).to_contain_text(f"{each['accuracy']:.2%} of {each['n']:,} ")
    card = page.get_by_role("link", name="Model card").evaluate("(link) => link.href")
    assert model["sha256"] in page.request.get(card).text()
    expect(page.get_by_test_id("curl")).to_contain_text("base64 -d | curl")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_test_id("copy").click()
    expect(page.get_by_test_id("copy")).to_have_text("Copied")
    line = page.evaluate("() => navigator.clipboard.readText()")
    said, address = re.fullmatch(r"echo (\S+) \| base64 -d \| curl .* --data-binary @- '(\S+)'", line).groups()
    assert client.post(address, content=base64.b64decode(said)).json()["digit"] == 2


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_axe_finds_nothing_wrong_in_any_state(visit, state):
    page = visit(height=844, reduced_motion="reduce", allow=COMPLAINT)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))
    state(page)
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 844})
        assert axe(page) == [], scheme


def test_one_can_draw_at_once(visit):
    page = visit()
    page.reload()
    ready = page.evaluate("() => performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    print(f"drawable after {ready:.0f} ms")
    draw(page, DIGITS[1])
    assert settled(page) == "1"
