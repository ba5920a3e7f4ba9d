"""Writing: results to standard output, everything else to standard error."""

import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.errors import InputError


def put(text: str) -> None:
    """Write a result. A reader that has gone away (`| head`) is no error.

    Raises `InputError` when standard output cannot be written.
    """
    if sys.stdout is None:
        raise InputError(
            "Standard output is closed; send it to a file, or to /dev/null."
        )
    try:
        print(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise InputError(
            f"Cannot write to standard output: {error.strerror}."
        ) from error


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    if sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: Any) -> None:  # a text file
    """Let what is still buffered go nowhere, so that Python's exit is quiet too."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def width() -> int:
    """The width to which text is set."""
    return max(40, shutil.get_terminal_size((100, 24)).columns)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, the last of which is wrapped."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    indent = sum(sizes) + 2 * len(sizes)
    lines = []
    for *cells, last in rows:
        start = "".join(c.ljust(n + 2) for c, n in zip(cells, sizes, strict=True))
        wrapped = textwrap.wrap(last, max(24, width() - indent)) or [""]
        lines.append((start + wrapped[0]).rstrip())
        lines += [" " * indent + line for line in wrapped[1:]]
    return "\n".join(lines)


def writable(path: Path, ending: str) -> None:
    """Raise `InputError` unless a file with this ending can be written at `path`.

    Asked before a run, so that no minute of work is lost to a wrong name.
    """
    if path.suffix.lower() != ending:
        raise InputError(f"Cannot write to `{path}`: the name must end in {ending}.")
    if path.is_dir():
        raise InputError(f"Cannot write to `{path}`: it is a directory.")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise InputError(
            f"Cannot write to `{path}`: {error.strerror}. Name a directory that exists "
            "and that you may write to."
        ) from error


@contextmanager
def stages(show: bool) -> Iterator[Callable[[str], None] | None]:
    """Yield a function that shows the name of a stage while it lasts.

    On a terminal only. The stage of training shows its own bar instead.
    """
    from ..core.progress import hidden

    if not show:
        with hidden():
            yield None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    status = console.status("")

    def update(stage: str) -> None:
        if stage == "training":
            status.stop()
        else:
            status.update(f"{stage} …")
            status.start()

    try:
        yield update
    finally:
        status.stop()
