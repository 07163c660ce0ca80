"""What a shadow or a canary costs: CPU time of the server per request, which bounds its rate, and latency.

Servers with and without one take turns, so that the machine is the same for both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from statistics import median

import httpx
import uvloop

from _common import make_parser, record
from _load import Crowd, questions, server

CLIENTS = 32
WARM_REQUESTS = 500
CLOCK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process with one worker, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK


async def measure(servers: Sequence[tuple[int, int]], rounds: int, requests: int, rate: float) -> dict[str, object]:
    """Have each server answer so many requests, in turns.

    Args:
        servers: process and port of each, the one without a trial first.
    """
    small = cycle(questions()[0]).__next__
    cpu: list[list[float]] = [[] for _ in servers]
    latency: list[list[tuple[float, float]]] = [[] for _ in servers]
    for turn in range(-1, rounds):
        for which, (pid, port) in enumerate(servers):
            before = cpu_seconds(pid)
            async with Crowd("127.0.0.1", port, CLIENTS, small) as crowd:
                await crowd.at(rate, WARM_REQUESTS if turn < 0 else requests)
            if turn >= 0:
                cpu[which].append(1e6 * (cpu_seconds(pid) - before) / crowd.tally.statuses[200])
                latency[which].append((crowd.tally.quantile(200, 0.5), crowd.tally.quantile(200, 0.99)))
    more = [b / a - 1 for a, b in zip(*cpu, strict=True)]
    found: dict[str, object] = {}
    for name, times, quantiles in zip(("alone", "with"), cpu, latency, strict=True):
        found |= {f"cpu_us_{name}": round(median(times), 1)}
        found |= {f"p{p}_ms_{name}": round(median(q[i] for q in quantiles), 2) for i, p in enumerate((50, 99))}
    return found | {"more": f"{median(more):.1%}", "least": f"{min(more):.1%}", "most": f"{max(more):.1%}"}


def main() -> None:
    parser = make_parser(__doc__ or "")
    parser.add_argument("--share", default="10%", help="of the images or requests (default: 10%%)")
    parser.add_argument("--canary", action="store_true", help="a canary, not a shadow")
    parser.add_argument("--model", default="fast", help="that is tried (default: fast)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=2000, help="in each turn")
    parser.add_argument("--rate", type=float, default=1000, help="requests per second")
    args = parser.parse_args()
    kind = "canary" if args.canary else "shadow"
    # Bounds would end the trial: which model is better is not asked here.
    options = ("--trial-agreement", "0", "--trial-rejected", "1")
    with ExitStack() as stack:
        trial = (f"--{kind}", args.model, f"--{kind}-share", args.share, *options)
        found = [stack.enter_context(server(*each)) for each in ((), trial)]
        servers = [(process.pid, port) for process, _, port in found]
        figures = uvloop.run(measure(servers, args.rounds, args.requests, args.rate))
        url = f"http://127.0.0.1:{servers[1][1]}"
        about = httpx.get(f"{url}/model").json()["trial"]
        spent = float(re.search(r"^inkdigits_trial_seconds_total (.+)$", httpx.get(f"{url}/metrics").text, re.M)[1])
    images = sum(about["images"][name] for name in ("agree", "differ", "reference_only", "candidate_only"))
    each = round(1e6 * spent / max(images, 1), 1)
    counts = {"compared": images, "cpu_us_compared": each, "dropped": about["dropped"]}
    record(kind=kind, share=args.share, model=args.model, **figures, **counts)


if __name__ == "__main__":
    main()
