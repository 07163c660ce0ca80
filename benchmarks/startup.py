"""From ``inkdigits serve`` to its first right answer over HTTP, in a fresh process, ten times."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

import numpy as np

from _common import record
from _load import server
from latency import two

RUNS = 10
PATIENCE = 30  # seconds


def once(image: bytes) -> tuple[float, float]:
    """Seconds until ``/ready`` says so, and until a prediction has come."""
    started = time.perf_counter()
    with server() as (process, host, port):
        url = f"http://{host}:{port}"
        while True:
            try:
                urllib.request.urlopen(f"{url}/ready", timeout=PATIENCE).close()
                break
            except (urllib.error.URLError, ConnectionError):
                if time.perf_counter() - started > PATIENCE or process.poll() is not None:
                    raise SystemExit("the server did not become ready") from None
                time.sleep(0.005)
        ready = time.perf_counter() - started
        request = urllib.request.Request(f"{url}/predict", data=image, headers={"Content-Type": "image/png"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            if b'"digit":2' not in answer.read():
                raise SystemExit("the server read the 2 wrong")
        return ready, time.perf_counter() - started


def main() -> None:
    image = two(280, "PNG")
    ready, answered = np.array([once(image) for _ in range(RUNS)]).T
    record(
        n=RUNS,
        ready_median_s=f"{np.median(ready):.2f}",
        ready_max_s=f"{ready.max():.2f}",
        first_answer_median_s=f"{np.median(answered):.2f}",
        first_answer_max_s=f"{answered.max():.2f}",
    )


if __name__ == "__main__":
    main()
