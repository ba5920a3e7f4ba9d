"""Numbers in claims are written as a reader wants them."""

import math

import pytest

from steepest.checkup.numbers import share


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (0.34, "34% of its length"),
        (1.7e-5, "1.7×10⁻⁵ of its length"),
        (12.0, "12 times its length"),
        (2.759e12, "10¹² times its length"),
        (-2.759e12, "−10¹² times its length"),
        (math.inf, "more than any number times its length"),
    ],
)
def test_a_share_is_said_in_percent_times_or_powers_of_ten(x, said):
    assert share(x, "its length") == said
