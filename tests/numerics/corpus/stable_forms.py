"""The stable forms, looked up when they are called."""

from types import SimpleNamespace
from typing import Any

from steepest.numerics import stable as functions


class _Late(SimpleNamespace):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **options: getattr(functions, name)(*args, **options)


stable = _Late()
