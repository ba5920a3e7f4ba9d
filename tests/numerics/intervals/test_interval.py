import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core.errors import InputError
from steepest.numerics.intervals import Interval, range_of


def test_an_interval_holds_its_ends_in_plain_numbers():
    spec = Interval(-1, 2.5, [2, 3])
    assert (spec.low, spec.high, spec.shape) == (-1.0, 2.5, (2, 3))
    assert spec.dtype == np.float32


def test_ends_may_be_arrays_and_infinite():
    spec = Interval([0.0, -np.inf], [1.0, np.inf], (3, 2))
    held = range_of(spec)
    assert held.least == -np.inf and held.most == np.inf
    assert held.holds(np.ones((3, 2)))
    assert not held.holds(np.full((3, 2), 2.0) * np.array([1, 0]))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1.0, 0.0), "is empty"),
        ((0.0, np.nan), "NaN"),
        ((0.0, 1e39), "does not fit float32"),
        ((0.0, 1e5, (), jnp.float16), "does not fit float16"),
        ((0.0, 1.0, (-1,)), "negative size"),
        ((0.0, 1.0, (2, 0)), "holds no element"),
        ((0.0, 1.0, "ab"), "tuple of integers"),
        ((0.5, 1.0, (), jnp.int32), "are integers"),
        ((0, 300, (), jnp.int8), "does not fit int8"),
        ((0, 2, (), jnp.bool_), "does not fit bool"),
        ((0, np.inf, (), jnp.int32), "are integers"),
        ((0.0, 1.0, (), "no such"), "no dtype"),
        ((0.0, 1.0, (), jnp.complex64), "not ordered"),
        ((0.0, 1.0, (), jnp.float64), "jax_enable_x64"),
        (("a", 1.0), "are numbers"),
        (([0.0, 1.0], 1.0, (3,)), "does not fit (3,)"),
    ],
)
def test_what_is_no_interval_is_refused_in_one_sentence(arguments, said):
    with pytest.raises(InputError) as refused:
        Interval(*arguments)
    message = str(refused.value)
    assert said in message
    assert message.endswith(".") and "\n" not in message


def test_an_interval_of_doubles_needs_doubles():
    with jax.enable_x64(True):
        assert Interval(0, 1e300, (), jnp.float64).high == 1e300


def test_a_shape_alone_is_all_finite_numbers_of_the_format():
    held = range_of(jax.ShapeDtypeStruct((2,), jnp.float16))
    assert (held.least, held.most) == (-65504.0, 65504.0)


def test_an_array_is_its_own_values():
    held = range_of(jnp.array([[1.0, -2.0], [np.nan, np.inf]]))
    assert held.nan and held.least == -2.0 and held.most == np.inf
