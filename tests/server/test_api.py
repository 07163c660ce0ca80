"""The other routes, and what browsers are sent."""

import asyncio
import json
import re
import shutil
from urllib.parse import urljoin

import httpx
import pytest

import inkdigits
from inkdigits import Recognizer, SettingError
from inkdigits.network import shipped_models
from inkdigits.self_test import known_digit, self_test
from inkdigits.server import create_app
from inkdigits.server.http.problems import INTERNAL_ERROR, PROBLEM_TYPES
from inkdigits.server.model_info import about
from inkdigits.server.offline import WEB
from inkdigits.settings import Settings

from support.html import Page
from support.requests import THREE, assert_problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def test_health_ready_and_model(client, recognizer):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "model": recognizer.model.name}
    model = client.get("/model").json()
    assert model["name"] == recognizer.model.name
    assert model["sha256"] == recognizer.model.sha256
    assert model["metrics"] == recognizer.model.metrics
    assert model["inkdigits"] == inkdigits.__version__
    assert recognizer.model.sha256.startswith(model["version"])
    assert model["sha256"] in client.get(urljoin("/model", model["card"])).text
    assert str(recognizer.model.path.parent) not in str(model)
    for path in ("/health", "/ready", "/model"):
        assert client.get(path).headers["cache-control"] == "no-store"


def test_the_card_that_a_registry_names(constant_model, tmp_path):
    shutil.copy(constant_model, tmp_path)
    entry = {"file": constant_model.name, "card": "https://example.com/card"}
    (tmp_path / "registry.json").write_text(json.dumps({"models": {"mine": entry}}))
    model = about(Recognizer(tmp_path / constant_model.name))
    assert (model["name"], model["card"]) == ("mine", "https://example.com/card")


@pytest.mark.parametrize("model", shipped_models())
def test_the_known_digits_are_read_right(model):
    recognizer = Recognizer(model)
    read = [recognizer.predict(known_digit(digit)) for digit in range(10)]
    assert [prediction.digit for prediction in read] == list(range(10))
    assert all(prediction.is_digit and prediction.confidence > 0.7 for prediction in read)
    assert self_test(recognizer) == ""


def test_not_ready_with_a_model_that_reads_wrong(start_server, constant_model):
    server = start_server("--model", str(constant_model))
    response = httpx.get(f"{server.url}/ready")
    assert_problem(response, 503, "not-ready", "constant reads known digits wrong: 0 as 8, 1 as 8")
    assert response.headers["retry-after"]
    assert httpx.get(f"{server.url}/health").status_code == 200
    assert "not ready: the model constant" in server.stop()


@pytest.mark.parametrize(
    "path", ["/nothing", "/predict/x", "/..%2f..%2fetc/passwd", "/%00", "/%7f", "/" + "x" * 3000, "/web"]
)
def test_nothing_there(client, path):
    assert_problem(client.get(path), 404, "not-found", "/docs")


@pytest.mark.parametrize("path", ["/predict", "/health", "/ready", "/model", "/docs", "/openapi.json", "/", "/nothing"])
def test_other_methods_are_not_allowed(client, path):
    allowed = {"/predict": {"POST"}, "/": {"GET", "HEAD", "POST"}}.get(path, {"GET", "HEAD"})
    for method in set(METHODS) - allowed:
        response = client.request(method, path)
        assert_problem(response, 405, "method-not-allowed", method, path)
        assert set(response.headers["allow"].split(", ")) == allowed
    if path not in ("/predict", "/nothing"):
        assert client.head(path).status_code == 200
        assert client.head(path).content == b""


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc", "/model-card.html"])
def test_pages_need_no_other_origin_and_nothing_in_line(client, path):
    response = client.get(path)
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "'unsafe" not in policy  # 'wasm-unsafe-eval' compiles WebAssembly and nothing else
    page = Page(response.text)
    assert not page.inline
    assert page.links
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.anchors
        else:
            assert not re.match(r"[a-z]+:|//", link), link
            assert client.get(urljoin(path, link)).status_code == 200, link


def test_the_reference_page_explains_every_kind_of_error_where_its_type_points(client):
    page = Page(client.get("/docs").text)
    assert {kind.slug for kind in PROBLEM_TYPES} <= page.anchors
    assert all(kind.document("")["type"].startswith("/docs#") for kind in PROBLEM_TYPES)


def test_the_page_s_files_have_right_types_an_etag_and_are_asked_for_again(client):
    expected = {
        ".html": "text/html",
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        ".txt": "text/plain",
    }
    files = [file for file in WEB.rglob("*") if file.is_file() and file.suffix != ".gz"]
    assert {".html", ".js", ".css"} <= {file.suffix for file in files}
    for file in files:
        path = "/" + file.relative_to(WEB).as_posix()
        response = client.get(path)
        # The runtime is here, so the page has its switch; tests/web/test_device.py asks a server without it.
        switched = file.read_bytes().replace(b'device-switch" class="switch" hidden', b'device-switch" class="switch"')
        assert response.content == (switched if path == "/index.html" else file.read_bytes())
        assert response.headers["content-type"].partition(";")[0] == expected[file.suffix]
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-content-type-options"] == "nosniff"
        again = client.get(path, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_text_is_compressed_for_those_who_take_it(client):
    with client.stream("GET", "/", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert int(response.headers["content-length"]) == len(b"".join(response.iter_raw()))
    assert "content-encoding" not in client.get("/", headers={"Accept-Encoding": "identity"}).headers


def test_only_named_origins_may_call(start_server, client):
    origin = "https://draw.example"
    server = start_server("--cors-origins", f"{origin}, http://localhost:3000")
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with httpx.Client(base_url=server.url) as there:
        preflight = there.options("/predict", headers={"Origin": origin, **ask})
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin
        for body, status in ((THREE, 200), (b"hello", 415)):
            response = there.post("/predict", content=body, headers={"Origin": origin})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == origin
        other = {"Origin": "https://evil.example"}
        assert there.options("/predict", headers={**other, **ask}).status_code == 400
        assert "access-control-allow-origin" not in there.post("/predict", content=THREE, headers=other).headers
    # The default names none.
    assert (
        "access-control-allow-origin" not in client.post("/predict", content=THREE, headers={"Origin": origin}).headers
    )
    assert client.options("/predict", headers={"Origin": origin, **ask}).status_code == 405


@pytest.mark.parametrize(
    "origins", ["example.com", "https://example.com/", "https://a.example, nonsense", "https://*.example"]
)
def test_origins_that_are_none_stop_the_start(origins):
    with pytest.raises(SettingError, match=r"cors_origins .* is not an origin"):
        create_app(Settings(cors_origins=origins))


def test_a_fault_of_the_server_s_own_shows_no_trace(recognizer, monkeypatch):
    async def ask():
        app = create_app(Settings.from_env())
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/predict", content=THREE)

    def fail(*_):
        raise RuntimeError("secret path /srv/models")

    monkeypatch.setattr(type(recognizer), "predict_preprocessed", fail)
    monkeypatch.setattr("inkdigits.server.factory.self_test", lambda recognizer: "")
    monkeypatch.setattr("inkdigits.server.api.openapi", lambda routes, settings, recognizer: DOCUMENT)
    response = asyncio.run(ask())
    assert_problem(response, 500, "internal-error")
    assert response.json()["detail"] == INTERNAL_ERROR.example


DOCUMENT = {
    "info": {"title": "", "version": "", "summary": "", "description": ""},
    "paths": {},
    "components": {"schemas": {}, "responses": {}},
}
