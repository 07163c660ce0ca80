"""What every benchmark script shares: its options, the record it keeps, pictures as files, and what /proc tells."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from PIL import Image

from inkdigits.evaluation.latency import environment

RESULTS = Path(__file__).with_name("results")
ROOT = Path(__file__).parents[1]


def make_parser(about: str) -> argparse.ArgumentParser:
    """Make a parser of options whose help is a script's own description."""
    return argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)


def print_row(**figures: object) -> None:
    """Print the figures in one line."""
    print("  ".join(f"{key}={value}" for key, value in figures.items()), flush=True)


def record(**figures: object) -> None:
    """Print the figures and append them as a row to this script's CSV, with command, hardware and versions."""
    versions = environment()
    cpu = versions.pop("processor")
    print_row(**figures)
    keep([*kept(), {**provenance(), **figures, "cpu": cpu, "cores": os.cpu_count(), **versions}])


def provenance() -> dict[str, str]:
    """When, at which commit and by which command this script runs."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD") + ("+" if _git("status", "--porcelain", "--", "src") else ""),
        "command": " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def kept() -> list[dict[str, str]]:
    """The rows of this script's CSV; none where there is no such file."""
    path = _results(".csv")
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(rows: Sequence[Mapping[str, object]]) -> None:
    """Write this script's CSV again; what a row has no figure for stays empty."""
    RESULTS.mkdir(exist_ok=True)
    with _results(".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(chain.from_iterable(rows))), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def keep_json(**figures: object) -> None:
    """Write this script's JSON again: when, how and where it was measured, and the figures."""
    whole = {**provenance(), "environment": environment(), **figures}
    text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
    _results(".json").write_text(text, encoding="utf-8")


def percent(share: float) -> str:
    """A share as text, such as ``99.24%``."""
    return f"{100 * share:.2f}%"


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def proc_number(pid: int, file: str, pattern: str) -> int:
    """The number that a pattern finds in a file of a process below /proc; 0 where it has ended."""
    try:
        return int(re.search(pattern, Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):
        return 0


def _results(suffix: str) -> Path:
    return RESULTS / f"{Path(sys.argv[0]).stem}{suffix}"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
