"""Data sets, generators, splits, standardisation, and the user's own files."""

from ._standardise import (
    standardise as standardise,
    standardise_targets as standardise_targets,
)
from .dataset import Dataset as Dataset
from .embedded import load as load
from .generators import (
    blobs as blobs,
    circles as circles,
    moons as moons,
    regression as regression,
    spirals as spirals,
    xor as xor,
)
from .loaders import (
    find as find,
    read_csv as read_csv,
    read_idx as read_idx,
    read_npz as read_npz,
)
from .splits import (
    by_time as by_time,
    grouped as grouped,
    stratified as stratified,
)
