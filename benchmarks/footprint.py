"""The core installation in an empty virtual environment: its size, its packages, and that no torch is among them."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from _common import ROOT, record

MEGABYTE = 1_000_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "venv")
        venv.create(home, with_pip=True)
        python = home / "bin" / "python"
        started = time.perf_counter()
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", ROOT], check=True)
        seconds = time.perf_counter() - started
        listed = subprocess.run(
            [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
        )
        packages = [line.split("==")[0] for line in listed.stdout.split()]
        size = sum(file.lstat().st_size for file in home.rglob("*") if not file.is_dir())
        subprocess.run(
            [python, "-c", "import numpy, inkdigits; inkdigits.Recognizer().predict(numpy.eye(28))"],
            check=True,
            cwd=folder,
        )
        record(
            size_mb=round(size / MEGABYTE),
            packages=len(packages),
            torch="torch" in packages,
            install_s=round(seconds, 1),
            pip_python=sys.version.split()[0],
        )


if __name__ == "__main__":
    main()
