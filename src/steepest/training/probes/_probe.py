"""A probe: a measurement taken now and then while training goes on.

    prepare(context) -> measure;   measure(snapshot) -> {series: value}

`prepare` is called once and may build jitted functions; `measure` is called at an
interval that keeps all probes together under a share of the time (the budget). A value
may be a scalar, or `(array, labels)` where the labels name the last axis.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import PyTree

from ..problem import Problem
from ..recipe import Recipe
from ..step import Carry, Program


class Context(NamedTuple):
    """What stays the same during a run."""

    problem: Problem
    recipe: Recipe
    program: Program
    batch: PyTree  # the fixed probe batch
    key: Any  # a random key, the same at every measurement


class Snapshot(NamedTuple):
    """The run at the moment of a measurement."""

    step: int  # updates done
    carry: Carry


Measure = Callable[[Snapshot], Mapping[str, Any]]


class Probe(NamedTuple):
    """A named measurement; `every` fixes its interval in updates, None adapts it."""

    name: str
    prepare: Callable[[Context], Measure]
    every: int | None = None
