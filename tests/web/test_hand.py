"""Corrections on the page, in a real browser: answers follow the hand, as in Python; the server keeps them."""

import base64
import io
import json
import re

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from inkdigits import Hand, Recognizer
from inkdigits.feedback.queries import count, every
from inkdigits.feedback.store import Store

from support import browser
from support.browser import SHIFTS, axe, draw, settled, until
from support.drawings import DIGITS, picture
from support.files import encode
from support.states import LETTER, PREDICT, READ, write_number

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

ON_DEVICE = re.compile("^Ready on this device")
FAILED = "Failed to load resource"  # what the browser itself says of a request that fails
SIZES = (0.4, 0.5, 0.6, 0.7)  # of the pad, of drawings that differ
CLOSE = 1e-3  # between probabilities here and in Python

ADAPT = """async ([hand, pictures]) => {
  const { DeviceBackend } = await import('./device-backend.js');
  const { Profile } = await import('./hand/profile.js');
  const device = new DeviceBackend();
  const profile = new Profile();
  const network = await device.load();
  await profile.use(network);
  await profile.import(new Blob([hand]));
  const { rightBefore, rightAfter, isOn } = network.hand;
  const answers = [];
  for (const picture of pictures) {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    answers.push((await device.predict(new Blob([bytes]))).probabilities);
  }
  return { rightBefore, rightAfter, isOn, answers, exported: JSON.parse(await profile.export().text()) };
}"""


def drawn(digit, i):
    return picture(digit, 280, ink_size=110 + 40 * (i % 4), pen=6 + 3 * (i % 5))


def hand_of(recognizer, *labels):
    """A hand: (digit that is drawn, label) pairs, five of each."""
    hand = Hand()
    for i in range(5):
        for digit, label in labels:
            hand.add(recognizer.predict(drawn(digit, i)).image, label)
    return hand


@pytest.mark.parametrize(("labels", "is_on"), [([(7, 1), (2, 2), (8, None)], True), ([(3, 3), (5, 5)], False)])
def test_it_adapts_as_python_does(visit, recognizer, labels, is_on):
    hand = hand_of(recognizer, *labels)
    adapted = Recognizer(recognizer.model.path, hand=hand)
    files = [encode(drawn(digit, 7)) for digit in range(10)]
    pictures = [base64.b64encode(file).decode() for file in files]
    found = visit().evaluate(ADAPT, [json.dumps(hand.to_dict()), pictures])
    expected = adapted.adaptation
    assert expected.is_on == found["isOn"] == is_on
    assert [found["rightBefore"], found["rightAfter"]] == [expected.right_before, expected.right_after]
    assert found["exported"] == hand.to_dict()
    for file, probabilities in zip(files, found["answers"], strict=True):
        assert probabilities == pytest.approx(adapted.predict(file).probabilities, abs=CLOSE)


def correct(page, key):
    page.get_by_test_id("wrong").click()
    expect(page.get_by_test_id("keypad")).to_be_visible()
    page.keyboard.press(key)


def clear(page):
    page.get_by_test_id("clear").click()
    expect(page.get_by_test_id("digit")).to_have_text("–")


def seven(page, i):
    draw(page, DIGITS[7], size=SIZES[i % 4], at=(0.1 + 0.05 * (i % 5), 0.15))
    settled(page)


def on_device(page):
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)


def open_hand(page):
    page.get_by_test_id("hand-panel").locator("summary").click()


@pytest.fixture
def adapted(visit):
    """A page where three 7s were corrected to 1, and the user chose that answers follow."""
    page = visit()
    on_device(page)
    for i in range(3):
        seven(page, i)
        correct(page, "1")
        if i == 0:
            page.get_by_test_id("choose-hand").check()
            page.get_by_role("button", name="Save").click()
        expect(page.get_by_test_id("correction")).to_have_text("Noted: 1")
        expect(page.get_by_test_id("digit")).to_have_text("1")
        clear(page)
    expect(page.get_by_test_id("correction")).to_have_text("Adapted to your hand, 3 corrections")
    return page


def test_answers_follow_the_hand_until_it_is_switched_off_or_erased(adapted, tmp_path):
    page = adapted
    seven(page, 3)
    expect(page.get_by_test_id("digit")).to_have_text("1")
    page.reload()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    expect(page.get_by_test_id("digit")).to_have_text("1")
    clear(page)
    for digit in (0, 2, 4, 8):
        draw(page, DIGITS[digit])
        assert settled(page) == str(digit)
        clear(page)
    seven(page, 3)
    open_hand(page)
    expect(page.get_by_test_id("hand-state")).to_have_text("Adapted to your hand, 3 corrections")
    page.get_by_test_id("hand-on").uncheck()
    expect(page.get_by_test_id("digit")).to_have_text("7")
    expect(page.get_by_test_id("hand-state")).to_have_text("Off, 3 corrections kept")
    page.get_by_test_id("hand-on").check()
    expect(page.get_by_test_id("digit")).to_have_text("1")

    with page.expect_download() as download:
        page.get_by_test_id("hand-export").click()
    assert download.value.suggested_filename == "inkdigits-hand.json"
    path = tmp_path / "hand.json"
    download.value.save_as(path)
    assert [each.label for each in Hand.load(path).corrections] == [1, 1, 1]
    assert Recognizer(hand=Hand.load(path)).predict(drawn(7, 2)).digit == 1

    page.get_by_test_id("hand-erase").click()
    expect(page.get_by_test_id("hand-state")).to_have_text("All corrections are erased")
    page.get_by_test_id("predict").click()
    expect(page.get_by_test_id("digit")).to_have_text("7")
    expect(page.get_by_test_id("hand-export")).to_be_disabled()
    page.get_by_test_id("hand-import").set_input_files(path)
    expect(page.get_by_test_id("hand-state")).to_have_text("Adapted to your hand, 3 corrections")
    page.get_by_test_id("predict").click()
    expect(page.get_by_test_id("digit")).to_have_text("1")
    page.get_by_test_id("hand-import").set_input_files({"name": "a.json", "mimeType": "text/plain", "buffer": b"[1]"})
    expect(page.get_by_test_id("hand-state")).to_have_text(re.compile("^This file holds no corrections"))


def test_it_is_made_anew_when_the_model_changes(adapted):
    page = adapted
    page.evaluate(
        """() => new Promise((resolve) => {
          indexedDB.open('inkdigits').onsuccess = ({ target }) => {
            const store = target.result.transaction('corrections', 'readwrite').objectStore('corrections');
            store.getAll().onsuccess = ({ target: { result } }) => {
              for (const each of result) {
                const features = each.features.map((row) => row.map(() => 0));
                store.put({ ...each, model: 'of another model', features });
              }
            };
            store.transaction.oncomplete = resolve;
          };
        })"""
    )
    page.reload()
    expect(page.get_by_test_id("correction")).to_have_text("Adapted to your hand, 3 corrections")
    seven(page, 3)
    expect(page.get_by_test_id("digit")).to_have_text("1")


def test_a_number_follows_the_hand(adapted):
    page = adapted
    page.get_by_test_id("pen-width").fill("24")
    write_number(page, "7")
    expect(page.get_by_test_id("digit")).to_have_text("1")


def test_a_server_reads_as_before(adapted):
    page = adapted
    page.get_by_test_id("on-device").uncheck()
    seven(page, 3)
    expect(page.get_by_test_id("digit")).to_have_text("7")
    expect(page.get_by_test_id("correction")).to_have_text("")


def test_a_correction_is_heard_and_can_be_undone(visit):
    page = visit(before=lambda page: page.add_init_script(f"({SHIFTS})()"))
    heard = page.locator("#hand")
    wrong, keypad = page.get_by_test_id("wrong"), page.get_by_test_id("keypad")
    expect(wrong).to_be_disabled()
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    page.keyboard.press("w")
    expect(keypad).to_be_focused()
    expect(keypad).to_have_accessible_name("It was …")
    page.keyboard.press("Escape")
    expect(keypad).to_be_hidden()
    expect(wrong).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("3")
    expect(heard).to_have_text("Noted: 3")
    expect(page.get_by_test_id("digit")).to_have_text("3")
    expect(page.get_by_test_id("confidence")).to_have_text("Corrected")
    expect(page.get_by_test_id("runner-up")).to_have_text("It was read as 5")
    page.get_by_role("button", name="Neither").click()
    page.get_by_test_id("undo-correction").click()
    expect(heard).to_have_text("Correction undone")
    expect(page.get_by_test_id("digit")).to_have_text("5")
    expect(page.get_by_test_id("confidence")).to_contain_text("%")
    # The question comes once.
    correct(page, "n")
    expect(heard).to_have_text("Noted: not a digit")
    expect(page.get_by_test_id("runner-up")).to_have_text("It was read as 5")
    expect(page.get_by_test_id("choices")).to_be_hidden()
    page.get_by_test_id("bars").locator("li").nth(6).click()
    expect(page.get_by_test_id("digit")).to_have_text("6")
    page.get_by_test_id("predict").click()
    expect(page.get_by_test_id("digit")).to_have_text("5")
    page.wait_for_timeout(100)
    assert page.evaluate("window.shifts") == []


def test_what_was_rejected_can_be_corrected(visit):
    page = visit()
    page.route(PREDICT, lambda route: route.fulfill(json=LETTER))
    draw(page, DIGITS[4])
    expect(page.get_by_test_id("confidence")).to_have_text("This does not look like a digit")
    correct(page, "4")
    expect(page.get_by_test_id("digit")).to_have_text("4")
    expect(page.get_by_test_id("runner-up")).to_have_text("It was rejected")


def test_right_answers_count_too(adapted):
    page = adapted
    draw(page, DIGITS[2])
    assert settled(page) == "2"
    page.get_by_test_id("right").click()
    expect(page.get_by_test_id("correction")).to_have_text("Noted: 2")
    expect(page.get_by_test_id("right")).to_be_hidden()
    clear(page)
    expect(page.get_by_test_id("correction")).to_have_text("Adapted to your hand, 4 corrections")
    page.get_by_test_id("on-device").uncheck()


def test_a_model_that_cannot_adapt_says_so(visit, start_server):
    page = visit(server=start_server("--model", "lenet").url)
    on_device(page)
    open_hand(page)
    expect(page.get_by_test_id("hand-state")).to_have_text("The model on this device cannot adapt to a hand.")
    expect(page.get_by_test_id("hand-on")).to_be_disabled()
    draw(page, DIGITS[7])
    assert settled(page) == "7"


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (667, 331), (1280, 800)])
def test_keys_are_large_and_inside(visit, size):
    width, height = size
    page = visit(width=width, height=height, has_touch=True)
    draw(page, DIGITS[5])
    settled(page)
    page.get_by_test_id("wrong").tap()
    keys = page.get_by_test_id("keypad").get_by_role("button")
    expect(keys).to_have_count(12)
    boxes = [key.bounding_box() for key in keys.all()]
    assert min(box["height"] for box in boxes) >= 43.9
    assert min(box["width"] for box in boxes) >= 33
    answer = page.locator("#answer").bounding_box()
    for box in boxes:
        assert box["x"] >= answer["x"] - 1 and box["x"] + box["width"] <= answer["x"] + answer["width"] + 1
        assert box["y"] + box["height"] <= height
    assert not axe(page)
    keys.get_by_text("8").tap()
    expect(page.get_by_test_id("digit")).to_have_text("8")


class FakeStore:
    """A stand-in for a server that keeps corrections: ``POST`` and ``DELETE /feedback``, and ids of answers."""

    def __init__(self, page, audit=False):
        self.kept, self.bodies, self.removed, self.failing, self.audit = {}, [], [], [], audit
        page.route(re.compile(r"/model$"), self.model)
        page.route(PREDICT, self.predict)
        page.route(READ, self.predict)
        page.route(re.compile(r"/feedback(/|$)"), self.feedback)

    def model(self, route):
        route.fulfill(json={**route.fetch().json(), "feedback": True})

    def predict(self, route):
        url = route.request.url
        answer = route.fetch(url=re.sub(r"[?&]feedback=true", "", url)).json()
        if "feedback=true" in url:
            answer |= {"prediction_id": f"of {answer.get('digit', answer.get('text'))}", "audit": self.audit}
        route.fulfill(json=answer)

    def feedback(self, route):
        request = route.request
        if self.failing:
            failure = self.failing.pop(0)
            if failure == "lost":  # it arrived, but the answer did not
                self.keep(request.post_data_json)
            return route.abort() if isinstance(failure, str) else route.fulfill(status=failure, json={"detail": "no"})
        if request.method == "DELETE":
            key = next((key for key, id in self.kept.items() if request.url.endswith(f"/{id}")), None)
            self.kept.pop(key, None)
            self.removed.append(key)
            return route.fulfill(status=204 if key else 404)
        body = request.post_data_json
        status = 200 if body["key"] in self.kept else 201
        return route.fulfill(status=status, json={"id": self.keep(body), "status": "pending"})

    def keep(self, body):
        self.bodies.append(body)
        return self.kept.setdefault(body["key"], f"id-{len(self.kept)}")


def consenting(visit, allow=None, **options):
    """A page and a store; a 5 was drawn and corrected to 3, and the user agreed."""
    stores = []
    page = visit(before=lambda page: stores.append(FakeStore(page, **options)), allow=allow)
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    correct(page, "3")
    expect(page.get_by_text("The server keeps the picture and your label to improve the model").last).to_be_visible()
    page.get_by_test_id("choose-feedback").check()
    page.get_by_role("button", name="Save").click()
    return page, stores[0]


def test_the_server_gets_what_the_user_agreed_to_and_once(visit):
    page, store = consenting(visit)
    until(page, lambda: store.kept)
    [body] = store.bodies
    assert {name: body[name] for name in body.keys() - {"key", "image"}} == {
        "consent": True,
        "kind": "corrected",
        "label": "3",
        "reading": "digit",
        "source": "page",
    }
    assert re.fullmatch("[0-9a-f]{32}", body["key"])
    with Image.open(io.BytesIO(base64.b64decode(body["image"].partition(",")[2]))) as image:
        assert Recognizer().predict(image).digit == 5
    clear(page)
    draw(page, DIGITS[2])
    assert settled(page) == "2"
    correct(page, "2")
    until(page, lambda: len(store.bodies) == 2)
    assert (store.bodies[1]["kind"], store.bodies[1]["prediction_id"]) == ("confirmed", "of 2")
    correct(page, "n")
    until(page, lambda: len(store.bodies) == 3)
    assert (store.bodies[2]["kind"], store.bodies[2]["label"]) == ("corrected", "")
    # Taken back: gone from the server.
    page.get_by_test_id("undo-correction").click()
    until(page, lambda: store.removed == [store.bodies[2]["key"]])
    page.reload()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))
    page.wait_for_timeout(300)
    assert len(store.bodies) == 3
    # Erased: all of it.
    open_hand(page)
    page.get_by_test_id("hand-erase").click()
    until(page, lambda: len(store.removed) == 3)
    assert store.kept == {}


def test_nothing_is_sent_without_consent_or_after_it_is_taken_back(visit):
    stores = []
    page = visit(before=lambda page: stores.append(FakeStore(page)))
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    correct(page, "3")
    page.get_by_role("button", name="Neither").click()
    correct(page, "6")
    expect(page.get_by_test_id("correction")).to_have_text("Noted: 6")
    page.wait_for_timeout(200)
    assert stores[0].bodies == []
    open_hand(page)
    page.get_by_test_id("feedback-on").check()
    correct(page, "8")
    until(page, lambda: len(stores[0].bodies) == 1)
    page.get_by_test_id("feedback-on").uncheck()
    correct(page, "9")
    page.wait_for_timeout(300)
    assert [body["label"] for body in stores[0].bodies] == ["8"]


@pytest.mark.parametrize("failure", ["away", "lost", 503, 429])
def test_what_cannot_be_sent_waits_and_arrives_once(visit, failure):
    stores = []

    def prepare(page):
        stores.append(FakeStore(page))
        stores[0].failing = [failure]

    page = visit(before=prepare, allow=FAILED)
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    correct(page, "3")
    page.get_by_test_id("choose-feedback").check()
    page.get_by_role("button", name="Save").click()
    until(page, lambda: not stores[0].failing)
    page.wait_for_timeout(100)
    assert len(stores[0].kept) == (failure == "lost")
    page.reload()  # what waits is sent at the next visit, or when the network is back
    until(page, lambda: len(stores[0].kept) == 1 and len(stores[0].bodies) == 1 + (failure == "lost"))
    assert len({body["key"] for body in stores[0].bodies}) == 1
    page.evaluate("() => dispatchEvent(new Event('online'))")
    page.wait_for_timeout(200)
    assert len(stores[0].bodies) == 1 + (failure == "lost")


def test_an_undone_correction_whose_answer_was_lost_is_removed(visit):
    stores = []

    def prepare(page):
        stores.append(FakeStore(page))
        stores[0].failing = ["lost"]

    page = visit(before=prepare, allow=FAILED)
    draw(page, DIGITS[5])
    settled(page)
    correct(page, "3")
    page.get_by_test_id("choose-feedback").check()
    page.get_by_role("button", name="Save").click()
    until(page, lambda: stores[0].kept)
    page.get_by_test_id("undo-correction").click()
    until(page, lambda: stores[0].removed)
    assert stores[0].kept == {}


def test_an_expired_answer_is_sent_by_its_picture_and_a_refusal_is_told(visit):
    page, store = consenting(visit, allow=FAILED)
    until(page, lambda: store.kept)
    clear(page)
    draw(page, DIGITS[2])
    settled(page)
    store.failing = [410]
    correct(page, "4")
    until(page, lambda: len(store.bodies) == 2)
    assert "prediction_id" not in store.bodies[1]
    store.failing = [422]
    correct(page, "6")
    expect(page.get_by_test_id("correction")).to_have_text("The server did not take the correction: no")


def test_the_server_may_ask_if_an_answer_is_right(visit):
    page, store = consenting(visit, audit=True)
    until(page, lambda: store.kept)
    clear(page)
    draw(page, DIGITS[2])
    settled(page)
    expect(page.get_by_test_id("correction")).to_have_text("Is this right?")
    page.get_by_test_id("right").click()
    until(page, lambda: len(store.bodies) == 2)
    assert (store.bodies[1]["kind"], store.bodies[1]["label"]) == ("confirmed", "2")


def test_a_number_is_corrected_digit_by_digit(visit):
    page, store = consenting(visit)
    clear(page)
    page.get_by_test_id("pen-width").fill("24")
    write_number(page, "2048")
    expect(page.get_by_test_id("numbers")).to_have_text("2048")
    page.get_by_test_id("wrong").click()
    field = page.get_by_test_id("number-field")
    expect(field).to_have_value("2048")
    marks = page.locator(".mark-button")
    expect(marks).to_have_count(4)
    expect(marks.nth(2)).to_have_accessible_name("Correct 4, 3 of 4")
    assert not axe(page)
    marks.nth(2).click()
    page.keyboard.press("9")
    expect(field).to_have_value("2098")
    page.keyboard.press("Backspace")  # edits the number, and does not clear the pad
    page.keyboard.press("9")
    page.get_by_role("button", name="Done").click()
    expect(page.get_by_test_id("numbers")).to_have_text("2098")
    expect(page.get_by_test_id("numbers-confidence")).to_have_text("Corrected")
    until(page, lambda: len(store.bodies) == 2)
    body = store.bodies[1]
    assert (body["label"], body["reading"], body["prediction_id"]) == ("2098", "number", "of 2048")
    strokes = [np.array(stroke) for stroke in body["strokes"]]  # what was read, as ids hold for nothing else
    assert Recognizer().read(strokes).text == "2048"
    page.get_by_test_id("undo-correction").click()
    expect(page.get_by_test_id("numbers")).to_have_text("2048")
    until(page, lambda: len(store.removed) == 1)
    page.get_by_test_id("wrong").click()
    page.get_by_role("button", name="Not a number").click()
    expect(page.get_by_test_id("correction")).to_have_text("Noted: not a number")
    until(page, lambda: len(store.bodies) == 3)
    assert store.bodies[2]["label"] == ""


def test_a_server_s_store_keeps_corrected_digits_and_numbers(visit, start_server, tmp_path):
    path = tmp_path / "feedback.db"
    page = visit(server=start_server("--feedback", str(path)).url)
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    correct(page, "3")
    page.get_by_test_id("choose-feedback").check()
    page.get_by_role("button", name="Save").click()
    store = Store(str(path))
    until(page, lambda: sum(count(store.engine).values()) == 1)
    clear(page)
    page.get_by_test_id("pen-width").fill("24")
    write_number(page, "2048")
    expect(page.get_by_test_id("numbers")).to_have_text("2048")
    page.get_by_test_id("wrong").click()
    page.locator(".mark-button").nth(2).click()
    page.keyboard.press("9")
    page.get_by_role("button", name="Done").click()
    until(page, lambda: sum(count(store.engine).values()) == 2)
    digit, number = every(store.engine)
    assert [(digit.text, digit.label), (number.text, number.label)] == [("5", "3"), ("2048", "2098")]
    page.get_by_test_id("undo-correction").click()
    until(page, lambda: sum(count(store.engine).values()) == 1)
    store.close()


def test_a_corrected_digit_of_a_number_joins_the_hand(adapted):
    page = adapted
    clear_width = page.get_by_test_id("pen-width")
    clear_width.fill("24")
    write_number(page, "2048")
    expect(page.get_by_test_id("numbers")).to_have_text("2048")
    page.get_by_test_id("wrong").click()
    page.locator(".mark-button").nth(3).click()
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.get_by_test_id("hand-panel").locator("summary").click()
    expect(page.get_by_test_id("hand-state")).to_contain_text("4 corrections")
    with page.expect_download() as download:
        page.get_by_test_id("hand-export").click()
    last = json.loads(download.value.path().read_text())["corrections"][-1]
    assert last["label"] == 3
    image = np.frombuffer(base64.b64decode(last["image"]), np.uint8).reshape(28, 28)
    logits = Recognizer().logits(image.astype(np.float32)[None, None] / 255)
    assert logits[0, :10].argmax() == 8  # the ink of the 8, and of nothing else


def test_a_page_without_a_server_asks_of_the_hand_alone(visit, live_server):
    page = visit(path="/?server=none")
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    draw(page, DIGITS[5])
    assert settled(page) == "5"
    correct(page, "3")
    expect(page.get_by_test_id("choose-hand")).to_be_visible()
    expect(page.get_by_test_id("choose-feedback")).to_have_count(0)
    assert not axe(page)
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("choices")).to_be_hidden()
    assert httpx.get(f"{live_server}/model").status_code == 200
