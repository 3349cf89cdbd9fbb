"""A progress line on a terminal, and nothing at all elsewhere.

rich is imported only when there is a terminal to draw on.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

__all__ = ["show"]


@contextlib.contextmanager
def show(title: str, text: Callable[[], str]) -> Iterator[None]:
    """While the block runs, draws a spinner with ``text()``, asked a few times a second from a thread of its own."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    ended = threading.Event()
    # Lines of a result go where standard output goes; only where that is this terminal are they set above the progress.
    redirect = sys.stdout.isatty()
    with Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=8,
        redirect_stdout=redirect,
        redirect_stderr=redirect,
    ) as progress:
        task = progress.add_task(title, total=None)

        def refresh() -> None:
            while not ended.wait(0.15):
                progress.update(task, description=f"{title}  {text()}")

        thread = threading.Thread(target=refresh, name="hashsieve-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
