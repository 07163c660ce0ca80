"""Run the notebooks and make their .ipynb anew from their text.

    python scripts/notebooks.py [NAME …]

The text, ``notebooks/*.py`` in jupytext's percent format, is what is edited. The ``.ipynb`` beside it is that text with
the outputs of this run.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
CELL_SECONDS = 1200  # that a cell may take


def texts(names: list[str]) -> list[Path]:
    """The notebooks with these words in their names; all, where there are none."""
    return [path for path in sorted(FOLDER.glob("*.py")) if not names or any(name in path.name for name in names)]


def run(text: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook of a text, run in a folder, with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    notebook = jupytext.read(text)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    # Lines that are printed one by one are kept as one text.
    NotebookClient(
        notebook, timeout=CELL_SECONDS, coalesce_streams=True, resources={"metadata": {"path": str(folder)}}
    ).execute()
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"cell-{number}"  # a random one would be another at each run
        cell.metadata.pop("execution", None)  # when it ran
    return notebook


if __name__ == "__main__":
    for path in texts(sys.argv[1:]):
        started = time.monotonic()
        nbformat.write(run(path, FOLDER), path.with_suffix(".ipynb"))
        size = path.with_suffix(".ipynb").stat().st_size
        print(f"{path.stem}: {time.monotonic() - started:.0f} s, {size / 1000:.0f} kB", flush=True)
