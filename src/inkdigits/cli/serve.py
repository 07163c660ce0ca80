"""``inkdigits serve``: the page and the HTTP API."""

from __future__ import annotations

import argparse
from dataclasses import fields

from inkdigits.cli.common import FINE, Commands, add_command, add_settings
from inkdigits.settings import Settings

__all__ = ["add"]

_NOT_OF_SERVER = ("data", "cache", "runs", "ray_address")  # settings that a server has no use for

_SERVE_EXAMPLES = """\
examples:
  inkdigits serve
  inkdigits serve --host 0.0.0.0 --port 80 --workers 4
  INKDIGITS_MODEL=my.onnx inkdigits serve

SIGTERM and Ctrl-C let open requests finish. SIGHUP reloads the model: it is tested on known digits,
then replaces the old one without a dropped request; if the test fails, the old one stays.
"""


def add(commands: Commands) -> None:
    """Add serve to the command line."""
    serve = add_command(
        commands,
        "serve",
        "[options]",
        _serve,
        "serve the page and the HTTP API",
        "Serve the drawing page at / and the HTTP API, which /docs describes.",
        _SERVE_EXAMPLES,
    )
    add_settings(serve, [f.name for f in fields(Settings) if f.name not in _NOT_OF_SERVER])


def _serve(args: argparse.Namespace) -> int:
    options = {f.name: getattr(args, f.name) for f in fields(Settings) if f.name not in _NOT_OF_SERVER}
    settings = Settings.from_env(**options)
    from inkdigits.server import serve

    serve(settings)
    return FINE
