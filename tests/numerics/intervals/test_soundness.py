"""The two promises of `analyse`, against random programs at random inputs.

Hypothesis draws the operations, how they follow each other, number formats and ranges;
the oracle runs the program operation by operation and looks at every result. Whatever
it finds is an error of the bounds, never a matter of tolerance.
"""

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from steepest.core import jaxpr
from steepest.numerics.intervals import analyse

from .eager import steps, violations
from .programs import drawn, point


POINTS = 3
FEW = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=1000)


def shown(program):
    """What runs of the program show against its bounds."""
    with np.errstate(all="ignore"):  # constants that no format but float32 has
        return _shown(program)


def _shown(program):
    arguments = [jax.ShapeDtypeStruct(s.shape, s.dtype) for s in program.specs]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        closed = jaxpr.trace(program.fun, *arguments).closed
    analysis = analyse(closed, program.specs)
    rng = np.random.default_rng(program.seed)
    wrong = []
    for _ in range(POINTS):
        inputs = [point(rng, spec) for spec in program.specs]
        wrong += violations(analysis, steps(closed, inputs))
    return wrong


@pytest.mark.slow
@FEW
@given(drawn(most=5, gradient=False))
def test_nothing_is_computed_that_the_bounds_exclude(program):
    assert not shown(program)


@pytest.mark.slow
@MANY
@given(drawn(gradient=False))
def test_nothing_is_computed_that_the_bounds_exclude_in_long_programs(program):
    assert not shown(program)


@pytest.mark.slow
@MANY
@given(drawn(most=4, gradient=True))
def test_nothing_is_computed_that_the_bounds_exclude_in_gradients(program):
    assert not shown(program)
