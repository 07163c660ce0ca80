"""``POST /``: the form of the page without JavaScript, its answers as pages, and its limits, those of /predict."""

import hashlib
import re
import shutil
import subprocess
from functools import partial
from html.parser import HTMLParser
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw

from support import browser
from support.browser import axe, expect
from support.drawings import picture
from support.html import Page
from support.requests import encode

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
NASTY = "\u202e<script>alert(1)</script>&amp;'.png"
SEVEN, NINE = encode(picture(7)), encode(picture(9))
NOTHING_CHOSEN = b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n'
BLANK = encode(np.full((40, 40), 255, np.uint8))


def scribble():
    sheet = Image.new("L", (200, 200), 255)
    zigzag = [(20, 20), (180, 30), (30, 60), (170, 90), (25, 120), (180, 150), (20, 180)]
    ImageDraw.Draw(sheet).line(zigzag, fill=0, width=6)
    ImageDraw.Draw(sheet).line([(180, 20), (20, 180)], fill=0, width=6)
    return encode(sheet)


class Text(HTMLParser):
    """The text of a page's elements by their tag, and the tags that are not closed or closed twice."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append((tag, dict(attributes), []))

    def handle_startendtag(self, tag, attributes):
        assert tag == "rect"

    def handle_endtag(self, tag):
        name, attributes, words = self.open.pop()
        assert name == tag
        self.found.append((tag, attributes, "".join(words)))

    def handle_data(self, data):
        for _, _, words in self.open:
            words.append(data)

    def of(self, tag, **wanted):
        return [words for name, given, words in self.found if name == tag and wanted.items() <= given.items()]


def post(client, *pictures, headers=HTML):
    return client.post("/", files=[("file", picture) for picture in pictures], headers=headers)


def percent(probability):
    return ">99.9%" if probability > 0.999 else f"{100 * probability:.1f}%"


def test_one_picture_is_answered_by_a_page(client, recognizer):
    response = post(client, ("seven.png", SEVEN))
    expected = recognizer.predict(SEVEN)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["cache-control"] == "no-store"
    page = Text(response.text)
    assert (page.of("h1"), page.of("h2"), page.of("p", **{"class": "numeral"})) == (["Answer"], ["seven.png"], ["7"])
    assert f"Confidence {percent(expected.confidence)}" in page.of("p")
    assert page.of("th", scope="row") == [*"0123456789"]
    assert page.of("td", **{"class": "number"}) == [*map(percent, expected.probabilities)]
    assert page.of("th", scope="col") == ["Digit", "Probability"]


@pytest.mark.parametrize(
    ("pictures", "title"),
    [
        ([("seven.png", SEVEN)], "Answer: 7 · inkdigits"),
        ([("blank.png", BLANK)], "Answer: blank · inkdigits"),
        ([("a.png", SEVEN), ("b.png", NINE)], "2 pictures · inkdigits"),
        ([("notes.pdf", b"%PDF-1.7")], "Error: Not a supported image · inkdigits"),
    ],
)
def test_the_title_says_what_the_page_holds(client, pictures, title):
    assert Text(post(client, *pictures).text).of("title") == [title]


@pytest.mark.parametrize("path", ["/nothing", "/a/b/%3Cscript%3E", "/model-card.htm"])
def test_a_browser_that_asks_for_what_is_not_there_gets_a_page(client, path):
    response = client.get(path, headers=HTML)
    assert (response.status_code, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert response.headers["vary"] == "Accept"
    assert "default-src" in response.headers["content-security-policy"]
    page = Text(response.text)
    assert page.of("title") == ["Error: Not found · inkdigits"]
    assert page.of("p")[-1] == f"There is nothing at {unquote(path)}."
    assert all(link.startswith("/") for link in Page(response.text).links)
    assert client.head(path, headers=HTML).status_code == 404


def test_programs_and_the_protocol_get_the_problem_of_what_is_not_there(client):
    for path, headers in (("/nothing", {}), ("/nothing", {"Accept": "application/json"}), ("/v2/models/other", HTML)):
        response = client.get(path, headers=headers)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
        assert response.json()["type"] == "/docs#not-found"


def test_several_pictures_each_have_a_row_and_what_is_wrong_does_not_keep_the_rest_from_it(client, recognizer):
    files = {"a.png": SEVEN, "b.png": NINE, "blank.png": BLANK, "scribble.png": scribble()}
    files |= {"notes.pdf": b"%PDF-1.7", "cut": SEVEN[:99]}
    response = post(client, *files.items())
    assert response.status_code == 200
    page = Text(response.text)
    assert page.of("h1") == ["6 pictures"]
    rows = [row for row in page.of("tr") if not re.fullmatch(r"\d(>?[\d.]+%)|Digit.*", row)]
    sure = [percent(recognizer.predict(image).confidence) for image in (SEVEN, NINE)]
    assert rows[1:3] == [f"a.png7{sure[0]}", f"b.png9{sure[1]}"]
    assert rows[3:] == ["blank.pngblank–", "scribble.pngnot a digit–", "notes.pdferror–", "cuterror–"]
    nearest = recognizer.predict(scribble()).digit
    assert f"This does not look like a digit. The closest digit is {nearest}." in page.of("p")
    assert "This picture is blank." in page.of("p")
    assert "This file is not a supported picture. Save it as PNG or JPEG." in page.of("p")
    assert "This picture is damaged or incomplete." in page.of("p")
    anchors = {attributes.get("id") for _, attributes, _ in page.found}
    links = [attributes["href"] for tag, attributes, _ in page.found if tag == "a" and attributes["href"][0] == "#"]
    assert len(links) == 6 and {link[1:] for link in links} <= anchors


def test_a_page_holds_a_name_as_text_and_runs_nothing(client):
    for response in (post(client, (NASTY, SEVEN)), post(client, (NASTY, b"no picture"), ("b", SEVEN))):
        assert "<script" not in response.text
        assert NASTY in Text(response.text).of("bdi")
        page = Page(response.text)
        assert not page.inline
        policy = response.headers["content-security-policy"]
        assert policy == client.get("/").headers["content-security-policy"]
        assert "'unsafe-inline'" not in policy
        for link in page.links:  # all of them lie beside the page
            assert link.startswith(("#", "data:image/png")) or client.get(f"/{link}").status_code == 200


@pytest.mark.parametrize(
    ("content", "content_type", "status", "words"),
    [
        (b"no picture", "image/png", 415, "Not a supported image"),
        (SEVEN[:99], "image/png", 400, "Unreadable image"),
        (encode(np.zeros((4, 4), np.uint8)), "image/png", 422, "Image too small"),
        (b"", "image/png", 400, "The body is empty"),
        (b"x", "text/plain", 415, "Unsupported content type"),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400, "The multipart body"),
        (bytes(21 << 20), "image/png", 413, "Request body too large"),
        (NOTHING_CHOSEN, "multipart/form-data; boundary=x", 400, "has no image"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_read_is_a_page_with_its_status(client, content, content_type, status, words):
    headers = {**HTML, "Content-Type": content_type}
    response = client.post("/", content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert words in response.text
    assert Text(response.text).of("button") == ["Predict"]  # another can be chosen at once
    problem = client.post("/predict", content=content, headers=headers)
    assert (problem.status_code, problem.headers["content-type"]) == (status, "application/problem+json")


def test_the_number_of_pictures_is_bounded(client):
    response = post(client, *((f"{i}.png", b"x") for i in range(101)))
    assert response.status_code == 413
    assert "more than 100 images" in response.text


def test_keys_and_rates_hold_for_the_form_too(start_server):
    key = "secret"
    server = start_server(
        INKDIGITS_API_KEYS=hashlib.sha256(key.encode()).hexdigest(), INKDIGITS_RATE_LIMIT="1", INKDIGITS_RATE_BURST="1"
    )
    with httpx.Client(base_url=server.url) as client:
        refused = post(client, ("seven.png", SEVEN))
        assert (refused.status_code, Text(refused.text).of("h1")) == (401, ["API key required"])
        assert refused.headers["www-authenticate"].startswith("Bearer")
        allowed = {**HTML, "X-API-Key": key}
        assert post(client, ("seven.png", SEVEN), headers=allowed).status_code == 200
        often = post(client, ("seven.png", SEVEN), headers=allowed)
        assert (often.status_code, often.headers["retry-after"]) == (429, "1")
        assert "more than 1 predictions per second" in often.text.lower()
        assert post(client, ("seven.png", SEVEN), headers={}).headers["content-type"] == "application/problem+json"


def test_a_program_that_posts_there_gets_json_as_from_predict(client, live_server, tmp_path):
    for accept in ("*/*", "application/json", "application/json, */*"):
        for names in (["seven.png"], ["seven.png", "notes.pdf"]):
            files = [("file", (name, SEVEN if name.endswith("png") else b"%PDF-1.7")) for name in names]
            told = client.post("/", files=files, headers={"Accept": accept}, params={"top": 2})
            assert told.json() == client.post("/predict", files=files, params={"top": 2}).json()
    (tmp_path / "seven.png").write_bytes(SEVEN)
    command = ["curl", "--silent", "--show-error", "--form", "file=@seven.png", f"{live_server}/"]
    assert shutil.which("curl")
    printed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert '"digit":7' in printed
    assert client.post("/", content=b"no picture").json()["status"] == 415


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_in_a_browser_without_javascript(visit, tmp_path, width, scheme):
    files = {"seven.png": SEVEN, "a very long name of a picture " * 3 + ".png": NINE, "notes.pdf": b"%PDF"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page = visit(width=width, java_script_enabled=False, color_scheme=scheme, allow="status of 415")
    expect(page.get_by_test_id("pad")).to_be_hidden()  # it draws by script

    def send(*paths):
        page.get_by_label(re.compile("^Choose")).set_input_files(paths)
        page.get_by_role("button", name="Predict").click()

    send(tmp_path / "seven.png")
    expect(page.get_by_role("heading", level=2)).to_have_text("seven.png")
    expect(page.locator(".numeral")).to_have_text("7")
    expect(page.get_by_role("row", name="7")).to_contain_text("%")
    send(*sorted(tmp_path.iterdir()))
    expect(page.get_by_role("heading", level=1)).to_have_text("3 pictures")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    send(tmp_path / "notes.pdf")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not a supported image")
    page.get_by_role("link", name="inkdigits").click()
    expect(page.get_by_label("Choose pictures, one digit in each")).to_be_visible()


def answered(page, fulfil):
    page.route("**/answer", fulfil)


def fulfil(told, route):
    route.fulfill(status=200, headers=dict(told.headers), body=told.text)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_the_answers(visit, client, scheme):
    """It is a script itself: the answers are shown where scripts run, as they came."""
    several = (("a.png", SEVEN), ("b.png", scribble()), ("c.png", BLANK), ("d.png", b"%PDF"))
    for files in (several[:1], several, several[3:]):
        told = post(client, *files)

        page = visit("/answer", color_scheme=scheme, width=390, before=partial(answered, fulfil=partial(fulfil, told)))
        expect(page.get_by_role("button", name="Predict")).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        assert axe(page) == []


def test_with_javascript_there_is_no_form(visit):
    page = visit()
    expect(page.get_by_test_id("pad")).to_be_visible()
    expect(page.locator("form")).to_have_count(0)
