# %% [markdown]
# # Check an Equinox program
#
# An Equinox module is a pytree: it is passed as it is. Dropout is switched off where
# the model predicts (`eqx.nn.inference_mode`), and the loss gets a new key every step.

# %%
import equinox as eqx
import jax
import optax

import steepest
from steepest import data


train, held_out = data.standardise(
    *data.stratified(data.load("breast-cancer"), 0.25, seed=0)
)


# %%
class Network(eqx.Module):
    first: eqx.nn.Linear
    dropout: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key):
        k1, k2 = jax.random.split(key)
        self.first = eqx.nn.Linear(30, 32, key=k1)
        self.dropout = eqx.nn.Dropout(0.2)
        self.last = eqx.nn.Linear(32, 2, key=k2)

    def __call__(self, x, key=None):
        h = jax.nn.relu(self.first(x))
        return self.last(self.dropout(h, key=key))


def loss(model, batch, key):
    x, y = batch
    scores = jax.vmap(model)(x, jax.random.split(key, len(x)))
    return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean()


# %%
problem = steepest.Problem(
    model=Network(jax.random.key(0)),
    loss=loss,
    data=train.arrays,
    validation=held_out.arrays,
    predict=lambda model, x: jax.vmap(model)(x),
    name="breast cancer, Equinox with dropout",
)
recipe = steepest.Recipe(learning_rate=2e-3, epochs=15)

# %%
report = steepest.check(problem, recipe)
print(report)
