"""A convolution as a product of matrices is the library's convolution."""

import itertools

import jax
import numpy as np
import pytest
from jax import lax

from steepest.numerics.shadowing.convolution import convolution


NHWC = ("NHWC", "HWIO", "NHWC")
NCHW = ("NCHW", "OIHW", "NCHW")
OPTIONS = list(
    itertools.product(
        [NHWC, NCHW, ("NHWC", "OIHW", "NCHW")],
        [(1, 1), (2, 1)],  # strides
        [((1, 1), (1, 2)), ((0, 0), (0, 0)), ((-1, 0), (2, -1))],  # padding
        [(1, 1), (2, 1)],  # of the input
        [(1, 1), (1, 2)],  # of the kernel
    )
)[::5]  # an odd step: every value of each occurs
BY_OFFSET = [(*options, (3, 3)) for options in OPTIONS]
BY_PLACE = [  # a large kernel has few places
    pytest.param(*options, (9, 7), marks=pytest.mark.slow) for options in OPTIONS
]
CASES = [*BY_OFFSET, *BY_PLACE]


@pytest.mark.slow
@pytest.mark.parametrize("layout, strides, padding, inner, outer, size", CASES)
def test_it_is_the_convolution(layout, strides, padding, inner, outer, size):
    rng = np.random.default_rng(0)
    letters = {"N": 2, "C": 3, "I": 3, "O": 4}
    x_sizes = letters | {"H": 12, "W": 20}
    w_sizes = letters | dict(zip("HW", size, strict=True))
    with jax.enable_x64(True):
        x = rng.normal(size=[x_sizes[k] for k in layout[0]])
        w = rng.normal(size=[w_sizes[k] for k in layout[1]])
        call = lambda x, w: lax.conv_general_dilated(
            x, w, strides, padding, inner, outer, dimension_numbers=layout
        )
        (eqn,) = jax.make_jaxpr(call)(x, w).jaxpr.eqns
        expected = call(x, w)
        ours = convolution(x, w, eqn.params)
    # sums of at most 216 products, in another order
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_groups_are_left_to_the_library():
    x, w = np.ones((1, 4, 4, 4), np.float32), np.ones((3, 3, 1, 4), np.float32)
    call = lambda x, w: lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=NHWC, feature_group_count=4
    )
    (eqn,) = jax.make_jaxpr(call)(x, w).jaxpr.eqns
    assert convolution(x, w, eqn.params) is None
