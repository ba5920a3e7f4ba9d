# %% [markdown]
# # Have a training loop of your own looked at
#
# One line in the loop notes what the step computes anyway in a `Record`; another asks
# for the curvature now and then. The step size here is ten times what that allows.

# %%
import jax
import jax.numpy as jnp
import numpy as np
import optax

import steepest
from steepest import data
from steepest.curvature import sharpness


train, held_out = data.standardise(*data.stratified(data.load("iris"), 0.25, seed=0))
x, y = map(jnp.asarray, train.arrays)
he = jax.nn.initializers.he_normal()
params = {"W": he(jax.random.key(0), (4, 16)), "V": he(jax.random.key(1), (16, 3))}


def loss_of(params, x, y):
    scores = jnp.tanh(x @ params["W"]) @ params["V"]
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


@jax.jit
def step(params, x, y):
    loss, grads = jax.value_and_grad(loss_of)(params, x, y)
    new = jax.tree.map(lambda p, g: p - RATE * g, params, grads)
    return new, loss, optax.tree.norm(grads)


# %%
RATE = 10.0
record = steepest.Record()
rng = np.random.default_rng(0)
for i in range(300):
    chosen = rng.integers(len(x), size=16)
    if i % 20 == 0:  # optional: how sharp is the loss here?
        whole = lambda p: loss_of(p, x, y)
        record.add(
            "sharpness", i, sharpness(whole, params, key=jax.random.key(i)).value
        )
    params, loss, norm = step(params, x[chosen], y[chosen])
    record.log(i, loss=loss, gradient_norm=norm, learning_rate=RATE)

# %% [markdown]
# The more a record holds, the more rules can judge it; the report lists those that
# could not. `record.save("run.npz")` and `steepest check run.npz` do the same in a
# shell.

# %%
sgd = steepest.Recipe(optimizer="sgd", learning_rate=RATE, batch_size=16)
report = steepest.review(record, recipe=sgd, name="my loop")
print(report)
