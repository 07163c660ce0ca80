"""The notebooks run from their first cell to their last, and what is kept beside their text is made from it."""

from __future__ import annotations

import ast
import base64
import importlib.util
import io
import re
import subprocess
import sys
from importlib import metadata

import jupytext
import nbformat
import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

from inkdigits.data import catalog
from inkdigits.evaluation import figures
from inkdigits.settings import Settings

from support.paths import ROOT

pytestmark = pytest.mark.slow

TEXTS = sorted((ROOT / "notebooks").glob("*.py"))
LARGEST = 300_000  # bytes of an .ipynb
COLOURS = 8  # that an image must have, to show something

spec = importlib.util.spec_from_file_location("notebooks", ROOT / "scripts" / "notebooks.py")
notebooks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks)


def sources(notebook):
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def images_of(notebook):
    """PNG files as pictures, SVG files as text, in their order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                yield Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
            elif "image/svg+xml" in data:
                yield data["image/svg+xml"]


def test_there_are_the_four_that_the_docs_name():
    assert [path.stem for path in TEXTS] == re.findall(
        r"^\| `(\d-[\w-]+)`", (ROOT / "docs" / "tuning.md").read_text(), re.M
    )


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_it_runs_where_there_is_no_data_but_scikit_learns(text, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.delenv("INKDIGITS_DATA", raising=False)
    monkeypatch.setenv("INKDIGITS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    few = tmp_path_factory.mktemp("few") / text.name  # of the trainings of the search; all of them take minutes
    few.write_text(text.read_text(encoding="utf-8").replace("trials=20", "trials=6"), encoding="utf-8")
    notebook = notebooks.run(few, tmp_path)
    shown = list(images_of(notebook))
    kept = list(images_of(nbformat.read(text.with_suffix(".ipynb"), 4)))
    assert len(shown) == len(kept) >= 2
    for image in shown:
        assert (
            len(image.convert("RGB").getcolors(1 << 24)) > COLOURS
            if isinstance(image, Image.Image)
            else "<svg" in image
        )
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []  # it leaves nothing where it runs


def test_where_inkdigits_is_not_installed_the_first_cell_takes_it_from_the_checkout(tmp_path):
    """pip finds it, with the extra, and resolves it; nothing is installed."""
    first = {next(c.source for c in jupytext.read(text).cells if c.cell_type == "code") for text in TEXTS}
    assert len(first) == 1
    pip = tmp_path / "python"
    pip.write_text(f'#!/bin/sh\n"{sys.executable}" "$@" --dry-run --no-index --no-build-isolation -v\n')
    pip.chmod(0o755)
    hide = f"""
import importlib.util, sys
find, sys.executable = importlib.util.find_spec, {str(pip)!r}
importlib.util.find_spec = lambda name: None if name == "inkdigits" else find(name)
"""
    done = subprocess.run(
        [sys.executable, "-c", hide + first.pop()], cwd=ROOT / "notebooks", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert f"Processing {ROOT}" in done.stdout.replace("./..", str(ROOT)), done.stdout
    assert "does not provide the extra" not in done.stdout + done.stderr


def test_the_extra_has_all_that_the_notebooks_import():
    wanted: dict[str, str] = {}
    for text in TEXTS:
        for node in ast.walk(ast.parse(text.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            wanted |= {name: name.partition(".")[0] for name in names if "inkdigits" not in name}
    modules = {module for module in wanted.values() if module not in sys.stdlib_module_names}
    of = {module: {name.lower() for name in metadata.packages_distributions()[module]} for module in modules}
    there = brought("inkdigits[notebooks]")
    assert {module: names for module, names in of.items() if not names & there} == {}


def brought(requirement, seen=None):
    """The names of all distributions that a requirement brings."""
    seen = {} if seen is None else seen
    wanted = Requirement(requirement)
    name = wanted.name.lower()
    if name in seen and wanted.extras <= seen[name]:
        return {*seen}
    seen.setdefault(name, set()).update(wanted.extras)
    for line in metadata.requires(name) or []:
        inner = Requirement(line)
        if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
            inner.marker = None
            brought(str(inner), seen)
    return {*seen}


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_what_is_kept_is_the_text_with_outputs_and_small(text):
    kept = nbformat.read(text.with_suffix(".ipynb"), 4)
    nbformat.validate(kept)
    assert sources(kept) == sources(jupytext.read(text)), "run: make notebooks"
    assert text.with_suffix(".ipynb").stat().st_size < LARGEST
    assert all(cell.execution_count for cell in kept.cells if cell.cell_type == "code")
    outputs = [output for cell in kept.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]


def test_kaggles_table_is_taken_where_it_is_attached(tmp_path, monkeypatch):
    settings = Settings(cache=str(tmp_path / "cache"))
    monkeypatch.setattr(catalog, "KAGGLE", tmp_path)
    assert catalog.data_at_hand(settings) == "digits"
    (tmp_path / "titanic").mkdir()
    (tmp_path / "titanic" / "train.csv").write_text("PassengerId,Survived\n1,0\n")
    assert catalog.data_at_hand(settings) == "digits"
    table = tmp_path / "digit-recognizer" / "train.csv"
    table.parent.mkdir()
    table.write_text("label,pixel0,pixel1\n1,0,0\n")
    assert catalog.data_at_hand(settings) == str(table)


def test_a_picture_shows_the_ink_it_is_given():
    blank, inked = np.zeros((28, 28), np.uint8), np.full((28, 28), 255, np.uint8)
    dark = []
    for image in (blank, inked):
        svg = figures.gallery([image], ["5 <at> 90%"], columns=4)
        [png] = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
        dark.append((np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("L")) < 64).mean())
        assert "5 &lt;at&gt; 90%" in svg
    assert dark == [0, 1]
