"""Functions of one number: value and two derivatives over the whole range."""

import mpmath as mp
import numpy as np
import pytest

from steepest.numerics import stable

from .oracle import DTYPES, grid, worst


INF = np.inf


def erfc(x):
    """By its asymptotic series where mpmath's own cannot count its terms."""
    if abs(x) < 1e9:
        return mp.erfc(x)
    if x < 0:
        return mp.mpf(2)
    terms = ((-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(100))
    return mp.exp(-x * x) / (x * mp.sqrt(mp.pi)) * mp.fsum(terms)


log1p = lambda x: mp.log(1 + x)
below = lambda x: erfc(-x / mp.sqrt(2)) / 2
FUNCTIONS = {  # the function in many digits, and where it is defined
    "sigmoid": (lambda x: 1 / (1 + mp.exp(-x)), -INF, INF),
    "softplus": (lambda x: log1p(mp.exp(x)), -INF, INF),
    "log_sigmoid": (lambda x: -log1p(mp.exp(-x)), -INF, INF),
    "logit": (lambda p: mp.log(p / (1 - p)), 0, 1),
    "tanh": (mp.tanh, -INF, INF),
    "logcosh": (lambda x: abs(x) + mp.log((1 + mp.exp(-2 * abs(x))) / 2), -INF, INF),
    "log_one_minus_tanh2": (
        lambda x: -2 * (abs(x) + mp.log((1 + mp.exp(-2 * abs(x))) / 2)),
        -INF,
        INF,
    ),
    "log1mexp": (lambda x: mp.log(1 - mp.exp(x)), -INF, 0),
    "log_expm1": (lambda x: x + mp.log(1 - mp.exp(-x)), 0, INF),
    "expm1": (lambda x: mp.exp(x) - 1, -INF, INF),
    "log1p": (log1p, -1, INF),
    "expm1_over_x": (lambda x: (mp.exp(x) - 1) / x, -INF, INF),
    "expm1_minus": (lambda x: mp.exp(x) - 1 - x, -INF, INF),
    "log1p_minus": (lambda x: mp.log(1 + x) - x, -1, INF),
    "one_minus_cos": (lambda x: 1 - mp.cos(x), -1e3, 1e3),
    "sqrt1pm1": (lambda x: mp.sqrt(1 + x) - 1, -1, INF),
    "xlogx": (lambda x: x * mp.log(x), 0, INF),
    "binary_entropy": (lambda p: -p * mp.log(p) - (1 - p) * mp.log(1 - p), 0, 1),
    "log_ndtr": (lambda x: mp.log(below(x)), -INF, INF),
    "log_erfc": (lambda x: mp.log(erfc(x)), -INF, INF),
    "mills_ratio": (
        lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi) / below(x),
        -INF,
        INF,
    ),
    "erfcx": (lambda x: mp.exp(x * x) * erfc(x), -INF, INF),
    "gelu": (lambda x: x * below(x), -INF, INF),
    "sqrt": (mp.sqrt, 0, INF),
}


SLOW = ("log_ndtr", "log_erfc", "mills_ratio", "erfcx", "gelu")  # erfc in many digits


def cases():
    for name in FUNCTIONS:
        for dtype in DTYPES:
            slow = name in SLOW or dtype != "float32"
            marks = pytest.mark.slow if slow else ()
            yield pytest.param(name, dtype, marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("name, dtype", [*cases()])
def test_value_and_two_derivatives_are_right_over_the_whole_range(name, dtype):
    truth, low, high = FUNCTIONS[name]
    points = grid(dtype, low, high, n=12 if name in SLOW or dtype == "float32" else 40)
    assert worst(getattr(stable, name), truth, points, dtype)[:5] == []
