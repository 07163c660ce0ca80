"""What every benchmark script shares: the record it keeps, and the confidence interval of an accuracy."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
ROOT = Path(__file__).parents[1]


def record(**figures: object) -> None:
    """Print the figures and append them as a row to this script's CSV, with command, hardware and versions."""
    row = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
        **figures,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("inkdigits", "onnxruntime", "numpy", "pillow")},
    }
    print("  ".join(f"{key}={value}" for key, value in figures.items()), flush=True)
    keep([*kept(), row])


def kept() -> list[dict[str, str]]:
    """The rows of this script's CSV; none where there is no such file."""
    path = _results()
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(rows: Sequence[Mapping[str, object]]) -> None:
    """Write this script's CSV anew; what a row has no figure for stays empty."""
    RESULTS.mkdir(exist_ok=True)
    with _results().open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(chain.from_iterable(rows))), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _results() -> Path:
    return RESULTS / f"{Path(sys.argv[0]).stem}.csv"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
