"""The HTTP service: :func:`create_app` builds it, :func:`serve` runs it, and ``app`` is it for any ASGI server.

``app`` is built when it is first asked for, from the settings in the environment: importing this module loads no model.
"""

import os
from typing import TYPE_CHECKING, Any

# Images are laid out by small products of matrices. NumPy's OpenBLAS would share each among threads, one a core, which
# wait for each other longer than they work: a drawing would take up to six times as long, and hold the event loop up.
# It is read when NumPy is imported, in this process and in the workers. A value that the user set stands.
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
