"""The HTTP service: :func:`create_app` builds it, :func:`serve` runs it, and any ASGI server can run ``app``.

``app`` is built on first access, from the settings in the environment: importing this module loads no model.
"""

import os
from typing import TYPE_CHECKING, Any

# Preprocessing multiplies small matrices. OpenBLAS would split each product among threads, one per core, which wait for
# each other longer than they compute: a drawing would take up to six times as long and block the event loop.
# NumPy reads this when it is imported, in this process and in the workers. A value that the user set is kept.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from inkdigits.server.factory import create_app
from inkdigits.server.processes.run import serve

if TYPE_CHECKING:
    from inkdigits.server.http.asgi import Service

    app: Service

__all__ = ["create_app", "serve"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    service = globals()["app"] = create_app()
    return service
