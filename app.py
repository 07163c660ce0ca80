"""The service by its old name: ``python app.py`` serves, and ``app:app`` is for any ASGI server."""

import sys

from inkdigits import cli, server


def __getattr__(name):  # `app` is built when a server asks for it, and not in each process that imports this
    return getattr(server, name)


if __name__ == "__main__":
    sys.exit(cli.main(["serve", *sys.argv[1:]]))
