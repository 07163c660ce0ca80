"""The page by itself: as static files under a path, with a server elsewhere or none, offline, and in a new version."""

import functools
import http.server
import io
import json
import re
import shutil
import subprocess
import sys
import threading

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from inkdigits.server.offline import listing

from support import browser
from support.browser import axe, draw, settled, until
from support.drawings import DIGITS, picture
from support.own_models import FORMS, write
from support.paths import ROOT

pytestmark = pytest.mark.slow

chromium, visit = browser.chromium, browser.visit

FOLDER = "/some/where/"  # that the page lies under
ON_DEVICE = "Ready on this device: the answer follows your pen"
UNANSWERED = "Failed to load resource"

KEPT = """async () => {
  const device = (await caches.keys()).find((name) => name.includes(' device '));
  if (!device || !navigator.serviceWorker.controller) return false;
  return (await (await caches.open(device)).keys()).length === 7;
}"""


def build(out, *options):
    command = [sys.executable, str(ROOT / "scripts" / "build_static.py"), str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A browser that goes away in the middle of a file is none of the test's business."""


class Host:
    """A host of static files that sends the headers of the folder's vercel.json, on a port of its own."""

    def __init__(self, folder, port=0):
        self.folder = folder
        headers = {
            h["key"]: h["value"] for h in json.loads((folder / "vercel.json").read_text())["headers"][0]["headers"]
        }

        class Handler(http.server.SimpleHTTPRequestHandler):
            def translate_path(self, path):
                return super().translate_path(path.removeprefix(FOLDER.rstrip("/")))

            def end_headers(self):
                for name, value in headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def log_message(self, *_):
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.server = _Server(("127.0.0.1", port), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self):
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """The page built to read by itself."""
    out = tmp_path_factory.mktemp("static") / "page"
    built = build(out)
    assert (built.returncode, built.stderr) == (0, "")
    return out


@pytest.fixture
def host(static, tmp_path):
    """A host of a copy of it, which a test may change."""
    shutil.copytree(static, tmp_path / "page")
    host = Host(tmp_path / "page")
    yield host
    host.close()


def kept(page):
    """Wait until the service worker keeps the page and what reads on the device."""
    until(page, lambda: page.evaluate(KEPT))


def test_static_files_under_a_path_read_by_themselves(visit, host):
    page = visit(FOLDER, server=host.url)
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    expect(page.get_by_test_id("on-device")).to_be_checked()
    expect(page.get_by_test_id("on-device")).to_be_disabled()
    draw(page, DIGITS[6])
    assert settled(page) == "6"
    page.get_by_text("About").click()
    expect(page.get_by_test_id("about")).to_contain_text("on this device")
    expect(page.get_by_test_id("curl")).to_be_hidden()


def test_it_works_offline_once_visited(visit, host):
    page = visit(FOLDER, server=host.url, offline=True)
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    kept(page)
    host.close()
    page.reload()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    for digit in (2, 5):
        draw(page, DIGITS[digit])
        assert settled(page) == str(digit)
        page.get_by_test_id("clear").click()
    page.goto(f"{host.url}{FOLDER}index.html?from=bookmark")
    draw(page, DIGITS[7])
    assert settled(page) == "7"


def test_the_served_page_works_when_its_server_has_gone(visit, start_server):
    server = start_server()
    page = visit(server=server.url, offline=True, allow=UNANSWERED)
    page.get_by_test_id("on-device").check()
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    kept(page)
    page.get_by_test_id("on-device").uncheck()
    expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
    server.close()
    page.reload()
    expect(page.get_by_test_id("status")).to_have_text("The server is not responding. Reading on this device.")
    draw(page, DIGITS[9])
    assert settled(page) == "9"
    assert axe(page) == []


def test_a_new_version_replaces_the_old_one(visit, host):
    page = visit(FOLDER, server=host.url, offline=True)
    expect(page.get_by_test_id("status")).to_have_text(ON_DEVICE)
    kept(page)
    draw(page, DIGITS[3])
    assert settled(page) == "3"
    texts = host.folder / "strings.js"
    texts.write_text(texts.read_text().replace("Draw a digit first", "Draw something first"))
    listing = host.folder / "files.js"
    version = re.search('"version": "([0-9a-f]{16})"', listing.read_text())[1]
    listing.write_text(listing.read_text().replace(version, "0123456789abcdef"))

    # While the page is open, it offers the new version and stays what it is; the drawing outlives the change.
    page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).update()")
    expect(page.get_by_text("A new version of this page is available")).to_be_visible()
    assert settled(page) == "3"
    assert axe(page) == []
    with page.expect_navigation():
        page.get_by_test_id("use-update").click()
    expect(page.get_by_test_id("digit")).to_have_text("3")
    page.get_by_test_id("clear").click()
    page.get_by_test_id("predict").click()
    expect(page.get_by_test_id("status")).to_have_text("Draw something first")
    names = page.evaluate("() => caches.keys()")
    assert len(names) == 2
    assert not [name for name in names if version in name]


def test_a_server_elsewhere(tmp_path, start_server, static, visit):
    """CORS: the page of another origin may ask the server only where the server's setting names it."""
    out = tmp_path / "page"
    shutil.copytree(static, out)
    host = Host(out)
    try:
        named, closed = start_server("--cors-origins", host.url), start_server()
        for server, allow in ((named, None), (closed, "CORS|Failed to load")):
            host.close()
            assert build(out, "--server", server.url).returncode == 0
            (out / "vendor").rename(out / "gone")  # so that the device does not stand in
            host = Host(out, host.server.server_port)
            page = visit(FOLDER, server=host.url, elsewhere=server.url, allow=allow)
            if allow:
                expect(page.get_by_test_id("status")).to_have_text(re.compile("not responding. Trying again"))
            else:
                expect(page.get_by_test_id("status")).to_have_text(re.compile("^Ready: "))
                with page.expect_response(f"{server.url}/predict"):
                    draw(page, DIGITS[8])
                assert settled(page) == "8"
    finally:
        host.close()


def test_the_list_of_files_is_true_and_follows_content(client, static):
    text = client.get("/files.js").text
    sets = json.loads(text.removeprefix("self.KEPT = ").removesuffix(";\n"))
    names = [*sets["page"]["files"], *sets["device"]["files"]]
    assert len(names) == len(set(names))
    for name in names:
        assert client.get(f"/{name}").status_code == 200, name
    for index in re.findall(r'(?:href|src)="([^"#]+\.\w+)"', (static / "index.html").read_text()):
        assert index in names
    one = listing({"model.onnx": b"one"}, static)
    assert one == listing({"model.onnx": b"one"}, static)
    assert one != listing({"model.onnx": b"two"}, static)


def test_a_build_has_a_form_where_a_server_can_answer_it(tmp_path, live_server, static, visit):
    """Without JavaScript nothing on the device reads."""
    alone = (static / "index.html").read_text()
    assert "<form" not in alone
    assert "This page needs JavaScript, which is turned off." in alone
    assert build(tmp_path / "page", "--server", live_server).returncode == 0
    Image.fromarray(picture(8)).save(tmp_path / "eight.png")
    host = Host(tmp_path / "page")
    try:
        page = visit(FOLDER, server=host.url, elsewhere=live_server, java_script_enabled=False)
        page.get_by_label("Choose pictures").set_input_files(tmp_path / "eight.png")
        page.get_by_role("button", name="Predict").click()
        expect(page.locator(".numeral")).to_have_text("8")
        assert page.url == f"{live_server}/"
    finally:
        host.close()


def test_the_build_says_what_is_wrong(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    refused = build(tmp_path)
    assert refused.returncode == 2
    assert "holds other files than an earlier build" in refused.stderr
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert "expected one such as https://" in build(tmp_path / "new", "--server", "api.example").stderr
    assert "no model" in build(tmp_path / "new", "--model", "nothing").stderr


def test_the_manifest_and_its_icons(client):
    manifest = client.get("/manifest.webmanifest").json()
    assert (manifest["display"], manifest["start_url"], manifest["scope"]) == ("standalone", "./", "./")
    for icon in manifest["icons"]:
        response = client.get(f"/{icon['src']}")
        assert response.headers["content-type"] == icon["type"]
        if icon["type"] == "image/png":
            side = int(icon["sizes"].partition("x")[0])
            assert Image.open(io.BytesIO(response.content)).size == (side, side)
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in manifest["icons"]}


def test_a_model_that_only_a_server_can_run_makes_no_static_page_without_one(tmp_path):
    model = write(tmp_path / "own.onnx", *FORMS["channels last"])
    refused = build(tmp_path / "alone", "--model", str(model))
    assert refused.returncode == 2
    assert "the model own takes (N, 28, 28, 1) float32 images" in refused.stderr
    assert "which the page cannot run by itself; give --server" in refused.stderr
    assert not (tmp_path / "alone").exists()
    built = build(tmp_path / "with", "--model", str(model), "--server", "https://api.example")
    assert built.returncode == 0, built.stderr
    assert not (tmp_path / "with" / "model.onnx").exists()


def test_the_headers_of_static_hosts(static, live_server):
    vercel = json.loads((static / "vercel.json").read_text())
    [rule] = vercel["headers"]
    assert rule["source"] == "/(.*)"
    sent = {header["key"]: header["value"] for header in rule["headers"]}
    served = httpx.get(f"{live_server}/index.html").headers
    assert sent == {name: served[name] for name in sent}
    assert "'wasm-unsafe-eval'" in sent["content-security-policy"]
    assert (static / "_headers").read_text().startswith("/*\n")
    # A host without such rules sends each file as its ending says, and many do not know .mjs.
    known = {".css", ".html", ".js", ".json", ".onnx", ".png", ".svg", ".wasm", ".webmanifest", ""}
    assert {path.suffix for path in static.rglob("*") if path.is_file()} == known
