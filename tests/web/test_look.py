"""How the page looks and what it asks of whom: layout, contrast, names, weight, policy; in a real browser."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from support import browser
from support.browser import SHIFTS, draw
from support.drawings import DIGITS
from support.states import LETTER, PREDICT, scan

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

MAX_FIRST_LOAD = 60_000  # bytes, compressed as the server sends them
NORMAL, LARGE = 4.5, 3.0  # WCAG 2.2 AA, contrast of text, and of text from 24 px on
PHONES = [(320, 568), (390, 664), (568, 320), (667, 331), (844, 390)]  # CSS pixels, three of them on their side
SCREENS = [*PHONES, (820, 1180), (1280, 800), (1920, 1080), (3840, 2160)]

CONTRASTS = """() => {
  const parse = (css) => { const [r, g, b, a = 1] = css.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const { rgb, a } = parse(getComputedStyle(each).backgroundColor);
      if (a === 1) return rgb;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    const style = getComputedStyle(element);
    if (!text || !element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
    if (element.closest('.unseen, :disabled, noscript, .empty .numeral')) continue;
    const [a, b] = [luminance(parse(style.color).rgb), luminance(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.push({ text, ratio, size: parseFloat(style.fontSize) });
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_contrast(visit, scheme):
    page = visit(color_scheme=scheme, reduced_motion="reduce", allow="status of 4")
    empty = page.evaluate(CONTRASTS)
    page.get_by_text("What the network saw").click()
    page.route("**/predict", lambda route: route.fulfill(status=404))
    page.get_by_test_id("upload").set_input_files([{"name": "no.png", "mimeType": "image/png", "buffer": b"no"}])
    expect(page.get_by_role("button", name="Retry no.png")).to_be_visible()
    page.unroute_all()
    page.get_by_test_id("predict").click()
    hint = page.evaluate(CONTRASTS)
    draw(page, DIGITS[3])
    expect(page.get_by_test_id("digit")).to_have_text("3")
    answered = page.evaluate(CONTRASTS)
    texts = {each["text"] for each in [*empty, *hint, *answered]}
    assert {"Draw a digit", "Draw a digit first", "3", "Predict", "Retry", "no.png"} <= texts
    poor = [each for each in [*empty, *hint, *answered] if each["ratio"] < (LARGE if each["size"] >= 24 else NORMAL)]
    assert not poor


OVERLAPS = """() => {
  const boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { textContent, parentElement } = walker.currentNode;
    const isVisible = parentElement.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    if (!textContent.trim() || !isVisible) continue;
    if (parentElement.closest('.unseen, .value, .hint')) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const { left, right, top, bottom } of range.getClientRects()) {
      const inset = parentElement.matches('.numeral') ? 0.2 * (bottom - top) : 2; // of its line, not of its glyph
      boxes.push({ text: textContent, left, right, top: top + inset, bottom: bottom - inset });
    }
  }
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => a.text !== b.text
    && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
    .map((b) => [a.text, b.text]));
}"""


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)])
def test_text_of_twice_the_size_has_room(visit, width, height):
    """WCAG 2.2, 1.4.4."""
    page = visit(width=width, height=height, allow="status of 4")
    page.evaluate("() => (document.documentElement.style.fontSize = '200%')")
    page.get_by_text("What the network saw").click()
    files = [scan(3), {"name": "no.png", "mimeType": "image/png", "buffer": b"no"}]
    page.get_by_test_id("upload").set_input_files(files)
    expect(page.get_by_test_id("progress")).to_have_text("2 pictures done, 1 could not be read")
    rejected = {
        None: "This does not look like a digit",
        "several digits": "That looks like more than one digit",
        "unclear": "This is hard to read",
    }
    for shown in (*({**LETTER, "reason": reason} for reason in rejected), {**LETTER, "is_digit": True}):
        page.unroute_all()
        page.route(PREDICT, answering(json.dumps(shown)))
        draw(page, DIGITS[5])
        words = "Likely" if shown["is_digit"] else rejected[shown["reason"]]
        expect(page.get_by_test_id("confidence")).to_contain_text(words)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
        page.get_by_test_id("clear").click()  # a second drawing over the first would be a number


@pytest.mark.parametrize("width", [320, 360, 390, 430, 520])
@pytest.mark.parametrize("reason", [None, "several digits", "unclear"])
def test_why_ink_is_rejected_has_room_above_the_bars(visit, width, reason):
    page = visit(width=width, height=844)
    page.route(PREDICT, answering(json.dumps({**LETTER, "reason": reason})))
    draw(page, DIGITS[5])
    expect(page.get_by_test_id("runner-up")).to_contain_text(re.compile("."))
    bottom, top = page.evaluate("""() => [
      document.querySelector('#runner-up span').getBoundingClientRect().bottom,
      document.querySelector('#bars').getBoundingClientRect().top,
    ]""")
    assert bottom <= top


def test_light_and_dark(visit):
    levels = {}
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        colours = page.evaluate(
            "() => ['body', '#sheet'].map((it) => getComputedStyle(document.querySelector(it)).backgroundColor)"
        )
        levels[scheme] = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in colours]
    assert min(levels["light"]) > 200
    assert max(levels["dark"]) < 60


def test_the_paper_can_be_turned_dark_and_reads_the_same(visit):
    page = visit(color_scheme="light")
    paper = page.get_by_test_id("paper")
    expect(paper).to_have_attribute("aria-pressed", "false")
    draw(page, DIGITS[3])
    expect(page.get_by_test_id("digit")).to_have_text("3")
    paper.click()
    expect(paper).to_have_attribute("aria-pressed", "true")
    page.wait_for_timeout(100)
    brightest = page.evaluate(
        """() => {
          const pad = document.getElementById('pad');
          const copy = new OffscreenCanvas(pad.width, pad.height).getContext('2d');
          copy.drawImage(pad, 0, 0);
          const { data } = copy.getImageData(0, 0, pad.width, pad.height);
          return data.reduce((most, value, i) => (i % 4 === 1 ? Math.max(most, value) : most), 0);
        }"""
    )
    assert brightest > 200
    page.get_by_test_id("predict").click()
    expect(page.get_by_test_id("digit")).to_have_text("3")
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    expect(paper).to_have_attribute("aria-pressed", "true")


def test_fits_every_screen(visit):
    page = visit()
    for width, height in SCREENS:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        pad, digit = (page.get_by_test_id(name).bounding_box() for name in ("pad", "digit"))
        assert pad["width"] == pytest.approx(pad["height"], abs=1)
        for box in (pad, digit):
            assert box["x"] >= 0 and box["y"] >= 0
            assert box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
        predict = page.get_by_test_id("predict").bounding_box()
        assert predict["y"] + predict["height"] <= height
        if width < height < 1000:  # a phone
            assert pad["width"] >= 0.89 * width


def answering(body):
    return lambda route: route.fulfill(body=body)


@pytest.mark.parametrize(("width", "height"), [*PHONES, (1280, 800)])
def test_every_verdict_has_room(visit, width, height):
    page = visit(width=width, height=height)
    for confidence in (0.9999, 0.96, 0.85, 0.65, 0.45, 0.25):
        rest = [(1 - confidence) / 9] * 9
        told = json.dumps({"digit": 0, "confidence": confidence, "probabilities": [confidence, *rest]})
        page.route(re.compile("/predict"), answering(told))
        draw(page, [[(0.5, 0.1), (0.5, 0.2)]])
        expect(page.get_by_test_id("bars").locator(".value").first).to_have_text(re.compile(f"{confidence:.0%}|>99.9%"))
        bottom, top = page.evaluate(
            """() => ['.runner-up span', '.bars'].map((name) => document.querySelector(name).getBoundingClientRect())
              .map(({ top, bottom }, i) => (i ? top : bottom))"""
        )
        assert bottom <= top + 1
        page.unroute_all()
        page.get_by_test_id("clear").click()  # a second drawing over the first would be a number


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_moves_but_the_answer(visit, width):
    page = visit(width=width, height=800, before=lambda page: page.add_init_script(f"({SHIFTS})()"))
    for digit in (4, 1):
        draw(page, DIGITS[digit])
        expect(page.get_by_test_id("digit")).to_have_text(str(digit))
        page.get_by_test_id("clear").click()
        page.get_by_test_id("predict").click()
        expect(page.get_by_test_id("status")).to_have_text("Draw a digit first")
    page.wait_for_timeout(100)
    assert page.evaluate("window.shifts") == []


def test_the_first_load_is_light(visit):
    page = visit()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready"))
    page.wait_for_load_state("networkidle")
    sizes = page.evaluate(
        """() => ['navigation', 'resource'].flatMap((type) => performance.getEntriesByType(type))
          .map(({ name, encodedBodySize }) => [name, encodedBodySize])"""
    )
    assert len(sizes) > 10
    assert all(size for _, size in sizes)
    assert sum(size for _, size in sizes) < MAX_FIRST_LOAD


def test_every_control_has_a_name(visit):
    page = visit()
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    controls = {
        "button",
        "application",
        "switch",
        "slider",
        "link",
        "textbox",
        "DisclosureTriangle",
        "image",
        "list",
        "region",
    }
    seen = [node for node in tree if not node["ignored"] and node["role"]["value"] in controls]
    names = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in seen]
    assert {
        ("button", "Undo"),
        ("button", "Predict"),
        ("slider", "Pen width"),
        ("application", "Drawing pad"),
        ("switch", "On this device Nothing you draw or choose leaves it"),
    } <= set(names)
    unnamed = [role for role, name in names if not name and role != "list"]
    assert not unnamed


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(visit):
    page = visit()
    draw(page, DIGITS[3])
    expect(page.get_by_test_id("clear")).to_be_enabled()
    page.get_by_test_id("undo").focus()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        where = page.evaluate(
            """() => {
              const element = document.activeElement;
              const ring = element.matches('.unseen') ? element.parentElement : element;
              return [element.id || element.tagName, getComputedStyle(ring).outlineStyle];
            }"""
        )
        if where[0] == "BODY":
            break
        reached.append(where)
    assert [name for name, _ in reached] == [
        *("eraser", "clear", "predict", "pen-width", "paper"),
        *("wrong", "SUMMARY", "SUMMARY", "SUMMARY", "SUMMARY", "on-device", "upload"),
    ]
    assert all(ring != "none" for _, ring in reached)


# Every text is put between marks where it is kept; what is shown without them was written elsewhere.
MARK = """
const marked = (told) => (typeof told === 'string' ? `«${told}»` : told);
for (const texts of [text, text.sets]) {
  for (const [key, say] of Object.entries(texts)) {
    texts[key] = typeof say === 'function' ? (...given) => marked(say(...given)) : marked(say);
  }
}
"""
UNMARKED = """() => {
  const found = [];
  const check = (words) => /\\p{L}{2}/u.test(words) && !words.includes('«') && found.push(words.trim());
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ALL);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement;
    if (element.closest('h1, kbd, code, noscript, .file')) continue;
    const named = ['aria-label', 'title', 'placeholder', 'alt'];
    if (node === element) named.forEach((name) => check(node.getAttribute(name) ?? ''));
    else check(node.textContent.replace(/\\b[0-9a-f]{12}\\b/, ''));
  }
  return found;
}"""


def test_every_word_comes_from_one_place(visit):
    """So that the page can be said in another language."""

    def mark(route):
        route.fulfill(body=route.fetch().text() + MARK, content_type="text/javascript")

    page = visit(before=lambda page: page.route("**/strings.js", mark))
    page.get_by_text("About").click()
    page.get_by_text("What the network saw").click()
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text("«Ready on this device: the answer follows your pen»")
    draw(page, DIGITS[3])
    expect(page.get_by_test_id("digit")).to_have_text("3")
    page.get_by_test_id("upload").set_input_files([{"name": "no.png", "mimeType": "image/png", "buffer": b"no"}])
    expect(page.get_by_test_id("progress")).to_have_text("«1 picture done, 1 could not be read»")
    assert page.evaluate(UNMARKED) == []


def pixels(locator):
    """Pixels of an element as it is on the screen, (height, width, 3)."""
    with Image.open(io.BytesIO(locator.screenshot())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_forced_colors_show_every_state(visit, scheme):
    """Windows' contrast themes replace colors; what only a color or a background says must not be lost."""
    page = visit(color_scheme=scheme, forced_colors="active", reduced_motion="reduce")
    switch, eraser, slider = (page.get_by_test_id(name) for name in ("on-device", "eraser", "pen-width"))
    slider.press("Home")
    page.keyboard.press("Tab")  # so that no focus ring is counted

    def differing(before, after):
        return (np.abs(before - after).max(axis=2) > 100).mean()

    off = pixels(switch)
    switch.check()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready on this device"))
    page.mouse.click(5, 300)
    assert differing(off, pixels(switch)) > 0.2
    assert np.ptp(off[5:-5, 5:-5], axis=(0, 1)).min() > 100  # its knob is there while it is off, too
    up = pixels(eraser)
    eraser.click()
    page.mouse.move(5, 300)
    page.mouse.click(5, 300)
    assert differing(up, pixels(eraser)) > 0.2
    track = pixels(slider)[:, -60:]
    assert 0.02 < (np.abs(track - track[0, 0]).max(axis=2) > 100).mean() < 0.6

    eraser.click()
    page.get_by_text("Why this digit").click()
    draw(page, DIGITS[5])
    expect(page.get_by_test_id("digit")).to_have_text("5")
    for name, channel in (("for", 0), ("against", 2)):
        legend = pixels(page.locator(f".legend .{name}"))
        assert (legend[..., channel] - legend[..., 2 - channel]).max() > 80
    # Text has a backplate, which must not cover the bars.
    bars = page.get_by_test_id("bars").locator(".track")
    blank = [pixels(bars.nth(digit)) for digit in (0, 9)]
    assert np.array_equal(*blank)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_prints_dark_ink_on_white_paper(visit, scheme):
    page = visit(color_scheme=scheme, reduced_motion="reduce")
    page.get_by_text("What the network saw").click()
    draw(page, DIGITS[5])
    expect(page.get_by_test_id("digit")).to_have_text("5")
    expect(page.locator("#seen")).not_to_have_class(re.compile("empty"))
    page.emulate_media(media="print", color_scheme=scheme)
    for name in ("pad", "seen"):
        gray = pixels(page.get_by_test_id(name)).mean(axis=2)
        assert np.median(gray) > 250, name
        assert 0.02 < (gray < 60).mean() < 0.4, name
    assert not [each for each in page.evaluate(CONTRASTS) if each["ratio"] < NORMAL]
    for control in ("undo", "clear", "predict", "pen-width", "on-device", "status"):
        expect(page.get_by_test_id(control)).to_be_hidden()
    assert len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) == 1
    filled, _ = (pixels(page.get_by_test_id("bars").locator(".track").nth(digit)) for digit in (5, 0))
    assert np.ptp(filled.mean(axis=(0, 1))) > 60  # the bar of the answer is red


def test_less_motion_when_less_is_asked_for(visit):
    page = visit(reduced_motion="reduce")
    durations = page.evaluate(
        "() => [...document.querySelectorAll('*')].map((it) => getComputedStyle(it).transitionDuration)"
    )
    assert set(durations) == {"0s"}


def test_a_breach_of_the_content_security_policy_does_not_pass(visit):
    """The guard that every test of the page runs under: inline script is refused, and the refusal is a complaint."""
    page = visit()
    page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script);
        }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert len(visit.complaints) == 1
    assert "Content Security Policy" in visit.complaints.pop()
