"""A progress bar that shows only when there is something to wait for.

It appears after two seconds, on a terminal only, and leaves nothing behind.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


DELAY = 2.0  # seconds: what is shorter needs no bar
_HIDDEN: ContextVar[bool] = ContextVar("hidden", default=False)


@contextmanager
def hidden() -> Iterator[None]:
    """Show no bar inside of this context, unless one is asked for explicitly."""
    token = _HIDDEN.set(True)
    try:
        yield
    finally:
        _HIDDEN.reset(token)


@contextmanager
def progress(
    description: str, total: int | None, show: bool | None = None
) -> Iterator[Callable[[int, str], None]]:
    """Yield `update(done, note)`; `show=None` means on a terminal only."""
    console = Console(stderr=True)
    if show is None:
        show = sys.stderr.isatty() and console.is_terminal and not _HIDDEN.get()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}  {task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(description, total=total, note="")
    began, running = time.perf_counter(), False

    def update(done: int, note: str = "") -> None:
        nonlocal running
        if not show:
            return
        if not running and time.perf_counter() - began > DELAY:
            bar.start()
            running = True
        bar.update(task, completed=done, note=note)

    try:
        yield update
    finally:
        if running:
            bar.stop()
