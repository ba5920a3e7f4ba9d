# %% [markdown]
# # Check a program in plain JAX
#
# The model is a dict of arrays and the loss a function. The program has a fault that
# real programs have: `predict` and `loss` are right, but the inputs are in their
# units of measure (see the report).

# %%
import jax
import jax.numpy as jnp
import optax

import steepest
from steepest import data


train, held_out = data.stratified(data.load("wine"), 0.25, seed=0)

# %%
k1, k2 = jax.random.split(jax.random.key(0))
he = jax.nn.initializers.he_normal()
model = {
    "W": he(k1, (13, 32)),
    "b": jnp.zeros(32),
    "V": he(k2, (32, 3)),
    "c": jnp.zeros(3),
}


def logits(model, x):
    h = jax.nn.relu(x @ model["W"] + model["b"][None])
    return h @ model["V"] + model["c"][None]


def loss(model, batch):
    x, y = batch
    return optax.softmax_cross_entropy_with_integer_labels(logits(model, x), y).mean()


# %%
problem = steepest.Problem(
    model, loss, train.arrays, held_out.arrays, predict=logits, name="wine, as measured"
)
recipe = steepest.Recipe(learning_rate=3e-3, batch_size=16, epochs=30)
report = steepest.check(problem, recipe)
print(report)

# %% [markdown]
# Do what the first finding says, and check again.

# %%
scaled, scaled_held_out = data.standardise(train, held_out)
cured = steepest.Problem(
    model, loss, scaled.arrays, scaled_held_out.arrays, predict=logits, name="wine"
)
after = steepest.check(cured, recipe)
print(after.verdict.sentence)
