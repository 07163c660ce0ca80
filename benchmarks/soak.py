"""Very many requests of every kind, some of them bad: no wrong answer, no 5xx, and memory that does not grow.

python benchmarks/soak.py --requests 1000000 --rate 3000    # at a rate, such as 80% of what the machine can do
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

from _common import record
from _load import Client, Tally, questions, resident, server

BAD_SHARE = 0.02


async def load(host: str, port: int, pid: int, args: argparse.Namespace) -> tuple[Tally, list[int]]:
    """What came of the requests, and the memory after each tenth of them."""
    tally, memory, left = Tally(), [], iter(range(args.requests))
    good, bad = questions()
    chance = random.Random(0)
    start = time.perf_counter()

    async def client() -> None:
        connection = Client(host, port)
        for number in left:
            if args.rate:
                await asyncio.sleep(start + number / args.rate - time.perf_counter())
            await connection.ask(chance.choice(bad if chance.random() < BAD_SHARE else good), tally)
            if (number + 1) % (args.requests // 10) == 0:
                memory.append(resident(pid))
        connection.close()

    await asyncio.gather(*(client() for _ in range(args.connections)))
    return tally, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=0, help="a second; 0: as fast as it goes (default: 0)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with server("--workers", str(args.workers)) as (process, host, port):
        start = time.perf_counter()
        tally, memory = asyncio.run(load(host, port, process.pid, args))
        seconds = time.perf_counter() - start
    record(
        requests=args.requests,
        rate=round(args.requests / seconds),
        wrong=tally.wrong,
        server_errors=sum(n for status, n in tally.statuses.items() if status >= 500),
        failed=tally.statuses[0],
        refused=sum(n for status, n in tally.statuses.items() if 400 <= status < 500),
        p50_ms=tally.quantile(200, 0.5),
        p99_ms=tally.quantile(200, 0.99),
        memory_first_tenth_mb=memory[0] >> 20,
        memory_end_mb=memory[-1] >> 20,
        workers=args.workers,
    )


if __name__ == "__main__":
    main()
