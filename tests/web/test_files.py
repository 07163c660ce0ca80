"""The page's table of image files: chosen, dropped and pasted, in a real browser on the real server."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from support import browser
from support.drawings import picture
from support.states import LETTER, PREDICT, SERVER, hand_over, triangle

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

REFUSED = "status of 4"  # what the browser itself says of a request that is answered so
UNANSWERED = "Failed to load resource"
DAMAGED = "This picture is damaged or incomplete."
NO_KEY = "This server needs an API key, which this page cannot send."
NOT_AN_IMAGE = "This file is not a supported picture. Save it as PNG or JPEG."
CLOSE = 1e-3  # between what the page's own reader and Python's find likely
LONGEST_SIDE = 2048  # pixels, that the page sends


def file(name, pixels, kind="PNG", **options):
    data = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(data, kind, **options)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": data.getvalue()}


BROKEN = {"name": "broken.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n\x1a\n and then nothing of the sort"}


def row(page, name):
    return page.get_by_test_id("results").get_by_role("row").filter(has_text=name)


def expect_read(page, name, digit):
    expect(row(page, name).locator("td.digit")).to_have_text(str(digit))
    expect(row(page, name).locator("td.confidence")).to_have_text(re.compile(r"^>?\d+(\.\d)?%$"))


def watch_requests(page):
    """Keep what the page sends from now on: Playwright cannot see the bytes of a file in a request."""
    page.evaluate(
        """() => {
          window.sent = [];
          const { fetch } = window;
          window.fetch = async (url, init) => {
            if (init?.body) {
              const bytes = new Uint8Array(await init.body.arrayBuffer());
              const letters = Array.from(bytes, (byte) => String.fromCharCode(byte));
              window.sent.push([init.headers['Content-Type'], letters.join('')]);
            }
            return fetch(url, init);
          };
        }"""
    )


def sent(page):
    """The one request that was sent: its type and its bytes."""
    [[kind, letters]] = page.evaluate("window.sent")
    return kind, letters.encode("latin-1")


def test_several_files_and_a_broken_one(visit, live_server):
    page = visit(allow=REFUSED)
    files = [file(f"{d}, “as it is”.png", picture(d)) for d in (3, 5, 8)]
    expect(page.get_by_test_id("results")).to_be_hidden()
    page.get_by_test_id("upload").set_input_files([files[0], BROKEN, *files[1:]])
    for digit, each in zip((3, 5, 8), files, strict=True):
        expect_read(page, each["name"], digit)
    expect(row(page, "broken.png").locator(".reason")).to_have_text(DAMAGED)
    expect(page.get_by_test_id("progress")).to_have_text("4 pictures done, 1 could not be read")

    # The table saved is the server's own answers, name by name.
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    assert download.value.suggested_filename.endswith(".csv")
    saved = Path(download.value.path()).read_bytes().decode()
    rows = {line["name"]: line for line in csv.DictReader(io.StringIO(saved, newline=""))}
    assert list(rows) == [files[0]["name"], "broken.png", files[1]["name"], files[2]["name"]]
    assert rows["broken.png"]["error"] == DAMAGED
    assert rows["broken.png"]["digit"] == ""
    for each in files:
        told = httpx.post(
            f"{live_server}/predict", content=each["buffer"], headers={"Content-Type": "image/png"}
        ).json()
        line = rows[each["name"]]
        assert (int(line["digit"]), float(line["confidence"])) == (told["digit"], told["confidence"])
        assert [float(line[f"p{digit}"]) for digit in range(10)] == told["probabilities"]

    page.get_by_test_id("clear-files").click()
    expect(page.get_by_test_id("results")).to_be_hidden()


def test_names_in_the_saved_table(visit):
    """Quotes as they are, however many; and none that a spreadsheet would run."""
    page = visit()
    names = {'3 "as" it "is", "so".png': 3, "=5.png": 5, "+8.png": 8, "-7.png": 7, "@4.png": 4}
    page.get_by_test_id("upload").set_input_files([file(name, picture(digit)) for name, digit in names.items()])
    expect(page.get_by_test_id("progress")).to_have_text("5 pictures done")
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    saved = Path(download.value.path()).read_bytes().decode()
    found = {line["name"]: int(line["digit"]) for line in csv.DictReader(io.StringIO(saved, newline=""))}
    assert found == {name if name.startswith("3") else f"'{name}": digit for name, digit in names.items()}


def test_the_table_shows_the_picture(visit):
    page = visit()
    page.get_by_test_id("upload").set_input_files([file("wide.png", picture(4, 300, height=150))])
    expect_read(page, "wide.png", 4)
    thumbnail = page.evaluate(
        """() => {
          const canvas = document.querySelector('.thumbnail canvas');
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d');
          copy.drawImage(canvas, 0, 0);
          return [canvas.width, canvas.height, ...copy.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    assert thumbnail[:2] == [128, 64]
    shown = np.array(thumbnail[2:]).reshape(64, 128, 4)[..., 0]
    small = Image.fromarray(picture(4, 300, height=150)).resize((128, 64), Image.Resampling.BOX)
    assert np.abs(shown - np.asarray(small, float)).mean() < 4


def test_a_blank_picture_is_no_digit(visit):
    page = visit()
    page.get_by_test_id("upload").set_input_files([file("paper.png", np.full((80, 80), 255))])
    expect(row(page, "paper.png").locator("td.digit")).to_have_text("blank")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_photo_is_scaled_down_first(visit, kind):
    page = visit()
    pixels = np.kron(picture(2, 500, height=750), np.ones((6, 6)))
    watch_requests(page)
    page.get_by_test_id("upload").set_input_files([file("photo", pixels, kind)])
    expect_read(page, "photo", 2)
    content_type, body = sent(page)
    assert content_type == f"image/{kind.lower()}"
    with Image.open(io.BytesIO(body)) as image:
        assert image.format == kind
        assert max(image.size) == LONGEST_SIDE
        assert image.size[0] / image.size[1] == pytest.approx(500 / 750, rel=0.01)


def test_a_file_that_the_browser_cannot_show_is_sent_as_it_is(visit):
    page = visit()
    tiff = file("scan.tif", picture(7), "TIFF")
    watch_requests(page)
    page.get_by_test_id("upload").set_input_files([tiff])
    expect_read(page, "scan.tif", 7)
    assert sent(page) == ("image/tiff", tiff["buffer"])


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_files_can_be_dropped_and_pasted(visit, how):
    page = visit()
    files = [file("zero.png", picture(0)), file("six.webp", picture(6), "WEBP")]
    if how == "drop":
        hand_over(page, "dragover", *files)
        expect(page.get_by_text("Drop the pictures to read them")).to_be_visible()
    hand_over(page, how, *files)
    expect_read(page, "zero.png", 0)
    expect_read(page, "six.webp", 6)
    expect(page.get_by_text("Drop the pictures to read them")).to_be_hidden()


def test_at_most_three_requests_at_a_time(visit):
    page = visit()
    held = []
    page.route(PREDICT, lambda route: held.append(route))
    page.get_by_test_id("upload").set_input_files([file(f"{i}.png", picture(i)) for i in range(7)])
    expect(page.get_by_text("Reading…")).to_have_count(3)
    page.wait_for_timeout(300)
    assert len(held) == 3
    expect(page.get_by_text("Waiting")).to_have_count(4)
    while page.get_by_text(re.compile("^(Reading…|Waiting)$")).count():
        assert len(held) <= 3
        if held:
            held.pop().continue_()
        page.wait_for_timeout(20)
    for i in range(7):
        expect_read(page, f"{i}.png", i)


def refuse(page, status, slug, detail, wait=None):
    """Have the server answer so, as it would itself."""
    problem = {"type": f"/docs#{slug}", "status": status, "detail": detail}
    headers = {"Content-Type": "application/problem+json"} | ({"Retry-After": str(wait)} if wait else {})
    page.route(PREDICT, lambda r: r.fulfill(status=status, json=problem, headers=headers))


@pytest.mark.parametrize(
    ("status", "slug", "detail", "wait", "words"),
    [
        (401, "unauthorized", "the request has no API key; send one", None, NO_KEY),
        (404, "not-found", "there is nothing at /predict", None, "There is no inkdigits server at this address."),
        (429, "rate-limited", "more than 10 a second", 12, "Too many requests. Try again in 12 seconds."),
        (503, "overloaded", "512 requests wait", 1, "The server is busy. Try again in 1 second."),
        (503, "overloaded", "512 requests wait", None, "The server is busy. Try again in a moment."),
    ],
)
def test_what_may_pass_can_be_retried(visit, status, slug, detail, wait, words):
    page = visit(allow=UNANSWERED)
    page.route("**/vendor/*", lambda route: route.abort())  # so that the device does not stand in
    refuse(page, status, slug, detail, wait)
    page.get_by_test_id("upload").set_input_files([file("nine.png", picture(9))])
    expect(row(page, "nine.png").locator(".reason")).to_have_text(words)
    page.unroute_all()
    row(page, "nine.png").get_by_role("button", name="Retry nine.png").click()
    expect_read(page, "nine.png", 9)
    expect(row(page, "nine.png").get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "slug", "detail", "words"),
    [
        (400, "unreadable-image", "the PNG is truncated or damaged: image file is truncated", DAMAGED),
        (400, "bad-request", "too many frogs", "Too many frogs."),
        (413, "body-too-large", "the body has 9 bytes", re.compile(r"^This file is too large \([\d.]+ MB\)\. ")),
        (415, "not-an-image", "not an image: it is 5 bytes that start with b'hello'", NOT_AN_IMAGE),
        (422, "image-too-small", "the image is 4×4 pixels", "The image is 4×4 pixels."),
    ],
)
def test_what_is_final_cannot_be_retried(visit, status, slug, detail, words):
    page = visit(allow=REFUSED)
    refuse(page, status, slug, detail)
    page.get_by_test_id("upload").set_input_files([file("nine.png", picture(9))])
    expect(row(page, "nine.png").locator(".reason")).to_have_text(words)
    expect(row(page, "nine.png").get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("on_device", [False, True])
def test_what_is_no_picture_is_said_in_words_of_this_page(visit, on_device):
    """By the real server, and on this device."""
    page = visit(allow=REFUSED)
    if on_device:
        page.get_by_test_id("on-device").check()
    hello = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    paper = {"name": "paper.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7\n"}
    nothing = {"name": "nothing.png", "mimeType": "image/png", "buffer": b""}
    small = file("small.png", np.full((4, 4), 255))
    page.get_by_test_id("upload").set_input_files([hello, paper, nothing, small, BROKEN])
    cannot = "This browser cannot open this file as a picture. Save it as PNG or JPEG."
    reasons = [NOT_AN_IMAGE, NOT_AN_IMAGE, "This file is empty.", None, DAMAGED]
    if on_device:
        reasons = [cannot, cannot, "This file is empty.", None, cannot]
    reasons[3] = "The image is 4×4 pixels; at least one side must have 10."
    if on_device:
        reasons[3] = "This picture is too small: 4 × 4 pixels. One side needs at least 10."
    expect(page.get_by_test_id("results").locator("tbody .reason")).to_have_text(reasons)
    expect(page.get_by_test_id("results").locator("tbody").get_by_role("button")).to_have_count(0)


def test_the_focus_stays_where_the_hands_are(visit):
    """What Retry and Clear list take away is not what the keyboard stands on next."""
    page = visit(allow=UNANSWERED)
    refuse(page, 401, "unauthorized", "the request has no API key")
    page.get_by_test_id("upload").set_input_files([file("nine.png", picture(9)), file("one.png", picture(1))])
    retry = row(page, "nine.png").get_by_role("button", name="Retry nine.png")
    retry.focus()
    with page.expect_response(PREDICT):
        page.keyboard.press("Enter")
    expect(row(page, "nine.png")).to_have_attribute("data-state", "failed")
    expect(retry).to_be_focused()  # it is there again, for another try
    page.unroute_all()
    page.keyboard.press("Enter")
    expect_read(page, "nine.png", 9)
    expect(row(page, "nine.png").get_by_role("rowheader")).to_be_focused()
    page.get_by_test_id("sort").click()
    expect(page.get_by_role("columnheader", name="Confidence")).to_have_attribute("aria-sort", "ascending")
    expect(row(page, "one.png")).to_have_attribute("data-state", "failed")
    page.get_by_test_id("clear-files").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("results")).to_be_hidden()
    expect(page.get_by_test_id("upload")).to_be_focused()
    page.get_by_test_id("upload").set_input_files([file("two.png", picture(2))])
    expect_read(page, "two.png", 2)
    assert page.locator("#sorted").get_attribute("aria-sort") is None


def test_a_server_that_cannot_be_reached_is_said_to_be_so(visit):
    page = visit(allow=UNANSWERED)
    page.route(PREDICT, lambda route: route.abort())
    page.route("**/vendor/*", lambda route: route.abort())
    page.get_by_test_id("upload").set_input_files([file("five.png", picture(5))])
    expect(row(page, "five.png").locator(".reason")).to_have_text("The server cannot be reached.")
    page.unroute_all()
    row(page, "five.png").get_by_role("button", name="Retry five.png").click()
    expect_read(page, "five.png", 5)


def test_while_the_server_is_away_what_this_browser_cannot_open_can_be_retried(visit):
    page = visit(allow=UNANSWERED)
    page.route(SERVER, lambda route: route.abort())
    page.get_by_test_id("upload").set_input_files([file("scan.tif", picture(7), "TIFF")])
    expect(row(page, "scan.tif").locator(".reason")).to_have_text(re.compile("This browser cannot open this file"))
    page.unroute_all()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    row(page, "scan.tif").get_by_role("button", name="Retry scan.tif").click()
    expect_read(page, "scan.tif", 7)


def test_files_go_on_when_the_server_is_back(visit):
    page = visit(allow=UNANSWERED)
    everything = re.compile("/(predict|ready)")
    page.route(everything, lambda route: route.abort())
    page.get_by_test_id("upload").set_input_files([file(f"{i}.png", picture(i)) for i in range(5)])
    expect(page.get_by_test_id("status")).to_have_text(re.compile("not responding"))
    page.unroute_all()
    for i in range(5):
        expect_read(page, f"{i}.png", i)
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))


def test_a_file_that_never_gets_an_answer_does_not_hold_up_the_others(visit):
    page = visit(allow=UNANSWERED)

    def fall_over(route):
        if route.request.headers["content-type"] == "image/webp":
            route.fulfill(status=500, body='{"detail": "it fell over"}', content_type="application/problem+json")
        else:
            route.continue_()

    page.route(PREDICT, fall_over)
    page.route("**/vendor/*", lambda route: route.abort())  # so that the device does not stand in
    page.get_by_test_id("upload").set_input_files(
        [file("poison.webp", picture(1), "WEBP"), file("good.png", picture(8))]
    )
    expect_read(page, "good.png", 8)
    expect(row(page, "poison.webp").locator(".reason")).to_have_text("It fell over.")


def test_fifty_files_and_two_broken_ones(visit):
    page = visit(allow=REFUSED)
    files = [file(f"{i}.png", picture(i % 10, 56 + 4 * i)) for i in range(48)]
    page.get_by_test_id("upload").set_input_files([*files[:20], {**BROKEN, "name": "one.png"}, *files[20:], BROKEN])
    bar = page.get_by_test_id("progress-bar")
    expect(bar).to_have_attribute("max", "50")
    expect(page.get_by_test_id("progress")).to_have_text("50 pictures done, 2 could not be read", timeout=60_000)
    assert bar.evaluate("(bar) => bar.value") == 50
    rows = page.get_by_test_id("results").locator("tbody tr")
    expect(rows).to_have_count(50)
    assert rows.locator("td.digit:visible").all_inner_texts() == [str(i % 10) for i in range(48)]

    # By confidence, the least sure first, then the surest; what has no answer comes last. Then as they came.
    def confidences():
        return [float(text.strip(">%")) for text in rows.locator("td.confidence:visible").all_inner_texts()]

    names = rows.locator(".file").all_inner_texts()
    head = page.get_by_role("columnheader", name="Confidence")
    for order, reverse in (("ascending", False), ("descending", True)):
        page.get_by_test_id("sort").click()
        expect(head).to_have_attribute("aria-sort", order)
        assert confidences() == sorted(confidences(), reverse=reverse)
        assert rows.locator(".file").all_inner_texts()[-2:] == ["one.png", "broken.png"]
    page.get_by_test_id("sort").click()
    assert rows.locator(".file").all_inner_texts() == names


def test_a_phone_can_take_a_photo(visit):
    page = visit()
    photo = page.get_by_test_id("photo")
    expect(photo).to_have_attribute("capture", "environment")
    photo.set_input_files([file("photo.png", picture(6))])
    expect_read(page, "photo.png", 6)


@pytest.mark.parametrize("on_device", [False, True])
def test_what_is_no_digit_has_no_percentage(visit, tmp_path, on_device):
    """By the real server, and on this device; the table saved is the one that the command writes."""
    page = visit(allow=REFUSED)
    if on_device:
        page.get_by_test_id("on-device").check()
    blank = file("blank.png", np.full((80, 80), 255))
    files = [file("four.png", picture(4)), triangle(), blank, BROKEN, file("six.png", picture(6))]
    page.get_by_test_id("upload").set_input_files(files)
    expect(page.get_by_test_id("progress")).to_have_text("5 pictures done, 1 is not a digit, 1 could not be read")
    refused = triangle()["name"]
    expect(row(page, refused).locator("td.digit")).to_have_text("not a digit")
    for name in (refused, "blank.png"):
        expect(row(page, name).locator("td.confidence")).to_have_text("")
        assert "%" not in row(page, name).inner_text()
    names = page.get_by_test_id("results").locator("tbody .file")
    for _ in ("ascending", "descending"):  # either way what has no confidence comes behind what has one
        page.get_by_test_id("sort").click()
        assert {*names.all_inner_texts()[:2]} == {"four.png", "six.png"}
        assert names.all_inner_texts()[2:] == [refused, "blank.png", "broken.png"]
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    found = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_bytes().decode(), newline="")))

    for each in files:
        (tmp_path / each["name"]).write_bytes(each["buffer"])
    command = [sys.executable, "-m", "inkdigits", "predict", "--csv", *(each["name"] for each in files)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    expected = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [list(line) for line in found] == [list(line) for line in expected]
    for line, wanted in zip(found, expected, strict=True):
        for name, value in line.items():
            if re.fullmatch(r"confidence|digit_score|p\d", name) and value:
                assert float(value) == pytest.approx(float(wanted[name]), abs=CLOSE), name
            elif name == "error":
                assert bool(value) == bool(wanted[name])
            else:
                assert value == wanted[name], name


def test_what_an_older_server_or_model_cannot_tell_is_taken_for_a_digit(visit):
    page = visit()
    told = {name: value for name, value in LETTER.items() if name != "is_digit"}
    page.route(PREDICT, lambda route: route.fulfill(json=told))
    page.get_by_test_id("upload").set_input_files([file("letter.png", picture(4))])
    expect_read(page, "letter.png", 4)
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    [line] = csv.DictReader(io.StringIO(Path(download.value.path()).read_bytes().decode(), newline=""))
    assert (line["is_digit"], line["digit_score"], line["accepted"]) == ("", "", "true")
