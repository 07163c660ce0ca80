"""The page's table of image files: chosen, dropped and pasted, in a real browser on the real server."""

import csv
import io
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

import browser
from drawings import picture
from states import LETTER, PREDICT, hand_over

chromium, visit = browser.chromium, browser.visit

REFUSED = "status of 4"  # what the browser itself says of a request that is answered so
UNANSWERED = "Failed to load resource"
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
    refusal = httpx.post(f"{live_server}/predict", content=BROKEN["buffer"], headers={"Content-Type": "image/png"})
    expect(row(page, "broken.png").locator(".reason")).to_have_text(refusal.json()["detail"])
    expect(page.get_by_test_id("progress")).to_have_text("4 images done, 1 could not be read")

    # The table saved is the server's own answers, name by name.
    with page.expect_download() as download:
        page.get_by_test_id("save").click()
    assert download.value.suggested_filename.endswith(".csv")
    saved = Path(download.value.path()).read_bytes().decode()
    rows = {line["name"]: line for line in csv.DictReader(io.StringIO(saved, newline=""))}
    assert list(rows) == [files[0]["name"], "broken.png", files[1]["name"], files[2]["name"]]
    assert rows["broken.png"]["error"] == refusal.json()["detail"]
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
        expect(page.get_by_text("Drop the images to read them")).to_be_visible()
    hand_over(page, how, *files)
    expect_read(page, "zero.png", 0)
    expect_read(page, "six.webp", 6)
    expect(page.get_by_text("Drop the images to read them")).to_be_hidden()


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


def test_a_refused_file_can_be_retried(visit):
    page = visit(allow=REFUSED)
    detail = '{"status": 413, "detail": "too heavy for today"}'
    page.route(PREDICT, lambda r: r.fulfill(status=413, body=detail, content_type="application/problem+json"))
    page.get_by_test_id("upload").set_input_files([file("heavy.png", picture(9))])
    expect(row(page, "heavy.png").locator(".reason")).to_have_text("too heavy for today")
    page.unroute_all()
    row(page, "heavy.png").get_by_role("button", name="Retry heavy.png").click()
    expect_read(page, "heavy.png", 9)
    expect(row(page, "heavy.png").get_by_role("button")).to_have_count(0)


def test_files_go_on_when_the_server_is_back(visit):
    page = visit(allow=UNANSWERED)
    everything = re.compile("/(predict|ready)")
    page.route(everything, lambda route: route.abort())
    page.get_by_test_id("upload").set_input_files([file(f"{i}.png", picture(i)) for i in range(5)])
    expect(page.get_by_test_id("status")).to_have_text(re.compile("does not answer"))
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
    expect(row(page, "poison.webp").locator(".reason")).to_have_text("it fell over")


def test_fifty_files_and_two_broken_ones(visit):
    page = visit(allow=REFUSED)
    files = [file(f"{i}.png", picture(i % 10, 56 + 4 * i)) for i in range(48)]
    page.get_by_test_id("upload").set_input_files([*files[:20], {**BROKEN, "name": "one.png"}, *files[20:], BROKEN])
    bar = page.get_by_test_id("progress-bar")
    expect(bar).to_have_attribute("max", "50")
    expect(page.get_by_test_id("progress")).to_have_text("50 images done, 2 could not be read", timeout=60_000)
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


def test_what_is_no_digit_is_said_to_be_none(visit):
    page = visit()
    page.route(PREDICT, lambda route: route.fulfill(json=LETTER))
    page.get_by_test_id("upload").set_input_files([file("letter.png", picture(4))])
    expect(row(page, "letter.png").locator("td.digit")).to_have_text("no digit")
