"""The model's card: the page beside its file, served and linked where it is the model's own."""

import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from inkdigits.recognizer import Recognizer
from inkdigits.server.model_info import CARD_SUFFIX, about, card_of

from support import browser
from support.states import card

chromium, visit = browser.chromium, browser.visit

SCREENS = [(320, 568), (390, 844), (1280, 800)]  # CSS pixels


def test_about_leads_to_the_card_of_the_model_that_answers(visit, recognizer):
    """What axe-core says of it, as one of the page's states, is tested with them."""
    page = visit()
    card(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Model card: {recognizer.model.name}")
    expect(page.get_by_text(recognizer.model.sha256)).to_be_visible()
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme, is_dark in (("light", False), ("dark", True)):
        page.emulate_media(color_scheme=scheme)
        paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(paper) < 60) is is_dark
    page.get_by_role("link", name="inkdigits").click()
    expect(page.get_by_test_id("pad")).to_be_visible()


@pytest.fixture
def own(constant_model, tmp_path):
    """A model that a user has trained: registered, and without a card."""
    path = Path(shutil.copy(constant_model, tmp_path / "own.onnx"))
    entry = {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest(), "network": "lenet", "parameters": 7850}
    entry["metrics"] = {"mnist": {"accuracy": 0.25, "n": 10000}}
    (tmp_path / "registry.json").write_text(json.dumps({"models": {"own": entry}}))
    return path


def test_of_a_model_without_a_card_about_says_what_its_registry_says(own, start_server, visit):
    server = start_server("--model", str(own))
    assert httpx.get(f"{server.url}/model-card.html").status_code == 404
    page = visit(server=server.url, allow="status of 503")  # it reads everything as 8, so it is never ready
    page.get_by_test_id("on-device").check()
    page.get_by_text("About").click()
    expect(page.get_by_test_id("about")).to_contain_text("own, lenet, 7,850 parameters")
    expect(page.get_by_test_id("about")).to_contain_text("25.00% of 10,000 MNIST test digits")
    expect(page.get_by_role("link", name="Model card")).to_have_count(0)
    figures = page.get_by_role("link", name="All figures").evaluate("(link) => link.href")
    assert httpx.get(figures).json()["metrics"]["mnist"]["n"] == 10000


def test_a_card_is_shown_of_the_file_that_it_names_and_of_no_other(own):
    recognizer = Recognizer(own)
    page = own.with_suffix(CARD_SUFFIX)
    for text, is_its_own in (
        (f"<p>SHA-256 {'0' * 64}</p>", False),
        (f"<p>SHA-256 {recognizer.model.sha256}</p>", True),
    ):
        page.write_text(text)
        assert card_of(recognizer) == (text.encode() if is_its_own else None)
        assert about(recognizer)["card"] == ("model-card.html" if is_its_own else "model.json")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_the_reference_shows_the_address_that_it_came_from(visit, live_server, name):
    address = live_server.replace("127.0.0.1", name)
    page = visit("/docs", server=address)
    samples = page.locator("section#predict > pre")
    expect(samples.first).to_contain_text(f"-H 'Content-Type: image/png' {address}/predict")
    assert set(re.findall(r"https?://[\w.:]+", " ".join(samples.all_text_contents()))) == {address}


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_reference_shows_every_route_and_error_on_every_screen(visit, live_server, path, scheme):
    """Without a breach of the Content-Security-Policy and without another origin, which ``visit`` sees to."""
    document = httpx.get(f"{live_server}/openapi.json").json()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    for width, height in SCREENS:
        page = visit(path, width=width, height=height, color_scheme=scheme)
        for operation in operations:
            expect(page.locator(f"section#{operation['operationId']} > .lead")).to_have_text(operation["summary"])
        for name in document["components"]["schemas"]:
            expect(page.locator(f"#schema-{name}")).to_have_count(1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        text = page.evaluate("getComputedStyle(document.body).color")
        assert (min(map(int, re.findall(r"\d+", text)[:3])) > 128) == (scheme == "dark")


def test_the_reference_needs_no_script(visit):
    page = visit("/docs#not-an-image", java_script_enabled=False)
    expect(page.locator("details#not-an-image")).to_be_visible()
    expect(page.locator("section#predict > pre").first).to_contain_text("curl --data-binary")
