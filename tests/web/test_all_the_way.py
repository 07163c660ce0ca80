"""From a wrong answer to a right one: drawn, corrected, reviewed, learned, let through the gate, promoted, served."""

import hashlib
import signal

import httpx
import numpy as np
import pytest
from playwright.sync_api import expect

from inkdigits import Recognizer
from inkdigits.data.catalog import load
from inkdigits.data.dataset import VALIDATION, VALIDATION_SEED, stratified
from inkdigits.feedback.queries import every
from inkdigits.feedback.store import Store
from inkdigits.registry import roles
from inkdigits.settings import Settings

from support import browser
from support.browser import draw, settled, until
from support.drawings import DIGITS
from support.handwriting import needs_data
from support.service import accept_all, clients_of, fill, slanted
from support.shipped import folder_of

pytestmark = [pytest.mark.slow, needs_data]

chromium, visit = browser.chromium, browser.visit

KEY = "review-key"
TRAINING, MEASURING, PICTURES = 95, 52, 22  # users, and pictures of each


@pytest.fixture
def models(tmp_path):
    """A folder in which LeNet is the champion."""
    return folder_of(tmp_path / "models", "lenet")


# Digits and how far they lean to the left, about as those of all users do. LeNet misreads nearly all of them.
DRAWINGS = ((9, 1.1), (0, 1.0), (9, 1.0), (0, 1.1))


def write(page, digit, slant):
    if page.get_by_test_id("digit").text_content() != "–":
        page.get_by_test_id("clear").click()
        expect(page.get_by_test_id("digit")).to_have_text("–")
    page.get_by_test_id("pen-width").fill("18")
    leaning = [np.stack([stroke[:, 0] + slant * stroke[:, 1], stroke[:, 1]], axis=1) for stroke in DIGITS[digit]]
    draw(page, leaning, size=0.5, at=(0.1, 0.2))
    expect(page.get_by_test_id("digit")).not_to_have_text("–")
    return settled(page)


def test_the_whole_way(visit, start_server, models, tmp_path, run_command):
    path = tmp_path / "feedback.db"
    store = Store(str(path))
    train = load("mnist", Settings.from_env(), part="train")
    allowed, _ = stratified(train.labels, VALIDATION, VALIDATION_SEED)
    chosen = np.random.default_rng(0).permutation(allowed)[: (TRAINING + MEASURING) * PICTURES]
    users = clients_of(store, train=TRAINING, gate=MEASURING)
    fill(store, Recognizer(models), slanted(train.images[chosen]), train.labels[chosen], users)
    accept_all(store)

    # One more user: what they draw is read as other digits, and they say so of one.
    keys = hashlib.sha256(KEY.encode()).hexdigest()
    server = start_server("--model", str(models), "--feedback", str(path), INKDIGITS_REVIEW_KEYS=keys)
    page = visit(server=server.url)
    misread = [each for each in DRAWINGS if write(page, *each) != str(each[0])]
    assert misread
    write(page, *misread[0])
    page.get_by_test_id("wrong").click()
    expect(page.get_by_test_id("keypad")).to_be_visible()
    page.keyboard.press(str(misread[0][0]))
    page.get_by_test_id("choose-feedback").check()
    page.get_by_role("button", name="Save").click()
    until(page, lambda: any(each.source == "page" for each in every(store.engine)))

    # A reviewer agrees.
    review = visit("/review", server=server.url)
    review.get_by_label("Your name").fill("Ada")
    review.get_by_label("Review key").fill(KEY)
    review.keyboard.press("Enter")
    sent = next(each for each in every(store.engine) if each.source == "page")
    review.get_by_test_id("queue-held" if sent.status == "held" else "queue-least-sure").click()
    expect(review.get_by_test_id("label")).to_have_text(str(misread[0][0]))
    review.keyboard.press("Enter")
    until(review, lambda: next(each for each in every(store.engine) if each.row == sent.row).status == "accepted")

    # The model learns, passes the gate, and takes the champion's place.
    code, out, err = run_command("learn", "--feedback", path, "--folder", models, "--validation", "mnist", "--auto")
    assert code == 0, err
    assert "learned-1 passes" in out
    assert "learned-1 is the champion" in out
    assert roles(models).champion == "learned-1"
    assert (models / "learned-1.decision.html").exists()

    # A running server takes it, and what somebody else draws like this is read.
    before = httpx.get(f"{server.url}/model").json()["sha256"]
    server.process.send_signal(signal.SIGHUP)
    until(page, lambda: httpx.get(f"{server.url}/model").json()["sha256"] != before)
    page = visit(server=server.url)
    assert any(write(page, *each) == str(each[0]) for each in misread)

    # It can be taken back.
    code, out, err = run_command("models", "rollback", "--folder", models, "--feedback", path, "--reason", "a test")
    assert code == 0, err
    assert roles(models).champion == "lenet"
    store.close()
