"""A training program for `steepest check`: put your own model and data in its place.

    steepest check FILE.py:problem
    steepest check FILE.py:problem --html report.html

A check needs three things: a model, a loss, and data.
"""

import itertools

import jax
import jax.numpy as jnp
import optax

import steepest
from steepest import data


# -- Data ------------------------------------------------------------------------------
# Arrays whose first axis is the example. Your own: `x, y = np.load("x.npy"), ...`, as
# float32 inputs of unit scale and integer class numbers (or float targets). An iterable
# of batches (a DataLoader, a generator function) does as well.

digits = data.load("digits")  # also: "breast-cancer", "wine", "iris", "diabetes"
train, held_out = data.stratified(digits, 0.2, seed=0)
x, y = train.inputs / 16, train.targets
x_held_out, y_held_out = held_out.inputs / 16, held_out.targets


# -- Model -----------------------------------------------------------------------------
# Any pytree of arrays: here a list of (weights, biases). Also as they are:
#
#   Equinox     model = eqx.nn.MLP(64, 10, 64, 2, key=key)
#               def apply(model, x): return jax.vmap(model)(x)
#   Flax NNX    model = MyModule(rngs=nnx.Rngs(0))
#               def apply(model, x): return model(x)
#
# Dropout and BatchNorm of both are put in evaluation mode where that is called for.


def initialise(key, sizes=(64, 64, 64, 10)):
    keys = jax.random.split(key, len(sizes) - 1)
    weights = jax.nn.initializers.he_normal()
    return [
        (weights(k, shape), jnp.zeros(shape[1]))
        for k, shape in zip(keys, itertools.pairwise(sizes), strict=True)
    ]


def apply(model, x):
    """The outputs of the model: one row of class scores (logits) for each example."""
    *hidden, (W, b) = model
    for V, c in hidden:
        x = jax.nn.relu(x @ V + c[None])
    return x @ W + b[None]


# -- Loss ------------------------------------------------------------------------------
# A scalar: the mean over the batch. `key` is new in every step, for dropout and noise;
# leave it out if nothing is random.
#
# If something changes beside the parameters (statistics kept by hand, a recurrent
# state), the loss takes it and returns it, and `Problem(state=...)` starts it:
#
#   def loss(model, batch, key, state):
#       ...
#       return value, steepest.Aux(new_state, {"metric": metric})


def loss(model, batch, key):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(apply(model, x), y).mean()


# -- Program ---------------------------------------------------------------------------

problem = steepest.Problem(
    model=initialise(jax.random.key(0)),
    loss=loss,
    data=(x, y),
    validation=(x_held_out, y_held_out),
    predict=apply,
)
recipe = steepest.Recipe(optimizer="adam", learning_rate=1e-3, batch_size=32, epochs=20)


if __name__ == "__main__":  # the same from Python
    print(steepest.check(problem, recipe))
