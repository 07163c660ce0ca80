"""What a guarantee promises of an answer, on the page."""

import dataclasses
import re

import pytest
from playwright.sync_api import expect

from inkdigits import Recognizer
from inkdigits.network import shipped_network
from inkdigits.preprocess import NORMALIZATION_VERSION
from inkdigits.profile import Profile

from support import browser
from support.browser import axe, draw, settled
from support.drawings import DIGITS
from support.states import PREDICT

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

SURE, UNSURE = "Guaranteed: at most 0.5% wrong", "Below the guarantee"


@pytest.fixture
def guaranteed(start_server, tmp_path):
    """A server whose answers are guaranteed from a confidence that few of them lack."""
    model = Recognizer().model
    values = {
        "model": model.name,
        "sha256": model.sha256,
        "ink_sha256": shipped_network("ink")[1],
        "normalization": NORMALIZATION_VERSION,
        "threshold": 0.9,
        "error": 0.005,
        "confidence": 0.95,
        "n": 1500,
        "accepted": 1400,
        "wrong": 1,
        "writers": 80,
        "data": "mine",
        "data_sha256": {"mine": "a" * 64},
        "created": "2026-11-29T12:00:00+00:00",
        "inkdigits": "0.1.0",
    }
    assert values.keys() == {field.name for field in dataclasses.fields(Profile)}
    path = tmp_path / "mine.profile.json"
    path.write_text(Profile(**values).json())
    return start_server("--profile", str(path)).url


def test_an_answer_says_whether_it_is_guaranteed(visit, guaranteed):
    page = visit(server=guaranteed)
    promise = page.get_by_test_id("promise")
    expect(promise).to_have_text("")
    draw(page, DIGITS[7])
    assert settled(page) == "7"
    expect(promise).to_have_text(SURE)
    assert axe(page) == []
    page.locator("#about > summary").click()
    expect(page.get_by_text("answers of 90% and more: at most 0.5% are wrong, with 95% confidence")).to_be_visible()
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
    expect(promise).to_have_text(SURE)
    page.get_by_test_id("clear").click()
    expect(promise).to_have_text("")


def test_a_doubtful_answer_is_not_guaranteed(visit, guaranteed):
    page = visit(server=guaranteed)
    unsure = {"digit": 7, "confidence": 0.7, "probabilities": [0.3, *[0] * 6, 0.7, 0, 0], "is_digit": True}
    page.route(PREDICT, lambda route: route.fulfill(json={**unsure, "is_sure": False}))
    draw(page, DIGITS[7])
    expect(page.get_by_test_id("promise")).to_have_text(UNSURE)


def test_without_a_profile_nothing_is_promised(visit):
    page = visit()
    draw(page, DIGITS[7])
    assert settled(page) == "7"
    expect(page.get_by_test_id("promise")).to_have_text("")
