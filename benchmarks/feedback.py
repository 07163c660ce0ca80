"""Corrections in addition to predictions, and the lists of a million of them, in SQLite and in PostgreSQL.

Predictions are asked for as fast as they are answered, in turns with and without corrections at a rate; each turn's
median is compared with those around it. Then a store of many corrections is made, and each list that a reviewer
looks at is asked for many times.

PostgreSQL is the machine's own, started in a temporary folder; without one its half is left out, and says so.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import sys
import tempfile
import time
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import uvloop
from sqlalchemy import func, select

from inkdigits.feedback.answers import Answer, Signer, digest_of
from inkdigits.feedback.database import is_sqlite, reading
from inkdigits.feedback.queries import ORDERS, listed
from inkdigits.feedback.store import Store
from inkdigits.feedback.tables import Correction

from _common import ROOT, make_parser, record
from _load import Crowd, Question, questions, server

sys.path.append(str(ROOT / "tests"))
from support.drawings import picture
from support.files import encode
from support.postgres import postgres, programs

CLIENTS = 64  # that ask for predictions
SENDERS = 32  # connections of corrections
WARM_SECONDS = 3
CREATED = 201
CHUNK = 10_000  # rows that are inserted at a time
DUPLICATES = 0.2  # of the pictures of the large store
HELD = 0.05
AUDIT = 0.02
DISPUTED = 0.03
_KIND = "Content-Type: application/json\r\n"
DAYS = 300  # over which its corrections were sent


@contextmanager
def databases(which: str) -> Iterator[list[tuple[str, str]]]:
    """Name and URL of an empty database of each kind."""
    bin = programs()
    with tempfile.TemporaryDirectory() as folder:
        found = [("sqlite", str(Path(folder, "feedback.db")))]
        if which != "sqlite" and bin is None:
            print("no PostgreSQL server is installed (scripts/get-postgres.sh): its half is left out", file=sys.stderr)
        if which == "sqlite" or bin is None:
            yield found
            return
        with postgres(bin, durable=True) as running:
            found.append(("postgresql", running.url))
            yield found if which == "both" else found[1:]


def corrections(url: str, by: str) -> Callable[[], Question]:
    """Gives a correction after another, each with a key of its own."""
    store = Store(url)
    signer = Signer(store.secret())
    store.close()
    image = b64encode(encode(picture(7))).decode()
    chance = random.Random(0)

    def one() -> Question:
        body: dict[str, object] = {"key": str(uuid.UUID(int=chance.getrandbits(128))), "consent": True}
        body |= {"kind": "corrected", "label": "1", "client": f"client-{chance.randrange(10_000)}"}
        if by == "image":
            body["image"] = image
        else:
            seen = chance.randbytes(784)
            details = {"digit": 7, "probabilities": [0.1] * 10, "digit_score": 0.9, "reason": None}
            at, uid = int(time.time()), f"{chance.getrandbits(128):032x}"
            source = digest_of(np.frombuffer(seen, np.uint8))
            body["prediction_id"] = signer.sign(Answer("digit", "7", 0.8, details, seen, "a" * 64, at, uid, source))
        data = json.dumps(body).encode()
        head = f"POST /feedback HTTP/1.1\r\nHost: x\r\n{_KIND}Content-Length: {len(data)}\r\n\r\n"
        return Question(head.encode() + data, None, CREATED)

    return one


async def beside(host: str, port: int, url: str, args: argparse.Namespace) -> dict[str, object]:
    """Predictions a second, in turns without and with corrections."""
    small = cycle(questions()[0]).__next__
    turns = args.rounds
    # Made beforehand: signing is the server's work, not the load's.
    made = corrections(url, args.by)
    ready = iter([made() for _ in range(int(args.rate * args.seconds * (turns + 1)))])
    rates: dict[bool, list[float]] = {False: [], True: []}
    async with Crowd(host, port, CLIENTS, small) as asking, Crowd(host, port, SENDERS, ready.__next__) as sending:
        await asking.eager(WARM_SECONDS)
        for turn in range(2 * turns + 1):
            with_corrections = turn % 2 == 1
            load = asking.eager(args.seconds)
            if with_corrections:
                count = int(args.rate * args.seconds)
                found, _ = await asyncio.gather(load, sending.at(args.rate, count, seconds=args.seconds))
            else:
                found = await load
            rates[with_corrections].append(median(found))
        tally = sending.tally
    lost = [
        1 - with_ / ((before + after) / 2)
        for with_, before, after in zip(rates[True], rates[False][:-1], rates[False][1:], strict=True)
    ]
    return {
        "predictions_alone": round(median(rates[False])),
        "predictions_beside": round(median(rates[True])),
        "lost": f"{100 * median(lost):.1f}%",
        "lost_least": f"{100 * min(lost):.1f}%",
        "lost_most": f"{100 * max(lost):.1f}%",
        "corrections": tally.statuses[CREATED],
        "other_statuses": sum(tally.statuses.values()) - tally.statuses[CREATED],
        "correction_p50_ms": tally.quantile(CREATED, 0.5),
        "correction_p99_ms": tally.quantile(CREATED, 0.99),
    }


def kept(url: str) -> int:
    store = Store(url)
    try:
        with reading(store.engine) as connection:
            return connection.execute(select(func.count()).select_from(Correction)).scalar_one()
    finally:
        store.close()


# A large store


def tables(rows: int) -> Iterator[tuple[str, list[str], list[tuple[object, ...]]]]:
    """The rows of each table, in chunks."""
    chance = random.Random(0)
    now = datetime.now(UTC)
    details = json.dumps({"digit": 7, "probabilities": [0.1] * 10, "digit_score": 0.9, "reason": None})
    seen = chance.randbytes(784)
    for first in range(1, rows + 1, CHUNK):
        pictures, readings, found = [], [], []
        for i in range(first, min(first + CHUNK, rows + 1)):
            is_duplicate = chance.random() < DUPLICATES
            look = chance.getrandbits(63) if not is_duplicate else chance.randrange(rows // 20)
            sure, suspicion = chance.random(), max(0.0, chance.random() - 0.5)
            created = (now - timedelta(seconds=chance.randrange(DAYS * 86400))).replace(tzinfo=None)
            at = created.isoformat(" ") + ("" if created.microsecond else ".000000")
            status = "held" if chance.random() < HELD else "pending"
            disputes = chance.randrange(1, 5) if chance.random() < DISPUTED else 0
            pictures.append((i, f"{look:032x}"[-32:], look, is_duplicate, seen, at))
            readings.append((i, i, f"{i:032x}", "a" * 64, "digit", "7", sure, details, at))
            found.append(
                (
                    *(i, f"{i:022x}", f"key-{i:016d}", "b" * 64, i, str(i % 10), "corrected", status),
                    *(chance.random() < AUDIT, "page", f"client-{i % 5000}", "client", sure, suspicion, disputes, at),
                )
            )
        yield "picture", ["id", "digest", "fingerprint", "is_duplicate", "seen", "created"], pictures
        columns = ["id", "picture_id", "uid", "model_sha256", "task", "text", "confidence", "details", "created"]
        yield "reading", columns, readings
        columns = [
            "id",
            "public_id",
            "key",
            "body_sha256",
            "reading_id",
            "label",
            "kind",
            "status",
            "is_audit",
            "source",
        ]
        columns += ["client", "consent", "confidence", "suspicion", "disputes", "created"]
        yield "correction", columns, found


def fill(store: Store, rows: int) -> None:
    raw = store.engine.raw_connection()
    driver = raw.driver_connection
    sqlite = is_sqlite(store.engine.url)
    if sqlite:
        driver.execute("PRAGMA synchronous=OFF")
        driver.execute("PRAGMA journal_mode=MEMORY")
    for table, columns, values in tables(rows):
        if sqlite:
            driver.execute("BEGIN")
            marks = ", ".join("?" * len(columns))
            driver.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
            driver.execute("COMMIT")
        else:
            with driver.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in values:
                    copy.write_row(row)
            driver.commit()
    if sqlite:
        driver.execute("PRAGMA journal_mode=WAL")
        driver.execute("PRAGMA optimize")
    else:
        driver.autocommit = True
        driver.execute("ANALYZE")
        driver.autocommit = False
    raw.close()


def lists(name: str, url: str, args: argparse.Namespace) -> None:
    """Record how long each list takes."""
    store = Store(url)
    try:
        start = time.perf_counter()
        fill(store, args.rows)
        print(f"{name}: {args.rows:,} corrections in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        for order, status in itertools.product(ORDERS, ("pending", "held")):
            times = []
            for _ in range(args.repeats):
                start = time.perf_counter()
                found = listed(store.engine, order, status=status)
                times.append(1000 * (time.perf_counter() - start))
            record(
                part="lists",
                database=name,
                rows=args.rows,
                order=order,
                status=status,
                found=len(found),
                first_ms=round(times[0], 1),
                median_ms=round(median(times), 1),
                most_ms=round(max(times), 1),
            )
    finally:
        store.close()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--database", choices=("both", "sqlite", "postgresql"), default="both")
    parser.add_argument("--part", choices=("both", "rate", "lists"), default="both")
    parser.add_argument("--rate", type=float, default=200, help="corrections a second (default: 200)")
    parser.add_argument("--by", choices=("id", "image"), default="id", help="what is sent (default: id)")
    parser.add_argument("--seconds", type=float, default=10, help="of a turn (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="turns with corrections (default: 5)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the lists (default: 1000000)")
    parser.add_argument("--repeats", type=int, default=20, help="of each list (default: 20)")
    args = parser.parse_args()
    if args.part != "lists":
        with databases(args.database) as found:
            for name, url in found:
                with server("--feedback", url, "--workers", str(args.workers)) as (_, host, port):
                    figures = uvloop.run(beside(host, port, url, args))
                total = kept(url)
                assert total >= figures["corrections"], f"{total} are kept"
                workers = args.workers
                record(part="rate", database=name, rate=args.rate, by=args.by, workers=workers, **figures, kept=total)
    if args.part != "rate":
        with databases(args.database) as found:
            for name, url in found:
                lists(name, url, args)


if __name__ == "__main__":
    main()
