"""An iterator that may be looked into without losing what was looked at.

Checks, probes and the trial of one batch all look at the first batches of the data. Of
an iterator, which can be read only once, training would not get them any more. A stream
keeps what was looked at until training takes it.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any


class Stream:
    """Iterating looks ahead, from where training is; `take` moves training on."""

    def __init__(self, source: Iterator[Any]) -> None:
        self._source = source
        self._ahead: deque[Any] = deque()

    def __iter__(self) -> Iterator[Any]:
        i = 0
        while i < len(self._ahead) or self._read():
            yield self._ahead[i]
            i += 1

    def take(self) -> Iterator[Any]:
        """The batches, each once."""
        while self._ahead or self._read():
            yield self._ahead.popleft()

    def _read(self) -> bool:
        for batch in self._source:
            self._ahead.append(batch)
            return True
        return False
