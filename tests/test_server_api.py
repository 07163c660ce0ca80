"""The other routes, the OpenAPI document (which must be true) and what browsers are sent."""

import asyncio
import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

import inkdigits
from inkdigits import SettingError
from inkdigits.server import create_app
from inkdigits.server.known import DIGIT, known_digit
from inkdigits.server.offline import WEB
from inkdigits.server.problems import KINDS
from inkdigits.settings import Settings
from test_server_predict import THREE, assert_problem

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def test_health_ready_and_model(client, recognizer):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready", "model": recognizer.model.name}
    model = client.get("/model").json()
    assert model["name"] == recognizer.model.name
    assert model["sha256"] == recognizer.model.sha256
    assert model["metrics"] == recognizer.model.metrics
    assert model["inkdigits"] == inkdigits.__version__
    assert str(recognizer.model.path.parent) not in str(model)
    for path in ("/health", "/ready", "/model"):
        assert client.get(path).headers["cache-control"] == "no-store"


def test_the_known_digit_is_read_right(recognizer):
    assert recognizer.predict(known_digit()).digit == DIGIT


def test_not_ready_with_a_model_that_reads_wrong(start_server, constant_model):
    server = start_server("--model", str(constant_model))
    response = httpx.get(f"{server.url}/ready")
    assert_problem(response, 503, "not-ready", "constant reads a known 3 as 8")
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
    allowed = {"POST"} if path == "/predict" else {"GET", "HEAD"}
    for method in set(METHODS) - allowed:
        response = client.request(method, path)
        assert_problem(response, 405, "method-not-allowed", method, path)
        assert set(response.headers["allow"].split(", ")) == allowed
    if path not in ("/predict", "/nothing"):
        assert client.head(path).status_code == 200
        assert client.head(path).content == b""


@pytest.fixture(scope="module")
def document(client):
    return client.get("/openapi.json").json()


def resolve(document, schema):
    while "$ref" in schema:
        target = document
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        schema = target
    return schema


def conforms(document, schema, value, at="$"):
    """A small JSON Schema validator, of the keywords that the document uses; returns what is wrong, "" for nothing."""
    schema = resolve(document, schema)
    known = {"type", "properties", "required", "items", "minItems", "maxItems", "minimum", "maximum", "enum", "const"}
    known |= {"oneOf", "allOf", "description", "format", "patternProperties", "additionalProperties", "default"}
    assert set(schema) <= known, set(schema) - known
    if "oneOf" in schema:
        wrong = [conforms(document, s, value, at) for s in schema["oneOf"]]
        return "" if wrong.count("") == 1 else f"{at}: {wrong}"
    for part in schema.get("allOf", ()):
        if wrong := conforms(document, part, value, at):
            return wrong
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    kinds["null"] = type(None)
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(isinstance(value, kinds[n]) and (n == "boolean" or value is not True) for n in names):
        return f"{at}: {value!r} is no {names}"
    if value not in schema.get("enum", [value]) or value != schema.get("const", value):
        return f"{at}: {value!r}"
    if isinstance(value, (int, float)) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{at}: {value}"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{at}: {len(value)} items"
        wrong = [conforms(document, schema.get("items", {}), item, f"{at}[{i}]") for i, item in enumerate(value)]
        return next(filter(None, wrong), "")
    if isinstance(value, dict):
        if missing := set(schema.get("required", ())) - set(value):
            return f"{at}: {missing} missing"
        properties = {k: s for k, s in schema.get("properties", {}).items() if k in value}
        for pattern, s in schema.get("patternProperties", {}).items():
            properties |= {k: s for k in value if re.search(pattern, k)}
        return next(filter(None, (conforms(document, s, value[k], f"{at}.{k}") for k, s in properties.items())), "")
    return ""


def test_the_document_describes_the_routes_and_every_reference_leads_somewhere(client, document):
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == inkdigits.__version__
    for path, item in document["paths"].items():
        for method in item:
            assert client.request(method, path, content=THREE if method == "post" else None).status_code == 200
    references = re.findall(r"'\$ref': '([^']+)'", str(document))
    assert references
    for reference in references:
        assert resolve(document, {"$ref": reference})


def test_answers_are_as_the_document_says(client, document):
    def answer(method, path, media="application/json", status="200"):
        response = resolve(document, document["paths"][path][method]["responses"][status])
        return response["content"][media]["schema"]

    blank = base64.b64decode("R0lGODlhFAAUAIAAAP///wAAACH5BAAAAAAALAAAAAAUABQAAAIRhI+py+0Po5y02ouz3rz7rxUAOw==")
    files = [("f", ("a.png", THREE)), ("f", ("b.png", b"hello")), ("f", ("c.gif", blank))]
    several = client.post("/predict?image=true", files=files).json()
    assert several["predictions"][2]["blank"]
    for value in (
        client.post("/predict", content=THREE).json(),
        client.post("/predict", content=blank).json(),
        several,
    ):
        assert conforms(document, answer("post", "/predict"), value) == ""
    for path in ("/health", "/ready", "/model"):
        assert conforms(document, answer("get", path), client.get(path).json()) == ""
    problem = client.post("/predict", content=b"hello")
    assert conforms(document, answer("post", "/predict", "application/problem+json", "415"), problem.json()) == ""


def test_examples_of_requests_are_read_as_the_digit_they_show(client, document):
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    one = document["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]["examples"]["one"][
        "value"
    ]
    assert one["digit"] == DIGIT
    for media in ("image/*", "application/octet-stream"):
        body = base64.b64decode(content[media]["examples"]["png"]["value"])
        kind = media.replace("*", "png")
        assert client.post("/predict", content=body, headers={"Content-Type": kind}).json() == one
    [picture] = content["multipart/form-data"]["examples"]["files"]["value"]["files"]
    assert client.post("/predict", files={"files": ("3.png", base64.b64decode(picture))}).json() == one
    for example in content["application/json"]["examples"].values():
        assert conforms(document, content["application/json"]["schema"], example["value"]) == ""
        assert client.post("/predict", json=example["value"]).json()["digit"] == DIGIT


def test_examples_of_answers_and_errors_fit_their_schemas(document):
    responses = [*document["components"]["responses"].values()]
    for item in document["paths"].values():
        responses += [resolve(document, r) for o in item.values() for r in o["responses"].values()]
    for response in responses:
        for content in response["content"].values():
            for example in content["examples"].values():
                assert conforms(document, content["schema"], example["value"]) == ""


class Page(HTMLParser):
    """What a page refers to, its anchors, and any script or style in line."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.inline, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        self.links += [attributes[key] for key in ("href", "src") if key in attributes]
        if tag == "style" or (tag == "script" and "src" not in attributes) or {"style", "onclick"} & set(attributes):
            self.inline.append(tag)


@pytest.mark.parametrize("path", ["/", "/docs"])
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
    assert {kind.slug for kind in KINDS} <= page.anchors
    assert all(kind.document("")["type"].startswith("/docs#") for kind in KINDS)


def test_the_docs_list_every_route_and_kind_of_error(document):
    text = (Path(inkdigits.__file__).parents[2] / "docs" / "http-api.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| {kind.status} | `{kind.slug}` |" in text
    for path, item in document["paths"].items():
        assert f"`{next(iter(item)).upper()} {path}`" in text


def test_the_page_s_files_have_right_types_an_etag_and_are_asked_for_again(client):
    expected = {
        ".html": "text/html",
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".png": "image/png",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        ".txt": "text/plain",
    }
    files = [file for file in WEB.rglob("*") if file.is_file() and file.suffix != ".gz"]
    assert {".html", ".js", ".css"} <= {file.suffix for file in files}
    for file in files:
        path = "/" + file.relative_to(WEB).as_posix()
        response = client.get(path)
        assert response.content == file.read_bytes()
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

    monkeypatch.setattr(type(recognizer), "predict", fail)
    monkeypatch.setattr("inkdigits.server.app.self_test", lambda recognizer: "")
    monkeypatch.setattr("inkdigits.server.app.openapi", lambda settings, recognizer: DOCUMENT)
    response = asyncio.run(ask())
    assert_problem(response, 500, "internal-error")
    assert "secret" not in response.text


DOCUMENT = {
    "info": {"title": "", "version": "", "summary": "", "description": ""},
    "paths": {},
    "components": {"schemas": {}, "responses": {}},
}
