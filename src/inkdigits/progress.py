"""Progress bars: live on a terminal, silent anywhere else.

Long work takes a ``progress`` of type :data:`Progress` and opens it for each stage; a caller may pass another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Progress", "Report", "bars", "silent"]

#: ``progress(label, total, unit)`` opens a stage and gives ``advance(n)``; ``total`` is None where it is not known.
Progress = Callable[[str, "int | None", Literal["", "bytes"]], AbstractContextManager[Callable[[int], None]]]


@contextmanager
def silent(label: str, total: int | None, unit: Literal["", "bytes"] = "") -> Iterator[Callable[[int], None]]:
    """Show nothing: a :data:`Progress`."""
    yield lambda n: None


def bars(console: Console | None = None) -> Progress:
    """Return a :data:`Progress` of bars that vanish when their stage is done; silent if ``console`` is not a terminal.

    Args:
        console: where the bars are drawn; default standard error. Silent, too, where rich is not installed.
    """
    try:
        from rich import progress as rich_progress
        from rich.console import Console
    except ModuleNotFoundError:
        return silent
    screen = console or Console(stderr=True)
    if not screen.is_terminal:
        return silent

    @contextmanager
    def show(label: str, total: int | None, unit: Literal["", "bytes"] = "") -> Iterator[Callable[[int], None]]:
        amount = rich_progress.DownloadColumn() if unit == "bytes" else rich_progress.MofNCompleteColumn()
        rate = rich_progress.TransferSpeedColumn() if unit == "bytes" else _rate_column()
        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            amount,
            rate,
            rich_progress.TimeRemainingColumn(),
        )
        with rich_progress.Progress(*columns, console=screen, transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda n: bar.advance(task, n)

    return show


class Report:
    """Where long work reports how it stands: lines of text, and bars on a terminal.

    Args:
        console: to print on; default standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console

        self.console = console or Console()
        self.progress = bars(self.console)

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True, markup=False, highlight=False)


def _rate_column() -> Any:
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        """How many a second."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")

    return Rate()
