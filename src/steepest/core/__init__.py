"""The ground floor: programs as data, pytrees, files, progress, meshes."""

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
