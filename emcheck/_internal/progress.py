"""Standard output, and a progress bar on the error stream, silent if that is no terminal."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn

if TYPE_CHECKING:
    from typing_extensions import Self


class Output(Console):
    """Standard output; if nobody reads it any more, the command ends like any other."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Bar:
    """Progress over steps, as a context.

    Args:
        what: the steps, until :meth:`update` describes them otherwise.
        total: the number of steps, None while that is unknown.
        more: columns after the count.
        shown: False if another process shows it.
    """

    def __init__(
        self, what: str, total: int | None, *more: ProgressColumn, shown: bool = True
    ) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=18 if more else 24),
            MofNCompleteColumn(),
            *more,
            console=console,
            transient=True,
            disable=not (console.is_terminal and shown),
        )
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self, **changes: Any) -> None:
        """Pass ``completed``, ``total`` or ``description`` on to rich's ``Progress.update``."""
        self._progress.update(self._task, **changes)
