"""Ctrl-C that waits for the run to be whole.

A step gives its input's memory away, so between the call and the assignment of its
result there are no parameters. Python delivers a signal in just that gap, for it has
waited while the step was running. So inside a critical section the first Ctrl-C is kept
until the section's end; a second one is delivered at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Critical:
    """`with critical:` holds Ctrl-C back until the block is done."""

    def __init__(self) -> None:
        self.inside = self.pressed = False

    def __enter__(self) -> None:
        self.inside = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.inside = False
        if self.pressed and kind is None:
            self.pressed = False
            raise KeyboardInterrupt

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT."""
        if self.inside and not self.pressed:
            self.pressed = True
        else:
            self.pressed = False
            raise KeyboardInterrupt


@contextmanager
def listening(critical: Critical) -> Iterator[None]:
    """Let `critical` handle Ctrl-C, where Python's own handler would."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, critical.handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
