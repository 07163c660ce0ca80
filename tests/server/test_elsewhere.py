"""The service in other servers, uvicorn and gunicorn, and mounted in applications; importing it loads no model."""

import asyncio
import subprocess
import sys

import httpx
import pytest

from inkdigits.self_test import DIGIT
from inkdigits.server import create_app
from inkdigits.settings import Settings

from support.paths import ROOT
from support.requests import THREE
from support.servers import served, until

pytestmark = pytest.mark.slow

GUNICORN = [
    "-m",
    "gunicorn",
    "-k",
    "uvicorn_worker.UvicornWorker",
    "--log-level",
    "warning",
    "--bind",
    "127.0.0.1:{port}",
]
UVICORN = ["-m", "uvicorn", "--log-level", "warning", "--port", "{port}"]
MOUNTED = """
import fastapi
from starlette.applications import Starlette
from starlette.routing import Mount

from inkdigits.server import create_app

api = fastapi.FastAPI()
api.mount("/digits", create_app())

@api.get("/predict")
def other():
    return "the application's own"

plain = Starlette(routes=[Mount("/deep/er", create_app())])
"""


@pytest.mark.parametrize(
    "command",
    [
        [*GUNICORN, "-w", "3", "inkdigits.server:app"],
        [*GUNICORN, "-w", "3", "app:app"],
        [*GUNICORN, "-w", "2", "--preload", "inkdigits.server:app"],
        [*GUNICORN, "inkdigits.server:create_app()"],
        [*UVICORN, "inkdigits.server:app"],
        [*UVICORN, "--workers", "2", "app:app"],
        [*UVICORN, "--factory", "inkdigits.server:create_app"],
        ["app.py"],
    ],
    ids=" ".join,
)
def test_any_asgi_server_runs_it(command):
    with served(*command) as url:
        for _ in range(6):  # a connection each, so that the workers take turns
            assert httpx.post(f"{url}/predict", content=THREE).json()["digit"] == DIGIT
        assert httpx.post(f"{url}/predict", content=b"no picture").status_code == 415
        until(lambda: httpx.get(f"{url}/ready").status_code == 200)  # every worker is there
        assert "<canvas" in httpx.get(url).text


def test_importing_the_server_loads_no_model():
    code = (
        "import sys, inkdigits.recognizer as r\n"
        "r.Recognizer.__init__ = lambda *a, **k: sys.exit('a model was loaded')\n"
        "import app, inkdigits.server\n"
        "from inkdigits.server import create_app, serve\n"
        "from inkdigits.server import *\n"
        "assert not hasattr(inkdigits.server, 'application')\n"
        "inkdigits.server.app\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (1, "a model was loaded")  # by the last line


@pytest.fixture(scope="module", params=[("api", "/digits"), ("plain", "/deep/er")], ids=["FastAPI", "Starlette"])
def mounted(request, tmp_path_factory):
    """The address that the service has in an application, which has its own routes beside it."""
    name, path = request.param
    folder = tmp_path_factory.mktemp("mounted")
    (folder / "mine.py").write_text(MOUNTED)
    with served(*UVICORN, "--app-dir", str(folder), f"mine:{name}") as url:
        yield url + path


def test_mounted_in_an_application_it_answers(mounted, recognizer):
    with httpx.Client(base_url=mounted) as client:
        assert client.post("/predict", content=THREE).json()["digit"] == DIGIT
        assert client.post("/predict?top=2", files={"file": ("3.png", THREE)}).json()["top"][0]["digit"] == DIGIT
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "model": recognizer.model.name})
        assert client.get(f"/v2/models/{recognizer.model.name}").json()["name"] == recognizer.model.name
        page = client.get("/")
        assert "<canvas" in page.text
        assert client.get("/app.js").headers["content-type"].startswith("text/javascript")
        assert client.get("/files.js").text.startswith("self.KEPT")
        assert client.get("/docs").text == client.get("/redoc").text
        found = client.get("/metrics").text
        for route in ("/predict", "/v2", "/docs"):
            assert f'inkdigits_requests_total{{route="{route}",status="200"}}' in found
    assert httpx.get(mounted, follow_redirects=True).text == page.text  # without the slash at the end


def test_mounted_in_an_application_its_problems_name_its_own_reference(mounted):
    path = httpx.URL(mounted).path
    broken = {"a": ("a.png", THREE[:99]), "b": ("b.png", THREE)}
    great = {"a": ("a.png", bytes(3 << 20)), "b": ("b.png", THREE)}
    with httpx.Client(base_url=mounted) as client:
        several = [client.post("/predict", files=files).json()["predictions"][0]["error"] for files in (broken, great)]
        one = client.post("/predict", content=b"x").json()
        nothing = client.get("/nothing").json()
        wrong = client.get("/predict").json()
        for problem in [*several, one, nothing, wrong]:
            reference, _, anchor = problem["type"].partition("#")
            assert reference == f"{path}/docs"
            assert f'id="{anchor}"' in httpx.get(str(client.base_url.copy_with(path=reference))).text
        assert f"{path}/docs lists all routes" in nothing["detail"]


def test_what_an_application_has_beside_it_is_its_own(mounted):
    response = httpx.get(httpx.URL(mounted).copy_with(path="/predict"))
    assert (response.status_code, response.text) in [(200, '"the application\'s own"'), (404, "Not Found")]


@pytest.mark.parametrize("path", ["/predict", "/digits/predict"], ids=["stripped", "whole"])
def test_a_path_is_found_whether_or_not_a_server_took_the_root_off(path):
    """As ASGI has it the path holds the root; servers before 2023 took it off."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": THREE}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "root_path": "/digits", "query_string": b"", "headers": []}
    asyncio.run(create_app(Settings())(scope, receive, send))
    assert (sent[0]["status"], b'"digit":3' in sent[1]["body"]) == (200, True)
