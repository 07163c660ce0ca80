"""Nothing that a client sends hurts: the right digit where there is one, else a problem document, never a 5xx."""

import time
from pathlib import Path

import httpx
import pytest

from support.hostile import DIGIT, PARTS, Upload, damaged_tiff, uploads
from support.requests import THREE

MEMORY_BYTES = 700 << 20  # more than a server and two of the largest images that are read
ALLOWED = {200, 400, 413, 415, 422}


@pytest.mark.parametrize("upload", [*uploads()], ids=lambda upload: upload.name)
def test_an_upload(client: httpx.Client, upload: Upload):
    response = client.post("/predict", content=upload.body, headers=upload.headers)
    assert response.status_code in ALLOWED, response.text
    if upload.digit is not None:
        assert response.json()["digit"] == upload.digit
    if response.status_code != 200:
        assert response.headers["content-type"] == "application/problem+json"
        assert len(response.content) < 2_000
        for word in ("Traceback", "site-packages", "/etc/passwd\n", "root:"):
            assert word not in response.text


def test_the_corpus_is_what_it_says():
    names = [upload.name for upload in uploads()]
    assert len(names) == len(set(names)) > 100
    assert sum(upload.digit is not None for upload in uploads()) > 20
    assert next(u for u in uploads() if u.name == "parts.multipart").body.count(b"--b\r\n") == PARTS


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it looks at a process in Linux's /proc")
def test_all_of_them_again_and_again_cost_bounded_memory(start_server):
    server = start_server()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(2):
            for upload in uploads():
                client.post("/predict", content=upload.body, headers=upload.headers)
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        start = time.monotonic()
        assert client.post("/predict", content=THREE).status_code == 200
        assert time.monotonic() - start < 2
    [peak] = [int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < MEMORY_BYTES
    assert "Traceback" not in server.stop()


def test_what_pillow_warns_of_does_not_fill_the_log(start_server):
    """Each wording would be printed, and remembered, once; a client can make up as many as it likes."""
    server = start_server("--workers", "1")
    for size in range(1_000_000, 1_000_010):
        assert httpx.post(f"{server.url}/predict", content=damaged_tiff(size)).json()["digit"] == DIGIT
    assert "Warning" not in server.stop()
