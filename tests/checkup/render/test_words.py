"""Numbers as a reader wants them."""

import pytest

from steepest.checkup.render.words import number, seconds, sureness


@pytest.mark.parametrize(
    "x, said",
    [
        (0.0, "0"),
        (3.0, "3"),
        (899, "899"),
        (-0.5, "−0.5"),
        (0.123456, "0.123"),
        (12345.6, "12346"),
        (1e-4, "10⁻⁴"),
        (-3.2e-7, "−3.2×10⁻⁷"),
        (6.02e23, "6.02×10²³"),
        (float("nan"), "NaN"),
        (float("-inf"), "−∞"),
        (None, "–"),
    ],
)
def test_a_number_has_three_digits_and_powers_of_ten(x, said):
    assert number(x) == said


def test_shares_are_percentages():
    assert number(0.5, percent=True) == "50 %"
    assert number(0.9283, percent=True) == "92.8 %"


def test_nearly_all_is_not_called_all_nor_nearly_none_none():
    assert number(0.99999, percent=True) == "> 99.9 %"
    assert number(0.00001, percent=True) == "< 0.1 %"
    assert number(1.0, percent=True) == "100 %"


def test_confidence_is_told_in_words_too():
    assert sureness(0.97) == "97 % – nearly certain"
    assert sureness(0.3) == "30 % – a suspicion"


def test_durations_have_their_unit():
    assert [seconds(t) for t in (0.012, 3.21, 200.0)] == ["12 ms", "3.2 s", "3.3 min"]
