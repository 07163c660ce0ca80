"""Add the output ``features`` to models that were trained before there was one, so that they can adapt to a hand.

    python scripts/add_features.py cnn_float cnn

New trainings have it. The logits stay the same bit for bit, so every measured figure holds; the hash and the size of
the file change, in the registry of its folder and, for a model that ships, in its card and reports.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inkdigits.atomic import write_atomically
from inkdigits.data.catalog import load
from inkdigits.errors import InkdigitsError, ModelError
from inkdigits.network import REGISTRY_NAME, SHIPPED, find_model
from inkdigits.preprocess import preprocess_batch
from inkdigits.registry import change_registry
from inkdigits.server.model_info import CARD_SUFFIX
from inkdigits.settings import Settings
from inkdigits.training.features import SAMPLES, add_features

ROOT = Path(__file__).parents[1]


def digits_of(data: str, settings: Settings) -> np.ndarray:
    """Preprocessed training images of a model's first data set, (N, 1, 28, 28) float32."""
    images = load(data.partition("+")[0], settings, part="train").images
    chosen = np.random.default_rng(0).permutation(len(images))[:SAMPLES]
    return np.stack([each.image for each in preprocess_batch([images[i] for i in chosen])])[:, None]


def change(model: str, settings: Settings) -> str:
    """Add the features to one model; what to print.

    Raises:
        ModelError: no registry lists the model.
    """
    _, path, entry = find_model(model)
    if "config" not in entry:
        raise ModelError(f"no {REGISTRY_NAME} in the folder of {path} lists it; give a model from inkdigits train")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name  # without a registry, which would reject another hash
        shutil.copy(path, copy)
        add_features(copy, digits_of(entry["config"]["data"], settings))
        content = copy.read_bytes()
    before, after = entry["sha256"], hashlib.sha256(content).hexdigest()
    sizes = path.stat().st_size, len(content)

    def restated(registry: dict[str, Any]) -> None:
        for each in registry["models"].values():
            of_parents = [parent for name, parent in each.get("lineage", {}).items() if name == path.name]
            for stored in (each, *of_parents):
                if stored.get("sha256") == before:
                    stored["sha256"] = after
                    if "bytes" in stored:
                        stored["bytes"] = len(content)

    write_atomically(path, content)
    change_registry(path.parent, restated)
    if path.parent == SHIPPED:
        restate(path, (before, after), sizes)
    return f"{path}: {sizes[0]:,} → {sizes[1]:,} bytes, SHA-256 {after}"


def restate(path: Path, hashes: tuple[str, str], sizes: tuple[int, int]) -> None:
    """Write the new hash and size of a shipped model into its card and reports."""
    card = path.with_suffix(CARD_SUFFIX)
    for page in (card, ROOT / "docs" / "model-card.md", *sorted((ROOT / "docs" / "reports").glob(f"{path.stem}-*"))):
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        if hashes[0] not in text:
            continue
        text = text.replace(*hashes)
        for form in ("{:,} bytes", '"bytes": {}'):
            text = text.replace(*(form.format(size) for size in sizes))
        page.write_text(text, encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of shipped models, or .onnx files that a registry lists")
    try:
        for model in parser.parse_args(argv).models:
            print(change(model, Settings.from_env()))
    except InkdigitsError as error:
        print(f"add_features: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
