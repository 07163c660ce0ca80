"""What stands in deploy/ and beside it, tried with schemas, linters and the programs that it is for."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
import venv
import zipfile
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.requirements import Requirement

import inkdigits
from inkdigits.self_test import DIGIT
from inkdigits.settings import Settings

from support.fronts import DEPLOY, STOP_SECONDS, free_ports, nginx, running
from support.paths import ROOT
from support.programs import BIN, ran, tool
from support.requests import THREE
from support.servers import answers, until

pytestmark = pytest.mark.slow

METRICS = {
    "inkdigits_requests_total",
    "inkdigits_request_seconds_bucket",
    "inkdigits_predictions_total",
    "inkdigits_confidence_bucket",
    "inkdigits_confidence_sum",
    "inkdigits_confidence_count",
    "inkdigits_ink_sum",
    "inkdigits_ink_count",
    "inkdigits_baseline",
    "inkdigits_refusals_total",
    "inkdigits_queue_length",
    "inkdigits_shed_total",
    "inkdigits_model_info",
    "inkdigits_trial_images_total",
    "inkdigits_trial_rejected_total",
    "inkdigits_trial_answers_total",
    "inkdigits_trial_dropped_total",
    "inkdigits_trial_crossed",
}


@pytest.mark.parametrize("name", ["Dockerfile", "learn.Dockerfile", "ray.Dockerfile"])
def test_the_dockerfiles_are_clean(name):
    assert ran(tool("hadolint"), DEPLOY / name) == ""


def test_the_image_gets_all_that_it_copies_and_nothing_else():
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        copied.update(line.split()[:-1])
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_in
    assert all((ROOT / path).exists() for path in copied)


def locked(name):
    """Version and hashes of each package of a lock."""
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    return {line.split("==")[0]: (line.split("==")[1].split()[0], line.count("--hash=sha256:")) for line in lines}


@pytest.mark.parametrize(
    ("name", "part"), [("requirements.txt", "project"), ("build-requirements.txt", "build-system")]
)
def test_the_lock_holds_what_is_asked_for(name, part):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [Requirement(text) for text in (project[part].get("dependencies") or project[part].get("requires"))]
    if part == "project":  # a server of the image can keep corrections
        wanted += map(Requirement, project[part]["optional-dependencies"]["feedback"])
    found = locked(name)
    for requirement in wanted:
        version, _ = found[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement} has {version} in the lock: make lock"
    assert all(hashes for _, hashes in found.values())
    assert not {"torch", "onnx", "scikit-learn"} & found.keys()


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", sorted((ROOT / ".github" / "workflows").glob("*.yml"))),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("vendor.compose-spec", [ROOT / "compose.yaml"]),
    ],
)
def test_schemas_of_others(schema, files):
    assert files
    ran(tool("check-jsonschema"), "--builtin-schema", schema, *files)


def test_workflows_run_what_there_is():
    makefile = (ROOT / "Makefile").read_text()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            for step in job.get("steps", ()):
                for target in re.findall(r"^make (\w+)", step.get("run", ""), re.MULTILINE):
                    assert f"\n{target}:" in makefile
                for script in re.findall(r"^scripts/\S+", step.get("run", ""), re.MULTILINE):
                    assert os.access(ROOT / script, os.X_OK)


def test_prometheus_takes_its_files():
    assert "10 rules found" in ran(tool("promtool"), "check", "config", DEPLOY / "monitoring" / "prometheus.yml")


def test_the_dashboard_asks_for_what_the_server_tells(tmp_path):
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboards" / "inkdigits.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yml").read_text())["groups"][0]["rules"]
    named = {
        name for text in [*asked, *(rule["expr"] for rule in rules)] for name in re.findall(r"inkdigits_\w+", text)
    }
    assert named == METRICS
    source = yaml.safe_load((DEPLOY / "monitoring" / "datasource.yml").read_text())["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    # Grafana fills in the interval; that each is a query of Prometheus its own parser says.
    records = [{"record": f"panel:{i}", "expr": expr.replace("$__rate_interval", "1m")} for i, expr in enumerate(asked)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    assert f"{len(asked)} rules found" in ran(tool("promtool"), "check", "rules", tmp_path / "queries.yml")


def asked_of_prometheus(base, path, **params):
    answer = httpx.get(f"{base}/api/v1/{path}", params=params).json()
    assert answer["status"] == "success", answer
    return answer["data"]


def test_prometheus_answers_what_the_dashboard_and_the_alerts_ask(start_server, tmp_path):
    """Both are asked of a real Prometheus that has scraped a server in use; where nothing is told, a name is wrong."""
    server = start_server()
    [port] = free_ports(1)
    text = (DEPLOY / "monitoring" / "prometheus.yml").read_text()
    for before, after in {
        '"inkdigits:9696"': json.dumps(server.url.removeprefix("http://")),
        "scrape_interval: 5s": "scrape_interval: 1s",
        "evaluation_interval: 5s": "evaluation_interval: 1s",
    }.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "monitoring" / "alerts.yml", tmp_path)
    base = f"http://127.0.0.1:{port}"
    command = [
        tool("prometheus"),
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    dashboard = json.loads((DEPLOY / "monitoring" / "dashboards" / "inkdigits.json").read_text())
    asked = {target["expr"].replace("$__rate_interval", "1m") for p in dashboard["panels"] for target in p["targets"]}
    rules = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yml").read_text())["groups"][0]["rules"]
    # Of a rule, what it compares: the comparison itself tells nothing while all is well.
    asked |= {re.fullmatch(r"(.+) (>|==) [\d.]+\s*", rule["expr"], re.DOTALL)[1] for rule in rules}

    with running(f"{base}/-/ready", *command), httpx.Client(base_url=server.url) as client:
        until(lambda: asked_of_prometheus(base, "query", query="up")["result"])

        def told(query):
            client.post("/predict", content=THREE)
            client.post("/predict", content=b"no picture")
            return [s for s in asked_of_prometheus(base, "query", query=query)["result"] if s["value"][1] != "NaN"]

        # No request failed, and none was turned away by a limit: nothing is what these must tell.
        errors = {query for query in asked if 'status=~"5.."' in query}
        assert errors
        for query in asked - errors:
            until(lambda query=query: told(query))
        assert not any(told(query) for query in errors if query.startswith("sum by"))
        assert {s["metric"]["digit"] for s in told("inkdigits_predictions_total")} >= {str(DIGIT)}
        found = asked_of_prometheus(base, "rules")["groups"][0]["rules"]
        assert [rule["name"] for rule in found] == [rule["alert"] for rule in rules]
        assert {(rule["health"], rule["state"]) for rule in found} == {("ok", "inactive")}
        server.stop()
        until(lambda: asked_of_prometheus(base, "alerts")["alerts"])
        [alert] = asked_of_prometheus(base, "alerts")["alerts"]
        assert (alert["labels"]["alertname"], alert["state"]) == ("InkdigitsDown", "pending")


def test_the_files_set_what_are_settings():
    known = {field.metadata["env"] for field in fields(Settings)}
    files = ["compose.yaml", "app.json", "Procfile", "deploy/Dockerfile", "deploy/systemd/inkdigits.service"]
    for path in [*(ROOT / name for name in files), *(DEPLOY / "kubernetes").rglob("*.yaml")]:
        assert set(re.findall(r"INKDIGITS_[A-Z_]+", path.read_text())) <= known, path
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["inkdigits"]
    for name in ("FEEDBACK", "REVIEW_KEYS", "SHADOW", "CANARY", "WATCH"):
        assert compose["environment"][f"INKDIGITS_{name}"] == f"${{INKDIGITS_{name}:-}}"  # off by default


def test_systemd_takes_its_unit(tmp_path):
    unit = (DEPLOY / "systemd" / "inkdigits.service").read_text()
    path = tmp_path / "inkdigits.service"
    path.write_text(unit.replace("/opt/inkdigits/bin/inkdigits", sys.executable))
    printed = ran(tool("systemd-analyze"), "verify", "--man=no", path)
    assert "inkdigits.service" not in printed, printed


def test_the_procfile_starts_the_server(tmp_path):
    [port] = free_ports(1)
    process = subprocess.Popen(
        [tool("honcho"), "start", "-f", ROOT / "Procfile", "--port", str(port)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "WEB_CONCURRENCY": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        ready = next(line for line in process.stdout if "serves on" in line)
        assert "2 workers" in ready
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", content=THREE).json()
        assert answer["digit"] == DIGIT
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=STOP_SECONDS)
        assert "Traceback" not in printed
        assert not answers(f"http://127.0.0.1:{port}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


def test_nginx_in_front(start_server, tmp_path):
    port, *ports = free_ports(3)
    command = nginx(tool("nginx"), tmp_path, port, ports)
    start_server("--port", str(ports[0]))  # the other one is down, and nobody notices
    url = f"http://127.0.0.1:{port}"
    with running(url, *command), httpx.Client(base_url=url) as client:
        assert [client.post("/predict", content=THREE).json()["digit"] for _ in range(6)] == [DIGIT] * 6
        assert "<canvas" in client.get("/").text
        assert client.post("/predict", content=bytes(21 << 20)).status_code == 413
        statuses = [client.get("/health").status_code for _ in range(250)]
        assert set(statuses) == {200, 429}  # more than 100 at once and 20 a second from one address


def test_no_request_fails_while_servers_are_restarted_behind_nginx(start_server, tmp_path):
    port, *ports = free_ports(3)
    command = nginx(tool("nginx"), tmp_path, port, ports, **{"rate=20r/s": "rate=100000r/s"})
    servers = [start_server("--port", str(p)) for p in ports]
    url = f"http://127.0.0.1:{port}"
    statuses, done = [], threading.Event()

    def load():
        with httpx.Client(base_url=url, timeout=30) as client:
            while not done.is_set():
                response = client.post("/predict", content=THREE)
                statuses.append((response.status_code, response.json().get("digit")))

    with running(url, *command):
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for server, p in zip(servers, ports, strict=True):
                server.stop()
                assert server.process.returncode == 0
                count = len(statuses)
                until(lambda n=count: len(statuses) > n + 20)
                start_server("--port", str(p))
                count = len(statuses)
                until(lambda n=count: len(statuses) > n + 20)
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert set(statuses) == {(200, DIGIT)}
    assert len(statuses) > 80


def test_apache_in_front(start_server, tmp_path):
    apache = tool("apache2")
    port, *ports = free_ports(3)
    start_server("--port", str(ports[1]))  # the first one is down, and nobody notices
    site = (DEPLOY / "apache" / "inkdigits.conf").read_text().replace("*:80", f"127.0.0.1:{port}")
    for old, new in zip((9696, 9697), ports, strict=True):
        site = site.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    modules = "mpm_event authz_core authz_host headers proxy proxy_http proxy_balancer slotmem_shm lbmethod_byrequests"
    loads = "\n".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so" for m in modules.split())
    (tmp_path / "apache.conf").write_text(
        f"ServerRoot {tmp_path}\nServerName localhost\nPidFile {tmp_path}/pid\nDefaultRuntimeDir {tmp_path}\n"
        f"ErrorLog {tmp_path}/error.log\nListen 127.0.0.1:{port}\n{loads}\n{site}"
    )
    url = f"http://127.0.0.1:{port}"
    with running(url, apache, "-X", "-f", tmp_path / "apache.conf"), httpx.Client(base_url=url) as client:
        assert [client.post("/predict", content=THREE).json()["digit"] for _ in range(4)] == [DIGIT] * 4
        assert client.post("/predict", content=bytes(21 << 20)).status_code == 413


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The wheel and the sdist, the wheel built from the sdist as PyPI's users would."""
    folder = tmp_path_factory.mktemp("dist")
    ran(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    assert wheel.name == f"inkdigits-{inkdigits.__version__}-py3-none-any.whl"
    assert sdist.name == f"inkdigits-{inkdigits.__version__}.tar.gz"
    return wheel, sdist


def test_the_wheel_has_everything_that_runs(packages):
    inside = set(zipfile.ZipFile(packages[0]).namelist())
    wanted = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src" / "inkdigits").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - inside == set()
    assert {
        f"inkdigits/web/vendor/{name}" for name in ("ort.wasm.bundle.min.js", "ort-wasm-simd-threaded.wasm")
    } <= inside


def test_the_bill_of_materials_names_what_is_installed(packages, tmp_path):
    """As the workflow makes it; the tool itself holds it to CycloneDX' schema."""
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    site = Path(ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    ran(sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-index", "--target", site, packages[0])
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "build.yml").read_text())["jobs"]["packages"]["steps"]
    [line] = [step["run"] for step in steps if step.get("run", "").startswith("cyclonedx-py ")]
    command = line.replace(" empty ", f" {python} ").replace("dist/", f"{tmp_path}/").split()[1:]
    ran(tool("cyclonedx-py"), *command, "--validate")
    bill = json.loads((tmp_path / "inkdigits.cdx.json").read_text())
    [component] = [c for c in bill["components"] if c["name"] == "inkdigits"]
    assert component["version"] == inkdigits.__version__
    assert component["licenses"] == [{"license": {"acknowledgement": "declared", "id": "MIT"}}]


def test_installed_in_an_empty_environment_it_reads_and_serves(packages, tmp_path):
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    site = Path(ran(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    ran(sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-index", "--target", site, packages[0])
    # Its dependencies are the tests' own; a path in PYTHONPATH does not bring the editable inkdigits with it.
    shared = Path(httpx.__file__).parents[1]
    environ = {**os.environ, "PYTHONPATH": str(shared), "PYTHONSAFEPATH": "1"}
    where = ran(python, "-c", "import inkdigits; print(inkdigits.__file__)", env=environ, cwd=tmp_path)
    assert where.startswith(str(site))
    (tmp_path / "three.png").write_bytes(THREE)
    printed = ran(python, "-m", "inkdigits", "predict", "three.png", env=environ, cwd=tmp_path)
    assert printed.split()[:2] == ["three.png", str(DIGIT)]
    evaluate = ("evaluate", "cnn", "--data", "digits", "--limit", "20", "--report", "report.html")
    ran(python, "-m", "inkdigits", *evaluate, env=environ, cwd=tmp_path)
    assert "</html>" in (tmp_path / "report.html").read_text()
    [port] = free_ports(1)
    process = subprocess.Popen(
        [python, "-m", "inkdigits", "serve", "--port", str(port)], env=environ, cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(url))
        assert "<canvas" in httpx.get(url).text
        assert httpx.get(f"{url}/vendor/ort.wasm.bundle.min.js").status_code == 200
    finally:
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0
