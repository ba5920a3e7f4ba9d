"""A loss whose gradient is rounded to zero gets stuck; a right one explodes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest.core.errors import InputError
from steepest.numerics import hunting


rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(size=(12, 3)), jnp.float32)
Y = jnp.asarray(rng.integers(0, 2, 12), jnp.float32)
W = jnp.zeros(3)


def from_logits(w, x, y):
    return optax.sigmoid_binary_cross_entropy(x @ w, y).mean()


def from_probabilities(w, x, y):
    p = jax.nn.sigmoid(x @ w)
    return -jnp.mean(y * jnp.log(p + 1e-7) + (1 - y) * jnp.log(1 - p + 1e-7))


def squared_sigmoid(w, x, y):
    return jnp.mean((jax.nn.sigmoid(x @ w) - y) ** 2)


def squared(w, x, y):
    return jnp.mean((x @ w - y) ** 2)


def clipped(w, x, y):
    p = jnp.clip(jax.nn.sigmoid(x @ w), 1e-3, 1 - 1e-3)
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


@pytest.mark.parametrize("loss", [from_logits, squared])
def test_a_right_loss_explodes(loss):
    seen = hunting.raise_step_size(loss, W, X, Y)
    assert seen.verdict == "explodes" and not seen.suspicious
    assert "as it should" in str(seen)


@pytest.mark.slow
def test_cross_entropy_of_probabilities_gets_stuck():
    seen = hunting.raise_step_size(from_probabilities, W, X, Y)
    assert seen.verdict == "stuck" and seen.suspicious
    assert seen.zeroed.place.function == "from_probabilities"
    assert seen.zeroed.rounded


@pytest.mark.slow
def test_a_clipped_probability_is_flat_not_rounded():
    seen = hunting.raise_step_size(clipped, W, X, Y)
    assert seen.verdict == "stuck"
    assert seen.zeroed is not None and "clipped" in seen.zeroed.place.function


def test_a_nan_before_the_loss_is_large_is_reported_with_its_operation():
    def loss(w, x, y):
        return -jnp.mean(y * jnp.log(jax.nn.sigmoid(x @ w))) + 0.0 * jnp.sum(w)

    seen = hunting.raise_step_size(loss, W, X, Y, rates=(1e4,))
    assert seen.verdict == "not finite"
    assert seen.origin.primitive == "log"


def test_an_infinity_of_a_pole_is_no_explosion():
    def loss(w, x, y):
        p = jax.nn.softmax(jnp.outer(x @ w, jnp.asarray([0.0, 1.0])))
        return -jnp.mean(jnp.log(jnp.where(y == 1, p[:, 1], p[:, 0])))

    seen = hunting.raise_step_size(loss, W, X, Y)
    assert seen.verdict == "not finite" and seen.suspicious
    assert seen.origin.primitive == "log"
    assert "infinite before it is large: `log` of 0" in seen.sentence


def test_logits_that_are_wrong_have_a_gradient_however_large():
    logits = jnp.asarray([2.0, -3.0, 1.0])
    targets = jnp.asarray([0.0, 1.0, 1.0])

    def right(z, y):
        return optax.sigmoid_binary_cross_entropy(z, y).mean()

    assert hunting.scale_logits(right, logits, targets).verdict == "sound"


def test_saturated_probabilities_lose_the_gradient_of_wrong_logits():
    logits = jnp.asarray([2.0, -3.0])
    targets = jnp.asarray([0.0, 1.0])

    def wrong(z, y):
        return jnp.mean((jax.nn.sigmoid(z) - y) ** 2)

    seen = hunting.scale_logits(wrong, logits, targets)
    assert seen.verdict == "stuck"
    assert seen.zeroed.place.function.endswith("wrong")
    assert "exactly zero" in seen.sentence


def test_a_loss_that_is_not_finite_names_the_first_operation():
    def loss(z):
        return -jnp.log(jax.nn.softmax(z))[0]

    seen = hunting.scale(loss, jnp.asarray([0.0, 1.0]))
    assert seen.verdict == "not finite"
    assert seen.origin.primitive == "log"


def test_parameters_are_any_pytree_and_integers_stay():
    params = {"w": jnp.ones(3), "n": jnp.asarray(2), "name": "tanh"}

    def loss(p, x):
        return jnp.mean((x @ p["w"]) ** p["n"])

    seen = hunting.raise_step_size(loss, params, X)
    assert seen.verdict == "explodes"
    assert len(seen.trials) == len(hunting.RATES)


def test_a_loss_that_goes_down_with_every_step_converges():
    seen = hunting.raise_step_size(
        lambda w: jnp.sum(jnp.sqrt(w**2 + 1)), jnp.ones(2), rates=(1e-3, 1e-2)
    )
    assert seen.verdict == "converges"
    assert "<pre>" in seen._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hunting.scale(3, W), "The test is of a loss; an int came."),
        (lambda: hunting.scale(lambda w: w, W), "has to return one number"),
        (lambda: hunting.scale(lambda w: (w.sum(), w), W), "returns 2 values"),
        (lambda: hunting.scale(lambda n: 1.0, jnp.arange(2)), "hold no floats"),
        (lambda: hunting.scale(jnp.sum, W, factors=()), "`factors` are finite"),
        (
            lambda: hunting.raise_step_size(jnp.sum, W, rates=(-1.0,)),
            "positive step sizes",
        ),
    ],
)
def test_what_cannot_be_tested_is_said_in_a_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
