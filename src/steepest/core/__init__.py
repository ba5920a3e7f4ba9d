"""The ground floor: programs as data, pytrees, files, progress, meshes.

Names are imported when they are first used: the command line needs this room's errors
and files without waiting for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from ._capture import (
        capture as capture,
        statistics as statistics,
        unit_statistics as unit_statistics,
    )
    from .errors import InputError as InputError
    from .pytree import (
        evaluation_mode as evaluation_mode,
        paths as paths,
        trainable as trainable,
    )
    from .sites import Site as Site

_HOME = {
    "capture": "._capture",
    "statistics": "._capture",
    "unit_statistics": "._capture",
    "InputError": ".errors",
    "evaluation_mode": ".pytree",
    "paths": ".pytree",
    "trainable": ".pytree",
    "Site": ".sites",
}


def __getattr__(name: str) -> Any:  # any public object
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
