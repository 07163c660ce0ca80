"""The page in a real browser, on the real server with the shipped model: drawing, and the answer that follows it."""

import json
import random
import re
from itertools import pairwise

import numpy as np
import pytest
from playwright.sync_api import expect

from support import browser
from support.browser import draw, place, until
from support.drawings import DIGITS

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

PREDICT = re.compile(r"/predict(\?|$)")
READ = re.compile(r"/read\?")
READY = re.compile("^Ready")
NO_DIGIT = "–"
SLOW_MS = 300  # milliseconds, longer than the page shows an answer to a drawing that has since grown
UNANSWERED = "Failed to load resource"  # what the browser itself says of a request that fails


def digit(page):
    return page.get_by_test_id("digit")


def status(page):
    return page.get_by_test_id("status")


def answer(winner, confidence=0.91, **more):
    rest = (1 - confidence) / 9
    probabilities = [confidence if each == winner else rest for each in range(10)]
    return json.dumps({"digit": winner, "confidence": confidence, "probabilities": probabilities, **more})


def ink_share(page):
    """Share of the pad's pixels that carry ink, once what was done to it is painted."""
    return page.evaluate(
        """async () => {
          await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          const pad = document.getElementById('pad');
          const { width, height } = pad;
          const copy = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
          copy.drawImage(pad, 0, 0);
          const { data } = copy.getImageData(0, 0, width, height);
          let ink = 0;
          for (let i = 3; i < data.length; i += 4) ink += data[i];
          return ink / 255 / width / height;
        }"""
    )


@pytest.mark.smoke
def test_reads_what_the_mouse_draws(visit):
    page = visit()
    bars = page.get_by_test_id("bars").get_by_role("listitem")
    expect(bars).to_have_count(10)
    for wanted, strokes in DIGITS.items():
        draw(page, strokes)
        expect(digit(page)).to_have_text(str(wanted))
        expect(page.get_by_test_id("confidence")).to_have_text(re.compile(r"[A-Z][a-z ]+ >?\d+(\.\d)?%"))
        expect(bars.nth(wanted)).to_have_class(re.compile("wins"))
        expect(status(page)).to_have_text(READY)
        page.get_by_test_id("clear").click()


def test_reads_any_size_anywhere(visit):
    page = visit()
    for size, at in [(0.16, (0.05, 0.04)), (0.9, (0.2, 0.05)), (0.3, (0.68, 0.66))]:
        draw(page, DIGITS[2], size=size, at=at)
        expect(digit(page)).to_have_text("2")
        page.get_by_test_id("clear").click()
        expect(digit(page)).to_have_text(NO_DIGIT)


def test_the_answer_comes_while_the_pen_is_down(visit):
    page = visit()
    first, *rest = place(page, DIGITS[3])[0]
    page.mouse.move(*first)
    page.mouse.down()
    for point in rest:
        page.mouse.move(*point)
    expect(digit(page)).to_have_text("3")
    page.mouse.up()
    expect(digit(page)).to_have_text("3")


def test_a_screen_reader_hears_the_answer(visit):
    page = visit()
    draw(page, DIGITS[4])
    heard = page.locator("[role=status]").filter(has_text=re.compile(r"^4\. [A-Z][a-z ]+, >?[\d.]+%\.$"))
    expect(heard).to_have_count(1)


def test_a_screen_reader_hears_what_the_tools_did(visit):
    """And no answer that is no longer there."""
    page = visit()
    draw(page, DIGITS[4])
    answer_heard = page.locator("[role=status]").filter(has_text=re.compile(r"^4\. "))
    expect(answer_heard).to_have_count(1)
    for press, heard, answers in (
        (lambda: page.get_by_test_id("clear").click(), "Cleared", 0),
        (lambda: page.get_by_test_id("undo").click(), "Undone", 1),
        (lambda: page.keyboard.press("Delete"), "Cleared", 0),
        (lambda: page.keyboard.press("Control+z"), "Undone", 1),
        (lambda: page.get_by_test_id("redo").click(), "Redone", 0),
    ):
        press()
        expect(page.locator("[role=status]").filter(has_text=re.compile(f"^{heard}$"))).to_have_count(1)
        expect(answer_heard).to_have_count(answers)


def test_predict_on_an_empty_pad_says_what_to_do_and_asks_nothing(visit):
    page = visit()
    expect(status(page)).to_have_text(READY)
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.get_by_test_id("predict").click()
    expect(status(page)).to_have_text("Draw a digit first")
    assert not requests
    draw(page, DIGITS[0])
    expect(digit(page)).to_have_text("0")
    expect(status(page)).to_have_text(READY)


def test_predict_asks_again(visit):
    page = visit()
    draw(page, DIGITS[7])
    expect(digit(page)).to_have_text("7")
    page.wait_for_timeout(SLOW_MS)
    with page.expect_response(PREDICT) as asked:
        page.get_by_test_id("predict").click()
    assert asked.value.json()["digit"] == 7
    assert asked.value.request.method == "POST"
    assert asked.value.request.headers["content-type"] == "image/png"


def test_clear_undo_and_redo(visit):
    page = visit()
    clear, undo, redo = (page.get_by_test_id(name) for name in ("clear", "undo", "redo"))
    for button in (clear, undo, redo):
        expect(button).to_be_disabled()
    draw(page, DIGITS[3])
    expect(digit(page)).to_have_text("3")
    three = ink_share(page)
    draw(page, [[(0.1, 0.1), (0.1, 0.9)], [(0.6, 0.1), (0.6, 0.9)]])
    assert ink_share(page) > 1.2 * three
    undo.click()
    undo.click()
    expect(digit(page)).to_have_text("3")
    assert ink_share(page) == three
    clear.click()
    expect(digit(page)).to_have_text(NO_DIGIT)
    expect(clear).to_be_disabled()
    assert ink_share(page) == 0
    undo.click()
    expect(digit(page)).to_have_text("3")
    redo.click()
    expect(digit(page)).to_have_text(NO_DIGIT)
    expect(redo).to_be_disabled()


def test_shortcuts(visit):
    page = visit()
    draw(page, DIGITS[8])
    expect(digit(page)).to_have_text("8")
    for keys, shown in [("Control+z", NO_DIGIT), ("Control+Shift+z", "8"), ("Delete", NO_DIGIT), ("Control+z", "8")]:
        page.keyboard.press(keys)
        expect(digit(page)).to_have_text(shown)
    page.keyboard.press("Control+z")
    page.keyboard.press("Enter")
    expect(status(page)).to_have_text("Draw a digit first")


def test_undo_follows_a_model(visit):
    """Against the plainest model there is: a list of states and a place in it."""
    page = visit()
    rng = random.Random(1)
    steps = rng.choices(["draw", "undo", "redo", "clear"], weights=[4, 3, 2, 1], k=300)
    seen = page.evaluate(
        """async (steps) => {
          const { Drawing } = await import('./strokes.js');
          const drawing = new Drawing();
          const point = (x) => ({ x, y: x, time: x, pressure: null });
          return steps.map((step, i) => {
            if (step === 'draw') { drawing.begin(i, point(i)); drawing.extend([point(i + 1)]); drawing.end(); }
            else drawing[step]();
            return [drawing.strokes.map((stroke) => stroke.width), drawing.canUndo, drawing.canRedo];
          });
        }""",
        steps,
    )
    states, at = [[]], 0
    for i, step in enumerate(steps):
        if step == "undo":
            at = max(0, at - 1)
        elif step == "redo":
            at = min(len(states) - 1, at + 1)
        elif step == "draw" or states[at]:
            states[at + 1 :] = [[*states[at], i] if step == "draw" else []]
            at += 1
        assert seen[i] == [states[at], at > 0, at < len(states) - 1]


def test_a_finger_draws_and_does_not_scroll(visit):
    page = visit(width=390, height=664, has_touch=True, is_mobile=True, device_scale_factor=2)
    hand = page.context.new_cdp_session(page)

    def touch(kind, *points):
        where = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": where})

    for stroke in place(page, DIGITS[4]):
        touch("touchStart", stroke[0])
        for before, after in pairwise(stroke):
            for t in np.linspace(0, 1, 8):
                touch("touchMove", tuple((1 - t) * np.array(before) + t * np.array(after)))
        touch("touchEnd")
    expect(digit(page)).to_have_text("4")
    assert page.evaluate("scrollY") == 0
    page.get_by_test_id("clear").tap()
    expect(digit(page)).to_have_text(NO_DIGIT)


def test_what_the_hand_did_between_two_frames_is_drawn(visit):
    """Against the same way in events of its own."""
    page = visit()
    page.get_by_label("Pen width").press("Home")
    inks = []
    for together in (True, False):
        page.evaluate(
            """(together) => {
              const pad = document.getElementById('pad');
              const { left, top, width } = pad.getBoundingClientRect();
              const event = (type, x, y, more) => new PointerEvent(type, {
                pointerId: 1, pointerType: 'mouse', button: 0, bubbles: true,
                clientX: left + x * width, clientY: top + y * width, ...more,
              });
              const way = Array.from({ length: 20 }, (_, i) => [0.2 + 0.03 * i, i % 2 ? 0.2 : 0.8]);
              const moves = way.map(([x, y]) => event('pointermove', x, y));
              const [x, y] = way.at(-1);
              pad.dispatchEvent(event('pointerdown', 0.2, 0.8));
              if (together) pad.dispatchEvent(event('pointermove', x, y, { coalescedEvents: moves }));
              else moves.forEach((move) => pad.dispatchEvent(move));
              pad.dispatchEvent(event('pointerup', x, y));
            }""",
            together,
        )
        inks.append(ink_share(page))
        page.get_by_test_id("clear").click()
    assert inks[0] == pytest.approx(inks[1], rel=0.02)


def test_a_second_finger_does_not_disturb_the_first(visit):
    page = visit(has_touch=True)
    hand = page.context.new_cdp_session(page)
    [stroke] = place(page, DIGITS[3])
    palm = {"x": stroke[0][0] + 200, "y": stroke[0][1] + 200, "id": 1}
    for i, (x, y) in enumerate(stroke):
        points = [{"x": x, "y": y, "id": 0}, *([palm] if i > 3 else [])]
        hand.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": points[:1]})
        if i == 3:
            hand.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [points[0], palm]})
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(digit(page)).to_have_text("3")
    page.get_by_test_id("undo").click()
    expect(digit(page)).to_have_text(NO_DIGIT)


def test_a_pen_that_is_pressed_draws_thicker(visit):
    page = visit()
    pen = page.context.new_cdp_session(page)
    inks = []
    for force in (0.15, 0.95):
        for stroke in place(page, DIGITS[7]):
            for i, (x, y) in enumerate([*stroke, stroke[-1]]):
                kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(stroke) else "mouseMoved"
                state = {"button": "left", "buttons": int(i < len(stroke)), "clickCount": 1, "force": force}
                pen.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, "pointerType": "pen", **state})
        expect(digit(page)).to_have_text("7")
        inks.append(ink_share(page))
        page.get_by_test_id("clear").click()
    assert inks[1] > 1.6 * inks[0]


def test_the_pen_width_can_be_set(visit):
    page = visit()
    inks = []
    for key in ("Home", "End"):
        page.get_by_label("Pen width").press(key)
        draw(page, DIGITS[2])
        expect(digit(page)).to_have_text("2")
        inks.append(ink_share(page))
        page.get_by_test_id("clear").click()
    assert inks[1] > 4 * inks[0]


def test_the_pad_is_sharp_and_keeps_the_drawing_when_it_is_resized(visit):
    page = visit(device_scale_factor=2)
    draw(page, DIGITS[5])
    before = ink_share(page)
    side = "(pad => [pad.width, pad.getBoundingClientRect().width])(document.getElementById('pad'))"
    for width, height in [(420, 800), (800, 420), (1280, 800)]:
        page.set_viewport_size({"width": width, "height": height})
        until(page, lambda: (pixels := page.evaluate(side)) and abs(pixels[0] - 2 * pixels[1]) <= 1)
        assert ink_share(page) == pytest.approx(before, rel=0.02)
    expect(digit(page)).to_have_text("5")


def test_what_the_network_saw_is_shown_on_request(visit):
    page = visit()
    draw(page, DIGITS[6])
    expect(digit(page)).to_have_text("6")
    with page.expect_response(re.compile(r"/predict\?image=true")) as asked:
        page.get_by_text("What the network saw").click()
    rows = np.array(asked.value.json()["image"])
    page.wait_for_function("() => !document.getElementById('seen').classList.contains('empty')")
    shown = page.evaluate(
        """() => {
          const { data } = document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28);
          return [...data].filter((_, i) => i % 4 === 3);
        }"""
    )
    assert np.abs(np.array(shown).reshape(28, 28) - rows).max() <= 1


def test_one_request_at_a_time_and_the_newest_wins(visit):
    page = visit()
    expect(status(page)).to_have_text(READY)
    held = []
    page.route(re.compile(r"/(predict|read)(\?|$)"), lambda route: held.append(route))
    one, rest = DIGITS[1], DIGITS[4]
    draw(page, one)
    page.wait_for_timeout(SLOW_MS)
    draw(page, rest)
    page.wait_for_timeout(SLOW_MS)
    assert len(held) == 1
    held[0].fulfill(body=answer(3), content_type="application/json")
    until(page, lambda: len(held) == 2)
    expect(digit(page)).to_have_text(NO_DIGIT)
    held[1].fulfill(body=answer(8), content_type="application/json")
    expect(digit(page)).to_have_text("8")
    until(page, lambda: len(held) == 3)
    assert READ.search(held[2].request.url)  # of strokes that may be several digits
    page.wait_for_timeout(SLOW_MS)
    assert len(held) == 3


def test_a_digit_does_not_wait_for_the_reading_of_its_strokes(visit):
    """Whatever that takes: what is drawn meanwhile ends it."""
    page = visit()
    expect(status(page)).to_have_text(READY)
    held, ended = [], []
    page.route(READ, lambda route: held.append(route))
    page.on("requestfailed", lambda request: ended.append(request))
    draw(page, DIGITS[4])
    expect(digit(page)).to_have_text("4")
    until(page, lambda: held)
    with page.expect_response(PREDICT):
        draw(page, [DIGITS[1][0]], size=0.2, at=(0.75, 0.7))
    assert ended == [held[0].request]
    page.get_by_test_id("clear").click()
    draw(page, DIGITS[7])
    expect(digit(page)).to_have_text("7")
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    expect(status(page)).to_have_text(READY)


@pytest.mark.parametrize("how", [404, 422, 429, 500, 503, "away", "not JSON"])
def test_a_digit_stands_though_its_strokes_cannot_be_read(visit, how):
    page = visit(allow=UNANSWERED)
    asked = []

    def refuse(route):
        asked.append(route)
        if how == "away":
            route.abort()
        else:
            route.fulfill(status=200 if how == "not JSON" else how, body="<html>")

    page.route(READ, refuse)
    draw(page, DIGITS[4])
    until(page, lambda: asked)
    expect(page.locator("#answer")).to_have_attribute("aria-busy", "false")
    page.wait_for_timeout(2 * SLOW_MS)
    expect(digit(page)).to_have_text("4")
    expect(page.get_by_test_id("confidence")).to_have_text(re.compile(r"[A-Z][a-z ]+ >?\d+(\.\d)?%"))
    expect(status(page)).to_have_text(READY)
    assert len(asked) == 1


@pytest.mark.parametrize("take_back", ["clear", "undo"])
def test_an_answer_to_what_is_gone_is_not_shown(visit, take_back):
    page = visit()
    expect(status(page)).to_have_text(READY)
    held = []
    page.route(PREDICT, lambda route: held.append(route))
    draw(page, [[(0.5, 0.5), (0.5, 0.5)]])
    page.wait_for_function("() => !document.getElementById('undo').disabled")
    until(page, lambda: held)
    page.get_by_test_id(take_back).click()
    held[0].fulfill(body=answer(3), content_type="application/json")
    page.wait_for_timeout(SLOW_MS)
    expect(digit(page)).to_have_text(NO_DIGIT)
    assert len(held) == 1


@pytest.mark.parametrize("failure", ["error", "away"])
def test_a_server_that_fails_in_mid_drawing_is_waited_for(visit, failure):
    page = visit(allow=UNANSWERED)
    draw(page, [DIGITS[4][0]])
    expect(digit(page)).not_to_have_text(NO_DIGIT)
    everything = re.compile("/(predict|ready)")
    if failure == "away":
        page.route(everything, lambda route: route.abort())
    else:
        problem = json.dumps({"title": "Internal Server Error", "status": 500, "detail": "it fell over"})
        page.route(PREDICT, lambda r: r.fulfill(status=500, body=problem, content_type="application/problem+json"))
    draw(page, DIGITS[4][1:])
    expect(status(page)).to_have_text(re.compile("not responding. Trying again"))
    expect(digit(page)).to_have_text(NO_DIGIT)
    page.unroute_all()
    expect(digit(page)).to_have_text("4")
    expect(status(page)).to_have_text(READY)


def test_a_server_that_dies_in_mid_drawing_and_comes_back(visit, start_server):
    server = start_server()
    page = visit(server=server.url, allow=UNANSWERED)
    draw(page, [DIGITS[4][0]])
    expect(digit(page)).not_to_have_text(NO_DIGIT)
    server.process.kill()
    server.process.wait()
    draw(page, DIGITS[4][1:])
    expect(status(page)).to_have_text(re.compile("not responding. Trying again"))
    start_server("--port", server.url.rpartition(":")[2])
    expect(digit(page)).to_have_text("4")
    expect(status(page)).to_have_text(READY)


def test_a_refused_drawing_says_why(visit):
    page = visit(allow=UNANSWERED)
    problem = json.dumps({"title": "Bad Request", "status": 400, "detail": "too many frogs"})
    page.route(PREDICT, lambda r: r.fulfill(status=400, body=problem, content_type="application/problem+json"))
    draw(page, DIGITS[2])
    expect(status(page)).to_have_text("Too many frogs.")
    page.unroute_all()
    page.get_by_test_id("predict").click()
    expect(digit(page)).to_have_text("2")
    expect(status(page)).to_have_text(READY)


def test_a_server_that_is_away_at_the_start_is_waited_for(visit):
    everything = re.compile("/(predict|ready|model)")
    page = visit(allow=UNANSWERED, before=lambda page: page.route(everything, lambda route: route.abort()))
    expect(status(page)).to_have_text(re.compile("not responding"))
    draw(page, DIGITS[9])
    page.unroute_all()
    expect(digit(page)).to_have_text("9")


def test_an_unsure_answer_names_the_runner_up(visit):
    page = visit()
    probabilities = [0.0] * 10
    probabilities[4], probabilities[9] = 0.52, 0.48
    unsure = json.dumps({"digit": 4, "confidence": 0.52, "probabilities": probabilities})
    page.route(PREDICT, lambda route: route.fulfill(body=unsure, content_type="application/json"))
    draw(page, DIGITS[4])
    expect(page.get_by_test_id("confidence")).to_have_text("Unsure 52%")
    expect(page.get_by_test_id("runner-up")).to_have_text("or 9, at 48%")


TRIANGLE = [[(0.5, 0.05), (0.95, 0.9), (0.05, 0.9), (0.5, 0.05)]]


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
@pytest.mark.parametrize("on_device", [False, True])
def test_what_is_no_digit_has_no_percentage(visit, size, on_device):
    page = visit(width=size[0], height=size[1])
    if on_device:
        page.get_by_test_id("on-device").check()
    draw(page, TRIANGLE)
    expect(page.get_by_test_id("confidence")).to_have_text("This does not look like a digit")
    expect(page.get_by_test_id("runner-up")).to_have_text(re.compile(r"^The closest digit is \d$"))
    spoken = re.compile(r"^This does not look like a digit\. The closest digit is \d\.$")
    expect(page.locator("[role=status]").filter(has_text=spoken)).to_have_count(1)
    assert "%" not in page.locator("#answer").inner_text()
    assert "%" not in page.locator("#answer").aria_snapshot()
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => {})))")
    colours = page.evaluate(
        """() => [...document.querySelectorAll('#bars .fill')].map((fill) => getComputedStyle(fill).backgroundColor)"""
    )
    line = page.evaluate("getComputedStyle(document.querySelector('details')).borderBottomColor")
    assert {*colours} == {line}  # as faint as a rule, the likeliest as all others

    page.get_by_test_id("clear").click()
    draw(page, DIGITS[4])
    expect(digit(page)).to_have_text("4")
    expect(page.get_by_test_id("confidence")).to_have_text(re.compile("%$"))
    assert page.get_by_test_id("bars").get_by_role("listitem").nth(4).inner_text().endswith("%")


def test_ink_beside_the_pad_is_not_read(visit):
    everything = re.compile("/(ready|vendor)")
    page = visit(allow=UNANSWERED, before=lambda page: page.route(everything, lambda route: route.abort()))
    expect(status(page)).to_have_text(re.compile("not responding"))
    page.evaluate(
        """() => {
          const pad = document.getElementById('pad');
          pad.setPointerCapture = () => {};
          const at = { clientX: -400, clientY: -400, pointerId: 5, button: 0, bubbles: true };
          pad.dispatchEvent(new PointerEvent('pointerdown', at));
          pad.dispatchEvent(new PointerEvent('pointerup', at));
        }"""
    )
    page.unroute_all()  # a server that is back is seen though there is nothing to ask it
    expect(page.get_by_test_id("runner-up")).to_have_text("Nothing to read yet")
    expect(status(page)).to_have_text(READY)
    expect(digit(page)).to_have_text(NO_DIGIT)


def test_the_page_works_under_a_path(visit, live_server):
    root = live_server.rstrip("/")

    def from_root(route):
        route.fulfill(response=route.fetch(url=route.request.url.replace("/some/where/", "/")))

    page = visit("/some/where/", before=lambda page: page.route(f"{root}/some/where/**", from_root))
    draw(page, DIGITS[0])
    expect(digit(page)).to_have_text("0")
    assert page.evaluate("performance.getEntriesByType('resource').every((e) => e.name.includes('/some/where/'))")


def test_another_server_can_be_named(visit, live_server):
    def elsewhere(route):
        route.fulfill(body=answer(6, name="six", status="ready"), content_type="application/json")

    page = visit("/?server=/elsewhere", before=lambda page: page.route("**/elsewhere/*", elsewhere))
    draw(page, DIGITS[1])
    expect(digit(page)).to_have_text("6")


def test_a_server_address_that_cannot_be_is_refused(visit):
    page = visit("/?server=ftp://example.org")
    expect(status(page)).to_have_text(re.compile("must start with http or https: ftp://example.org"))
