"""Serve this checkout and another one side by side, and compare requests a second: what a change costs or gains.

    git worktree add /tmp/before v0.1.0
    python benchmarks/before_after.py /tmp/before
    python benchmarks/before_after.py /tmp/before --rounds 3 --seconds 2 --models fast

Both run at once with this environment's packages and two workers each, and wrk asks them in turn, A B B A, so that a
machine whose speed drifts slows both. A row has the medians of the rounds, and the median of the ratio round by round.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

from PIL import Image

from inkdigits.network import find_model

from _common import ROOT, encoded, make_parser, record
from _serving import PEERS, Peer, body, figures, load_of, samples, served, wrk
from support.drawings import picture

CONNECTIONS = (1, 64)
WORKERS = 2
DRAWING = 280  # pixels, a side of what the page sends
PORT = 9730
BIN = Path(sys.executable).parent


def server_of(checkout: Path) -> Peer:
    """How the server of a checkout is started: its sources come before those that are installed."""
    command = ("{bin}/python", "-m", "inkdigits", "serve", "--port", "{port}", "--workers", "{workers}")
    return replace(PEERS["inkdigits"], command=command, environ=(("PYTHONPATH", str(checkout / "src")),))


def drawings() -> list[bytes]:
    """Ten digits as the page sends them."""
    return [encoded(Image.fromarray(picture(digit, DRAWING)), "PNG") for digit in range(10)]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--models", default="fast,cnn", help="names of shipped models, separated by commas")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    args = parser.parse_args()
    if not (args.before / "src" / "inkdigits").is_dir():
        parser.error(f"there is no src/inkdigits in {args.before}")
    pictures = {"28×28 PNG": [png for _, png, _ in samples()], f"{DRAWING}×{DRAWING} PNG": drawings()}
    loads = {name: load_of(f"before_after-{i}", found, "image/png") for i, (name, found) in enumerate(pictures.items())}
    loads["28×28 JSON"] = load_of(
        "before_after-json", [body("pixels", b"", row)[0] for *_, row in samples()], "application/json"
    )
    servers = {"before": server_of(args.before.resolve()), "after": server_of(ROOT)}
    for name in args.models.split(","):
        _, model, _ = find_model(name)
        with (
            served(servers["before"], BIN, model, PORT, WORKERS),
            served(servers["after"], BIN, model, PORT + 1, WORKERS),
        ):
            ports = {"before": PORT, "after": PORT + 1}
            for kind, load in loads.items():
                for connections in CONNECTIONS:
                    found: dict[str, list[dict[str, float]]] = {"before": [], "after": []}
                    for i in range(args.rounds):
                        for which in ("before", "after") if i % 2 == 0 else ("after", "before"):
                            found[which].append(
                                figures(wrk(load, servers[which], ports[which], connections, args.seconds))
                            )
                    rates = {which: [row["rate"] for row in rows] for which, rows in found.items()}
                    record(
                        model=name,
                        what=kind,
                        connections=connections,
                        before=median(rates["before"]),
                        after=median(rates["after"]),
                        ratio=round(median(a / b for a, b in zip(rates["after"], rates["before"], strict=True)), 3),
                        p99_before=median(row["p99_ms"] for row in found["before"]),
                        p99_after=median(row["p99_ms"] for row in found["after"]),
                        errors=sum(row["errors"] for rows in found.values() for row in rows),
                        rounds=args.rounds,
                        seconds=args.seconds,
                    )


if __name__ == "__main__":
    main()
