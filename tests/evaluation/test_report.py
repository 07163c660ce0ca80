"""The report: its numbers are those measured, it stands alone, and everybody can read it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from inkdigits import Recognizer, SettingError
from inkdigits.cli import main
from inkdigits.data.dataset import Dataset, Lazy
from inkdigits.data.numbers import NumberPictures
from inkdigits.evaluation import ood, report, robustness
from inkdigits.evaluation.numbers_report import measure_numbers
from inkdigits.evaluation.report import check_path, measure
from inkdigits.evaluation.report_page import link, micro, number, percent
from inkdigits.progress import silent
from inkdigits.synthesis.corruptions import CORRUPTIONS

from support import browser
from support.drawings import picture
from support.paths import ROOT

pytestmark = pytest.mark.slow

chromium = browser.chromium

HOSTILE = "<script>alert('&amp;')</script>"
VOID = {"meta", "img", "br", "circle", "path", "rect", "polyline"}
SCREENS = [320, 390, 768, 1280, 1920]  # CSS pixels
CONTRAST = 4.5  # WCAG 2.2 AA, of text

LOW_CONTRASTS = """(least) => {
  const parse = (css) => {
    const [r, g, b, a = 1] = css.match(/[\\d.]+(e-\\d+)?/g).map(Number);
    return { rgb: css.startsWith('color(') ? [r, g, b].map((v) => v * 255) : [r, g, b], a };
  };
  const over = (top, under) => top.rgb.map((v, i) => v * top.a + under[i] * (1 - top.a));
  const paper = (element) =>
    element ? over(parse(getComputedStyle(element).backgroundColor), paper(element.parentElement)) : [255, 255, 255];
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest('svg') ? style.fill : style.color).rgb;
    const [a, b] = [luminance(ink), luminance(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < least) found.push([text, ratio]);
  }
  return found;
}"""


class Page(HTMLParser):
    """What a test asks of a page: its elements, in order, and that each one that opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def dataset():
    """Drawn digits of two sizes under a name that would do harm, some labeled wrong on purpose, one not an image."""
    images = [picture(d, size, pen=pen) for d in range(10) for size in (28, 120) for pen in (2.5, 4)]
    labels = np.repeat(np.arange(10), 4)
    labels[[5, 17]] = [7, 3]
    images[22] = b"not an image"
    return Dataset(HOSTILE, "all", Lazy(images.__getitem__, range(40)), labels, {HOSTILE: "0" * 64})


@pytest.fixture(scope="module")
def few():
    """Fewer corruptions and non-digits, for speed."""
    kinds = {name: CORRUPTIONS[name] for name in ("affine", "ruled", "cropped", "cast")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(robustness, "CORRUPTIONS", kinds)
        patch.setattr(report, "PICTURES", 10)
        patch.setattr(ood, "PICTURES", 40)
        patch.setattr(ood, "LOOKALIKES", 10)
        yield


@pytest.fixture(scope="module")
def whole(recognizer, dataset, few):
    return measure(recognizer, dataset, corrupt=True, command=f"inkdigits evaluate {HOSTILE}", progress=silent)


@pytest.fixture(scope="module")
def page(whole):
    return Page(whole.html())


# --- numbers


def test_the_json_has_every_part_and_plain_values(whole, recognizer):
    found = json.loads(whole.json())
    assert found["n"] == 39
    assert (found["model"], found["sha256"]) == (recognizer.model.name, recognizer.model.sha256)
    assert sorted(found["errors"]) == sorted(whole.evaluation.errors.tolist())
    assert {5, 17} <= set(found["errors"])
    assert found["unreadable"][0]["title"] == "image 22"
    assert "not an image" in found["unreadable"][0]["error"]
    assert found["data_sha256"] == {HOSTILE: "0" * 64}
    assert found["mistakes"][0]["confidence"] == pytest.approx(whole.evaluation.confidences.max(), abs=0.1)
    assert found["robustness"]["n"] == 10
    assert len(found["refusal"]["kinds"]) == len(whole.ood.kinds)
    assert found["cost"]["bytes"] == recognizer.model.path.stat().st_size
    assert found["created"].endswith("+00:00")


def test_a_mistake_has_what_was_seen_and_what_came_second(whole, recognizer, dataset):
    for mistake, at in zip(whole.mistakes, whole.evaluation.errors.tolist(), strict=True):
        answer = recognizer.predict(dataset.images[at])
        assert (mistake.label, mistake.digit) == (dataset.labels[at], answer.digit)
        assert mistake.confidence == answer.confidence
        assert mistake.second_confidence == sorted(answer.probabilities)[-2]
        assert answer.probabilities[mistake.second] == mistake.second_confidence
        assert np.array_equal(mistake.seen, answer.image)
        assert mistake.title == f"image {at}"


def test_numbers_of_a_limited_set_are_those_of_the_whole(recognizer, dataset):
    some = measure(recognizer, dataset, limit=20, progress=silent)
    assert (some.whole, len(some.dataset)) == (40, 20)
    assert some.to_dict()["of"] == 40
    numbers = {int(some.dataset.numbers[at]) for at in some.evaluation.errors}
    assert set(some.to_dict()["errors"]) == numbers <= {5, 17, *range(40)}
    assert "a sample of 40" in Page(some.html()).text


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_that_leaves_no_image_is_named(recognizer, dataset, limit):
    with pytest.raises(ValueError, match=f"^limit must be 1 or more, not {limit}; None measures all images$"):
        measure(recognizer, dataset, limit=limit, progress=silent)
    pictures = NumberPictures("none", (), (), (), {})
    with pytest.raises(ValueError, match=r"^limit must be 1 or more"):
        measure_numbers(recognizer, pictures, limit=limit, progress=silent)


def test_the_page_has_the_numbers_of_the_json(whole, page):
    found = whole.to_dict()
    text = page.text
    wanted = [
        f"{found['accuracy']:.2%}",
        f"95% interval {found['interval'][0]:.2%} to {found['interval'][1]:.2%}",
        f"{found['robustness']['means']['held out']['medium']:.1%}",
        f"{found['refusal']['mean']:.1%}",
        f"{found['cost']['parameters']:,}",
        "1 image could not be read and is not counted",
        found["sha256"],
        *(score["name"] for score in found["robustness"]["kinds"]),
        *(score["name"] for score in found["refusal"]["kinds"]),
        *found["environment"].values(),
    ]
    assert [words for words in wanted if words not in text] == []


def test_every_key_of_the_json_is_documented(whole):
    documented = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert [key for key in whole.to_dict() if f"`{key}`" not in documented] == []


# --- the page


def test_the_page_stands_alone(whole, page):
    assert not page.all("script")
    assert not page.all("link")
    addresses = [a[name] for _, a in page.elements for name in ("src", "href", "poster") if name in a]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert all(url.startswith("data:") for url in re.findall(r"url\('?([^')]*)", whole.html()))
    assert "@import" not in whole.html()
    assert not [name for _, a in page.elements for name in a if name.startswith("on")]


def test_names_from_outside_are_shown_as_they_are(page):
    assert page.text.count(HOSTILE) >= 4  # heading, data, hash, command


def test_what_is_seen_is_described_too(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    charts = [a for a in page.all("svg") if a.get("role") == "img"]
    assert len(charts) == 5
    for chart in charts:
        assert all(name in ids for name in chart["aria-labelledby"].split())
    assert all(a.get("role") == "img" or a.get("aria-hidden") == "true" for a in page.all("svg"))
    assert all("alt" in a for a in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(a["href"][1:] in ids for a in page.all("a"))
    assert all(a["aria-labelledby"] in ids for a in page.all("section"))
    assert page.all("html")[0]["lang"] == "en"


def test_every_mistake_has_its_two_pictures(page, whole):
    seen = [a for a in page.all("img") if "seen" in a["class"]]
    assert len(seen) == len(whole.mistakes)


@pytest.mark.parametrize("kind", ["one digit", "all wrong", "all right", "all blank", "one image"])
def test_a_report_can_be_made_of_whatever_comes_out(recognizer, constant_model, kind):
    images = [picture(d, 60) for d in (4, 4, 7)]
    labels = np.array([4, 4, 7])
    model = recognizer
    if kind == "one digit":
        images, labels = images[:2], labels[:2]
    elif kind == "one image":
        images, labels = images[:1], labels[:1]
    elif kind == "all wrong":
        model = Recognizer(constant_model)
    elif kind == "all blank":
        images = [np.full((30, 30), 200, np.uint8)] * 3
    found = measure(model, Dataset("some", "all", Lazy(images.__getitem__, range(len(images))), labels, {}))
    json.loads(found.json())
    text = Page(found.html()).text
    right = kind in ("one digit", "one image", "all right")
    assert ("There are none." in text) is right
    assert f"{found.evaluation.accuracy:.0%}" == ("100%" if right else "0%")
    assert ("read as blank" in text) is (kind == "all blank")


@pytest.mark.parametrize(("wrong", "words"), [(1, "300 images are too few to tell"), (15, "It overrates itself")])
def test_few_mistakes_do_not_tell_whether_it_overrates_itself(recognizer, wrong, words):
    images, labels = [picture(digit, 60) for digit in range(10)], np.arange(300) % 10
    labels[:wrong] = (labels[:wrong] + 1) % 10
    found = measure(recognizer, Dataset("some", "all", Lazy(lambda i: images[i % 10], range(300)), labels, {}))
    assert found.evaluation.accuracy == 1 - wrong / 300
    assert (found.evaluation.confidence < found.evaluation.interval[1]) is (wrong == 1)
    assert words in Page(found.html()).text


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    whole.write(path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_it_fits_every_screen_and_every_text_has_contrast(chromium, written, scheme):
    complaints = []
    context = chromium.new_context(color_scheme=scheme, java_script_enabled=True)
    tab = context.new_page()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("request", lambda asked: complaints.append(asked.url) if asked.url[:5] not in ("file:", "data:") else None)
    try:
        tab.goto(written.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert tab.evaluate("[...document.images].every((image) => image.naturalWidth)")
        for width in SCREENS:
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate(LOW_CONTRASTS, CONTRAST) == []
    finally:
        context.close()
    assert not complaints


# --- files and the command line


def test_two_files_are_written_atomically(whole, written):
    assert written.read_text(encoding="utf-8") == whole.html()
    assert written.with_suffix(".json").read_text(encoding="utf-8") == whole.json()
    assert sorted(path.name for path in written.parent.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize(
    ("name", "message"), [("report.pdf", "suffix .html, not"), ("gone/report.html", "no folder .*gone.* to write")]
)
def test_a_path_that_cannot_be_right_is_rejected_before_anything_is_measured(tmp_path, name, message):
    with pytest.raises(SettingError, match=message):
        check_path(tmp_path / name)


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """A folder a class with two pictures a digit, and one file that is no image."""
    for digit in range(10):
        (tmp_path / "scans" / str(digit)).mkdir(parents=True)
        for size in (50, 90):
            Image.fromarray(picture(digit, size)).save(tmp_path / "scans" / str(digit) / f"{size}.png")
    (tmp_path / "scans" / "6" / "notes.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *argv):
    capsys.readouterr()
    return SimpleNamespace(code=main(list(argv)), **capsys.readouterr()._asdict())


def test_evaluate_reports_unreadable_images_and_measures_the_others(capsys, scans, recognizer):
    done = run(capsys, "evaluate", recognizer.model.name, "--data", "scans", "--report", "r.html", "--json", "r2.json")
    assert done.code == 1
    assert "scans, all part: 20 images" in done.out
    assert done.out.endswith("wrote r.html and r.json\n")
    assert (
        done.err
        == f"inkdigits: scans/6/notes.txt: {json.loads((scans / 'r.json').read_text())['unreadable'][0]['error']}\n"
    )
    assert json.loads((scans / "r.json").read_text())["accuracy"] == 1
    command = f"inkdigits evaluate {recognizer.model.name} --data scans --report r.html"
    assert json.loads((scans / "r2.json").read_text())["command"] == command
    assert "scans/6/notes.txt" in (scans / "r.html").read_text()


def test_evaluate_prints_json_alone(capsys, scans, recognizer):
    (scans / "scans" / "6" / "notes.txt").unlink()
    done = run(capsys, "evaluate", recognizer.model.name, "--data", "scans", "--limit", "10", "--json")
    found = json.loads(done.out)
    assert (done.code, done.err) == (0, "")
    assert (found["n"], found["of"], found["robustness"]) == (10, 20, None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--limit", "0"], "--limit must be 1 or more, not 0"),
        (["--report", "r.pdf"], "suffix .html"),
        (["--data", "gone/"], "there is no file or folder 'gone/'"),
        (["--data", "scans/6"], "neither folders 0 to 9 nor IDX files"),
        (["--json", "gone/r.json"], "cannot write gone/r.json"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(capsys, scans, recognizer, options, words):
    (scans / "scans" / "6" / "notes.txt").unlink()
    done = run(capsys, "evaluate", recognizer.model.name, "--data", "scans", *options)
    assert done.code == 2
    assert done.err.startswith("inkdigits: error: ")
    assert words in done.err
    assert done.err.count("\n") == 1


def test_a_report_needs_no_torch_to_be_loaded():
    code = "import sys, inkdigits.evaluation.report, inkdigits.evaluation.report_page; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


# --- words


def test_shares_never_round_to_all_or_nothing():
    cases = {0: "0%", 1: "100%", 0.5: "50.00%", 0.99999: ">99.99%", 1e-9: "<0.01%", 0.9999: "99.99%"}
    assert {share: percent(share) for share in cases} == cases
    assert percent(0.9996, 1) == ">99.9%"


def test_words_for_numbers():
    assert [number(1, "image"), number(2000, "image"), number(7)] == ["1 image", "2,000 images", "7"]
    assert [micro(83.4), micro(1240)] == ["83 µs", "1.24 ms"]
    assert link("Is its confidence honest?") == "is-its-confidence-honest"
