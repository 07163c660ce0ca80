"""Folders of models that ship, to be changed by a test."""

import json
import shutil
from pathlib import Path

from inkdigits.network import SHIPPED, read_registry


def folder_of(folder: Path, *names: str, **more: object) -> Path:
    """Make a folder of these shipped models, the first of which is the champion, with more in its registry."""
    folder.mkdir()
    models = {name: read_registry(SHIPPED)["models"][name] for name in names}
    for entry in models.values():
        shutil.copy(SHIPPED / entry["file"], folder)
    (folder / "registry.json").write_text(json.dumps({"default": names[0], "models": models, **more}))
    return folder
