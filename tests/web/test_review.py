"""The review page in a real browser: by keyboard, by touch, blind, and in the dark."""

import hashlib
import os
import re
from base64 import b64encode

import numpy as np
import pytest
from playwright.sync_api import expect
from sqlalchemy import delete, select

from inkdigits.feedback.answers import Answer
from inkdigits.feedback.database import writing
from inkdigits.feedback.queries import every
from inkdigits.feedback.store import Store
from inkdigits.feedback.submission import STROKES, Original, Submission
from inkdigits.feedback.tables import Picture, Review

from support import browser
from support.browser import axe
from support.corrections import MODEL, answer, submission
from support.drawings import picture
from support.files import encode
from support.servers import Server

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

KEY = "a-reviewer's-key"
SHOTS = os.environ.get("INKDIGITS_SHOTS")  # a folder, to look at


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("review") / "feedback.db"
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    running = Server("--feedback", str(path), INKDIGITS_REVIEW_KEYS=hashed)
    running.store = Store(str(path))
    yield running
    running.store.close()
    printed = running.stop()
    running.close()
    assert "Traceback" not in printed, printed


@pytest.fixture
def store(server):
    with writing(server.store.engine) as connection:
        connection.execute(delete(Picture))
    return server.store


@pytest.fixture
def seen(recognizer):
    """What the network sees of a drawn digit."""

    def seen(digit):
        return np.rint(recognizer.predict(picture(digit, 160)).image * 255).astype(np.uint8).tobytes()

    return seen


def number(said, label, strokes):
    details = {"text": said, "numbers": [{"text": said, "confidence": 0.8, "box": [0, 0, 9, 9], "characters": []}]}
    of = Answer("number", said, 0.8, details, None, MODEL, answer().at, os.urandom(16).hex(), os.urandom(16).hex())
    original = Original(strokes, STROKES)
    return Submission(os.urandom(16).hex(), "b" * 64, "corrected", label, of, original, source="page")


@pytest.fixture
def enter(visit, server):
    """Opens the page as a reviewer does."""

    def enter(queue="least-sure", name="Ada", **options):
        page = visit("/review", server=server.url, **options)
        page.get_by_label("Your name").fill(name)
        page.get_by_label("Review key").fill(KEY)
        page.keyboard.press("Enter")
        page.get_by_test_id(f"queue-{queue}").click()
        expect(page.get_by_test_id(f"queue-{queue}")).to_have_attribute("aria-pressed", "true")
        return page

    return enter


def statuses(store):
    return [(each.status, each.final) for each in every(store.engine)]


def shoot(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png")


def test_a_review_by_keys(enter, store, seen):
    store.add([submission("1", answer(7, confidence=0.5 + i / 100, seen=seen(7))) for i in range(5)][:1])
    store.add([submission(str(d), answer(8, confidence=0.6 + d / 100, seen=seen(d))) for d in (2, 3, 4, 5)])
    page = enter()
    expect(page.get_by_test_id("label")).to_have_text("1")
    expect(page.get_by_test_id("answer")).to_have_text("7")
    page.keyboard.press("7")
    expect(page.get_by_test_id("message")).to_have_text("Relabeled as 7.")
    expect(page.get_by_test_id("label")).to_have_text("2")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("label")).to_have_text("3")
    page.keyboard.press("Backspace")
    expect(page.get_by_test_id("label")).to_have_text("4")
    page.keyboard.press("n")
    expect(page.get_by_test_id("message")).to_have_text("Relabeled as not a digit.")
    expect(page.get_by_test_id("label")).to_have_text("5")
    page.keyboard.press("s")
    expect(page.get_by_test_id("empty")).to_have_text("Nothing is left in this queue")
    assert statuses(store) == [
        ("relabeled", "7"), ("accepted", "2"), ("rejected", None), ("relabeled", ""), ("pending", None),
    ]  # fmt: skip
    for _ in range(3):
        page.keyboard.press("u")
    expect(page.get_by_test_id("label")).to_have_text("3")
    expect(page.get_by_test_id("message")).to_have_text("Taken back")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("label")).to_have_text("4")
    expect(page.get_by_test_id("progress")).to_contain_text("2 waiting, 0 held, 2 accepted, 1 relabeled, 0 rejected")
    assert [status for status, _ in statuses(store)] == ["relabeled", "accepted", "accepted", "pending", "pending"]
    with store.engine.connect() as connection:
        assert set(connection.execute(select(Review.reviewer)).scalars()) == {"Ada"}


def test_the_audit_sample_is_shown_without_the_answer(enter, store, seen):
    store.add([submission("1", answer(7, confidence=0.6, seen=seen(7), audit=True))])
    page = enter("audit")
    expect(page.get_by_test_id("blind")).to_be_visible()
    expect(page.get_by_test_id("seen")).to_be_visible()
    for name in ("label", "answer"):
        expect(page.get_by_test_id(name)).to_be_hidden()
        assert page.get_by_test_id(name).inner_text() == ""
    expect(page.get_by_test_id("accept")).to_be_disabled()
    page.keyboard.press("Enter")
    assert statuses(store) == [("pending", None)]
    shoot(page, "blind")
    page.keyboard.press("7")
    expect(page.get_by_test_id("message")).to_have_text("Relabeled as 7. It was sent as 1, and read as 7.")
    assert statuses(store) == [("relabeled", "7")]


def test_a_group_of_duplicates_is_accepted_by_one_key(enter, store, seen):
    look = seen(3)
    store.add([submission("3", answer(8, seen=look)) for _ in range(5)])
    page = enter("duplicates")
    expect(page.get_by_test_id("group").locator("li")).to_have_count(5)
    shoot(page, "group")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("message")).to_have_text("Accepted as 3, 5 together.")
    assert statuses(store) == [("accepted", "3")] * 5
    page.keyboard.press("u")
    expect(page.get_by_test_id("group")).to_be_visible()
    assert {status for status, _ in statuses(store)} == {"pending", "held"}
    store.add([submission("8", answer(8, seen=look), kind="confirmed")])
    page.get_by_test_id("queue-duplicates").click()
    expect(page.get_by_test_id("group").locator("li")).to_have_count(6)
    expect(page.get_by_text("The labels differ: type the right one")).to_be_visible()
    expect(page.get_by_test_id("accept")).to_be_disabled()
    page.keyboard.press("3")
    expect(page.get_by_test_id("message")).to_have_text(re.compile("6 together"))
    assert statuses(store) == [("accepted", "3")] * 5 + [("relabeled", "3")]


def test_a_number_is_typed(enter, store):
    strokes = b'{"strokes": [[[0, 0], [40, 0], [15, 60]], [[80, 0], [80, 60]], [[100, 30]]]}'
    store.add([number("11", "77", strokes), number("11", "71", strokes)])
    page = enter("least-sure")
    expect(page.get_by_test_id("label")).to_have_text("77")
    expect(page.get_by_label("The drawing")).to_be_visible()
    shoot(page, "number")
    page.keyboard.type("71")
    expect(page.get_by_test_id("text")).to_have_value("71")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("message")).to_have_text("Relabeled as 71.")
    expect(page.get_by_test_id("label")).to_have_text("71")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("message")).to_have_text("Accepted as 71.")
    assert statuses(store) == [("relabeled", "71"), ("accepted", "71")]


def test_by_touch_on_a_phone(enter, store, seen):
    store.add([submission(str(d), answer(8, confidence=0.6 + d / 100, seen=seen(d))) for d in (1, 2, 3)])
    page = enter(width=390, height=844, has_touch=True, is_mobile=True)
    expect(page.get_by_test_id("label")).to_have_text("1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("digit-7", "accept", "reject"):
        box = page.get_by_test_id(name).bounding_box()
        assert min(box["width"], box["height"]) >= 44
        assert box["y"] + box["height"] <= 844, "without scrolling"
    shoot(page, "phone")
    page.get_by_test_id("digit-7").tap()
    expect(page.get_by_test_id("label")).to_have_text("2")
    page.get_by_test_id("accept").tap()
    expect(page.get_by_test_id("label")).to_have_text("3")
    page.get_by_test_id("reject").tap()
    expect(page.get_by_test_id("empty")).to_be_visible()
    assert statuses(store) == [("relabeled", "7"), ("accepted", "2"), ("rejected", None)]
    page.get_by_test_id("queue-second").tap()
    expect(page.get_by_test_id("empty")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(enter, store, seen, scheme):
    store.add([submission("1", answer(7, confidence=0.99999, seen=seen(7)), client="c" * 16, source="page")])
    file = encode(picture(7, 200))
    store.add([submission("2", answer(2, confidence=0.5, seen=seen(2)), original=file)])
    page = enter("held", color_scheme=scheme, reduced_motion="reduce")
    expect(page.get_by_test_id("marks")).to_contain_text("held")
    assert axe(page) == []
    shoot(page, f"held-{scheme}")
    page.get_by_test_id("queue-least-sure").click()
    original = page.get_by_alt_text("The picture as it was sent")
    expect(original).to_have_attribute("src", f"data:image/png;base64,{b64encode(file).decode()}")
    assert original.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 200
    page.keyboard.press("4")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Review key")).to_be_focused()
    page.get_by_label("Your name").fill("Grace")
    page.get_by_label("Review key").fill(KEY)
    page.keyboard.press("Enter")
    page.get_by_test_id("queue-second").click()
    expect(page.get_by_test_id("blind")).to_be_visible()
    page.keyboard.press("2")
    expect(page.get_by_test_id("message")).to_have_text(re.compile("^Held: reviewers differ"))
    expect(page.get_by_test_id("agreement")).to_contain_text("Ada, Grace")
    shoot(page, f"agreement-{scheme}")
    assert axe(page) == []


def test_a_wrong_key_is_asked_for_again(visit, server):
    page = visit("/review", server=server.url, allow="status of 401")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Review key").fill("no")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_test_id("message")).to_have_text("This key is not accepted")
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    assert axe(page) == []
    shoot(page, "enter")
    page.get_by_label("Review key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("queue-held")).to_be_visible()
    page.reload()
    expect(page.get_by_test_id("queue-held")).to_be_visible()
