"""What is counted is what happened, across workers, in Prometheus' own form; and what the log and the traces say."""

import asyncio
import json
import re
import shutil
import sys

import httpx
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from inkdigits import Recognizer, SettingError
from inkdigits.self_test import DIGIT
from inkdigits.server import create_app
from inkdigits.server.model_info import version_of
from inkdigits.server.observability.metrics import ROUTES, SECONDS, STAGES, Metrics, route_of
from inkdigits.server.observability.tracing import Tracer, tracer_of
from inkdigits.server.processes.shared_state import SharedState
from inkdigits.settings import Settings

from support.drawings import picture
from support.paths import ROOT
from support.requests import THREE, encode
from support.servers import samples, until


def value(found, metric, **labels):
    return found.get((f"inkdigits_{metric}", *sorted(labels.items())), 0.0)


def test_histograms_are_as_prometheus_own_client_counts_them(recognizer):
    registry, metrics = CollectorRegistry(), Metrics(SharedState())
    theirs = Histogram("inkdigits_request_seconds", "of a request", ["stage"], registry=registry, buckets=SECONDS)
    for i, stage in enumerate(STAGES[:-1]):
        theirs.labels(stage)
        for value in (0, 0.0001, 0.00011, 0.03, 0.5, 9.99, 10, 11)[: 2 * i]:
            metrics.stage(stage, value)
            theirs.labels(stage).observe(value)

    def samples(text: bytes):
        families = text_string_to_metric_families(text.decode())
        [family] = [family for family in families if family.name == "inkdigits_request_seconds"]
        assert family.type == "histogram"
        return {
            (s.name, s.labels["stage"], float(s.labels.get("le", "nan").replace("+Inf", "inf")).hex()): s.value
            for s in family.samples
            if s.labels["stage"] != "total" and not s.name.endswith("_created")
        }

    found = samples(metrics.text(recognizer.model, "1"))
    assert found == pytest.approx(samples(generate_latest(registry)))
    assert len(found) == (len(STAGES) - 1) * (len(SECONDS) + 3)


@pytest.mark.slow
def test_counts_are_right_across_workers(start_server, recognizer):
    url = start_server("--workers", "2").url
    kinds = {"/health": set(), "/predict": set()}
    for digit in range(10):
        # A connection each, so that both workers are asked.
        kinds["/predict"].add(httpx.post(f"{url}/predict", content=encode(picture(digit))).status_code)
        kinds["/health"].add(httpx.get(f"{url}/health").status_code)
    assert kinds == {"/health": {200}, "/predict": {200}}
    assert httpx.post(f"{url}/predict", content=b"hello").status_code == 415
    files = [("f", ("a.png", THREE)), ("f", ("b.png", b"hello")), ("f", ("c.png", encode(picture(1) * 0)))]
    assert httpx.post(f"{url}/predict", files=files).status_code == 200
    httpx.get(f"{url}/no/such/path/{'x' * 100}")
    page = {"route": "page", "status": "404"}  # of which another worker may hear a moment later
    until(lambda: value(samples(httpx.get(f"{url}/metrics").text), "requests_total", **page) == 1)
    for _ in range(4):  # whichever worker answers
        found = samples(httpx.get(f"{url}/metrics").text)
        assert value(found, "requests_total", route="/predict", status="200") == 11
        assert value(found, "requests_total", route="/predict", status="415") == 1
        assert value(found, "requests_total", route="/health", status="200") == 10
        assert value(found, "requests_total", route="page", status="404") == 1
        digits = {d: value(found, "predictions_total", digit=d) for d in [*map(str, range(10)), "blank"]}
        assert digits == {str(d): 1 + (d == DIGIT) for d in range(10)} | {"blank": 1}
        assert value(found, "confidence_count") == value(found, "ink_count") == 11
        assert 0.02 < value(found, "ink_sum") / 11 < 0.3
        assert value(found, "confidence_bucket", le="+Inf") == 11
        for stage in ("decode", "normalise", "network"):
            assert value(found, "request_seconds_count", stage=stage) == 12
            assert value(found, "request_seconds_sum", stage=stage) > 0
        assert value(found, "request_seconds_count", stage="receive") == 12
        assert value(found, "queue_length", queue="small") == value(found, "queue_length", queue="heavy") == 0
        assert value(found, "workers") == 2
        model = recognizer.model
        labels = {"name": model.name, "version": version_of(recognizer), "sha256": model.sha256}
        assert value(found, "model_info", **labels) == 1


def test_every_route_and_status_is_one_of_a_few(recognizer):
    metrics = Metrics(SharedState())
    for path in (
        "/predict",
        "/read",
        "/v2",
        "/v2/models/x/infer",
        "/v2/y",
        "/docs",
        "/",
        "/../../etc/passwd",
        "/metrics",
    ):
        metrics.request(route_of(path), 200, 0.001)
        assert route_of(path) in ROUTES
    metrics.request("page", 418, 100.0)
    found = samples(metrics.text(recognizer.model, "1").decode())
    assert value(found, "requests_total", route="page", status="other") == 1
    assert value(found, "request_seconds_bucket", stage="total", le="10") == 9
    assert value(found, "request_seconds_count", stage="total") == 10


def test_a_successor_counts_on_but_has_nothing_waiting(recognizer):
    shared = SharedState(2)
    first = Metrics(shared, 1)
    first.shed("queue")
    first.queue("small", 9)
    Metrics(shared, 1).shed("queue")
    found = samples(Metrics(shared, 0).text(recognizer.model, "1").decode())
    assert value(found, "shed_total", reason="queue") == 2
    assert value(found, "queue_length", queue="small") == 0


def test_drift_is_told_against_what_validation_gave(constant_model, tmp_path):
    shutil.copy(constant_model, tmp_path)
    figures = {"accuracy": 0.99, "confidence": 0.987, "ink": 0.1, "refusals": 0.01}
    entry = {"file": constant_model.name, "metrics": {"validation": figures}}
    (tmp_path / "registry.json").write_text(json.dumps({"models": {'my "own"\\\n': entry}}))
    recognizer = Recognizer(tmp_path / constant_model.name)
    found = samples(Metrics(SharedState()).text(recognizer.model, "1").decode())
    assert value(found, "baseline", statistic="confidence") == 0.987
    assert value(found, "baseline", statistic="refusals") == 0.01
    assert value(found, "baseline", statistic="ink") == 0.1
    assert any(dict(labels).get("name") == 'my "own"\\\n' for _, *labels in found)


def test_request_ids_are_kept_made_and_never_trusted(client):
    def told(**headers):
        return client.get("/health", headers=headers).headers["x-request-id"]

    assert told(**{"X-Request-ID": "abc-123"}) == "abc-123"
    made = {told() for _ in range(3)} | {told(**{"X-Request-ID": bad}) for bad in ("", "a b", "x" * 129, '"', "a\tb")}
    assert len(made) == 8
    assert all(name.isalnum() for name in made)
    assert client.post("/predict", content=b"x").headers["x-request-id"]


def test_the_log_in_json_names_requests_and_never_what_was_sent(start_server):
    server = start_server("--log-format", "json", "--log-requests", "on")
    secret = "/nothing?image=c2VjcmV0"
    httpx.post(f"{server.url}/predict", content=THREE, headers={"X-Request-ID": "mine"})
    httpx.get(f"{server.url}{secret}", headers={"Authorization": "Bearer secret"})
    lines = [json.loads(line) for line in server.stop().splitlines()]
    predict, nothing = (line for line in lines if line["logger"] == "inkdigits.requests")
    assert predict["request_id"] == "mine"
    assert (predict["method"], predict["path"], predict["status"]) == ("POST", "/predict", 200)
    assert predict["client"] == "127.0.0.1"
    assert predict["milliseconds"] > 0
    assert (nothing["path"], nothing["status"]) == ("/nothing", 404)
    assert "secret" not in str(lines)
    assert "c2VjcmV0" not in str(lines)


def test_lines_cannot_be_forged(start_server):
    server = start_server("--log-requests", "on")
    httpx.get(f"{server.url}/a%0a2026-01-01%20INFO%20forged")
    [line] = server.stop().splitlines()
    assert "/a\\n2026-01-01 INFO forged" in line


@pytest.fixture
def spans():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, provider


def test_traces_go_on_from_the_client_s(monkeypatch, spans):
    exporter, provider = spans
    monkeypatch.setattr("inkdigits.server.factory.tracer_of", lambda settings: Tracer(provider))
    parent = "0af7651916cd43dd8448eb211c80319c"

    async def ask():
        transport = httpx.ASGITransport(create_app(Settings()))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {"traceparent": f"00-{parent}-b7ad6b7169203331-01", "X-Request-ID": "mine"}
            await client.post("/predict", content=THREE, headers=headers)
            await client.get("/nothing")

    asyncio.run(ask())
    first, second = exporter.get_finished_spans()
    assert first.name == "POST /predict"
    assert f"{first.context.trace_id:032x}" == parent
    assert first.attributes["http.response.status_code"] == 200
    assert first.attributes["inkdigits.request_id"] == "mine"
    assert second.attributes["http.response.status_code"] == 404
    assert f"{second.context.trace_id:032x}" != parent


def test_tracing_is_off_by_default_and_says_what_it_needs(monkeypatch):
    assert tracer_of(Settings()) is None
    tracer = tracer_of(Settings(tracing="otlp"))
    assert isinstance(tracer, Tracer)
    tracer.close()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingError, match=r"pip install 'inkdigits\[otel\]'"):
        tracer_of(Settings(tracing="otlp"))


def test_the_rules_and_the_dashboard_name_what_there_is(client):
    known = {name for name, *_ in samples(client.get("/metrics").text)}
    monitoring = ROOT / "deploy" / "monitoring"
    for path in (monitoring / "alerts.yml", monitoring / "dashboards" / "inkdigits.json"):
        named = set(re.findall(r"inkdigits_\w+", path.read_text(encoding="utf-8")))
        assert named - {"inkdigits_baseline"} <= known
