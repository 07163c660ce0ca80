"""The HTTP service: :func:`create_app` builds it, :func:`serve` runs it."""

from inkdigits.server.app import create_app
from inkdigits.server.run import serve

__all__ = ["create_app", "serve"]
